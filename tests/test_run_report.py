"""``res/run_report.json``: written whatever the end of a run is, valid by its schema, right by the files of the results."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import jsonschema
import pytest
from conftest import refusal, results

from pyptv.core.base.errors import FormatError, InvalidExperimentError, ProcessingError
from pyptv.core.base.events import FrameDone, FrameFailed, Note, StepDone
from pyptv.core.files.formats import ADDED, LINKS, PARTICLES
from pyptv.core.record.json_schema import _without_good_columns
from pyptv.core.record.measures import Columns, Times
from pyptv.core.record.run_report import FILE_NAME, read_run_report, run_report_schema
from pyptv.pyptv_batch import cli, main
from pyptv.pyptv_batch_parallel import cli as parallel_cli
from pyptv.pyptv_batch_parallel import main as parallel_main

FIRST, LAST, BAD = 10_000, 10_005, 10_003
SCHEMA = run_report_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def report_of(folder: Path) -> dict:
    """The report, valid by the library jsonschema and by what reads it."""
    tree = json.loads((folder / "res" / FILE_NAME).read_text(encoding="ascii"))
    VALIDATOR.validate(tree)
    assert read_run_report(folder / "res") == tree
    frames = tree["frames"]
    assert frames["asked"] == frames["last"] - frames["first"] + 1
    failed = {failure["frame"] for failure in frames["failed"]}
    assert len(failed | set(tree["sequence"]["frame"])) + frames["not_reached"] == frames["asked"]
    assert (frames["done"], frames["tracked"]) == (len(tree["sequence"]["frame"]), len(tree["tracking"]["frame"]))
    assert sum(tree["seconds"]["stages"].values()) == pytest.approx(
        sum(worker["busy"] for worker in tree["seconds"]["workers"]), abs=1e-4
    )
    return tree


def spoil(folder: Path, frame: int = BAD) -> None:
    (folder / "img" / f"cam2.{frame}.tif").write_bytes(b"")


def rows(folder: Path, table: object, kind: str, frames: list[int]) -> list:
    return [table.read(folder / "res" / f"{kind}.{frame}") for frame in frames]


@pytest.fixture(scope="module")
def good(_experiments, tmp_path_factory):
    """The report of a run of three frames, not to be changed."""
    folder = shutil.copytree(_experiments(), tmp_path_factory.mktemp("good") / "experiment")
    main(folder, FIRST, FIRST + 2)
    return report_of(folder)


class TestRuns:
    def test_a_good_run(self, small_experiment, batch):
        folder = small_experiment()
        batch(folder, FIRST, LAST)
        tree = report_of(folder)
        assert tree["run"]["outcome"] == "done"
        assert (tree["run"]["exit_code"], tree["run"]["error"]) == (0, None)
        counts = {"asked": 6, "done": 6, "kept": 0, "tracked": 6, "failed": [], "not_reached": 0}
        assert tree["frames"] == {"first": FIRST, "last": LAST} | counts
        assert tree["command"]["kind"] == ("parallel batch" if batch.parallel else "batch")
        assert tree["command"]["argv"] is None
        assert tree["command"]["n_processes"] == (batch.n_processes or 1)
        assert tree["command"]["engine"] == "optv"
        assert (tree["seams"] is None) == (batch.n_processes in (None, 1))
        assert set(tree["versions"]) == {"python", "numpy", "optv", "Pillow"}
        assert sum(worker["frames"] for worker in tree["seconds"]["workers"]) == 6
        assert {worker["worker"] for worker in tree["seconds"]["workers"]} <= set(range(1, (batch.n_processes or 1) + 1))
        assert all(seconds > 0 for seconds in tree["seconds"]["stages"].values())

    def test_the_columns_are_what_the_files_hold(self, small_experiment):
        folder = small_experiment()
        main(folder, FIRST, LAST)
        tree = report_of(folder)
        sequence, tracking, frames = tree["sequence"], tree["tracking"], list(range(FIRST, LAST + 1))
        assert sequence["frame"] == tracking["frame"] == frames
        for camera in range(4):
            files = [folder / "img" / f"cam{camera + 1}.{frame}_targets" for frame in frames]
            assert sequence["targets"][camera] == [int(file.read_text().split()[0]) for file in files]
        assert tracking["particles"] == [len(particles) for particles in rows(folder, PARTICLES, "rt_is", frames)]
        assert tracking["links"] == [int((links["next"] >= 0).sum()) for links in rows(folder, LINKS, "ptv_is", frames)]
        assert sum(tracking["added"]) == sum(tracking["particles"]) - sum(sequence["particles"])
        assert len(ADDED.read(folder / "res" / f"added.{FIRST}")) == tracking["particles"][0]
        kinds = zip(sequence["quadruplets"], sequence["triplets"], sequence["pairs"], strict=True)
        assert [sum(counts) for counts in kinds] == sequence["particles"]

    @pytest.mark.parametrize(
        ("n_cameras", "kinds"), [(1, set()), (2, {"pairs"}), (3, {"pairs", "triplets"})], ids=["one", "two", "three"]
    )
    def test_fewer_cameras(self, small_experiment, n_cameras, kinds):
        folder = small_experiment(n_cameras=n_cameras)
        main(folder, FIRST, FIRST + 3)
        sequence = report_of(folder)["sequence"]
        assert len(sequence["targets"]) == n_cameras
        assert {kind for kind in ("quadruplets", "triplets", "pairs") if sequence[kind] is not None} == kinds

    @pytest.mark.parametrize("mode", ["sequence", "tracking"])
    def test_one_step_only(self, small_experiment, mode):
        folder = small_experiment()
        main(folder, FIRST, LAST, mode="sequence")
        parallel_main(folder, FIRST, LAST, 2, mode=mode)
        tree = report_of(folder)
        used = {stage for stage, seconds in tree["seconds"]["stages"].items() if seconds}
        if mode == "sequence":
            assert tree["tracking"] == {"frame": [], "particles": [], "links": [], "lost": [], "added": []}
            assert used == {"read", "high-pass", "detect", "match", "write"}
            assert tree["seams"] is None
        else:
            assert tree["frames"]["tracked"] == tree["frames"]["done"] == 6
            assert used == {"read", "tracking"}
            assert tree["seams"] == {"proven": 0, "retried": 0, "given_up": 0}

    def test_skipped_frames(self, small_experiment):
        folder = small_experiment()
        spoil(folder)
        assert parallel_cli([str(folder), "10000", "10005", "2", "--on-error", "skip"]) == 3
        tree = report_of(folder)
        assert (tree["run"]["outcome"], tree["run"]["exit_code"], tree["run"]["error"]) == ("incomplete", 3, None)
        (failed,) = tree["frames"]["failed"]
        assert (failed["frame"], failed["step"]) == (BAD, "sequence")
        assert "cam2.10003.tif" in failed["reason"]
        assert BAD not in tree["sequence"]["frame"] + tree["tracking"]["frame"]

    def test_a_run_that_failed(self, small_experiment):
        folder = small_experiment()
        spoil(folder)
        message = refusal(main, folder, FIRST, LAST)
        tree = report_of(folder)
        assert (tree["run"]["outcome"], tree["run"]["exit_code"], tree["run"]["error"]) == ("failed", 1, message)
        assert tree["frames"]["not_reached"] == 2

    def test_a_run_that_an_error_ended(self, small_experiment, monkeypatch):
        from pyptv.core.execute import runners

        folder = small_experiment()
        monkeypatch.setattr(runners.PoolRunner, "_assign_tasks", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main(folder, FIRST, LAST)
        assert report_of(folder)["run"]["error"] == "ZeroDivisionError: division by zero"

    @pytest.mark.parametrize(
        ("number", "outcome"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")], ids=["SIGINT", "SIGTERM"]
    )
    def test_an_interrupted_run(self, small_experiment, number, outcome):
        folder = small_experiment(n_frames=120)
        command = [sys.executable, "-m", "pyptv.pyptv_batch", str(folder), "--mode", "sequence"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
            deadline = time.monotonic() + 60
            while not (folder / "res" / "rt_is.10050").exists() and time.monotonic() < deadline:
                time.sleep(0.005)
            child.send_signal(number)
            _, said = child.communicate(timeout=60)
        assert child.returncode == 128 + number
        tree = report_of(folder)
        assert (tree["run"]["outcome"], tree["run"]["exit_code"], tree["run"]["error"]) == (outcome, 128 + number, None)
        assert 1 <= tree["frames"]["done"] < 120  # those of the last moment may not have been reported yet
        assert tree["frames"]["not_reached"] == 120 - tree["frames"]["done"]
        assert re.search(r"INFO - Frames: \d+ done\n(.*\n)*.* - INFO - Run report: .*/res/run_report\.json\n", said)

    def test_kept_frames_are_in_the_columns(self, small_experiment):
        folder, whole = small_experiment(), small_experiment("whole")
        main(whole, FIRST, LAST)
        main(folder, FIRST, LAST - 2)
        parallel_main(folder, FIRST, LAST, 2, resume=True)
        tree, expected = report_of(folder), report_of(whole)
        assert (tree["sequence"], tree["tracking"]) == (expected["sequence"], expected["tracking"])
        assert (tree["frames"]["kept"], tree["command"]["resume"]) == (4, True)
        assert sum(worker["frames"] for worker in tree["seconds"]["workers"]) == 2

    def test_kept_links_behind_a_gap_are_in_the_columns(self, small_experiment):
        """They are known to count only when the gap has failed again."""
        folder = small_experiment(n_frames=12)
        spoil(folder)
        assert cli([str(folder), "--on-error", "skip"]) == 3
        before = report_of(folder)
        assert cli([str(folder), "--on-error", "skip", "--resume"]) == 3
        after = report_of(folder)
        assert after["tracking"] == before["tracking"]
        assert after["frames"] == before["frames"] | {"kept": 11}
        assert after["seconds"]["workers"] == []

    def test_repetitions_leave_the_last_one(self, small_experiment, caplog):
        folder = small_experiment()
        caplog.set_level(logging.INFO, "pyptv")
        main(folder, FIRST, FIRST + 1, repetitions=2)
        assert sum(message.startswith("Run report: ") for message in caplog.messages) == 2
        assert report_of(folder)["frames"]["done"] == 2


class TestWhenItIsWritten:
    def test_a_preflight_failure_leaves_an_older_one(self, small_experiment):
        folder = small_experiment()
        main(folder, FIRST, LAST)
        before = (folder / "res" / FILE_NAME).read_bytes()
        (folder / "img" / "cam2.10003.tif").unlink()
        with pytest.raises(InvalidExperimentError):
            main(folder, FIRST, LAST)
        assert (folder / "res" / FILE_NAME).read_bytes() == before

    def test_a_refused_resume_leaves_an_older_one(self, small_experiment):
        folder = small_experiment()
        main(folder, FIRST, LAST)
        before = (folder / "res" / FILE_NAME).read_bytes()
        path = folder / "parameters" / "targ_rec.par"
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines[:4], str(int(lines[4]) + 1), *lines[5:]]))
        assert "Cannot resume" in str(refusal(lambda: main(folder, FIRST, LAST, resume=True)))
        assert (folder / "res" / FILE_NAME).read_bytes() == before

    def test_it_is_gone_as_long_as_the_next_run_works(self, small_experiment, monkeypatch):
        """So a run that is killed leaves none, not that of another one."""
        from pyptv.core.execute.runners import PoolRunner

        folder = small_experiment()
        main(folder, FIRST, FIRST)
        there = []
        original = PoolRunner.events

        def events(runner, plan):
            there.append((folder / "res" / FILE_NAME).exists())
            return original(runner, plan)

        monkeypatch.setattr(PoolRunner, "events", events)
        main(folder, FIRST, FIRST)
        assert there == [False]
        assert (folder / "res" / FILE_NAME).exists()

    def test_a_report_that_cannot_be_written_does_not_fail_the_run(self, small_experiment, monkeypatch, caplog):
        from pyptv.core.record import run_report

        def full(path, _data):
            raise OSError(28, "No space left on device", str(path))

        folder = small_experiment()
        monkeypatch.setattr(run_report, "write_atomic", full)
        main(folder, FIRST, FIRST)
        assert f"{folder}/res/run_report.json: the run report cannot be written: No space left on device" in caplog.messages
        assert results(folder)


class TestInputs:
    @pytest.mark.parametrize("dialect", ["par", "yaml"])
    def test_fingerprints(self, small_experiment, dialect):
        folder = small_experiment(dialect=dialect)
        source = folder if dialect == "par" else next(folder.glob("*.yaml"))
        assert cli([str(source), "10000", "10000", "--mode", "sequence", "-q"]) == 0
        tree = report_of(folder)
        if dialect == "par":
            names = [path.name for path in sorted((folder / "parameters").glob("*.par"))]
            said = subprocess.run(["sha256sum", *names], cwd=folder / "parameters", capture_output=True, check=True).stdout
            assert tree["inputs"]["parameters"] == {"file": "parameters/ptv.par", "sha256": hashlib.sha256(said).hexdigest()}
        else:
            digest = hashlib.sha256(source.read_bytes()).hexdigest()
            assert tree["inputs"]["parameters"] == {"file": source.name, "sha256": digest}
        for entry in tree["inputs"]["calibrations"]:
            assert entry["sha256"] == hashlib.sha256((folder / entry["file"]).read_bytes()).hexdigest()
        assert len(tree["inputs"]["calibrations"]) == 8
        assert tree["inputs"]["values"]["ptv"]["imx"] == 320
        assert tree["command"]["argv"] == ["pyptv-batch", str(source), "10000", "10000", "--mode", "sequence", "-q"]
        assert (tree["command"]["experiment"], tree["command"]["folder"]) == (str(source), str(folder))

    def test_times(self, small_experiment):
        folder = small_experiment()
        main(folder, FIRST, FIRST)
        run = report_of(folder)["run"]
        started, finished = (datetime.fromisoformat(run[name]) for name in ("started", "finished"))
        assert started.utcoffset().total_seconds() == 0
        assert (finished - started).total_seconds() == pytest.approx(run["seconds"], abs=0.1)


class TestHtml:
    """``--report``; the page itself has tests of its own."""

    @pytest.fixture
    def pages(self, monkeypatch):
        """Stands in for the package that makes the page."""
        from pyptv import report

        made: list[object] = []

        def write_report(exp_path):
            assert report_of(Path(exp_path)), "the run report is there before"
            made.append(exp_path)
            return Path(exp_path) / "res" / "report.html"

        monkeypatch.setattr(report, "require", lambda: None)
        monkeypatch.setattr(report, "write_report", write_report)
        return made

    def test_after_a_run(self, small_experiment, pages, batch, caplog):
        folder = small_experiment()
        caplog.set_level(logging.INFO, "pyptv")
        batch(folder, FIRST, FIRST + 1, report=True)
        assert pages == [folder]
        assert caplog.messages[-1] == f"HTML report: {folder}/res/report.html"

    def test_not_unless_it_is_asked_for(self, small_experiment, pages):
        main(small_experiment(), FIRST, FIRST)
        assert pages == []

    def test_after_a_run_that_failed(self, small_experiment, pages):
        folder = small_experiment()
        spoil(folder)
        assert cli([str(folder), "10000", "10005", "--report"]) == 1
        assert pages == [folder]

    def test_not_where_nothing_was_run(self, small_experiment, pages):
        folder = small_experiment()
        (folder / "img" / "cam2.10003.tif").unlink()
        assert cli([str(folder), "10000", "10005", "--report"]) == 2
        assert pages == []

    def test_a_missing_extra_is_told_before_the_run(self, small_experiment, monkeypatch, capsys):
        from pyptv import report

        def require():
            raise ProcessingError('a report needs matplotlib: pip install "pyptv-batch[report]"')

        monkeypatch.setattr(report, "require", require)
        folder = small_experiment()
        assert cli([str(folder), "10000", "10005", "--report"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith('Invalid: --report: a report needs matplotlib: pip install "pyptv-batch[report]"')
        assert not (folder / "res").exists()

    @pytest.mark.usefixtures("pages")
    @pytest.mark.parametrize("error", [ProcessingError("no font"), MemoryError("no font")], ids=["told", "bug"])
    def test_a_page_that_cannot_be_made_does_not_fail_the_run(self, small_experiment, monkeypatch, capsys, error):
        from pyptv import report

        def write_report(_exp_path):
            raise error

        monkeypatch.setattr(report, "write_report", write_report)
        assert cli([str(small_experiment()), "10000", "10000", "--report"]) == 0
        assert re.search(r" - WARNING - No HTML report: (MemoryError: )?no font\n", capsys.readouterr().err)


class TestReading:
    @pytest.fixture
    def folder(self, tmp_path, good):
        (tmp_path / FILE_NAME).write_text(json.dumps(good))
        return tmp_path

    def test_none(self, tmp_path):
        assert read_run_report(tmp_path) is None

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"{",
            b"[1, 2]",
            b"null",
            b'{"schema": 2}',
            b"\xff\xfe\x00",
            b'{"schema": NaN}',
            b"[" * 100_000,
            b"1" * 10_000,
        ],
        ids=["empty", "cut", "list", "null", "version", "binary", "nan", "deep", "long-number"],
    )
    def test_other_files_are_one_clear_error(self, tmp_path, text):
        (tmp_path / FILE_NAME).write_bytes(text)
        message = refusal(read_run_report, tmp_path)
        assert message.startswith(f"{tmp_path}/run_report.json: ")
        assert "expected" in message or "missing" in message
        assert len(message) < len(str(tmp_path)) + 300

    def test_a_folder_in_its_place(self, tmp_path):
        (tmp_path / FILE_NAME).mkdir()
        assert (
            refusal(read_run_report, tmp_path) == f"{tmp_path}/run_report.json: cannot be read: found a folder, expected a file"
        )

    def test_a_huge_file_is_not_read_whole(self, folder, monkeypatch):
        from pyptv.core.record import run_report

        monkeypatch.setattr(run_report, "_MOST_BYTES", 100)
        assert "more than 100 bytes" in refusal(read_run_report, folder)

    def test_what_is_small_in_a_file_and_large_in_memory_is_not_read(self, folder, monkeypatch):
        from pyptv.core.record import run_report

        monkeypatch.setattr(run_report, "_MOST_CONTAINERS", 10)
        assert "found more than 10 objects and arrays, expected the JSON of a run report" in refusal(read_run_report, folder)
        monkeypatch.undo()
        monkeypatch.setattr(run_report, "_MOST_TEXTS", 10)
        assert "found more than 10 texts, expected the JSON of a run report" in refusal(read_run_report, folder)

    def test_values_are_no_deeper_than_parameters(self, tmp_path, good):
        values = json.loads("[" * 5 + "]" * 5)
        (tmp_path / FILE_NAME).write_text(json.dumps({**good, "inputs": {**good["inputs"], "values": {"ptv": values}}}))
        assert "inputs.values: found more than 3 levels" in refusal(read_run_report, tmp_path)

    def test_a_long_report_is_checked_column_by_column(self, tmp_path, good):
        """Not number by number: 1.3 million numbers took jsonschema 7 s."""
        long = copy.deepcopy(good)
        n = 20_000
        for step in ("sequence", "tracking"):
            for name, column in long[step].items():
                if name == "targets":
                    long[step][name] = [list(range(n)) for _ in column]
                elif column is not None:
                    long[step][name] = list(range(n))
        (tmp_path / FILE_NAME).write_text(json.dumps(long))
        assert read_run_report(tmp_path) == long
        left = _without_good_columns(long, run_report_schema())
        assert len(json.dumps([left["sequence"], left["tracking"]])) < 400
        for wrong, found in (
            (-1, "-1, expected minimum 0"),
            (True, "True, expected type integer"),
            (None, "None, expected type"),
        ):
            long["sequence"]["targets"][1][n - 1] = wrong
            (tmp_path / FILE_NAME).write_text(json.dumps(long))
            assert f"sequence.targets[1][{n - 1}]: found {found}" in refusal(read_run_report, tmp_path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda tree: tree["sequence"]["pairs"].pop(), "sequence.pairs: found 2 numbers, expected 3, one per frame"),
            (lambda tree: tree["sequence"]["targets"][1].append(1), "sequence.targets[1]: found 4 numbers, expected 3"),
            (lambda tree: tree["tracking"]["frame"].reverse(), "tracking.frame: found frames out of order"),
        ],
        ids=["short", "long", "order"],
    )
    def test_columns_that_do_not_fit(self, tmp_path, good, change, message):
        tree = copy.deepcopy(good)
        change(tree)
        (tmp_path / FILE_NAME).write_text(json.dumps(tree))
        with pytest.raises(FormatError, match=re.escape(message)):
            read_run_report(tmp_path)

    @pytest.mark.parametrize(
        ("path", "value", "message"),
        [
            (("schema",), 2, "schema: found 2, expected 1"),
            (("tracking", "links", 1), -1, "tracking.links[1]: found -1, expected minimum 0"),
            (
                ("tracking", "links", 0),
                "x" * 900,
                "links[0]: found 'xxxxxxxxxxxx...xxxxxxxxxxxxx', expected type integer",
            ),
            (("run", "outcome"), "well", "run.outcome: found 'well', expected enum ['done', "),
            (("host", "x" * 900), 1, "host: Additional properties are not allowed ('xxx"),
            (("host",), {}, "host: 'name' is a required property"),
            (("tracking", "links", 0), 10**30, "found a number of 31 characters, expected the JSON"),
        ],
        ids=["version", "minimum", "type", "enum", "unknown", "missing", "huge"],
    )
    def test_a_wrong_field_is_named(self, tmp_path, good, path, value, message):
        tree = copy.deepcopy(good)
        parent = tree
        for name in path[:-1]:
            parent = parent[name]
        parent[path[-1]] = value
        (tmp_path / FILE_NAME).write_text(json.dumps(tree))
        found = refusal(read_run_report, tmp_path)
        assert message in found
        assert len(found) < len(str(tmp_path)) + 400

    def test_no_number_is_infinite(self, tmp_path, good):
        text = json.dumps({**good, "run": {**good["run"], "seconds": 0.12345}})
        (tmp_path / FILE_NAME).write_text(text.replace("0.12345", "1e999"))
        assert "found the number 1e999, expected the JSON" in refusal(read_run_report, tmp_path)

    def test_without_the_library(self, folder, monkeypatch):
        monkeypatch.setitem(sys.modules, "jsonschema", None)
        with pytest.raises(ProcessingError, match=re.escape('needs jsonschema: pip install "pyptv-batch[report]"')):
            read_run_report(folder)


class TestMeasures:
    def test_frames_in_any_order(self):
        columns = Columns((5, 9), 3)
        for frame in (8, 6, 8):
            columns.record(FrameDone(frame, (1, 2, frame), (4, 5), 9, ""))
        columns.record(StepDone(1, 7, "", current=3, next=4, links=2, lost=-1, added=6))
        columns.record(StepDone(1, 6, "", current=0))
        columns.record(Note("pyptv", 20, "hello"))
        assert columns.sequence() == {
            "frame": [6, 8],
            "targets": [[1, 1], [2, 2], [6, 8]],
            "quadruplets": None,
            "triplets": [4, 4],
            "pairs": [5, 5],
            "particles": [9, 9],
        }
        assert columns.tracking() == {"frame": [6, 7], "particles": [0, 3], "links": [0, 2], "lost": [0, -1], "added": [0, 6]}
        columns.record(FrameFailed(7, "bad", step="tracking"))
        assert columns.tracking()["frame"] == [6]

    def test_a_row_is_small(self):
        """20 000 frames of four cameras: 1 MB."""
        columns = Columns((0, 10**9), 4)
        columns.record(FrameDone(19_999, (1, 1, 1, 1), (1, 0, 0), 1, ""))
        assert columns._sequence._numbers.buffer_info()[1] * columns._sequence._numbers.itemsize == 20_000 * 8 * 4

    def test_times(self):
        times = Times()
        times.record(FrameDone(1, (), (), 0, "", seconds={"read": 1.0, "match": 0.5}, worker=2))
        times.record(StepDone(1, 1, "", seconds=0.25))
        times.record(StepDone(1, 2, "", seconds=0.25, worker=2))
        times.record(FrameFailed(1, "bad"))
        tree = times.as_tree()
        assert tree["stages"] == {"read": 1.0, "high-pass": 0.0, "detect": 0.0, "match": 0.5, "write": 0.0, "tracking": 0.5}
        assert tree["workers"] == [
            {"worker": 1, "frames": 0, "steps": 1, "busy": 0.25},
            {"worker": 2, "frames": 1, "steps": 1, "busy": 1.75},
        ]


# -- the document ------------------------------------------------------------------------------------------------------


def fields(schema: dict, path: str = ""):
    """(path, type, unit, meaning) of every field, as ``docs/run_report.md`` has them."""
    for name, field in schema["properties"].items():
        place = f"{path}{name}"
        yield f"`{place}`", kind(field), field.get("unit", ""), field["description"]
        inner = field.get("items", field)
        if "properties" in inner:
            yield from fields(inner, f"{place}[]." if "items" in field else f"{place}.")


def kind(field: dict) -> str:
    """The type of a field in words."""
    if "const" in field or "enum" in field:
        return " or ".join(f"`{json.dumps(value)}`" for value in field.get("enum", [field.get("const")]))
    names = field["type"] if isinstance(field["type"], list) else [field["type"]]
    if "array" in names and "items" in field:
        names = [f"array of {kind(field['items'])}" if name == "array" else name for name in names]
    return " or ".join(names)


def test_the_document_names_every_field():
    text = (Path(__file__).parents[1] / "docs" / "run_report.md").read_text(encoding="utf-8")
    documented = [
        tuple(cell.strip() for cell in line.strip("|").split("|")) for line in text.splitlines() if line.startswith("| `")
    ]
    assert documented == list(fields(SCHEMA))
