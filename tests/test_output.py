"""``--output DIR``: results in a folder of their own, which then stands for its experiment; the experiment stays as it was."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import refusal, results

from pyptv.core.experiment.folder import load_experiment
from pyptv.core.experiment.output import record_path
from pyptv.core.files.claims import claim_frames
from pyptv.pyptv_batch import cli, main

FIRST, LAST = 10_000, 10_005
DAMAGED = [
    b"",
    b"{}",
    b"[" * 100_000,
    b'"/data"',
    b"\xff\xfe",
    b'{"experiment": 1}',
    b'{"experiment": "relative"}',
    b'{"experiment": "/a\\u0000b"}',
    b'{"experiment": "/a", "more": 1}',
    b'{"experiment": "/' + b"a" * 200_000 + b'"}',
]


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder, folders included: name -> size and time of the last change."""
    paths = {path.relative_to(folder).as_posix(): path.stat() for path in [folder, *folder.rglob("*")]}
    return {name: (status.st_size, status.st_mtime_ns) for name, status in paths.items()}


def change(yaml_file: Path, key: str, value: object, name: str | None = None) -> Path:
    """Write a YAML parameter file with another value of a key, under another name where there is one."""
    text, n = re.subn(rf"(?m)^(\s*{key}:).*$", rf"\g<1> {value}", yaml_file.read_text())
    assert n == 1
    changed = yaml_file if name is None else yaml_file.with_name(name)
    changed.write_text(text)
    return changed


def yaml_of(folder: Path) -> Path:
    (path,) = folder.glob("*.yaml")
    return path


@pytest.fixture(scope="module")
def in_place(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The results of a run without an output folder, of the experiment that small_experiment() copies."""
    from conftest import SMALL

    from pyptv.synthetic import make_experiment

    folder = make_experiment(tmp_path_factory.mktemp("in_place") / "experiment", **SMALL)
    main(folder)
    return results(folder)


def message_of(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 2) -> str:
    """The one error of a command line, which ends with an exit code; ``--check`` must agree."""
    capsys.readouterr()
    assert cli([*map(str, arguments), "--no-progress"]) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if " - ERROR - " in line]
    assert len(errors) == 1, errors
    assert cli([*map(str, arguments), "--check"]) == code
    (problem,) = capsys.readouterr().out.split("Problems:\n")[1].splitlines()[:-1]
    assert problem.removeprefix("  - ") in errors[0]
    return errors[0]


class TestRun:
    def test_the_bytes_of_a_run_in_place_and_nothing_in_the_experiment(self, small_experiment, batch, tmp_path, in_place, caplog):
        folder = small_experiment()
        before = contents(folder)
        output = tmp_path / "a study" / "é"
        with caplog.at_level(logging.INFO, "pyptv"):
            batch(folder, output=output)
        assert results(output) == in_place
        assert contents(folder) == before
        assert f"Results go to: {output / 'res'}" in caplog.messages
        assert f"Run report: {output / 'res' / 'run_report.json'}" in caplog.messages
        command = json.loads((output / "res" / "run_report.json").read_text())["command"]
        assert (command["folder"], command["output"]) == (str(folder), str(output))
        assert json.loads(record_path(output).read_text()) == {"experiment": str(folder / "parameters")}

    def test_two_studies_of_the_same_images(self, small_experiment, batch, tmp_path):
        """Two YAML files in one folder, each into an output folder of its own; in place they would overwrite each other."""
        folder, alone = small_experiment(dialect="yaml"), small_experiment("alone", dialect="yaml")
        yaml_files = [yaml_of(folder), change(yaml_of(folder), "eps0", 0.001, "strict.yaml")]
        change(yaml_of(alone), "eps0", 0.001)
        main(alone)
        before, outputs = contents(folder), [tmp_path / "usual", tmp_path / "strict"]
        for mode in ("sequence", "tracking"):  # in turns
            for yaml_file, output in zip(yaml_files, outputs, strict=True):
                batch(yaml_file, mode=mode, output=output)
        usual, strict = map(results, outputs)
        assert strict == results(alone)
        assert strict.keys() == usual.keys()
        assert strict["res/rt_is.10002"] != usual["res/rt_is.10002"]
        assert contents(folder) == before

    def test_they_run_at_once(self, small_experiment, tmp_path):
        """Without --output a run is refused while another experiment works in the targets' folder."""
        folder, other = small_experiment(), small_experiment("other")
        shutil.rmtree(other / "img")
        (other / "img").symlink_to(folder / "img")
        (folder / "res" / ".pyptv").mkdir(parents=True)
        claim = claim_frames(folder / "res" / ".pyptv", (FIRST, LAST))
        claim.add_folders([folder / "img"])  # as a run in place does
        try:
            assert "a run of another experiment that shares it" in str(refusal(main, other))
            main(other, output=tmp_path / "study")
            assert "another run is working on" in str(refusal(main, folder))
            main(folder, output=tmp_path / "study 2")
        finally:
            claim.release()
        assert results(tmp_path / "study") == results(tmp_path / "study 2")

    def test_the_folder_of_the_experiment_is_no_output(self, small_experiment, in_place, tmp_path):
        folder = small_experiment()
        (tmp_path / "link").symlink_to(folder)
        main(folder, output=tmp_path / "link" / "img" / "..")
        assert results(folder) == in_place
        assert not record_path(folder).exists()

    @pytest.mark.parametrize("name", ["absolute", "parent"])
    def test_images_outside_of_the_experiment(self, small_experiment, tmp_path, name, in_place):
        folder, output = small_experiment(dialect="yaml"), tmp_path / "study"
        (folder / "img").rename(tmp_path / "images")
        before = contents(tmp_path / "images")
        images = tmp_path / "images" if name == "absolute" else Path("../images")
        yaml_file = yaml_of(folder)
        yaml_file.write_text(yaml_file.read_text().replace("img/cam", f"{images}/cam"))
        main(folder, output=output)
        assert contents(tmp_path / "images") == before
        assert len(list((output / "targets").glob("cam?.*_targets"))) == 4 * 6
        assert (output / "res" / "rt_is.10003").read_bytes() == in_place["res/rt_is.10003"]

    def test_images_that_cannot_be_written(self, small_experiment, tmp_path, in_place):
        """By --check and by the run alike; root, who may write anywhere, is made to obey permissions."""
        obeying = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
        if obeying and shutil.which(obeying[0]) is None:
            pytest.skip("root may write anywhere, and setpriv is not there")
        folder, output = small_experiment(), tmp_path / "study"
        for path in (folder / "img", folder):
            if obeying:
                os.chown(path, 65534, -1)
            path.chmod(0o555)
        for path in [tmp_path, *tmp_path.parents][:2]:
            path.chmod(0o755)
        command = [*obeying, sys.executable, "-m", "pyptv.pyptv_batch", folder, "--output", output]
        try:
            for check in (["--check"], []):
                assert not output.exists()
                done = subprocess.run([*command, *check], capture_output=True, text=True, timeout=120, check=False)
                assert done.returncode == 0, done.stdout + done.stderr
        finally:
            for path in (folder, folder / "img"):
                path.chmod(0o755)
        assert results(output) == in_place


class TestInPlaceOfItsExperiment:
    """The output folder stands for the experiment in every command."""

    @pytest.fixture
    def output(self, small_experiment, tmp_path):
        main(small_experiment(), output=tmp_path / "study")
        return tmp_path / "study"

    def test_resume(self, output, batch, tmp_path, in_place, caplog):
        before = contents(tmp_path / "experiment")
        (output / "img" / "cam2.10003_targets").unlink()
        (output / "res" / "ptv_is.10001").write_bytes(b"0\n")
        with caplog.at_level(logging.INFO, "pyptv"):
            batch(output, resume=True)
        (line,) = [message for message in caplog.messages if message.startswith("Resumed: ")]
        assert line.startswith("Resumed: 5 frames")
        assert results(output) == in_place
        assert contents(tmp_path / "experiment") == before

    def test_tracking(self, output, batch, in_place):
        for path in (output / "res").glob("ptv_is.*"):
            path.unlink()
        batch(output, mode="tracking")
        assert results(output) == in_place

    def test_a_relative_name_and_the_option_again(self, output, monkeypatch, in_place):
        monkeypatch.chdir(output.parent)
        assert cli(["study", "--resume", "-q"]) == 0
        assert cli(["experiment/parameters/../parameters", "--output", "./study/../study", "--resume", "-q"]) == 0
        assert cli(["study", "--output", "another", "-q"]) == 0
        assert results(Path("another")) == in_place

    def test_clean(self, output, in_place):
        main(output, FIRST, LAST - 1, clean=True)
        assert {name for name in in_place if str(LAST) not in name} == set(results(output))

    def test_report_export_and_scores(self, output, tmp_path):
        for module in ("jinja2", "jsonschema", "matplotlib", "scipy"):
            pytest.importorskip(module)
        from pyptv.evaluate import __main__ as evaluate
        from pyptv.export import __main__ as export
        from pyptv.report import __main__ as report

        before = contents(tmp_path / "experiment")
        assert report.main([str(output)]) == 0
        page = (output / "res" / "report.html").read_text()
        assert str(tmp_path / "experiment") in page
        assert str(output) in page
        assert export.cli([str(output), "--to", "csv"]) == 0
        (metadata,) = (output / "res" / "export").glob("*.json")
        assert json.loads(metadata.read_text())["notes"][0]["output"] == str(output)
        assert evaluate.main([str(output)]) == 0
        assert json.loads((output / "score.json").read_text())
        assert contents(tmp_path / "experiment") == before

    def test_the_report_of_a_run_goes_there(self, small_experiment, tmp_path):
        for module in ("jinja2", "jsonschema", "matplotlib", "scipy"):
            pytest.importorskip(module)
        main(small_experiment(), output=tmp_path / "study", report=True)
        assert (tmp_path / "study" / "res" / "report.html").exists()
        assert not (tmp_path / "experiment" / "res").exists()

    @pytest.mark.parametrize("data", DAMAGED, ids=range(len(DAMAGED)))
    def test_a_damaged_record(self, output, capsys, data):
        record_path(output).write_bytes(data)
        assert str(record_path(output)) in message_of(capsys, output)
        assert str(record_path(output)) in message_of(capsys, output.parent / "experiment", "--output", output)

    def test_damage_of_any_kind_to_the_record(self, output):
        """Bytes changed, cut out and put in: an experiment, or one error."""
        dice, good = random.Random(13), record_path(output).read_bytes()
        assert refusal(load_experiment, output) is None
        for _ in range(300):
            data = bytearray(good)
            for _ in range(dice.randint(1, 4)):
                start = dice.randrange(len(data) + 1)
                data[start : start + dice.randint(0, 3)] = dice.choice([b"", dice.randbytes(2), b'"', b"{", b"\\u0000", b"/.."])
            record_path(output).write_bytes(data)
            refusal(load_experiment, output)  # whatever else is raised fails the test

    def test_an_experiment_that_is_gone(self, output, capsys):
        (output.parent / "experiment").rename(output.parent / "moved")
        message = message_of(capsys, output)
        assert f"found the experiment {output.parent / 'experiment' / 'parameters'}, which no longer exists" in message
        record_path(output).write_text(json.dumps({"experiment": str(output.parent / "moved" / "parameters")}))  # as it advises
        assert cli([str(output), "--resume", "-q"]) == 0

    def test_a_record_that_leads_to_itself(self, output, capsys):
        record_path(output).write_text(json.dumps({"experiment": str(output)}))
        assert str(output) in message_of(capsys, output)


class TestExistingTargets:
    def test_what_is_read_stays_as_it_is(self, small_experiment, batch, tmp_path):
        folder, alone, output = small_experiment(images=False), small_experiment("alone", images=False), tmp_path / "study"
        main(alone)
        before = contents(folder)
        batch(folder, output=output)
        assert results(output) == results(alone)
        assert contents(folder) == before
        batch(output, FIRST, LAST - 1, clean=True)  # of the last frame both the particles and the targets go, not what was read
        assert not list(output.rglob(f"*{LAST}*"))
        assert contents(folder) == before

    def test_resume_sees_that_they_have_changed(self, small_experiment, batch, tmp_path, caplog):
        folder, output = small_experiment(images=False), tmp_path / "study"
        batch(folder, output=output)
        path = folder / "img" / "cam1.10002_targets"
        path.write_bytes((folder / "img" / "cam1.10001_targets").read_bytes())
        changed = tmp_path / "changed"
        main(folder, output=changed)
        with caplog.at_level(logging.INFO, "pyptv"):
            batch(output, resume=True)
        assert f"frame 10002: processed again, {path} has changed since" in caplog.text
        assert results(output) == results(changed)


class TestRefusals:
    def test_results_of_another_experiment(self, small_experiment, capsys, tmp_path):
        first, second = small_experiment("first"), small_experiment("second")
        main(first, FIRST, FIRST, output=tmp_path / "study")
        before = contents(tmp_path / "study")
        message = message_of(capsys, second, "--output", tmp_path / "study")
        assert f"{tmp_path / 'study'}: found results of {first / 'parameters'}" in message
        assert contents(tmp_path / "study") == before

    def test_results_of_other_parameters(self, small_experiment, capsys, tmp_path):
        folder = small_experiment(dialect="yaml")
        main(folder, FIRST, FIRST, output=tmp_path / "study")
        strict = change(yaml_of(folder), "eps0", 0.001, "strict.yaml")
        assert "name another folder" in message_of(capsys, strict, "--output", tmp_path / "study")

    @pytest.mark.parametrize("name", ["res/rt_is.10000", "img/cam1.10000_targets"])
    def test_results_of_nobody_knows_what(self, small_experiment, capsys, tmp_path, name):
        foreign = tmp_path / "study" / name
        foreign.parent.mkdir(parents=True)
        foreign.write_text("0\n")
        message = message_of(capsys, small_experiment(), "--output", tmp_path / "study")
        assert f"found {foreign}, and no record of its experiment" in message
        assert [path for path in (tmp_path / "study").rglob("*") if path.is_file()] == [foreign]

    def test_another_experiment(self, small_experiment, capsys):
        other = small_experiment("other")
        message = message_of(capsys, small_experiment(), "--output", other)
        assert f"{other}: found an experiment with its own parameters" in message

    def test_a_file_in_the_way(self, small_experiment, capsys, tmp_path):
        (tmp_path / "file").touch()
        capsys.readouterr()
        for arguments in (["--check"], []):
            assert (
                cli([str(small_experiment(f"to{len(arguments)}")), "--output", str(tmp_path / "file" / "study"), *arguments]) == 2
            )
            said = "".join(capsys.readouterr())
            assert f"{tmp_path / 'file'}: found a file, expected a folder: the results go there" in said

    @pytest.mark.parametrize("value", ["", "a\0b", 3, b"study"])
    def test_what_is_no_path(self, small_experiment, batch, value):
        with pytest.raises(ValueError, match="output must be a path"):
            batch(small_experiment(), output=value)

    def test_a_second_experiment_finds_what_the_first_has_noted_meanwhile(self, small_experiment, tmp_path):
        """Both were checked while the folder was empty."""
        from pyptv.core.files.store import Store

        first, second = (load_experiment(small_experiment(name), output=tmp_path / "study") for name in ("first", "second"))
        store, late = Store(first), Store(second)
        store.open((FIRST, FIRST))
        store.close()
        assert "found results of" in str(refusal(late.open, (LAST, LAST)))


def test_targets_that_another_experiment_has_replaced(small_experiment, batch, tmp_path):
    """Without --output: one folder of images, two experiments with thresholds of their own, the first tracked last."""
    ours, theirs = small_experiment("ours", dialect="yaml"), small_experiment("theirs", dialect="yaml")
    shutil.rmtree(theirs / "img")
    (theirs / "img").symlink_to(ours / "img")
    yaml_file = yaml_of(theirs)
    thresholds = re.search(r"(?m)^\s*gvthres:(?:\s*\[[^]]*\]|(?:\s*\n\s*- \d+)+)", yaml_file.read_text())
    yaml_file.write_text(yaml_file.read_text().replace(thresholds[0], re.sub(r"\d+", "90", thresholds[0])))
    batch(ours, mode="sequence")
    batch(theirs, mode="sequence")
    before = results(ours)
    message = str(refusal(lambda: batch(ours, mode="tracking")))
    assert f"{ours / 'img'}: the _targets files are not those that the particles were made from" in message
    assert "--output" in message
    assert results(ours) == before
    for experiment in (ours, theirs):  # what the message advises
        batch(experiment, mode="sequence", output=tmp_path / f"study of {experiment.name}")
    batch(tmp_path / "study of ours", mode="tracking")
    main(ours)
    assert results(tmp_path / "study of ours") == results(ours)
