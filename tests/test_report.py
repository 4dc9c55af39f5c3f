"""What a run did, summed up; and the one place that decides about the exit code."""

from __future__ import annotations

from pyptv.core.report import DONE, FAILED, INCOMPLETE, Report
from pyptv.core.results import FrameDone, FrameFailed, Note, StepDone


def report_of(*events, **options) -> Report:
    report = Report(**options)
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
    assert (report.frames, report.targets, report.particles) == (2, 101, 11)
    assert (report.steps, report.links, report.lost, report.added) == (2, 9, 3, 1)
    assert report.failed == {3: "bad"}


def test_lines():
    assert report_of(*FRAMES, *STEPS, kept=1).lines() == [
        "Frames: 2 done (1 kept from the run before)",
        "Targets per frame: 50.5, particles per frame: 5.5",
        "Tracking: 2 frames, links 9, lost 3, added 1, link ratio 0.750",
    ]


def test_nothing_done():
    assert report_of().lines() == ["Frames: 0 done"]
    assert report_of(StepDone(-1, 1, "empty")).lines()[-1].endswith("link ratio 0.000")
