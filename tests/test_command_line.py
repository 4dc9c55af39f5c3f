"""One way to call: ``python -m pyptv``, options in any place, ranges, suggestions, 80 columns, completion."""

from __future__ import annotations

import pytest
from conftest import results

from pyptv.__main__ import cli, commands
from pyptv.core.base.options import Options, make_options
from pyptv.core.cli.options import COMMANDS, GROUPS, PARALLEL, SEQUENTIAL, build_parser, chosen_fields
from pyptv.evaluate.__main__ import build_parser as build_evaluate
from pyptv.export.__main__ import build_parser as build_export
from pyptv.pyptv_batch import cli as sequential

PARSERS = {kind.name: lambda kind=kind: build_parser(kind) for kind in COMMANDS} | {
    "export": build_export,
    "evaluate": build_evaluate,
}


class TestLauncher:
    def test_it_lists_and_explains_all_commands(self, capsys):
        assert cli([]) == 0
        listed = capsys.readouterr().out
        assert [name for name in commands() if f"\n  {name} " not in listed] == []
        assert max(map(len, listed.splitlines())) <= 80

    @pytest.mark.parametrize("name", sorted(commands()))
    @pytest.mark.parametrize("columns", ["60", "80", "200"])
    def test_every_help_fits_80_columns(self, name, columns, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", columns)
        with pytest.raises(SystemExit, match="0"):
            cli([name, "--help"])
        said = capsys.readouterr().out
        assert said.startswith("usage: ")
        assert [line for line in said.splitlines() if len(line) > 80] == []

    def test_it_runs_them(self, small_experiment, capsys, tmp_path):
        folder = small_experiment()
        assert cli(["check", str(folder), "--last", "10001"]) == 0
        assert "10000 to 10001 (2)" in capsys.readouterr().out
        assert cli(["run", "-q", str(folder), "--mode", "sequence", "10000", "10001"]) == 0
        assert "res/rt_is.10001" in results(folder)
        assert cli(["report", str(tmp_path / "nowhere")]) == 2

    def test_what_is_no_command(self, capsys, tmp_path):
        for word, said in (("reprot", "'report'"), (str(tmp_path), f"'run {tmp_path}'"), ("xyz", "Commands: run, parallel")):
            assert cli([word]) == 2
            assert said in capsys.readouterr().err


class TestWords:
    @pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
    def test_a_range_anywhere_and_in_each_way(self, parser):
        to = ["--to", "csv"] if parser is build_export else []
        for words in (["E", "1", "9"], ["E", "--first", "1", "--last=9"], ["--last", "9", "E", "--first", "1"]):
            found = parser().parse_args([*words, *to])
            assert (str(found.experiment), found.first, found.last) == ("E", 1, 9)
            found = parser().parse_args([*to, *words])
            assert (str(found.experiment), found.first, found.last) == ("E", 1, 9)
        found = parser().parse_args(["E", "--last", "9", *to])
        assert (found.first, found.last) == (None, 9)

    def test_options_between_positional_arguments(self):
        found = build_parser(PARALLEL).parse_args(["E", "--mode", "sequence", "1", "-q", "9", "3", "--resume"])
        assert (found.first, found.last, found.processes_word, found.quiet) == (1, 9, 3, True)
        assert chosen_fields(found) == {"mode": "sequence", "resume": True}

    def test_two_dashes_end_the_options(self):
        assert build_parser(SEQUENTIAL).parse_args(["-q", "--", "--folder", "1", "2"]).experiment == "--folder"

    def test_processes_are_named_once(self, capsys):
        from pyptv.pyptv_batch_parallel import cli as parallel

        with pytest.raises(SystemExit, match="2"):
            parallel(["E", "1", "2", "3", "-j", "3"])
        assert "name the number of processes once" in capsys.readouterr().err

    def test_processes_of_the_sequential_command(self, small_experiment, capsys):
        folder = small_experiment()
        assert sequential([str(folder), "-j", "2", "--last", "10002"]) == 0
        assert "Number of processes: 2" in capsys.readouterr().err
        assert sequential([str(folder), "-j", "0"]) == 2
        assert "Number of processes must be >= 1, got 0" in capsys.readouterr().err

    def test_completion_offers_every_option(self, capsys):
        pytest.importorskip("shtab")
        with pytest.raises(SystemExit, match="0"):
            sequential(["--completion", "bash"])
        script = capsys.readouterr().out
        entries = [entry for options in GROUPS.values() for entry in options if SEQUENTIAL in entry.commands]
        names = [name for entry in entries for name in entry.names if name != "--start-method"]
        assert [name for name in names if name not in script] == []


class TestTable:
    def test_what_an_option_sets_is_a_field_and_each_name_is_there_once(self):
        entries = [entry for options in GROUPS.values() for entry in options]
        fields = set(Options.__dataclass_fields__)
        assert {entry.sets for entry in entries if entry.sets is not None} <= fields
        names = [name for entry in entries for name in entry.names]
        assert len(names) == len(set(names))

    def test_keywords_of_main(self):
        for name, meant in (("frist", "first"), ("n_jobs", "n_processes"), ("ouput", "output"), ("repetition", "repetitions")):
            with pytest.raises(ValueError, match=f"^Unknown option '{name}': did you mean '{meant}'"):
                make_options({name: 1})
