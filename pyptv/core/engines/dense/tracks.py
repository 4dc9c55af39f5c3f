"""What links say of a frame: how long its tracks are, and where particles must be that were not found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pyptv.core.engines.dense.links import smooth_at
from pyptv.kernels.dense.cells import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]

TRACK = 3
"""Frames of a track that is believed: chance makes pairs, hardly ever three that move alike."""

PAIR = 2
"""Frames of a track that is worth a try."""

REACH = 3
"""Frames before and after a frame that :func:`start` looks at."""

_SAMPLE, _NEAR = 300, 12
_SAME = 0.1
"""Two places nearer to each other than that share of the mean distance of particles are one particle."""


class Linked(Protocol):
    """Frames with particles and links; those that there are not have none."""

    def positions(self, frame: int) -> Floats:
        """(n, 3) [mm]."""

    def next(self, frame: int) -> Ints:
        """(n,) row in the next frame, or -2."""

    def previous(self, frame: int) -> Ints:
        """(n,) row in the frame before, or -1."""


def behind(linked: Linked, frame: int, most: int) -> Ints:
    """(n,) frames of each particle's track up to this one, itself included; counted up to ``most``."""
    return _count(linked, frame, -1, most)


def ahead(linked: Linked, frame: int, most: int) -> Ints:
    """(n,) frames of each particle's track from this one on, itself included; counted up to ``most``."""
    return _count(linked, frame, 1, most)


def _count(linked: Linked, frame: int, step: int, most: int) -> Ints:
    n = len(linked.positions(frame))
    count, rows = np.ones(n, np.int64), np.arange(n)
    on = np.ones(n, bool)
    for _ in range(most - 1):
        to = linked.next(frame) if step > 0 else linked.previous(frame)
        rows = np.where(on, to[rows], -1) if len(to) else np.full(n, -1)
        on = rows >= 0
        if not on.any():
            break
        count += on
        rows = np.where(on, rows, 0)
        frame += step
    return count


def length(linked: Linked, frame: int, most: int) -> Ints:
    """(n,) frames of each particle's track; exact where it is below ``most``."""
    return behind(linked, frame, most) + ahead(linked, frame, most) - 1


def start(linked: Linked, frame: int) -> tuple[Flags, Floats]:
    """What a frame's second reconstruction begins with: (n,) which of its particles, and (m, 3) other places [mm].

    The particles that are on tracks of at least :data:`PAIR` frames, and the places to which particles of the frame before point
    that go on nowhere, and those of the frame after that come from nowhere: what is there once is looked for on both sides.
    Where there is nothing in the images, shaking and pruning show it.
    """
    tracked = length(linked, frame, PAIR) >= PAIR
    own = linked.positions(frame)[tracked]
    predicted = np.concatenate([_pointed_at(linked, frame, -1), _pointed_at(linked, frame, 1)])
    predicted = predicted[np.isfinite(predicted).all(axis=1)]
    together = np.ascontiguousarray(np.concatenate([own, predicted]))
    if not len(predicted) or len(together) < 2:
        return tracked, predicted
    same = _SAME * _mean_distance(together)
    keeps = np.ones(len(together), bool)
    close = nearest(together, np.ascontiguousarray(predicted), 4, same=False)
    for row, others in enumerate(close, start=len(own)):
        for other in others[others >= 0]:
            # of predictions from both sides the first stays; one of a particle that is there says nothing new
            if other < row and keeps[other] and np.linalg.norm(together[other] - together[row]) < same:
                keeps[row] = False
                break
    return tracked, predicted[keeps[len(own) :]]


def _mean_distance(points: Floats) -> float:
    """The mean distance of points (n, 3) [mm], from the _NEAR-th neighbours of some of them."""
    some = np.ascontiguousarray(points[:: max(1, len(points) // _SAMPLE)])
    k = min(_NEAR, len(points) - 1)
    farthest = nearest(points, some, k + 1, same=False)[:, k]  # the nearest is the point itself
    radius = float(np.median(np.linalg.norm(points[farthest] - some, axis=1)))
    return radius * math.cbrt(4 / 3 * math.pi / k)


def _pointed_at(linked: Linked, frame: int, side: int) -> Floats:
    """Where particles point that have no link to a frame from beside it: from before it (``side`` -1), or after it (1).

    Those on tracks by their own motion, the others by that of their neighbours.
    """
    beside = frame + side
    there = linked.positions(beside)
    if not len(there) or not len(linked.positions(frame)):
        return np.empty((0, 3))
    to = linked.next(beside) if side < 0 else linked.previous(beside)
    known = to >= 0
    moved = np.where(known[:, None], linked.positions(frame)[to] - there, 0.0)
    lost = np.flatnonzero(~known)
    places = there[lost] + smooth_at(there, lost, moved, known)
    long = (behind if side < 0 else ahead)(linked, beside, TRACK)[lost] >= TRACK
    rows = lost[long]
    first = _onward(linked, beside, rows, side)
    x0, x1 = there[rows], linked.positions(beside + side)[first]
    x2 = linked.positions(beside + 2 * side)[_onward(linked, beside + side, first, side)]
    # x + v + half of the second difference: less noise than with all of it
    places[long] = 2.5 * x0 - 2 * x1 + 0.5 * x2
    return np.asarray(places)


def _onward(linked: Linked, frame: int, rows: Ints, side: int) -> Ints:
    return (linked.previous(frame) if side < 0 else linked.next(frame))[rows]
