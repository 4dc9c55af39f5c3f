"""Progress: each frame counts once, the time left follows from what both steps take; ``main()`` returns what it has done."""

from __future__ import annotations

import builtins
import json
import logging
import time

import pytest

from pyptv.core.base.events import FrameDone, FrameFailed, Note, StepDone
from pyptv.core.base.options import Options
from pyptv.core.cli import progress as shown
from pyptv.core.cli.console import Console
from pyptv.core.record.progress import Meter, duration
from pyptv.pyptv_batch import main
from pyptv.pyptv_batch_parallel import main as parallel


def frame_done(frame: int, seconds: float = 0.1, *, kept: bool = False) -> FrameDone:
    return FrameDone(frame, (), (), 100, "", seconds={} if kept else {"read": seconds}, kept=kept)


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


class TestMeter:
    def test_a_frame_counts_once_in_each_step(self, clock):
        meter = Meter((1, 4), Options(), "optv")
        for event in (frame_done(1), frame_done(1), StepDone(1, 1, "", seconds=0.3), StepDone(2, 1, "", seconds=0.3)):
            assert meter.record(event)
        assert not meter.record(Note("pyptv", 20, "hello"))
        now = meter.progress()
        assert (now.sequence, now.tracked, now.frames, now.total, now.failed) == (1, 1, 1, 4, 0)
        assert now.fraction == pytest.approx(0.25)

    def test_a_failed_frame_is_through(self, clock):
        meter = Meter((1, 2), Options(), "optv")
        for event in (FrameFailed(1, "bad"), frame_done(2), FrameFailed(2, "bad", step="tracking")):
            meter.record(event)
        now = meter.progress()
        assert (now.frames, now.failed, now.fraction, now.seconds_left) == (2, 2, 1.0, 0)

    @pytest.mark.parametrize("n", [1, 4])
    def test_time_left_from_the_measured_times_of_both_steps(self, clock, n):
        """One worker: sequence 0.1 s, tracking 0.3 s a frame. Several share both."""
        meter = Meter((1, 100), Options(n_processes=n, serial_tracking=n == 1), "optv")
        for frame in range(1, 11):
            meter.record(frame_done(frame))
            meter.record(StepDone(1, frame, "", seconds=0.3))
        clock[0] += 4.0 / n
        now = meter.progress()
        assert now.left == pytest.approx({"sequence": 9 / n, "tracking": 27 / n})
        assert now.rate == pytest.approx(2.5 * n)

    def test_serial_tracking_has_one_worker(self, clock):
        meter = Meter((1, 100), Options(n_processes=4, serial_tracking=True), "optv")
        for frame in range(1, 41):
            meter.record(frame_done(frame))
        clock[0] += 1.0
        assert meter.progress().left == pytest.approx({"sequence": 1.5, "tracking": 100 * 100 * 2e-4})

    def test_kept_frames_are_no_measure(self, clock):
        meter = Meter((1, 100), Options(mode="sequence"), "optv")
        for frame in range(1, 91):
            meter.record(frame_done(frame, kept=True))
        assert meter.progress().seconds_left is None
        meter.record(frame_done(91))
        clock[0] += 0.1
        assert meter.progress().left == pytest.approx({"sequence": 0.9})
        assert str(meter.progress()) == "91/100 frames (91 %), 10.0 frames/s, about 1 s left (sequence 1 s)"

    def test_old_paces_are_forgotten(self, clock):
        meter = Meter((1, 1000), Options(mode="sequence"), "optv")
        for frame in range(1, 101):
            meter.record(frame_done(frame))
            clock[0] += 1.0 if frame <= 50 else 0.1  # a slow start
            meter.progress()
        clock[0] += 30
        for frame in range(101, 401):
            meter.record(frame_done(frame))
            clock[0] += 0.1
            meter.progress()
        assert meter.progress().left["sequence"] == pytest.approx(60, rel=0.1)

    def test_durations(self):
        assert [duration(s) for s in (0, 59.4, 60, 3599.6, 7620)] == ["1 s", "59 s", "1 min 00 s", "1 h 00 min", "2 h 07 min"]


class TestWhoIsTold:
    def test_the_log_every_30_s(self, clock, caplog):
        caplog.set_level(logging.INFO, "pyptv")
        log, meter = shown.ProgressLog(), Meter((1, 1000), Options(), "optv")
        log.begin(meter)
        for frame in range(1, 71):
            meter.record(frame_done(frame))
            clock[0] += 1
            log.advance()
        log.finish({})
        assert [message.split(" (")[0] for message in caplog.messages] == [
            "Progress: 30/1000 frames, 0 tracked",
            "Progress: 60/1000 frames, 0 tracked",
        ]
        assert "frames/s, about " in caplog.messages[0]

    @pytest.mark.parametrize("quiet", [False, True])
    def test_a_command_without_a_terminal(self, clock, capsys, quiet):
        console = Console("INFO", None, quiet=quiet, progress=True)
        try:
            meter = Meter((1, 10), Options(), "optv")
            console.begin(meter)
            meter.record(frame_done(1))
            clock[0] += 31
            console.advance()
        finally:
            console.close()
        assert ("INFO - Progress: 1/10 frames, 0 tracked (" in capsys.readouterr().err) != quiet

    def test_a_bar_in_ipython(self, monkeypatch, capsys):
        """IPython puts get_ipython where every program finds it."""
        assert isinstance(shown.follow(None), shown.ProgressLog)
        monkeypatch.setattr(builtins, "get_ipython", lambda: None, raising=False)
        monkeypatch.setattr("sys.stderr.isatty", lambda: True)
        bar = shown.follow(None)
        assert isinstance(bar, shown.Bar)
        meter = Meter((1, 2), Options(mode="sequence"), "optv")
        bar.begin(meter)
        for frame in (1, 2):
            meter.record(frame_done(frame))
        bar.finish({})
        assert "2/2 frames 100%|" in capsys.readouterr().err
        assert isinstance(shown.follow(False), shown.ProgressLog)

    def test_neither_a_function_nor_a_choice(self, tmp_path):
        with pytest.raises(ValueError, match=r"^progress must be a function, True, False or None, got 'yes'$"):
            main(tmp_path, progress="yes")


class TestResult:
    def test_what_main_returns_and_tells(self, small_experiment):
        exp = small_experiment()
        told = []
        result = main(exp, progress=told.append)
        report = json.loads((exp / "res" / "run_report.json").read_text())
        assert (result.first, result.last, result.frames, result.tracked, result.failed) == (10000, 10005, 6, 6, {})
        assert result.particles == sum(report["sequence"]["particles"])
        assert result.targets == sum(map(sum, report["sequence"]["targets"]))
        assert (result.links, result.lost, result.added) == tuple(sum(report["tracking"][n]) for n in ("links", "lost", "added"))
        assert (result.results, result.run_report, result.html_report) == (exp / "res", exp / "res" / "run_report.json", None)
        assert 0 < result.link_ratio < 1
        assert result.seconds > 0
        assert repr(result).startswith("<RunResult frames 10000-10005: 6 done, 0 failed, ")
        assert str(result.results) in repr(result)
        assert (told[-1].frames, told[-1].fraction) == (6, 1.0)

    def test_frames_that_were_left_out(self, small_experiment):
        exp = small_experiment()
        (exp / "img" / "cam2.10003.tif").write_bytes(b"")
        result = parallel(exp, n_processes=2, on_error="skip", progress=False)
        assert (result.frames, list(result.failed), result.exit_code) == (5, [10003], 3)
        assert "the file is empty" in result.failed[10003]
        assert "1 failed" in repr(result)

    def test_an_exception_of_the_function_ends_the_run(self, small_experiment):
        def stop(progress):
            raise RuntimeError(str(progress.total))

        exp = small_experiment()
        with pytest.raises(RuntimeError, match=r"^6$"):
            main(exp, progress=stop)
        assert (exp / "res" / "run_report.json").exists()
