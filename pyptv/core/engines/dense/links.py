"""Links from a frame to the next, by prediction: from a window of four frames, and nothing else.

1. Between each two frames of the window, links from these two alone: votes of neighbours, then the neighbours' median motion.
2. Between the two in the middle, each particle is predicted from its own past, from its own future, and from its neighbours'
   motion; two-way nearest; what neither its own motion nor its neighbours' explains is refused.

A link is so a function of four frames. It depends on no other link that a run has made, on no chunk, and on no process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.dense.cells import nearest
from pyptv.kernels.dense.linking import local_median, two_way, vote

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]

WINDOW = (-1, 2)
"""The links from frame t to t + 1 depend on the frames t - 1 to t + 2."""

NO_NEXT, NO_PREVIOUS = -2, -1
"""As in ``ptv_is`` files."""

_NEIGHBOURS = 16
_VOTERS = 12
"""Neighbours that vote for a displacement of which nothing else is known,"""
_SHARE = 0.35
"""and the share of their votes that it needs."""
_ALIKE = 0.2
"""Neighbours move alike within so much of the particles' mean distance."""
_SMOOTHED = 9
"""Neighbours whose median motion predicts a particle's."""
_FLOOR = 0.08
_CEILING = 0.25
_SPREADS = 4.0
"""A link is refused where it is farther from what is expected than this multiple of the local scatter, which counts as at least
_FLOOR and at most _CEILING of the mean distance."""
_ROUNDS = 2
_KEPT = 8
"""Frames that a linker has in memory."""


@dataclass(frozen=True)
class Limits:
    """Smallest and largest displacement between two frames along each axis, (3,) each [mm]."""

    low: Floats
    high: Floats

    @property
    def box(self) -> Floats:
        """(6,) both."""
        return np.concatenate([self.low, self.high])


@dataclass(frozen=True)
class Cloud:
    """The particles of a frame, (n, 3) [mm], with their neighbours."""

    points: Floats

    def __len__(self) -> int:
        return len(self.points)

    @cached_property
    def neighbours(self) -> Ints:
        """(n, _NEIGHBOURS) rows of the nearest ones, -1 for none."""
        return nearest(self.points, self.points, _NEIGHBOURS, same=True)

    @cached_property
    def spacing(self) -> Floats:
        """(n,) local mean distance of particles [mm]: that of as many in a sphere as are up to the _VOTERS-th nearest one."""
        count = np.minimum((self.neighbours >= 0).sum(axis=1), _VOTERS)
        if not len(self) or not count.all():
            return np.full(len(self), 1.0)
        rows = np.arange(len(self))
        farthest = np.linalg.norm(self.points[self.neighbours[rows, count - 1]] - self.points, axis=1)
        spacing: Floats = np.maximum(farthest * (4 / 3 * np.pi / count) ** (1 / 3), 1e-6)
        return spacing

    def smooth(self, values: Floats, known: Flags) -> tuple[Floats, Floats]:
        """(n, 3) median of the neighbours' values, and (n,) their scatter."""
        return local_median(values, known, self.neighbours, _SMOOTHED)


@dataclass(frozen=True)
class Steps:
    """Links between two frames, seen from one of them."""

    to: Ints
    """(n,) row in the other frame; below 0: none."""
    moved: Floats
    """(n, 3) displacement from the earlier frame to the later one [mm]; 0 where there is no link."""

    @cached_property
    def known(self) -> Flags:
        """(n,) whether there is a link."""
        return self.to >= 0

    def seen_from_there(self, n: int) -> Steps:
        """The same links, seen from the other frame, of ``n`` particles."""
        back, moved = np.full(n, NO_PREVIOUS, np.int64), np.zeros((n, 3))
        here = np.flatnonzero(self.known)
        back[self.to[here]], moved[self.to[here]] = here, self.moved[here]
        return Steps(back, moved)

    def without(self, wrong: Flags) -> Steps:
        """Without some of them."""
        return Steps(np.where(wrong, NO_NEXT, self.to), np.where(wrong[:, None], 0.0, self.moved))


class Linker:
    """Links frames in any order; what it keeps in memory saves time and changes nothing."""

    def __init__(self, load: Callable[[int], Floats | None], limits: Limits) -> None:
        """``load`` gives the positions (n, 3) [mm] of a frame, None where there is none."""
        self._load = load
        self._limits = limits
        self._clouds: dict[int, Cloud | None] = {}
        self._first: dict[int, Steps | None] = {}
        self._digests: dict[int, str] = {}

    def links(self, frame: int) -> Ints:
        """(n,) row in the next frame of each particle of a frame, or -2."""
        here, there = self._cloud(frame), self._cloud(frame + 1)
        first = self._first_of(frame)
        if here is None or there is None or first is None:
            return np.full(0 if here is None else len(here), NO_NEXT, np.int64)
        past, future = self._first_of(frame - 1), self._first_of(frame + 1)
        before = past.seen_from_there(len(here)) if past is not None else None
        self._forget(frame - 1)
        return with_time(here, there, first, before=before, after=future, limits=self._limits).to

    def renewed(self, digests: Mapping[int, str]) -> None:
        """Forget what was made from other particles than there are now: frame -> fingerprint of these."""
        for frame, digest in digests.items():
            if self._digests.get(frame) != digest:
                self._clouds.pop(frame, None)
                self._first.pop(frame, None)
                self._first.pop(frame - 1, None)
                self._digests[frame] = digest

    def _cloud(self, frame: int) -> Cloud | None:
        if frame not in self._clouds:
            points = self._load(frame)
            self._clouds[frame] = Cloud(np.ascontiguousarray(points)) if points is not None and len(points) else None
        return self._clouds[frame]

    def _first_of(self, frame: int) -> Steps | None:
        if frame not in self._first:
            here, there = self._cloud(frame), self._cloud(frame + 1)
            self._first[frame] = first_links(here, there, self._limits) if here is not None and there is not None else None
        return self._first[frame]

    def _forget(self, before: int) -> None:
        for memory in (self._clouds, self._first, self._digests):
            for frame in [frame for frame in memory if frame < before or frame > before + _KEPT]:
                del memory[frame]


def previous(links: Ints, n: int) -> Ints:
    """Of each of the ``n`` particles that links lead to, the row that they come from, or -1."""
    back = np.full(n, NO_PREVIOUS, np.int64)
    here = np.flatnonzero(links >= 0)
    back[links[here]] = here
    return back


def smooth_at(points: Floats, rows: Ints, values: Floats, known: Flags) -> Floats:
    """(m, 3) median of the values (n, 3) of the neighbours of some points that have no known value themselves."""
    near = nearest(points, np.ascontiguousarray(points[rows]), _NEIGHBOURS + 1, same=False)  # with the point itself
    return local_median(values, known, near, _SMOOTHED)[0]


def first_links(a: Cloud, b: Cloud, limits: Limits) -> Steps:
    """Links of two frames from their particles alone."""
    voters = np.ascontiguousarray(a.neighbours[:, :_VOTERS])
    steps = _steps(a, b, vote(a.points, b.points, voters, limits.low, limits.high, _ALIKE * a.spacing, _SHARE))
    nothing, no_weight = np.zeros((len(b), 3)), np.zeros(len(b))
    for _ in range(_ROUNDS):
        motion, spread = a.smooth(*_values(steps))
        reach = _reach(a, _SPREADS * spread)
        steps = _steps(a, b, two_way(a.points, b.points, motion, np.ones(len(a)), nothing, no_weight, reach, limits.box))
    return _without_outliers(a, steps)


def with_time(a: Cloud, b: Cloud, steps: Steps, *, before: Steps | None, after: Steps | None, limits: Limits) -> Steps:
    """Links once more, with each particle's own past and future as predictions besides its neighbours' motion.

    Args:
        a: a frame.
        b: the next one.
        steps: between these, from these alone.
        before: the steps that have led to ``a``, seen from there; None: none are known.
        after: those that lead on from ``b``.
        limits: of displacement.
    """
    motion, spread = a.smooth(*_values(steps))
    noise = _FLOOR * a.spacing / 4
    weight = 1 / np.clip(spread, noise, _CEILING * a.spacing) ** 2
    own, own_weight = _own(a, steps, before)
    back, back_weight = _own(b, steps.seen_from_there(len(b)), after)
    total = weight + own_weight
    forward = (weight[:, None] * motion + own_weight[:, None] * own) / total[:, None]
    reach = _reach(a, 1.5 * _SPREADS / np.sqrt(total))
    return _steps(a, b, two_way(a.points, b.points, forward, total, back, back_weight, reach, limits.box))


def _steps(a: Cloud, b: Cloud, rows: Ints) -> Steps:
    moved = np.where((rows >= 0)[:, None], b.points[rows] - a.points, 0.0)
    return Steps(rows, moved)


def _values(steps: Steps) -> tuple[Floats, Flags]:
    return steps.moved, steps.known


def _reach(a: Cloud, wanted: Floats) -> Floats:
    reach: Floats = np.clip(wanted, _FLOOR * a.spacing, _CEILING * a.spacing)
    return reach


def _without_outliers(a: Cloud, steps: Steps) -> Steps:
    """Without those that move otherwise than their neighbours."""
    median, spread = a.smooth(*_values(steps))
    far = np.abs(steps.moved - median).max(axis=1)
    return steps.without(far > np.maximum(_SPREADS * spread, 2 * _FLOOR * a.spacing))


def _own(cloud: Cloud, steps: Steps, beside: Steps | None) -> tuple[Floats, Floats]:
    """What particles' own motion in the step beside this one says of this one, (n, 3) [mm], and its weight, 0 where nothing.

    A particle's motion changes as its neighbours' does: that is their median change, and the scatter of that is the error.
    """
    if beside is None:
        return np.zeros((len(cloud), 3)), np.zeros(len(cloud))
    change, spread = cloud.smooth(steps.moved - beside.moved, steps.known & beside.known)
    noise = _FLOOR * cloud.spacing / 4
    weight = 1 / np.clip(spread, noise, _CEILING * cloud.spacing) ** 2
    return beside.moved + change, np.where(beside.known, weight, 0.0)
