"""Standard error has one owner: log lines; on a terminal the progress bar and the summary, too."""

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
from pathlib import Path

import pytest
from conftest import run_python

from pyptv.core.base.options import Options
from pyptv.core.cli.console import Console
from pyptv.core.record.progress import Meter
from pyptv.core.record.summary import WIDTH, summary_lines

LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - (DEBUG|INFO|WARNING|ERROR) - .+")


@pytest.fixture
def make(request):
    """Consoles that are closed after the test."""

    def make(level="INFO", log_file=None, *, quiet=False, progress=True) -> Console:
        console = Console(level, log_file, quiet=quiet, progress=progress)
        request.addfinalizer(console.close)
        return console

    return make


BAR = re.compile(r"\d+/6 frames, \d+ tracked +\d+%\|.*\|(, \d+\.\d frames/s, (\d+ min )?\d+ s( left)?)?\s*")

REPORT = {
    "command": {"engine": "optv"},
    "run": {"seconds": 1.234},
    "frames": {
        "asked": 20,
        "done": 5,
        "kept": 2,
        "tracked": 4,
        "not_reached": 10,
        "failed": [{"frame": n, "step": "sequence", "reason": f"frame {n}: bad"} for n in range(6, 11)],
    },
    "sequence": {"targets": [[10, 10, 10, 10, 10], [20, 20, 20, 20, 20]], "particles": [5, 6, 7, 6, 6]},
    "tracking": {"frame": [1, 2, 3, 4], "links": [5, 5, 5, 0], "lost": [2, 2, 1, 0], "added": [0, 1, 0, 0]},
    "seconds": {
        "stages": {"read": 0.3, "high-pass": 0.0, "match": 0.15, "tracking": 0.08},
        "workers": [{"frames": 2, "steps": 4}, {"frames": 1, "steps": 0}],
    },
}
"""What the summary takes of a run report."""


class Terminal(io.StringIO):
    """A standard error that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def run_on_terminal(*arguments: object, columns: int = 100) -> tuple[int, str]:
    """Run Python with a pseudo terminal for its standard error; its exit code and what the terminal got."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
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
        """What a terminal shows: each carriage return and line feed begins a line anew. The table comes last."""
        folder = small_experiment()
        code, said = run_on_terminal("-m", "pyptv.pyptv_batch", folder, 10000, 10005, "--log-level", "DEBUG")
        assert code == 0
        lines = [line for line in re.split(r"[\r\n]+", said.replace("\x1b[A", "")) if line.strip()]
        bars = [line for line in lines if BAR.fullmatch(line)]
        logged = [line for line in lines if " - DEBUG - " in line or " - INFO - " in line]
        assert any("6/6 frames, 6 tracked 100%" in bar for bar in bars)
        assert all(LOG_LINE.fullmatch(line) for line in logged)
        assert sum(" - DEBUG - Frame " in line for line in logged) == 6
        table = lines[-7:]
        assert [line[:12].rstrip() for line in table if line[0] != " "] == [
            "Frames",
            "Per frame",
            "Link ratio",
            "ms per frame",
            "Time",
            "Reports",
        ]
        assert table[0] == "Frames       6 of 6 done, 0 failed, 6 tracked"
        assert table[-1] == f"Reports      {folder}/res/run_report.json"
        assert len(bars) + len(logged) + len(table) == len(lines), said
        assert [line for line in logged if "Run report" in line or "Total processing time" in line] == []  # the table has them

    def test_80_columns_are_enough(self, small_experiment):
        folder = small_experiment("e")
        (folder / "img" / "cam2.10003.tif").write_bytes(b"")
        code, said = run_on_terminal("-m", "pyptv.pyptv_batch", folder, 10000, 10005, "--on-error", "skip", columns=80)
        assert code == 3
        lines = [line for line in re.split(r"[\r\n]+", said.replace("\x1b[A", "")) if line.strip()]
        bars = [line for line in lines if BAR.fullmatch(line)]
        assert any("6/6 frames, 6 tracked 100%" in bar for bar in bars), "a frame that failed is through with both steps"
        assert all(len(bar) < 80 for bar in bars)
        assert not [line for line in lines if len(line) > 80 and not LOG_LINE.fullmatch(line) and str(folder) not in line]
        assert "Frames       5 of 6 done, 1 failed, 5 tracked" in lines
        assert any(line.startswith("Failed       frame 10003, camera 2:") for line in lines)

    def test_a_run_that_failed_ends_with_its_table_and_the_error(self, small_experiment):
        folder = small_experiment()
        (folder / "img" / "cam2.10003.tif").write_bytes(b"")
        code, said = run_on_terminal("-m", "pyptv.pyptv_batch", folder, 10000, 10005)
        assert code == 1
        lines = [line for line in re.split(r"[\r\n]+", said.replace("\x1b[A", "")) if line.strip()]
        assert "Frames       3 of 6 done, 1 failed, 2 not reached" in lines
        assert " - ERROR - Processing failed: frame 10003, camera 2: " in lines[-1]

    @pytest.mark.parametrize("option", ["-q", "--no-progress"])
    def test_no_bar_where_it_is_not_wanted(self, small_experiment, option):
        code, said = run_on_terminal("-m", "pyptv.pyptv_batch", small_experiment(), 10000, 10001, option)
        assert code == 0
        assert "%|" not in said
        assert ("\nFrames  " in said) == (option == "--no-progress")

    def test_a_summary_is_shown_once(self, make, monkeypatch):
        monkeypatch.setattr(sys, "stderr", Terminal())
        console = make()
        console.begin(Meter((1, 1), Options(), "optv"))
        console.finish(REPORT)
        console.wrote(Path("res/run_report.json"))
        console.show_summary()
        console.show_summary()
        assert sys.stderr.getvalue().count("Frames ") == 1
        assert sys.stderr.getvalue().endswith("\nReports      res/run_report.json\n")


class TestSummary:
    def test_all_rows(self):
        files = [Path("res/run_report.json"), Path("res/report.html")]
        assert summary_lines(REPORT, files) == [
            "Frames       5 of 20 done (2 kept), 5 failed, 4 tracked, 10 not reached",
            "Per frame    30.0 targets, 6.0 particles",
            "Link ratio   0.750 (15 links, 5 lost, 1 added)",
            "ms per frame read 100.0, match 50.0, tracking 20.0",
            "Time         1.2 s, engine optv",
            "Failed       frame 6: bad",
            "             frame 7: bad",
            "             frame 8: bad",
            "             and 2 more: see frames.failed in the run report",
            "Reports      res/run_report.json",
            "             res/report.html",
        ]

    def test_nothing_done(self):
        nothing = REPORT | {
            "frames": REPORT["frames"] | {"done": 0, "kept": 0, "tracked": 0, "failed": [], "not_reached": 20},
            "sequence": {"targets": [[], []], "particles": []},
            "tracking": {"frame": [], "links": [], "lost": [], "added": []},
            "seconds": {"stages": {"read": 0.0}, "workers": []},
        }
        assert summary_lines(nothing) == [
            "Frames       0 of 20 done, 0 failed, 20 not reached",
            "Time         1.2 s, engine optv",
        ]

    def test_long_rows_are_wrapped_and_paths_are_not_cut(self, tmp_path):
        path = tmp_path / ("x" * 90)
        stages = dict.fromkeys(["read", "high-pass", "detect", "match", "write", "tracking"], 1.0)
        report = REPORT | {"seconds": {"stages": stages, "workers": [{"frames": 1, "steps": 1}]}}
        lines = summary_lines(report, [path])
        assert str(path) in "".join(lines)
        assert len(lines) == 11
        assert "             write 1000.0, tracking 1000.0" in lines
        assert all(len(line) <= WIDTH for line in lines if str(path) not in line)


class TestElsewhere:
    def test_no_bar(self, make, monkeypatch):
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        console = make()
        console.begin(Meter((1, 3), Options(), "optv"))
        console.advance()
        console.finish(REPORT)
        console.show_summary()
        assert sys.stderr.getvalue() == ""

    def test_lines(self, make, monkeypatch):
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        make()
        logging.getLogger("pyptv.core.app.run").info("hello %d", 1)
        logging.getLogger("pyptv.core.app.run").debug("not this")
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
        assert all(LOG_LINE.fullmatch(line) for line in done.stderr.splitlines())  # no table either
