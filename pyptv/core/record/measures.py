"""The numbers of a run: one row per frame, and the seconds of each stage and worker.

A row takes four bytes per number, about 50 bytes per frame, so that a run of any length can be reported completely.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pyptv.core.base.events import Event, FrameDone, FrameFailed, LinksJoined, PassDone, StepDone
from pyptv.core.base.frames import FrameRange

STAGES = ("read", "high-pass", "detect", "match", "reconstruct", "write", "tracking")
"""The stages whose time is measured, in the order in which a frame passes them."""

_KINDS = ("quadruplets", "triplets", "pairs")
_ABSENT = -1
_DIGITS = 6


class Rows:
    """A row of whole numbers for each frame of a range. Rows are set in any order; a later value replaces an earlier one.

    The last column is a number of particles, which is never negative: this marks existing rows.
    """

    def __init__(self, frames: FrameRange, width: int) -> None:
        self._first = frames[0]
        self._width = width
        self._numbers = array("i")
        """As many rows as have been set."""

    def set(self, frame: int, row: Sequence[int]) -> None:
        """Set a frame's numbers."""
        start = (frame - self._first) * self._width
        self._numbers.extend([_ABSENT] * (start + self._width - len(self._numbers)))
        self._numbers[start : start + self._width] = array("i", row)

    def get(self, frame: int) -> list[int] | None:
        """A frame's numbers, or None."""
        start = (frame - self._first) * self._width
        row = self._numbers[start : start + self._width].tolist()
        return row if row and row[-1] != _ABSENT else None

    def drop(self, frame: int) -> None:
        """Remove a frame's numbers."""
        self.set(frame, [_ABSENT] * self._width)

    def columns(self) -> tuple[list[int], list[list[int]]]:
        """The frames that have a row, ascending, and each column over these frames."""
        marks = self._numbers[self._width - 1 :: self._width]
        there = [index for index, mark in enumerate(marks) if mark != _ABSENT]
        columns = [self._numbers[column :: self._width] for column in range(self._width)]
        return [self._first + index for index in there], [[column[index] for index in there] for column in columns]


class Columns:
    """Targets, correspondences, particles and links over the frames of a run; receives every reported event."""

    def __init__(self, frames: FrameRange, n_cams: int) -> None:
        self._n_cams = n_cams
        self._kinds = _KINDS[len(_KINDS) - n_cams + 1 :] if n_cams > 1 else ()
        self._sequence = Rows(frames, n_cams + len(self._kinds) + 1)
        self._tracking = Rows(frames, 4)

    def record(self, event: Event) -> None:
        """Add a finished frame. A frame whose links failed afterwards has none."""
        if isinstance(event, FrameDone):
            self._sequence.set(event.frame, [*event.targets, *event.counts[: len(self._kinds)], event.particles])
        elif isinstance(event, StepDone):
            self._tracking.set(event.frame, [event.links, event.lost, event.added, event.current])
        elif isinstance(event, LinksJoined):
            tracked = self._tracking.get(event.frame)
            if tracked is not None:
                lost = 0 if event.last else event.particles - event.links
                self._tracking.set(event.frame, [event.links, lost, *tracked[2:]])
        elif isinstance(event, FrameFailed):
            self._tracking.drop(event.frame)

    def sequence(self) -> dict[str, Any]:
        """``targets`` has a list per camera; kinds of correspondence that need more cameras are None."""
        frames, columns = self._sequence.columns()
        kinds = dict(zip(self._kinds, columns[self._n_cams :], strict=False))
        return {
            "frame": frames,
            "targets": columns[: self._n_cams],
            **{kind: kinds.get(kind) for kind in _KINDS},
            "particles": columns[-1],
        }

    def tracking(self) -> dict[str, list[int]]:
        """Particles, and how many were linked to the next frame, lost, or added."""
        frames, (links, lost, added, particles) = self._tracking.columns()
        return {"frame": frames, "particles": particles, "links": links, "lost": lost, "added": added}


@dataclass
class Work:
    """The work of one worker: frames of the sequence step, steps of the tracker, and their seconds."""

    frames: int = 0
    steps: int = 0
    busy: float = 0.0


@dataclass
class Times:
    """The workers' time by stage; receives every event of a worker, also of tracking that is not used."""

    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    workers: dict[int, Work] = field(default_factory=dict)

    def record(self, event: Event) -> None:
        """Add the time of a frame or step."""
        if isinstance(event, FrameDone | StepDone) and event.kept and not event.seconds:
            return  # the frame was only checked
        if isinstance(event, FrameDone):
            spent = event.seconds
        elif isinstance(event, StepDone):
            spent = {"tracking": event.seconds}
        elif isinstance(event, PassDone):
            spent = {"tracking" if event.step.startswith("links") else "reconstruct": event.seconds}
        else:
            return
        work = self.workers.setdefault(event.worker, Work())
        work.frames += isinstance(event, FrameDone)
        work.steps += isinstance(event, StepDone)
        for stage, seconds in spent.items():
            self.stages[stage] += seconds
            work.busy += seconds

    def as_tree(self) -> dict[str, object]:
        """Plain dictionaries and lists: seconds of each stage, then of each worker that did any work."""
        return {
            "stages": {
                stage: round(seconds, _DIGITS)
                for stage, seconds in self.stages.items()
                if seconds or stage != "reconstruct"  # of another method
            },
            "workers": [
                {"worker": number, "frames": work.frames, "steps": work.steps, "busy": round(work.busy, _DIGITS)}
                for number, work in sorted(self.workers.items())
            ],
        }
