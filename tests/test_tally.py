"""What a run did, summed up; and the one place that decides about the exit code."""

from __future__ import annotations

import pytest

from pyptv.core.base.errors import ProcessingError, Terminated
from pyptv.core.base.events import FrameDone, FrameFailed, Note, StepDone
from pyptv.core.record.measures import Columns
from pyptv.core.record.tally import DONE, FAILED, INCOMPLETE, Tally


def report_of(*events, **options) -> Tally:
    report = Tally(Columns((1, 3), 2), **options)
    for event in events:
        report.record(event)
    return report


FRAMES = [FrameDone(1, (10, 20), (5,), 5, "a"), FrameDone(2, (30, 41), (6,), 6, "b")]
STEPS = [StepDone(1, 1, "a", links=3, lost=2, added=1), StepDone(1, 2, "b", links=6, lost=1, added=0)]


def test_exit_codes():
    assert report_of(*FRAMES).exit_code == DONE == 0
    assert report_of(*FRAMES, FrameFailed(3, "bad")).exit_code == FAILED == 1
    assert report_of(*FRAMES, FrameFailed(3, "bad"), skipping=True).exit_code == INCOMPLETE == 3
    assert report_of(*FRAMES, skipping=True).exit_code == DONE


def test_sums():
    report = report_of(*FRAMES, *STEPS, Note("pyptv", 20, "hello"), FrameFailed(3, "bad"))
    assert (report.frames, report.steps) == (2, 2)
    assert report.failed == {3: FrameFailed(3, "bad")}


def test_a_step_that_is_done_again_counts_once():
    again = StepDone(1, 2, "c", links=5, lost=2, added=0)
    assert "Tracking: 2 frames, links 8, lost 4, added 1, link ratio 0.667" in report_of(*FRAMES, *STEPS, again).lines()


def test_a_frame_whose_tracking_fails_has_no_links():
    report = report_of(*FRAMES, *STEPS, FrameFailed(2, "bad", step="tracking"))
    assert (report.frames, report.steps) == (2, 1)


ENDS = [
    pytest.param(None, 0, "done", None, id="to its end"),
    pytest.param(ProcessingError("no disk"), 1, "failed", "no disk", id="error"),
    pytest.param(ZeroDivisionError("by zero"), 1, "failed", "ZeroDivisionError: by zero", id="bug"),
    pytest.param(KeyboardInterrupt(), 130, "interrupted", None, id="Ctrl-C"),
    pytest.param(Terminated(), 143, "terminated", None, id="SIGTERM"),
    pytest.param(SystemExit(3), 130, "interrupted", None, id="exit"),
]


@pytest.mark.parametrize(("error", "code", "word", "text"), ENDS)
def test_how_a_run_ended(error, code, word, text):
    report = report_of(*FRAMES)
    assert (report.exit_code_after(error), report.outcome(error), report.error_text(error)) == (code, word, text)


def test_how_a_run_with_failed_frames_ended():
    failed = report_of(*FRAMES, FrameFailed(3, "bad"))
    assert (failed.outcome(None), failed.error_text(None)) == ("failed", "bad")
    skipped = report_of(*FRAMES, FrameFailed(3, "bad"), skipping=True)
    assert (skipped.outcome(None), skipped.error_text(None)) == ("incomplete", None)


def test_lines():
    assert report_of(*FRAMES, *STEPS, kept=1).lines() == [
        "Frames: 2 done (1 kept from the run before)",
        "Targets per frame: 50.5, particles per frame: 5.5",
        "Tracking: 2 frames, links 9, lost 3, added 1, link ratio 0.750",
        "Engine: optv",
    ]


def test_nothing_done():
    assert report_of(engine="compiled").lines() == ["Frames: 0 done", "Engine: compiled"]
    assert report_of(StepDone(-1, 1, "empty")).lines()[1].endswith("link ratio 0.000")
