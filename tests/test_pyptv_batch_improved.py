"""The sequential entry point through its front door: main(), the command line, errors, logs, and PyPTV's bytes."""

from __future__ import annotations

import ctypes
import importlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import refusal, results, run_python
from data.make_reference import VARIANTS, change_parameters, comparable

import pyptv
from pyptv import pyptv_batch
from pyptv.core.base.errors import InvalidExperimentError
from pyptv.core.record.run_report import read_run_report
from pyptv.pyptv_batch import AttrDict, ProcessingError, cli, main, validate_experiment_directory

FIRST, LAST = 10_000, 10_005
MODULE = ["-m", "pyptv.pyptv_batch"]
LOG_LINE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - (DEBUG|INFO|WARNING|ERROR) - "


@pytest.fixture
def folder(small_experiment):
    """A small experiment to work in."""
    return small_experiment()


@pytest.fixture
def called(capfd):
    """The command line, called in this process, as :func:`run_python` gives what a process of its own did."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        code = cli([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, code, captured.out, captured.err)

    return call


def errors_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The messages of the ERROR lines."""
    return [line.partition(" - ERROR - ")[2] for line in done.stderr.splitlines() if " - ERROR - " in line]


def replace_line(path: Path, number: int, text: str) -> None:
    lines = path.read_text().splitlines()
    lines[number - 1] = text
    path.write_text("\n".join(lines) + "\n")


class TestAttrDict:
    """It stays importable from the entry modules, and is what parameters are read into."""

    def test_it_is_the_one_of_the_core(self):
        from pyptv import pyptv_batch_parallel
        from pyptv.core.experiment.parameters import attrdict

        assert pyptv_batch.AttrDict is pyptv_batch_parallel.AttrDict is attrdict.AttrDict

    def test_access(self):
        tree = AttrDict(ptv={"imx": 1280})
        tree.ptv.imy = 1024
        assert tree["ptv"]["imy"] == 1024
        with pytest.raises(AttributeError, match="no entry 'imz'"):
            _ = tree.ptv.imz

    def test_raw_parameters_are_one(self, small_experiment):
        from pyptv.core.experiment.folder import read_parameters

        folder = small_experiment(dialect="both")
        for source in (folder / "parameters", folder / "parameters_synthetic.yaml"):
            tree = read_parameters(source).tree
            assert isinstance(tree.criteria, AttrDict)
            assert float(tree.criteria.eps0) > 0


class TestDirectoryValidation:
    def test_valid(self, folder):
        assert validate_experiment_directory(folder) is None
        assert validate_experiment_directory(str(folder)) is None

    def test_it_does_not_exist(self, tmp_path):
        with pytest.raises(ProcessingError, match=rf"^Experiment directory does not exist: {tmp_path}/none$"):
            validate_experiment_directory(tmp_path / "none")

    def test_it_is_not_a_directory(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ProcessingError, match=rf"^Path is not a directory: {tmp_path}/file$"):
            validate_experiment_directory(tmp_path / "file")

    def test_missing_directories(self, folder):
        shutil.rmtree(folder / "img")
        shutil.rmtree(folder / "cal")
        with pytest.raises(ProcessingError, match=rf"^Missing required directories in {folder}: img, cal$"):
            validate_experiment_directory(folder)

    def test_missing_parameters(self, folder):
        shutil.rmtree(folder / "parameters")
        with pytest.raises(ProcessingError, match=rf"^Required file not found: {folder}/parameters/ptv\.par"):
            validate_experiment_directory(folder)

    def test_res_is_made_when_missing(self, folder):
        assert not (folder / "res").exists()
        main(folder, FIRST, FIRST)
        assert (folder / "res" / f"rt_is.{FIRST}").exists()


class TestScripts:
    """Names that scripts for PyPTV's batch modules import."""

    def test_they_are_there_and_work(self, folder, monkeypatch):
        from pyptv import pyptv_batch_parallel

        monkeypatch.setattr(sys, "argv", ["pyptv_batch.py", os.path.relpath(folder), str(FIRST), str(FIRST + 1), "2"])
        assert pyptv_batch.parse_command_line_args() == (folder, FIRST, FIRST + 1)
        assert pyptv_batch_parallel.parse_command_line_args() == (folder, FIRST, FIRST + 1, 2)
        assert (pyptv_batch.logger.name, pyptv_batch_parallel.logger.name) == ("pyptv.pyptv_batch", "pyptv.pyptv_batch_parallel")
        exp_path, first, last = pyptv_batch.parse_command_line_args()
        assert pyptv_batch.run_batch(first, last, exp_path).frames == 2
        made = results(folder)
        assert len(made) == 2 * 7
        assert pyptv_batch_parallel.run_batch(first, last, exp_path).frames == 2
        assert results(folder) == made

    @pytest.mark.parametrize("words", [[], ["exp"], ["exp", "1"], ["exp", "one", "2"], ["exp", "1", "2.5"]])
    @pytest.mark.parametrize("module", ["pyptv_batch", "pyptv_batch_parallel"])
    def test_bad_command_lines(self, module, words, monkeypatch):
        from importlib import import_module

        monkeypatch.setattr(sys, "argv", ["script.py", *words])
        with pytest.raises(ValueError, match=r"^Invalid command line arguments: "):
            import_module(f"pyptv.{module}").parse_command_line_args()


class TestMain:
    @pytest.mark.parametrize("make", [str, Path, os.fspath], ids=["str", "Path", "fspath"])
    def test_forms_of_the_path(self, folder, make):
        assert main(make(folder), str(FIRST), FIRST, mode="sequence").frames == 1
        assert (folder / "res" / f"rt_is.{FIRST}").exists()

    def test_frames_default_to_those_of_the_parameters(self, folder):
        main(folder, mode="sequence")
        frames = [f"rt_is.{frame}" for frame in range(FIRST, LAST + 1)]
        assert sorted(os.listdir(folder / "res")) == [".pyptv", *frames, "run_report.json"]

    def test_only_the_asked_frames_are_done(self, folder):
        main(folder, FIRST + 1, FIRST + 3)
        assert sorted({int(name.split(".")[1]) for name in results(folder) if "rt_is" in name}) == [10001, 10002, 10003]

    def test_nothing_is_left_behind(self, folder):
        main(folder)
        assert sorted(os.listdir(folder / "res" / ".pyptv")) == ["journal", "lock", "pristine", "runs"]
        assert not list(folder.rglob("*.pyptv-tmp"))

    def test_repetitions_give_the_same_files(self, folder, caplog):
        main(folder)
        once = results(folder)
        with caplog.at_level(logging.INFO, "pyptv"):
            main(folder, FIRST, LAST, 2)
        assert results(folder) == once
        assert [m for m in caplog.messages if m.startswith(("Repetitions", "Starting repetition"))] == [
            "Repetitions: 2",
            "Starting repetition 1 of 2",
            "Starting repetition 2 of 2",
        ]

    def test_the_callers_process_is_left_as_it_was(self, folder, monkeypatch, capfd):
        monkeypatch.chdir(folder.parent)
        root, package = logging.getLogger(), logging.getLogger("pyptv")
        before = (root.level, list(root.handlers), package.level, list(package.handlers), package.propagate, Path.cwd())
        main("experiment")
        after = (root.level, list(root.handlers), package.level, list(package.handlers), package.propagate, Path.cwd())
        assert before == after
        assert capfd.readouterr().out == ""

    def test_both_steps_at_once_are_the_same_as_one_after_the_other(self, small_experiment):
        one, two = small_experiment("one"), small_experiment("two")
        main(one)
        main(two, mode="sequence")
        assert not list((two / "res").glob("ptv_is.*"))
        main(two, mode="tracking")
        assert results(one) == results(two)
        assert len(results(one)) == 6 * 7

    def test_tracking_again_gives_the_same(self, folder):
        main(folder)
        once = results(folder)
        main(folder, mode="tracking")
        assert results(folder) == once


class TestBadArguments:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((2000, 1000), r"^First frame \(2000\) must be <= last frame \(1000\)$"),
            (("2000", "1000"), r"^First frame \(2000\) must be <= last frame \(1000\)$"),
            ((1, 2, 0), r"^Repetitions must be >= 1, got 0$"),
            ((1, 2, -5), r"^Repetitions must be >= 1, got -5$"),
            (("one", 2), r"^First frame must be a whole number, got 'one'$"),
            ((1, 2, "often"), r"^Repetitions must be a whole number, got 'often'$"),
        ],
    )
    def test_they_are_value_errors(self, folder, arguments, message):
        with pytest.raises(ValueError, match=message):
            main(folder, *arguments)
        assert not (folder / "res").exists()

    def test_a_value_error_of_the_parameters_frames(self, folder):
        with pytest.raises(ValueError, match=r"^First frame \(99999\) must be <= last frame \(10005\)$"):
            main(folder, 99999)

    def test_a_wrong_option(self, folder):
        with pytest.raises(ValueError, match=r"^Mode must be one of both, sequence, tracking, match, got 'all'$"):
            main(folder, 1, 2, mode="all")


class TestCommandLine:
    @pytest.fixture
    def script(self):
        return [str(Path(pyptv_batch.__file__))]

    @pytest.mark.parametrize("way", ["module", "script", "console script"])
    def test_ways_to_call_it(self, folder, script, way, tmp_path):
        arguments = [str(folder), str(FIRST), str(FIRST + 1), "--mode", "sequence"]
        console_script = Path(sys.executable).with_name("pyptv-batch")
        if way == "console script":
            if not console_script.exists():
                pytest.skip("the package is not installed: no console script beside this Python")
            done = subprocess.run([console_script, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False)
        else:
            done = run_python(*(MODULE if way == "module" else script), *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        assert sorted(path.name for path in (folder / "res").glob("rt_is.*")) == ["rt_is.10000", "rt_is.10001"]

    def test_the_script_finds_the_installed_package_not_its_own_folder(self, folder, script):
        """Run as a script, Python puts ``pyptv/`` itself first on the path; nothing of it must be imported from there."""
        done = run_python(*script, "--version")
        assert done.stdout == f"pyptv-batch {pyptv.__version__}\n"

    def test_in_process(self, folder, capfd):
        assert cli([str(folder), str(FIRST), str(FIRST), "-q"]) == 0
        assert capfd.readouterr() == ("", "")

    def test_its_logging_ends_with_it(self, folder):
        package = logging.getLogger("pyptv")
        before = (package.level, list(package.handlers))
        cli([str(folder), str(FIRST), str(FIRST), "-q", "--log-level", "DEBUG"])
        assert (package.level, list(package.handlers)) == before

    def test_frames_may_be_left_out(self, folder):
        done = run_python(*MODULE, folder, "--mode", "sequence")
        assert done.returncode == 0
        assert "Frame range: 10000 to 10005" in done.stderr

    def test_help_loads_nothing_heavy(self):
        code = """
import contextlib, io, sys
from pyptv.pyptv_batch import cli
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as out:
    cli(["--help"])
assert "usage: pyptv-batch" in out.getvalue() and "exit codes:" in out.getvalue()
heavy = {"numpy", "optv", "matplotlib", "PIL", "tqdm", "multiprocessing", "scipy"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""
        done = run_python("-c", code)
        assert done.stdout == "[]\n", done.stderr

    def test_version(self):
        done = run_python(*MODULE, "--version")
        assert (done.returncode, done.stdout) == (0, f"pyptv-batch {pyptv.__version__}\n")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "name an experiment (EXP), or ask for --demo"),
            (["EXP", "1"], "FIRST needs LAST: name both frames, or none"),
            (["EXP", "one", "2"], "argument FIRST: found 'one', expected a frame number"),
            (["EXP", "1", "2", "--mode", "all"], "argument --mode: invalid choice: 'all'"),
            (["EXP", "1", "2", "--log-level", "LOUD"], "argument --log-level: invalid choice: 'LOUD'"),
            (["EXP", "1", "2", "--xyzzy"], "unknown option --xyzzy; --help lists them"),
            (["--modes", "sequence", "EXP"], "unknown option --modes: did you mean --mode?"),
            (["EXP", "--threads=4"], "unknown option --threads: did you mean --processes?"),
            (["EXP", "-n", "4"], "unknown option -n: did you mean -j?"),
            (["EXP", "1", "2", "--first", "1"], "name the frames once: FIRST LAST, or --first and --last"),
            (["EXP", "1", "2", "--log-file", "/no/such/folder/log"], "--log-file /no/such/folder/log: No such file or directory"),
        ],
    )
    def test_bad_usage(self, arguments, message, capsys):
        with pytest.raises(SystemExit) as caught:
            cli(arguments)
        assert caught.value.code == 2
        assert message in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["2000", "1000"], r"Invalid: First frame (2000) must be <= last frame (1000)"),
            (["1", "2", "--repetitions", "0"], r"Invalid: Repetitions must be >= 1, got 0"),
        ],
    )
    def test_bad_arguments(self, folder, arguments, message, capsys):
        assert cli([str(folder), *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert re.fullmatch(LOG_LINE + re.escape(message), line)

    def test_quiet_shows_errors_only(self, folder, capsys):
        assert cli([str(folder), "2", "1", "-q"]) == 2
        assert " - ERROR - Invalid: First frame (2)" in capsys.readouterr().err

    def test_log_file(self, folder, tmp_path, capsys):
        log = tmp_path / "run.log"
        for _ in range(2):
            assert cli([str(folder), str(FIRST), str(FIRST + 1), "-q", "--log-file", str(log), "--log-level", "debug"]) == 0
        lines = log.read_text(encoding="utf-8").splitlines()
        assert all(re.match(LOG_LINE, line) for line in lines)
        assert sum("Starting batch processing in directory" in line for line in lines) == 2
        assert sum("DEBUG - Frame 10001: targets" in line for line in lines) == 2
        assert capsys.readouterr().err == ""

    def test_no_progress_bar_in_a_file(self, folder):
        done = run_python(*MODULE, folder, FIRST, FIRST + 1)
        assert all(re.match(LOG_LINE, line) for line in done.stderr.splitlines())

    def test_a_name_with_spaces_and_accents(self, small_experiment):
        folder = small_experiment("dossier d'été 1")
        assert run_python(*MODULE, folder, FIRST, FIRST + 3, "-q").returncode == 0
        assert len(results(folder)) == 4 * 7

    def test_closed_standard_streams(self, folder):
        """As a batch system may start it."""
        command = f"{sys.executable} -m pyptv.pyptv_batch {folder} {FIRST} {FIRST + 2} <&- >&- 2>&-"
        assert subprocess.run(["sh", "-c", command], check=False, timeout=60).returncode == 0
        assert len(results(folder)) == 3 * 7


class TestErrorHandling:
    """Bad input ends in one clear line that names the file, with exit code 1 or 2, and no traceback."""

    @pytest.fixture
    def refused(self, called):
        """The one error line of a run."""

        def line(folder: Path, code: int) -> str:
            done = called(folder, FIRST, LAST)
            assert done.returncode == code, done.stderr
            assert "Traceback" not in done.stderr
            assert done.stdout == ""
            return errors_of(done)[-1]

        return line

    def test_in_a_process_of_its_own(self, folder):
        """The exit code and standard error of the process are those of the command line."""
        (folder / "img" / "cam2.10003.tif").write_bytes(b"")
        for arguments, code in (((folder, FIRST, LAST), 1), ((folder / "none", FIRST, LAST), 2)):
            done = run_python(*MODULE, *arguments)
            assert (done.returncode, done.stdout, len(errors_of(done))) == (code, "", 1)

    def test_no_folder(self, tmp_path, refused):
        assert refused(tmp_path / "none", 2) == f"Invalid: Experiment directory does not exist: {tmp_path / 'none'}"

    def test_a_missing_image(self, folder, refused):
        (folder / "img" / "cam2.10003.tif").unlink()
        assert refused(folder, 2) == (
            f"Invalid: 1 frame (10003) lacks a file: {folder / 'img' / 'cam2.10003.tif'}. "
            "All cameras have images of frames 10000-10002, 10004-10005"
        )
        assert results(folder) == {}

    def test_a_missing_calibration(self, folder, refused):
        path = folder / "cal" / "cam3.tif.addpar"
        path.unlink()
        assert refused(folder, 2) == f"Invalid: {path}: calibration cannot be read: No such file or directory"

    def test_a_missing_parameter_line(self, folder, refused):
        path = folder / "parameters" / "track.par"
        path.write_text("\n".join(path.read_text().splitlines()[:-1]))
        message = refused(folder, 2)
        assert message.startswith(f"Invalid: {path}: found 8 values, expected 9, one per line: flagNewParticles")

    def test_text_where_a_number_should_be(self, folder, refused):
        path = folder / "parameters" / "criteria.par"
        replace_line(path, 12, "wide")
        message = refused(folder, 2)
        assert message.startswith(f"Invalid: {path}, line 12 (eps0): found 'wide', expected a number: width of the epipolar band")

    def test_several_problems_are_listed(self, folder, called):
        (folder / "cal" / "cam1.tif.ori").unlink()
        (folder / "cal" / "cam4.tif.ori").write_text("")
        done = called(folder, FIRST, LAST)
        assert done.returncode == 2
        assert errors_of(done) == ["Invalid: 2 problems:"]
        assert [line[:4] for line in done.stderr.splitlines()[-2:]] == ["  - ", "  - "]

    def test_a_truncated_image(self, folder, refused):
        path = folder / "img" / "cam2.10003.tif"
        path.write_bytes(path.read_bytes()[:-2000])
        message = refused(folder, 1)
        assert message.startswith(f"Processing failed: frame 10003, camera 2: {path}: ")
        assert sorted(path.name for path in (folder / "res").glob("rt_is.*")) == [f"rt_is.{n}" for n in (10000, 10001, 10002)]

    def test_an_image_of_the_wrong_size(self, folder, refused):
        from PIL import Image

        path = folder / "img" / "cam1.10002.tif"
        Image.new("L", (100, 100)).save(path)
        message = refused(folder, 1)
        assert message == (
            f"Processing failed: frame 10002, camera 1: {path}: found an image of 100 x 100 px, "
            "expected 320 x 256 (imx, imy of section ptv)"
        )

    def test_all_images_of_the_wrong_size_are_refused_at_once(self, folder, called):
        replace_line(folder / "parameters" / "ptv.par", 13, "640")
        done = called(folder, FIRST, LAST)
        assert done.returncode == 2
        names = ", ".join(str(folder / "img" / f"cam{camera}.{FIRST}.tif") for camera in (1, 2, 3, 4))  # one cause, one message
        (error,) = errors_of(done)
        assert error == f"Invalid: {names}: found an image of 320 x 256 px, expected 640 x 256 (imx, imy of section ptv)"

    def test_results_cannot_be_written(self, folder, refused):
        (folder / "res").write_text("a file")
        message = refused(folder, 2)
        assert message == f"Invalid: {folder / 'res'}: found a file, expected a folder: the results go there"

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not stop the superuser")
    def test_results_may_not_be_written(self, folder, refused):
        (folder / "res").mkdir(mode=0o500)
        assert f"{folder / 'res'}: cannot be written" in refused(folder, 2)

    def test_the_traceback_is_there_for_who_asks(self, folder, called):
        (folder / "cal" / "cam3.tif.ori").unlink()
        done = called(folder, FIRST, LAST, "--log-level", "DEBUG")
        assert done.returncode == 2
        assert "Traceback" in done.stderr

    def test_main_raises(self, folder, tmp_path):
        with pytest.raises(InvalidExperimentError, match="does not exist"):
            main(tmp_path / "none", 1, 2)
        path = folder / "img" / "cam2.10003.tif"
        path.write_bytes(b"")
        assert refusal(main, folder) == f"frame 10003, camera 2: {path}: the file is empty"

    def test_frames_may_be_skipped(self, folder, called):
        (folder / "img" / "cam2.10003.tif").write_bytes(b"")
        done = called(folder, FIRST, LAST, "--on-error", "skip")
        assert done.returncode == 3
        assert "WARNING - 1 frame failed and was left out: 10003" in done.stderr
        assert not list((folder / "res").glob("*.10003"))
        assert len(results(folder)) == 5 * 7

    def test_a_bug_is_one_line_too(self, folder, monkeypatch, capsys):
        from pyptv.core.app import run

        def broken(*_arguments: object, **_options: object) -> None:
            raise ZeroDivisionError("division by zero")

        monkeypatch.setattr(run, "prepare", broken)
        assert cli([str(folder), "1", "2"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert re.fullmatch(LOG_LINE + "Unexpected ZeroDivisionError: division by zero", line)


class TestLogging:
    def test_lines_in_the_users_format(self, folder):
        done = run_python(*MODULE, folder, FIRST, LAST)
        assert done.returncode == 0
        patterns = [
            rf"INFO - Starting batch processing in directory: {folder}",
            rf"INFO - Parameters: {folder}/parameters/ptv\.par",
            r"INFO - Frame range: 10000 to 10005",
            r"INFO - Repetitions: 1",
            r"INFO - Frames: 6 done",
            r"INFO - Targets per frame: \d+\.\d, particles per frame: \d+\.\d",
            r"INFO - Tracking: 6 frames, links \d+, lost \d+, added \d+, link ratio \d\.\d{3}",
            r"INFO - Engine: optv",
            rf"INFO - Run report: {folder}/res/run_report\.json",
            r"INFO - Total processing time: \d+\.\d\d seconds",
        ]
        lines = done.stderr.splitlines()
        assert len(lines) == len(patterns), done.stderr
        for line, pattern in zip(lines, patterns, strict=True):
            assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d,\d{{3}} - {pattern}", line)

    def test_a_line_a_frame_at_debug(self, folder, caplog):
        with caplog.at_level(logging.DEBUG, "pyptv"):
            main(folder)
        frame_line = r"Frame \d+: targets \[\d+(, \d+){3}\], quadruplets \d+, triplets \d+, pairs \d+, particles \d+"
        step_line = r"Step \d+: current \d+, next \d+, links \d+, lost -?\d+, added \d+"
        frames = [message for message in caplog.messages if re.fullmatch(frame_line, message)]
        steps = [message for message in caplog.messages if re.fullmatch(step_line, message)]
        assert [int(m.split()[1].rstrip(":")) for m in frames] == list(range(FIRST, LAST + 1))
        assert [int(m.split()[1].rstrip(":")) for m in steps] == list(range(FIRST, LAST + 1))

    def test_the_numbers_of_a_frame_are_those_of_its_files(self, folder, caplog):
        with caplog.at_level(logging.DEBUG, "pyptv"):
            main(folder, FIRST, FIRST, mode="sequence")
        files = results(folder)
        counts = [int(files[f"img/cam{camera}.{FIRST}_targets"].split()[0]) for camera in (1, 2, 3, 4)]
        particles = int(files[f"res/rt_is.{FIRST}"].split()[0])
        (line,) = [m for m in caplog.messages if m.startswith("Frame 10000:")]
        assert f"targets {counts}," in line
        assert line.endswith(f"particles {particles}")

    def test_warnings_once_and_not_per_frame(self, folder, caplog):
        path = folder / "cal" / "cam1.tif.addpar"
        words = path.read_text().split()
        path.write_text(" ".join([*words[:5], "1.01", words[6]]))
        main(folder)
        warnings = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(warnings) == 1
        assert "scx is 1.01, not 1" in warnings[0]

    def test_a_library_user_sees_nothing_of_a_good_run(self, folder):
        done = run_python("-c", f"from pyptv.pyptv_batch import main; main({str(folder)!r})")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_log_records_have_the_names_of_the_package(self, folder, caplog):
        with caplog.at_level(logging.INFO):
            main(folder, FIRST, FIRST)
        assert {record.name.partition(".")[0] for record in caplog.records} == {"pyptv"}


class TestIntegration:
    """PyPTV's bytes, on a real experiment."""

    FRAMES = (10000, 10004)

    @pytest.fixture(params=["YAML", "par"])
    def source(self, request, cavity):
        """The experiment by its YAML file, and by its ``.par`` files."""
        return cavity / "parameters_Run1.yaml" if request.param == "YAML" else cavity / "parameters"

    def test_sequence_then_tracking(self, cavity, source, golden):
        main(source, *self.FRAMES, mode="sequence")
        assert len(results(cavity)) == 25
        assert results(cavity) == golden("sequence")
        main(source, *self.FRAMES, mode="tracking")
        assert len(results(cavity)) == 35
        assert results(cavity) == golden("tracking")

    def test_both_in_one_run(self, cavity, source, golden):
        main(source, *self.FRAMES)
        assert results(cavity) == golden("tracking")
        tracking = read_run_report(cavity / "res")["tracking"]
        assert tracking["links"] == [407, 497, 455, 436, 0]  # as ptv_is has them; optv prints 453, 570, 504, 494
        assert tracking["lost"] == [591, 546, 567, 615, 0]

    def test_after_results_of_an_earlier_run(self, cavity, golden):
        main(cavity, *self.FRAMES)
        main(cavity, *self.FRAMES)
        assert results(cavity) == golden("tracking")
        main(cavity, *self.FRAMES, mode="tracking")
        assert results(cavity) == golden("tracking")

    @pytest.mark.skipif(sys.platform != "linux", reason="knows glibc's way to hand out small blocks")
    def test_in_a_process_whose_memory_is_dirty(self, cavity, golden, monkeypatch):
        """optv's tracker uses a block that it has not written: freed memory full of NaN must not change a byte."""
        from pyptv.core.engines.optv import tracker as optv_tracker

        library = ctypes.CDLL(None)
        library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
        zero_small_blocks = optv_tracker.zero_small_blocks

        def leave_dirt_before() -> None:
            blocks = [(size, library.malloc(size)) for size in list(range(72, 137, 16)) * 200]
            for size, block in blocks:
                ctypes.memset(block, 0xFF, size)
            for _, block in blocks:
                library.free(block)
            zero_small_blocks()

        monkeypatch.setattr(optv_tracker, "zero_small_blocks", leave_dirt_before)
        main(cavity, *self.FRAMES, start_method="fork")
        assert results(cavity) == golden("tracking")

    @pytest.mark.parametrize("engine", ["optv", "compiled"])
    @pytest.mark.parametrize("variant", VARIANTS)
    def test_fewer_cameras_and_other_flags(self, cavity, variant, engine):
        """Against digests of PyPTV's own files, made by ``tests/data/make_reference.py``."""
        reference = json.loads((Path(__file__).parent / "data" / "reference.json").read_text())
        change_parameters(cavity / "parameters_Run1.yaml", **VARIANTS[variant])
        main(cavity / "parameters_Run1.yaml", *self.FRAMES, engine=engine)
        assert comparable(results(cavity), VARIANTS[variant].get("num_cams", 4)) == reference[variant]

    @pytest.mark.parametrize("options", [{"splitter": True}, {"negative": True}, {"mask": True}, {"depth": 16}], ids=str)
    def test_images_of_other_kinds_give_particles(self, small_experiment, options):
        folder = small_experiment(**options)
        main(folder)
        counts = [int(data.split()[0]) for name, data in results(folder).items() if "rt_is" in name]
        assert len(counts) == 6
        assert min(counts) > 20

    def test_existing_targets_are_read_not_made(self, small_experiment):
        folder = small_experiment(images=False)
        path = folder / "img" / f"cam1.{FIRST}_targets"
        before = path.read_bytes()
        main(folder, mode="sequence")
        assert path.read_bytes().split(b"\n")[0] == before.split(b"\n")[0]
        counts = [int(data.split()[0]) for name, data in results(folder).items() if "rt_is" in name]
        assert min(counts) > 20
        once = results(folder)
        main(folder, mode="sequence")
        assert results(folder) == once

    def test_one_camera(self, small_experiment):
        folder = small_experiment(n_cameras=1)
        main(folder)
        assert len(results(folder)) == 6 * 4


def test_the_entry_module_imports_nothing_heavy_by_itself():
    code = "import sys, pyptv.pyptv_batch; print(sorted({'numpy', 'optv', 'PIL', 'argparse'} & set(sys.modules)))"
    assert run_python("-c", code).stdout == "[]\n"


def test_all_names_of_the_module_are_there():
    module = importlib.import_module("pyptv.pyptv_batch")
    assert all(hasattr(module, name) for name in module.__all__)
