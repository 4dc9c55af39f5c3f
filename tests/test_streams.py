"""Standard streams, log files, working folder, HOME, and what a caller's handlers raise: one clear line, the right exit code."""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import results, rounds, run_python

from pyptv import pyptv_batch, pyptv_batch_parallel

FIRST, LAST = 10000, 10003
COMMANDS = {"serial": ["pyptv.pyptv_batch"], "parallel": ["pyptv.pyptv_batch_parallel"]}
full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
shell = pytest.mark.skipif(os.name != "posix", reason="needs a shell")


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> list[str]:
    """The words of a command line without its arguments."""
    return [sys.executable, "-m", *COMMANDS[request.param]]


def run(command: list[str], *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    settings = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "timeout": 120, "stdin": subprocess.DEVNULL}
    return subprocess.run([*command, *map(str, arguments)], check=False, **(settings | options))


class TestStandardOutput:
    @full
    def test_a_full_device(self, command, small_experiment):
        folder = small_experiment()
        with open("/dev/full", "w") as device:
            done = run(command, folder, FIRST, LAST, "--check", stdout=device)
        assert done.returncode == 1
        assert done.stderr.endswith(" - ERROR - Processing failed: standard output cannot be written: No space left on device\n")
        assert "Traceback" not in done.stderr

    def test_a_reader_that_went_away(self, command, small_experiment):
        folder = small_experiment()
        for damage, code in ((lambda: None, 0), ((folder / "cal" / "cam1.tif.ori").unlink, 2)):
            damage()
            reader, writer = os.pipe()
            os.close(reader)
            try:
                done = run(command, folder, FIRST, LAST, "--check", stdout=writer)
            finally:
                os.close(writer)
            assert done.returncode == code, done.stderr
            assert " - ERROR - " not in done.stderr
            assert "BrokenPipe" not in done.stderr

    @full
    def test_the_other_commands(self, small_experiment, tmp_path):
        folder = small_experiment(images=False)
        pyptv_batch.main(folder, FIRST, LAST)
        for arguments in (
            ("pyptv.report", folder),
            ("pyptv.export", folder, "--to", "csv"),
            ("pyptv.evaluate", folder),
            ("pyptv.synthetic", tmp_path / "new", "--frames", 2, "--particles", 5, "--no-images"),
        ):
            with open("/dev/full", "w") as device:
                done = run_python("-m", *arguments, capture_output=False, stdout=device, stderr=subprocess.PIPE)
            assert done.returncode == 1, arguments
            assert done.stderr == "error: standard output cannot be written: No space left on device\n"


class TestLogFile:
    @shell
    def test_a_pipe_is_not_waited_for(self, command, small_experiment, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        done = run(command, small_experiment(images=False), FIRST, LAST, "--log-file", tmp_path / "pipe")
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith(
            f"pyptv-batch{'-parallel' * ('parallel' in command[-1])}: error: --log-file "
        )

    @shell
    def test_a_pipe_with_a_reader_is_refused_too(self, command, small_experiment, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        try:
            done = run(command, small_experiment(images=False), FIRST, LAST, "--log-file", tmp_path / "pipe")
        finally:
            os.close(reader)
        assert done.returncode == 2
        assert f"error: --log-file {tmp_path / 'pipe'}: found a pipe, expected a file" in done.stderr

    @full
    def test_a_full_device_ends_the_log_and_not_the_run(self, command, small_experiment):
        folder = small_experiment(images=False)
        done = run(command, folder, FIRST, LAST, "--log-file", "/dev/full")
        assert done.returncode == 0
        told = [line for line in done.stderr.splitlines() if "/dev/full" in line]
        assert len(told) == 1
        assert told[0].endswith(" - WARNING - --log-file /dev/full: No space left on device: nothing more is written there")
        assert "Traceback" not in done.stderr
        assert (folder / "res" / f"rt_is.{LAST}").exists()

    def test_places_where_no_file_can_be(self, command, small_experiment, tmp_path):
        folder = small_experiment(images=False)
        for place, reason in ((tmp_path, "Is a directory"), (tmp_path / "no" / "log", "No such file or directory")):
            done = run(command, folder, FIRST, LAST, "--log-file", place)
            assert done.returncode == 2
            assert done.stderr.endswith(f"error: --log-file {place}: {reason}\n")
        assert not (folder / "res").exists()

    def test_a_path_that_is_no_text(self, small_experiment, tmp_path):
        """Names of files are bytes: a log in UTF-8 holds them escaped."""
        try:
            odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/exp\xe9"))
            small_experiment(images=False).rename(odd)
        except OSError:
            pytest.skip("this file system takes names in UTF-8 only")
        done = run_python("-m", "pyptv.pyptv_batch", os.fsencode(odd).decode("latin-1"), 1, 2, "--log-file", tmp_path / "log")
        assert done.returncode == 2
        # not in this process: what pytest captures must be text
        command = [sys.executable, "-m", "pyptv.pyptv_batch", odd, str(FIRST), str(LAST), "--log-file", tmp_path / "log"]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0
        assert "exp\\udce9" in (tmp_path / "log").read_text(encoding="utf-8")


class TestPlaces:
    @shell
    def test_a_working_folder_that_is_gone(self, command, small_experiment, tmp_path):
        folder = small_experiment(images=False)
        gone = tmp_path / "gone"
        for name, code, said in (
            ("experiment", 2, "experiment: the working folder no longer exists: give the absolute path of"),
            (folder, 0, ""),
        ):
            gone.mkdir()
            line = 'cd "$0" && rmdir "$0" && exec "$@"'
            done = run(
                ["sh", "-c", line, str(gone), *command],
                name,
                FIRST,
                LAST,
                env=os.environ | {"PYTHONPATH": str(Path().absolute())},
            )
            assert done.returncode == code, done.stderr
            assert said in done.stderr
            assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("home", ["", "relative/place", "/dev/null", None])
    def test_a_home_that_is_none(self, small_experiment, tmp_path, home):
        """Kernels are kept there. Without a place for them optv does the work; asked for, they are an error before the run."""
        pytest.importorskip("numba")
        folder, command = small_experiment(images=False), [sys.executable, "-m", "pyptv.pyptv_batch"]
        env = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME", "PYPTV_KERNEL_CACHE")}
        env |= {} if home is None else {"HOME": home}
        done = run(command, folder, FIRST, LAST, env=env)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        if home == "/dev/null":
            done = run(command, folder, FIRST, LAST, "--engine", "compiled", env=env)
            assert done.returncode == 2
            assert "set PYPTV_KERNEL_CACHE to" in done.stderr
        assert not Path("relative").exists()


class CallersError(Exception):
    """What a program that calls main() raises in its own handlers."""


ENTRIES = {
    "serial": pyptv_batch.main,
    "parallel": lambda *arguments, **options: pyptv_batch_parallel.main(*arguments, n_processes=2, **options),
}


@pytest.fixture(scope="module")
def long_run(tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    """An experiment of 20 frames, and its results."""
    from pyptv.synthetic import make_experiment

    source = make_experiment(
        tmp_path_factory.mktemp("long") / "e", n_frames=20, n_particles=40, image_size=(320, 256), images=False
    )
    reference = _copied(source, tmp_path_factory.mktemp("reference") / "e")
    pyptv_batch.main(reference, engine="optv")
    return source, results(reference)


def _copied(source: Path, target: Path) -> Path:
    return shutil.copytree(source, target)


def workers() -> list[int]:
    """This process's children that are alive, but for multiprocessing's own trackers."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            try:
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                words = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if state not in "ZX" and b"resource_tracker" not in words:
                found.append(int(pid))
    return found


def assert_clean_and_resumable(folder: Path, expected: dict[str, bytes]) -> None:
    deadline = time.monotonic() + 5
    while workers() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not workers()
    assert not list(folder.rglob("*.pyptv-tmp"))
    pyptv_batch.main(folder, engine="optv", resume=True)
    assert results(folder) == expected


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize("entry", ENTRIES)
class TestTheCallersOwn:
    """What a handler of the caller raises inside main() comes out of it; the run has ended clean by then."""

    def test_a_log_handler_that_raises(self, entry, long_run, tmp_path):
        class Handler(logging.Handler):
            left = 0

            def emit(self, record: logging.LogRecord) -> None:
                Handler.left -= 1
                if Handler.left < 0:
                    raise CallersError(record.getMessage())

        logger, handler = logging.getLogger("pyptv"), Handler()
        before = logger.level
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)
        try:
            for Handler.left in (0, 6, 15):
                folder = _copied(long_run[0], tmp_path / f"e{Handler.left}")
                with pytest.raises(CallersError):
                    ENTRIES[entry](folder, engine="optv")
                logger.removeHandler(handler)
                assert_clean_and_resumable(folder, long_run[1])
                logger.addHandler(handler)
        finally:
            logger.removeHandler(handler)
            logger.setLevel(before)

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Python drops what is raised as it forks
    @pytest.mark.parametrize("error", [KeyboardInterrupt, CallersError, SystemExit])
    def test_a_signal_handler_that_raises(self, entry, error, long_run, tmp_path):
        def raising(*_: object) -> None:
            raise error("the caller's")

        moments = random.Random(f"{entry}{error}")
        before = signal.signal(signal.SIGALRM, raising)
        try:
            for trial in range(rounds(1, 4)):
                folder = _copied(long_run[0], tmp_path / f"e{trial}")
                signal.setitimer(signal.ITIMER_REAL, moments.uniform(0.15, 0.4))
                try:
                    ENTRIES[entry](folder, engine="optv")
                except error:
                    pass
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                assert_clean_and_resumable(folder, long_run[1])
        finally:
            signal.signal(signal.SIGALRM, before)


THREADS = """
import sys, threading
import numpy as np

if __name__ == "__main__":
    stop = threading.Event()

    def multiply():
        matrix = np.ones((500, 500))
        while not stop.is_set():
            matrix @ matrix

    threads = [threading.Thread(target=multiply) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        if sys.argv[2] == "serial":
            from pyptv.pyptv_batch import main
        else:
            from pyptv.pyptv_batch_parallel import main
        main(sys.argv[1], 10000, 10003, 2 if sys.argv[2] == "parallel" else 1)
    finally:
        stop.set()
"""


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_program_whose_threads_are_in_blas(entry, small_experiment, tmp_path):
    """A notebook that computes while main() runs: a fork waits for BLAS's locks, for ever."""
    folder = small_experiment(images=False)
    script = tmp_path / "program.py"
    script.write_text(THREADS)
    done = run_python(script, folder, entry, timeout=100)
    assert done.returncode == 0, done.stderr
    assert (folder / "res" / f"ptv_is.{LAST}").exists()
