"""Links of a frame to the next, and the number of chance links."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.base.events import PassDone
from pyptv.core.base.frames import FrameRange
from pyptv.core.engines.dense.links import WINDOW, Limits, Linker, previous
from pyptv.core.experiment.parameters.schema import TrackingParameters
from pyptv.core.files.atomic import digest
from pyptv.core.files.store import Store
from pyptv.core.stages.dense.window import Window
from pyptv.core.stages.tasks import Announce, DenseJob, Job, table_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_CHANCE_SAMPLES, _CHANCE_STEP = 20, 5
"""Approximate number of frames at which chance links are counted, and minimum interval: it needs a second linking."""


def limits_of(track: TrackingParameters) -> Limits:
    """Minimum and maximum displacement in the parameters."""
    return Limits(np.array([track.dvxmin, track.dvymin, track.dvzmin]), np.array([track.dvxmax, track.dvymax, track.dvzmax]))


class LinkStep:
    """Links the frames of a range."""

    def __init__(
        self, job: Job, dense: DenseJob, store: Store, announce: Announce, *, window: Window, number: int, last: bool
    ) -> None:
        self._job, self._dense, self._store, self._announce = job, dense, store, announce
        self._window, self._number, self._last = window, number, last
        limits = limits_of(job.experiment.parameters.track)
        self._linker = Linker(window.particles, limits)
        self._limits = limits

    def link(self, frame: int) -> PassDone:
        """Link a frame to the next one, unless an earlier run has, from the same particles."""
        began = time.perf_counter()
        name = table_name("link", self._number)
        samples = self._last and samples_chance(frame, self._dense.frames)
        ahead = WINDOW[1] + samples
        inputs = self._window.inputs(frame, -WINDOW[0], ahead, links=False)
        key = digest(f"{self._job.fingerprints['track']} {samples} {inputs}".encode())
        header = self._store.tables.header(name, frame)
        n = len(self._window.positions(frame))
        if self._dense.resume and header is not None and header.key == key:
            return PassDone(frame, name, n, {k: float(v) for k, v in header.notes.items()}, kept=True)
        self._announce(frame, f"linking particles, pass {self._number}")
        around = range(frame + WINDOW[0], frame + ahead + 1)
        self._linker.renewed({beside: self._window.found_digest(beside) for beside in around})
        links = self._linker.links(frame)
        notes = {"links": int((links >= 0).sum())}
        if samples:
            notes |= self._chance(frame, links)
        self._store.tables.write(name, frame, key, {"next": links}, notes=notes)
        return PassDone(frame, name, n, {k: float(v) for k, v in notes.items()}, seconds=time.perf_counter() - began)

    def _chance(self, frame: int, links: Ints) -> dict[str, int]:
        """Numbers of links and of tracks of three frames, as found and between displaced frames, where none is true."""
        n = len(self._window.positions(frame + 1))
        after = self._linker.links(frame + 1)
        by_chance = Linker(self._displaced, self._limits)
        displaced, displaced_after = by_chance.links(frame), by_chance.links(frame + 1)
        return {
            "sampled_links": int((links >= 0).sum()),
            "sampled_tracks": _tracks(links, after, n),
            "chance_links": int((displaced >= 0).sum()),
            "chance_tracks": _tracks(displaced, displaced_after, n),
        }

    def _displaced(self, frame: int) -> Floats | None:
        """Every second frame displaced by half of the volume along each axis, periodically."""
        points = self._window.particles(frame)
        if points is None or not len(points) or frame % 2 == 0:
            return points
        low, extent = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1e-9)
        moved: Floats = low + (points - low + extent / 2) % extent
        return moved


def samples_chance(frame: int, frames: FrameRange) -> bool:
    """Whether chance links are counted at a frame: at some frames of the run, without the last two."""
    n = frames[1] - frames[0] + 1
    return frame + 2 <= frames[1] and (frame - frames[0]) % max(_CHANCE_STEP, n // _CHANCE_SAMPLES) == 0


def _tracks(links: Ints, after: Ints, n: int) -> int:
    """Number of the ``n`` particles of the middle frame that are linked on both sides."""
    return int(((previous(links, n) >= 0) & (after >= 0)).sum()) if len(after) == n else 0
