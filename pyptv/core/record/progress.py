"""Progress of a run: frames (each counted once), rate and remaining time, from the measured times of both steps."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

from pyptv.core.base.events import Event, FrameDone, FrameFailed, PassDone, Step, StepDone
from pyptv.core.base.frames import FrameRange
from pyptv.core.base.options import Engine, Options

TRACKING_SECONDS_PER_PARTICLE: dict[Engine, float] = {"optv": 2.0e-4, "compiled": 0.2e-4}
"""Time of one tracking step at about 1000 particles per frame; with optv it grows faster than their number."""

_WINDOW = 20.0
"""Seconds over which the workers' rate is measured."""


@dataclass(frozen=True)
class Progress:
    """The progress of a run. Its ``str()`` is the log line."""

    total: int
    """Frames of the run."""
    sequence: int
    """Frames whose sequence step is done or has failed; 0 in a run that only tracks."""
    tracked: int
    """Likewise, their tracking; 0 in a run without."""
    failed: int
    fraction: float
    """Share of the work that is done, 0 to 1: each step counts by the time that it takes."""
    seconds: float
    """Seconds since the first frame was begun."""
    rate: float
    """Frames per second through all steps; 0 if nothing has been measured."""
    left: dict[Step, float]
    """Step -> seconds until it is done, for unfinished steps; empty if nothing has been measured."""
    steps: tuple[Step, ...]
    """The steps of the run."""

    @property
    def frames(self) -> int:
        """Frames that have passed all steps."""
        return min(self.sequence if step == "sequence" else self.tracked for step in self.steps)

    @property
    def counts(self) -> str:
        """``120/200 frames, 40 tracked``."""
        first = self.sequence if "sequence" in self.steps else self.tracked
        return f"{first}/{self.total} frames" + (f", {self.tracked} tracked" if len(self.steps) > 1 else "")

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end; None if nothing has been measured."""
        return sum(self.left.values()) if self.left or self.fraction >= 1 else None

    def __str__(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        text = f"{self.counts}{failed} ({100 * self.fraction:.0f} %)"
        if self.seconds_left is None:
            return text
        parts = ", ".join(f"{step} {duration(seconds)}" for step, seconds in self.left.items())
        return f"{text}, {self.rate:.1f} frames/s, about {duration(self.seconds_left)} left" + (f" ({parts})" if parts else "")


class Meter:
    """Counts the events of a run; each frame counts once per step, even if a step is repeated."""

    def __init__(self, frames: FrameRange, options: Options, engine: Engine) -> None:
        self._first = frames[0]
        self.total = frames[1] - frames[0] + 1
        steps: tuple[tuple[Step, bool], ...] = (("sequence", options.processes), ("tracking", options.tracks))
        self.steps: tuple[Step, ...] = tuple(step for step, wanted in steps if wanted)
        self._passes: dict[Step, int] = {"sequence": 1, "tracking": 2 if options.tracking == "both" else 1}
        self._through: dict[Step, bytearray] = {step: bytearray(self.total) for step in self.steps}
        self._done: dict[Step, int] = dict.fromkeys(self.steps, 0)
        self._measured: dict[Step, int] = dict.fromkeys(self.steps, 0)
        self._busy: dict[Step, float] = dict.fromkeys(self.steps, 0.0)
        self._particles = 0
        self._per_particle = TRACKING_SECONDS_PER_PARTICLE[engine]
        self._shares_tracking = options.n_processes > 1 and not options.serial_tracking
        self._failed: set[int] = set()
        self._start = time.monotonic()
        self._marks: deque[tuple[float, float]] = deque([(0.0, 0.0)])
        """(seconds, busy seconds of the workers), sampled at intervals."""

    def track_again(self) -> None:
        """The frames are also tracked backward: their steps count once more."""
        self._through["tracking"] = bytearray(self.total)

    def record(self, event: Event) -> bool:
        """Process an event; returns whether it changed the progress."""
        if isinstance(event, FrameDone):
            if self._count("sequence", event.frame) and not event.kept:
                self._measure("sequence", sum(event.seconds.values()))
                self._particles += event.particles
        elif isinstance(event, StepDone):
            if self._count("tracking", event.frame) and not event.kept:
                self._measure("tracking", event.seconds)
        elif isinstance(event, FrameFailed):
            self._failed.add(event.frame)
            for step in self.steps if event.step == "sequence" else ("tracking",):
                self._count(step, event.frame)
        elif isinstance(event, PassDone):  # an intermediate step of the dense method
            of: Step = "tracking" if event.step.startswith("links") and "tracking" in self.steps else "sequence"
            self._busy[of] = self._busy.get(of, 0.0) + event.seconds
            return False
        else:
            return False
        return True

    def progress(self) -> Progress:
        """The current progress."""
        seconds = time.monotonic() - self._start
        cost = {step: self._cost(step) for step in self.steps}
        todo = {step: self._passes[step] * self.total for step in self.steps}
        work = {step: cost[step] * (todo[step] - self._done[step]) for step in self.steps}
        whole = sum(cost[step] * self._passes[step] for step in self.steps)
        if whole > 0:
            fraction = sum(cost[step] * self._done[step] for step in self.steps) / sum(
                cost[step] * todo[step] for step in self.steps
            )
        else:
            fraction = sum(self._done.values()) / sum(todo.values())
        pace = self._pace(seconds)
        left: dict[Step, float] = {}
        if pace > 0:
            for step in self.steps:
                if self._done[step] < todo[step]:
                    left[step] = work[step] / (pace if step == "sequence" or self._shares_tracking else min(pace, 1.0))
        measured = sum(cost[step] * self._measured[step] for step in self.steps)
        rate = measured / whole / seconds if whole > 0 and seconds > 0 else 0.0
        counts = {step: self._done.get(step, 0) // self._passes[step] for step in self._passes}
        return Progress(
            self.total, counts["sequence"], counts["tracking"], len(self._failed), fraction, seconds, rate, left, self.steps
        )

    def _count(self, step: Step, frame: int) -> bool:
        """Whether a frame has finished a step for the first time."""
        through = self._through.get(step)
        if through is None or through[frame - self._first]:
            return False
        through[frame - self._first] = 1
        self._done[step] += 1
        return True

    def _measure(self, step: Step, seconds: float) -> None:
        self._measured[step] += 1
        self._busy[step] += seconds

    def _cost(self, step: Step) -> float:
        """Time of a frame in a step [s]: measured; before the first link, estimated from the number of particles."""
        if self._measured[step]:
            return self._busy[step] / self._measured[step]
        done = self._measured.get("sequence", 0)
        return self._particles / done * self._per_particle if step == "tracking" and done else 0.0

    def _pace(self, seconds: float) -> float:
        """Recent average number of busy workers."""
        busy = sum(self._busy.values())
        while len(self._marks) > 1 and seconds - self._marks[1][0] >= _WINDOW:
            self._marks.popleft()
        then, busy_then = self._marks[0]
        if seconds - self._marks[-1][0] >= _WINDOW / 10:
            self._marks.append((seconds, busy))
        return (busy - busy_then) / (seconds - then) if seconds > then else 0.0


def duration(seconds: float) -> str:
    """A duration in words: ``12 s``, ``3 min 05 s``, ``2 h 07 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{max(1, rest)} s"
