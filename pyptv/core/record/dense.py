"""Further records of a run of the dense method: passes, iterations, self-calibration, links by chance."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterator, Mapping
from typing import Any

from pyptv.core.base.events import Event, PassDone
from pyptv.core.base.frames import FrameRange
from pyptv.core.stages.tasks import OPTICS, DenseJob

logger = logging.getLogger(__name__)

_FOUND, _LINKS = "found-", "links-"
_NUMBERS = ("begun_with", "energy_left", "noise", "misfit")
_CHANCE = ("sampled_links", "sampled_tracks", "chance_links", "chance_tracks")
_DIGITS = 5
_UNSETTLED = 0.01
"""A frame whose last search still found more than this share of its particles, without dropped ones, has not converged;"""
_UNSETTLED_AT_LEAST = 200
"""this applies to frames with at least this many particles; in others a few particles are not significant."""


class _Pass:
    """The columns of a reconstruction, one number per frame, and the results of its iterations, added up over the frames."""

    def __init__(self, frames: FrameRange) -> None:
        self._first = frames[0]
        n = frames[1] - frames[0] + 1
        self._columns = {name: array("d", [-1.0]) * n for name in ("particles", *_NUMBERS)}
        self._iterations: list[list[int]] = []
        self.unsettled: set[int] = set()
        """Frames that have not converged."""

    def add(self, event: PassDone) -> None:
        """A frame of this pass is done."""
        index = event.frame - self._first
        for name, value in {"particles": event.particles, **event.numbers}.items():
            if name in self._columns:
                self._columns[name][index] = value
        searches = [(added - dropped, total) for cameras, added, dropped, total in event.iterations if cameras > 0]
        if searches and searches[-1][0] > _UNSETTLED * max(searches[-1][1], _UNSETTLED_AT_LEAST):
            self.unsettled.add(event.frame)
        for number, row in enumerate(event.iterations):
            if number == len(self._iterations):
                self._iterations.append([0, 0, 0, 0, 0])
            for place, value in enumerate((1, row[0], *row[1:])):
                self._iterations[number][place] += value

    def as_tree(self) -> dict[str, Any]:
        """The pass as in ``run_report.json``."""
        there = [index for index, value in enumerate(self._columns["particles"]) if value >= 0]
        tree: dict[str, Any] = {"frame": [self._first + index for index in there]}
        for name in ("particles", "begun_with"):
            tree[name] = [int(self._columns[name][index]) for index in there]
        for name in ("energy_left", "noise", "misfit"):
            tree[name] = [round(self._columns[name][index], _DIGITS) for index in there]
        names = ("frames", "cameras", "new", "pruned", "particles")
        tree["iterations"] = [dict(zip(names, row, strict=True)) for row in self._iterations]
        return tree


class DenseRecord:
    """Receives every event of a run of the dense method."""

    def __init__(self, dense: DenseJob, frames: FrameRange) -> None:
        self._dense = dense
        self._frames = frames
        self._passes: dict[str, _Pass] = {}
        self._optics: Mapping[str, Any] | None = None
        self._chance = dict.fromkeys(_CHANCE, 0)
        self._chance_frames = 0
        self._dropped = 0

    def record(self, event: Event) -> None:
        """Process an event."""
        if not isinstance(event, PassDone):
            return
        if event.step == OPTICS:
            self._optics = event.notes
        elif event.step.startswith(_FOUND) and event.iterations:
            self._passes.setdefault(event.step, _Pass(self._frames)).add(event)
        elif event.step.startswith(_LINKS) and "chance_links" in event.numbers:
            self._chance_frames += 1
            for name in _CHANCE:
                self._chance[name] += int(event.numbers[name])
        self._dropped += int(event.numbers.get("dropped", 0))

    def as_tree(self) -> dict[str, Any]:
        """Plain dictionaries, lists and numbers, as in ``run_report.json``."""
        return {
            "min_track": self._dense.min_track,
            "self_calibration": self._calibration(),
            "passes": [self._passes[name].as_tree() for name in sorted(self._passes)],
            "dropped": self._dropped,
            "unsettled": self.unsettled,
            "chance": {"frames": self._chance_frames, **self._chance} if self._chance_frames else None,
        }

    @property
    def unsettled(self) -> list[int]:
        """Frames whose last reconstruction has not converged."""
        return sorted(self._passes[max(self._passes)].unsettled) if self._passes else []

    def lines(self) -> Iterator[str]:
        """The lines for the log, one fact each."""
        calibration = self._calibration()
        if calibration is not None:
            texts = (
                f"{camera['before_px']:.2f} to {camera['after_px']:.2f}" if camera["before_px"] is not None else "none"
                for camera in calibration["cameras"]
            )
            yield f"Self-calibration: disparity by camera, before and after [px]: {', '.join(texts)}"
        for number, name in enumerate(sorted(self._passes), start=1):
            tree = self._passes[name].as_tree()
            n = max(1, len(tree["frame"]))
            yield (
                f"Pass {number}: particles per frame {sum(tree['particles']) / n:.1f}, "
                f"begun with {sum(tree['begun_with']) / n:.1f}, "
                f"energy left in the images {100 * sum(tree['energy_left']) / n:.1f} %"
            )
        if self._dropped:
            yield f"Dropped: {self._dropped} particles on tracks of fewer than {self._dense.min_track} frames"
        if self._chance_frames:
            links, tracks = self._chance["sampled_links"], self._chance["sampled_tracks"]
            yield (
                f"By chance (every second frame displaced): {self._chance['chance_links']} links where there are {links}, "
                f"{self._chance['chance_tracks']} tracks of three frames where there are {tracks}"
            )

    def _calibration(self) -> dict[str, Any] | None:
        if self._optics is None or "cameras" not in self._optics:
            return None
        return {"frames": self._optics["frames"], "cameras": self._optics["cameras"]}
