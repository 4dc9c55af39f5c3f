"""Job arrays: parts in any order, again, killed, side by side; put together they are the sequential result, byte for byte."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import portalocker
import pytest
from conftest import results

from pyptv.core.base.errors import InvalidExperimentError, ProcessingError
from pyptv.core.base.options import Options
from pyptv.core.history.parts import Part, Record, records
from pyptv.pyptv_batch import cli, main
from pyptv.pyptv_batch_parallel import main as parallel

FIRST, LAST = 1, 72
SKIPPED = 37


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """An experiment without images (``Existing_Target``), so that a frame costs little; two cameras, smooth flow."""
    from pyptv.core.engines.choice import compile_now
    from pyptv.kernels import cache
    from pyptv.synthetic import make_experiment

    compile_now()
    cache.load((*cache.FOR_SEQUENCE, *cache.FOR_TRACKING))  # once: the workers are forked

    folder = tmp_path_factory.mktemp("parts") / "experiment"
    return make_experiment(
        folder, n_frames=LAST, n_particles=25, n_cameras=2, image_size=(320, 256), images=False, first_frame=FIRST
    )


@pytest.fixture(scope="module")
def truth(made, tmp_path_factory) -> dict[str, dict[str, bytes]]:
    """What one sequential run gives: of all frames, and where one of them cannot be read."""
    found = {}
    for name in ("whole", "hole"):
        folder = _copy(made, tmp_path_factory.mktemp("truth") / name)
        if name == "hole":
            _damage(folder)
        main(folder, FIRST, LAST, engine="optv", on_error="skip" if name == "hole" else "abort")
        found[name] = results(folder)
        found[f"{name} report"] = json.loads((folder / "res/run_report.json").read_text())
    return found


@pytest.fixture
def exp(made, tmp_path) -> Path:
    return _copy(made, tmp_path / "experiment")


def _copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def _damage(folder: Path) -> None:
    (folder / "img" / f"cam2.{SKIPPED:04d}_targets").write_text("garbage")


def _numbers(report: dict) -> tuple:
    failed = [(failure["frame"], failure["step"]) for failure in report["frames"]["failed"]]
    return report["sequence"], report["tracking"], failed, report["run"]["exit_code"]


class TestParts:
    def test_the_shares_are_those_of_chunk_ranges(self):
        from pyptv.core.base.frames import chunk_ranges

        for of in (1, 2, 5, 7, 10):
            assert [Part(n, of, (3, 12)).frames for n in range(1, of + 1)] == chunk_ranges(3, 12, of)

    def test_what_is_no_part(self, exp):
        for part in ("0/3", "4/3", "3", "a/b", (1, 2, 3), "1/0", 5):
            with pytest.raises(ValueError, match="part"):
                Options(part=part)
        with pytest.raises(ValueError, match="found 72 frames, expected at least one for each part"):
            main(exp, FIRST, LAST, part="1/73")
        with pytest.raises(ValueError, match="part cannot be combined with"):
            Options(part="1/2", finish=True)

    def test_damaged_records_are_as_if_not_there(self, tmp_path):
        part = Part(2, 3, (FIRST, LAST))
        (tmp_path / part.name).mkdir()
        record = Record(part, "failed", "frame 30: no", {30: "frame 30: no"}, "node7")
        record.write(tmp_path)
        assert list(records(tmp_path, (FIRST, LAST))) == [record]
        text = (tmp_path / part.name / "part.json").read_text()
        for damaged in ("", text[:40], text.replace("2", "-2"), text.replace('"failed"', "7"), "[" * 10**5, "null"):
            (tmp_path / part.name / "part.json").write_text(damaged)
            assert list(records(tmp_path, (FIRST, LAST))) == []


class TestPutTogether:
    def test_in_any_order_and_twice(self, exp, truth):
        for part in ("3/4", "1/4", "4/4", "3/4", "2/4"):
            main(exp, FIRST, LAST, engine="compiled", part=part)
        assert not (exp / "res/run_report.json").exists()
        for path in exp.rglob("*"):  # nothing depends on clocks: that of the file server goes its own way
            os.utime(path, (4e9, 4e9) if path.suffix else (1e3, 1e3))
        main(exp, FIRST, LAST, engine="compiled", finish=True)
        assert results(exp) == truth["whole"]
        report = json.loads((exp / "res/run_report.json").read_text())
        assert _numbers(report) == _numbers(truth["whole report"])
        assert report["seams"]["proven"] == 3, "each part's guess was worth something"
        assert not (exp / "res/.pyptv/parts").exists()
        main(exp, FIRST, LAST, engine="compiled", resume=True)
        assert results(exp) == truth["whole"]

    def test_a_copy_on_another_disk_with_the_other_engine(self, exp, truth, tmp_path):
        """Parts of different engines, put together in a copy of the folder, on two processes."""
        main(exp, FIRST, LAST, engine="compiled", part="2/2")
        main(exp, FIRST, LAST, engine="optv", part="1/2")
        other = _copy(exp, tmp_path / "copy")
        parallel(other, FIRST, LAST, n_processes=2, engine="optv", finish=True)
        assert results(other) == truth["whole"]

    def test_a_frame_that_failed(self, exp, truth):
        _damage(exp)
        for part in ("2/3", "1/3", "3/3"):
            main(exp, FIRST, LAST, engine="compiled", part=part, on_error="skip")
        main(exp, FIRST, LAST, engine="compiled", finish=True, on_error="skip")
        assert results(exp) == truth["hole"]
        assert _numbers(json.loads((exp / "res/run_report.json").read_text())) == _numbers(truth["hole report"])

    def test_parts_that_are_missing_or_of_other_parameters(self, exp, truth, caplog):
        """Neither is made up for: they are named, and how to run them again."""
        caplog.set_level("INFO", "pyptv")
        yaml = next(exp.glob("*.yaml"))
        text = yaml.read_text()
        other = text.replace("eps0: ", "eps0: 1")
        assert other != text
        yaml.write_text(other)
        main(exp, FIRST, LAST, engine="compiled", part="3/3")
        yaml.write_text(text)
        main(exp, FIRST, LAST, engine="compiled", part="1/3")
        with pytest.raises(ProcessingError, match=r"frame 25: not done: part 2/3 \(frames 25 to 48\) did not run"):
            main(exp, FIRST, LAST, engine="compiled", finish=True)
        assert "24 frames were made from other inputs and are ignored" in caplog.text
        assert "Parts: 1 of 3 are done" in caplog.text
        assert "--part 2/3 and so on (sbatch --array=2,3)" in caplog.text
        report = json.loads((exp / "res/run_report.json").read_text())
        assert (report["run"]["outcome"], report["frames"]["done"]) == ("failed", 24)
        for part in ("2/3", "3/3"):
            main(exp, FIRST, LAST, engine="compiled", part=part)
        main(exp, FIRST, LAST, engine="compiled", finish=True)
        assert results(exp) == truth["whole"]

    def test_other_cuts_of_the_same_frames_and_damaged_guesses(self, exp, truth, monkeypatch):
        """An array of three was begun; one of two takes what it has done. Then somebody damages what waits for its turn.

        All of that on a disk that has no locks.
        """

        def no_lock(*_arguments: object) -> None:
            raise portalocker.LockException(OSError(errno.ENOLCK, "No locks available"))

        monkeypatch.setattr(portalocker, "lock", no_lock)
        main(exp, FIRST, LAST, engine="compiled", part="2/3")
        for part in ("1/2", "2/2"):
            main(exp, FIRST, LAST, engine="compiled", part=part)
        stage = exp / "res/.pyptv/parts/37-72/stage"
        (stage / "50.ptv_is").write_bytes(b"0\n")
        (stage / "60.added").unlink()
        for state in stage.parent.glob("state-*"):
            state.write_bytes(b"garbage")
        main(exp, FIRST, LAST, engine="compiled", finish=True)
        assert results(exp) == truth["whole"]

    def test_only_tracking(self, exp, truth):
        main(exp, FIRST, LAST, engine="optv", mode="sequence")
        for part in ("2/2", "1/2"):
            main(exp, FIRST, LAST, engine="compiled", mode="tracking", part=part)
        main(exp, FIRST, LAST, engine="compiled", mode="tracking", finish=True)
        assert results(exp) == truth["whole"]


def _passes(folder: Path) -> dict[str, bytes]:
    return results(folder) | {path.name: path.read_bytes() for path in sorted(folder.glob("res/passes.*"))}


def _everything(folder: Path) -> dict[str, bytes]:
    names = ("res/quality.*", "res/self_calibration.csv")
    return results(folder) | {path.name: path.read_bytes() for pattern in names for path in sorted(folder.glob(pattern))}


class TestOtherMethods:
    """What is no part of the default: the same files as in one run."""

    def test_both_ways(self, exp, truth, tmp_path):
        """Parts go forward; the backward pass begins at the last frame, and is for whoever puts them together."""
        one = _copy(exp, tmp_path / "one")
        main(one, FIRST, LAST, engine="compiled", tracking="both")
        for part in ("2/2", "1/2"):
            main(exp, FIRST, LAST, engine="compiled", tracking="both", part=part)
        assert not list(exp.glob("res/passes.*"))
        main(exp, FIRST, LAST, engine="compiled", tracking="both", finish=True)
        assert _passes(exp) == _passes(one) != truth["whole"]

    def test_matched_again(self, exp, tmp_path):
        """Into a folder of its own, whose targets are those of other parts: they are not taken for the experiment's."""
        studies = [tmp_path / "one", tmp_path / "parts"]
        main(exp, FIRST, LAST, engine="optv", mode="match", output=studies[0])
        for part in ("2/2", "1/2"):
            main(exp, FIRST, LAST, engine="optv", mode="match", output=studies[1], part=part)
        main(exp, FIRST, LAST, engine="optv", mode="match", output=studies[1], finish=True)
        assert results(studies[1]) == results(studies[0]) != {}

    def test_dense(self, tmp_path):
        """Parts bring those frames to their results that depend on no other part; the others are done when they meet."""
        from pyptv.synthetic import make_experiment

        one = make_experiment(tmp_path / "one", 10, n_particles=50, image_size=(96, 96), displacement=0.2, hot_pixels=0, seed=5)
        parts = _copy(one, tmp_path / "parts")
        main(one, method="dense")
        assert len(_everything(one)) == 10 * 8 + 1
        main(parts, method="dense", part="2/2")
        with pytest.raises(ProcessingError, match=r"frame 10000: not done: part 1/2 \(frames 10000 to 10004\) did not run"):
            main(parts, method="dense", finish=True)
        with pytest.raises(ValueError, match="method 'dense' cannot be combined with watch: its self-calibration"):
            main(parts, method="dense", watch=True)
        main(parts, method="dense", part="1/2")
        main(parts, method="dense", finish=True)
        assert _everything(parts) == _everything(one)

    def test_real_images(self, cavity, golden):
        for part in ("3/3", "1/3", "2/3"):
            main(cavity, 10000, 10004, engine="compiled", part=part)
        main(cavity, 10000, 10004, engine="compiled", finish=True)
        assert results(cavity) == golden("tracking")


class TestProcesses:
    def test_at_the_same_time_and_stopped_in_any_way(self, exp, truth):
        """Four parts at once; one is killed, one terminated; then all again."""
        started = [_begin(exp, FIRST, LAST, "-q", "--engine", "compiled", "--part", f"{n}/4") for n in (1, 2, 3, 4)]
        deadline = time.monotonic() + 60
        while not list(exp.glob("res/rt_is.*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        started[1].kill()
        started[2].terminate()
        for process in started:
            process.join(60)
        codes = [process.exitcode for process in started]
        assert codes[0] == codes[3] == 0
        assert codes[1] in {-signal.SIGKILL, 0}
        assert codes[2] in {143, 0}
        record = exp / "res/.pyptv/parts/37-54/part.json"
        if codes[2] == 143 and record.exists():  # else it was ended before it had begun
            assert json.loads(record.read_text())["outcome"] == "terminated"
        for part in ("2/4", "3/4"):
            main(exp, FIRST, LAST, engine="compiled", part=part)
        main(exp, FIRST, LAST, engine="compiled", finish=True)
        assert results(exp) == truth["whole"]
        assert not list(exp.rglob("*.pyptv-tmp"))

    @pytest.mark.parametrize("system", ["slurm", "pbs"])
    def test_the_printed_script_as_it_is(self, exp, truth, capsys, tmp_path, system):
        """Run with a stand-in for the command that submits, which runs arrays as processes, one after the other."""
        assert cli([str(exp), str(FIRST), str(LAST), "--engine", "optv", f"--print-{system}", "2", "-q"]) == 0
        script = capsys.readouterr().out
        assert "afterany" in script
        (tmp_path / "submit.sh").write_text(script)
        _stand_in(tmp_path / "bin" / {"slurm": "sbatch", "pbs": "qsub"}[system])
        path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "submit.sh"], cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout.split()[-1:]) == (0, ["2"]), done.stderr
        assert results(exp) == truth["whole"]

    def test_the_printed_script_has_the_options(self, exp, capsys):
        words = [str(exp), str(FIRST), str(LAST), "--print-slurm", "2", "-q", "--engine", "optv", "--tracking", "both"]
        assert cli([*words, "--report", "--output", "elsewhere"]) == 0
        script = capsys.readouterr().out
        assert script.count("--tracking both") == 2
        assert script.count(f"--output {Path.cwd() / 'elsewhere'}") == 2
        assert script.count("--report") == 1, "for the job that combines the parts"
        assert cli([str(exp), "1", "3", "--print-slurm", "9", "-q"]) == 2
        assert "found 3 frames" in capsys.readouterr().err


def _begin(*words: object) -> multiprocessing.Process:
    """The command in a process of its own, forked: it has the kernels, and starts at once."""
    process = multiprocessing.get_context("fork").Process(target=_command, args=([str(word) for word in words],))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a thread of pytest-xdist waits for messages: it holds no lock
        process.start()
    return process


def _command(words: list[str]) -> None:
    sys.exit(cli(words))


def _stand_in(place: Path) -> None:
    """``sbatch`` or ``qsub`` for one machine: runs an array element by element, at once; prints the number of the job."""
    place.parent.mkdir()
    place.write_text(
        f"#!{sys.executable}\n"
        "import os, re, subprocess, sys\n"
        "from pathlib import Path\n"
        "script, words = sys.stdin.read(), ' '.join(sys.argv)\n"
        "count = Path(__file__).with_name('jobs'); job = 1 + (int(count.read_text()) if count.exists() else 0)\n"
        "count.write_text(str(job))\n"
        "array = re.search(r'(?:--array=|-J )(\\d+)-(\\d+)', words)\n"
        "for index in range(int(array[1]), int(array[2]) + 1) if array else ['']:\n"
        "    log = re.search(r'(?:--output=|-N )(\\S+)', words)[1].replace('%a', str(index))\n"
        "    with open(log, 'w') as file:\n"
        "        names = ('SLURM_ARRAY_TASK_ID', 'PBS_ARRAY_INDEX')\n"
        "        env = os.environ | dict.fromkeys(names, str(index)) | {'PBS_O_WORKDIR': os.getcwd()}\n"
        "        subprocess.run(['bash', '-s'], input=script, text=True, env=env, stdout=file, stderr=file)\n"
        "print(job)\n"
    )
    place.chmod(0o755)


def test_clean_and_report_are_for_the_whole_range(exp):
    for option, value in {"clean": True, "report": True, "postprocess": "csv"}.items():
        with pytest.raises(ValueError, match="part cannot be combined with"):
            main(exp, FIRST, LAST, part="1/2", **{option: value})


def test_a_scratch_folder_of_ones_own(exp, truth, tmp_path):
    place = tmp_path / "scratch"
    with pytest.raises(ProcessingError, match="scratch"):
        main(exp, FIRST, LAST, engine="optv", scratch=place)
    place.mkdir()
    main(exp, FIRST, LAST, engine="optv", scratch=place)
    assert results(exp) == truth["whole"]
    assert not list(place.iterdir())


def test_a_link_in_place_of_the_parts(exp, tmp_path):
    (exp / "res/.pyptv").mkdir(parents=True)
    (exp / "res/.pyptv/parts").symlink_to(tmp_path)
    with pytest.raises((ProcessingError, InvalidExperimentError), match="found a link"):
        main(exp, FIRST, LAST, part="1/2")
