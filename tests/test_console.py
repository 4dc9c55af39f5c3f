"""Standard error has one owner: log lines and the progress bar, which shows on a terminal only."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

import pytest
from conftest import run_python

from pyptv.core.console import Console
from pyptv.core.results import FrameDone, FrameFailed, Note, StepDone

LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - (DEBUG|INFO|WARNING|ERROR) - .+")


@pytest.fixture
def make(request):
    """Consoles that are closed after the test."""

    def make(level="INFO", log_file=None, *, quiet=False, progress=True) -> Console:
        console = Console(level, log_file, quiet=quiet, progress=progress)
        request.addfinalizer(console.close)
        return console

    return make


class Terminal(io.StringIO):
    """A standard error that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def run_on_terminal(*arguments: object) -> tuple[int, str]:
    """Run Python with a pseudo terminal for its standard error; its exit code and what the terminal got."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen([sys.executable, *map(str, arguments)], stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    said = b""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if select.select([leader], [], [], 0.2)[0]:
            try:
                data = os.read(leader, 65536)
            except OSError:  # the other side is closed
                break
            if not data:
                break
            said += data
        elif process.poll() is not None:
            break
    os.close(leader)
    return process.wait(timeout=30), said.decode()


class TestOnATerminal:
    def test_a_bar_and_whole_log_lines(self, small_experiment):
        """What a terminal shows: each carriage return and line feed begins a line anew."""
        folder = small_experiment()
        code, said = run_on_terminal("-m", "pyptv.pyptv_batch", folder, 10000, 10005, "--log-level", "DEBUG")
        assert code == 0
        lines = [line for line in re.split(r"[\r\n]+", said.replace("\x1b[A", "")) if line.strip()]
        bars = [line for line in lines if re.match(r"(sequence|tracking): +\d+%\|", line)]
        logged = [line for line in lines if " - DEBUG - " in line or " - INFO - " in line]
        assert any("12/12" in bar for bar in bars)
        assert all(LOG_LINE.fullmatch(line) for line in logged)
        assert sum(" - DEBUG - Frame " in line for line in logged) == 6
        assert len(bars) + len(logged) == len(lines), said

    @pytest.mark.parametrize("option", ["-q", "--no-progress"])
    def test_no_bar_where_it_is_not_wanted(self, small_experiment, option):
        code, said = run_on_terminal("-m", "pyptv.pyptv_batch", small_experiment(), 10000, 10001, option)
        assert code == 0
        assert "%|" not in said

    def test_the_bar_counts_each_frame_through_each_step(self, make, monkeypatch):
        monkeypatch.setattr(sys, "stderr", Terminal())
        console = make()
        console.expect(3, 2)
        bar = console._bar
        assert bar.total == 6
        console.watch(FrameDone(1, (), (), 0, ""))
        assert (bar.n, bar.desc) == (1, "sequence: ")
        console.watch(StepDone(1, 1, ""))
        assert (bar.n, bar.desc) == (2, "tracking: ")
        console.watch(FrameFailed(2, "bad"))
        assert (bar.n, bar.desc) == (3, "sequence: ")
        console.watch(Note("pyptv", 20, "hello"))
        assert bar.n == 3


class TestElsewhere:
    def test_no_bar(self, make, monkeypatch):
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        console = make()
        console.expect(3, 2)
        console.watch(FrameDone(1, (), (), 0, ""))
        assert console._bar is None
        assert sys.stderr.getvalue() == ""

    def test_lines(self, make, monkeypatch):
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        make()
        logging.getLogger("pyptv.core.run").info("hello %d", 1)
        logging.getLogger("pyptv.core.run").debug("not this")
        logging.getLogger("elsewhere").error("nor this")
        (line,) = sys.stderr.getvalue().splitlines()
        assert LOG_LINE.fullmatch(line)
        assert line.endswith(" - INFO - hello 1")

    def test_quiet_shows_errors_and_the_file_has_everything(self, make, monkeypatch, tmp_path):
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        make("DEBUG", tmp_path / "log", quiet=True)
        logger = logging.getLogger("pyptv.x")
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            logger.log(level, "é")
        assert len(sys.stderr.getvalue().splitlines()) == 1
        assert len((tmp_path / "log").read_text(encoding="utf-8").splitlines()) == 4

    def test_closing_leaves_the_logger_as_it_was(self, make):
        logger = logging.getLogger("pyptv")
        before = (logger.level, list(logger.handlers))
        make("DEBUG").close()
        assert (logger.level, list(logger.handlers)) == before

    def test_a_reader_that_went_away_does_not_stop_the_run(self, small_experiment):
        """``pyptv-batch ... 2>&1 | head -1``."""
        folder = small_experiment()
        command = f"{sys.executable} -m pyptv.pyptv_batch {folder} 10000 10003 --log-level DEBUG 2>&1 >/dev/null | head -n 1"
        subprocess.run(["sh", "-c", command], check=True, capture_output=True, timeout=60)
        for _ in range(100):
            if (folder / "res" / "ptv_is.10003").exists():
                break
            time.sleep(0.1)
        assert (folder / "res" / "ptv_is.10003").exists()

    def test_nothing_of_what_c_prints_comes_out(self, small_experiment):
        done = run_python("-m", "pyptv.pyptv_batch", small_experiment(), 10000, 10005)
        assert done.stdout == ""
        assert all(LOG_LINE.fullmatch(line) for line in done.stderr.splitlines())
