"""Extends trajectories where the run has lost their particle but its targets exist: forward, then backward in time.

From the end of each piece the next position is predicted, with its error, and searched for among the targets
(:mod:`pyptv.trajectories.postprocess.targets`). A found position must fit better than a join, because targets
of other particles are near. If another piece begins at
that position, it is not searched: that is a join.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.experiment.folder import Experiment
from pyptv.trajectories.postprocess.model import TAIL, Bridges
from pyptv.trajectories.postprocess.targets import FrameTargets
from pyptv.trajectories.postprocess.tracks import Part, Pieces, TrackTable, extended

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

    Found = dict[int, list[Array]]
    """Piece -> positions (3,) [mm] in the frames beyond its end, nearest frame first."""
    Claims = dict[int, list[Indices]]
    """Frame -> the targets (n_cameras,) of each particle found in it."""

_FEWEST = 3
"""Minimum number of positions for a prediction."""


@dataclass(frozen=True)
class _Open:
    """n pieces that may continue."""

    piece: Indices
    recent: Array
    """(n, TAIL, 3) their last positions, in order of time; the first ones are undefined if there are fewer."""
    size: Indices
    """Number of valid ones."""

    def among(self, chosen: Indices) -> _Open:
        """Some of them."""
        return _Open(self.piece[chosen], self.recent[chosen], self.size[chosen])

    def with_next(self, position: Array) -> _Open:
        """All of them, one frame later."""
        recent = np.concatenate([self.recent[:, 1:], position[:, None]], axis=1)
        return _Open(self.piece, recent, np.minimum(self.size + 1, TAIL))


def extend(
    experiment: Experiment, claims: Claims, table: TrackTable, pieces: Pieces, bridges: Bridges, *, forward: bool
) -> Iterator[Part]:
    """Extend the pieces by particles found beyond their ends.

    Args:
        experiment: whose targets.
        claims: the tracked frames, ascending, and the targets found in each; new ones are added.
        table: the positions.
        pieces: that may continue.
        bridges: of the motion model.
        forward: in time.
    """
    found: Found = {}
    expecting = bridges if forward else bridges.backward
    ends, begins = (pieces.last, pieces.first) if forward else (pieces.first, pieces.last)
    long = np.flatnonzero(pieces.length >= _FEWEST)
    by_end, by_begin = long[np.argsort(ends[long], kind="stable")], np.argsort(begins, kind="stable")
    sorted_ends, sorted_begins = ends[by_end], begins[by_begin]
    step = 1 if forward else -1
    going: _Open | None = None
    before: int | None = None
    for frame in claims if forward else reversed(claims):
        if before is None or frame != before + step:
            going = None
        else:
            ended = by_end[slice(*np.searchsorted(sorted_ends, [before, before + 1]))]
            going = _together(going, _ended(table, pieces, ended, forward=forward))
            begun = by_begin[slice(*np.searchsorted(sorted_begins, [frame, frame + 1]))]
            rows = pieces.start[begun] + (0 if forward else pieces.length[begun] - 1)
            going = (
                _go_on(FrameTargets(experiment, frame, claims[frame]), going, table.position[rows], expecting, found)
                if len(going.piece)
                else None
            )
        before = frame
    nothing: Found = {}
    yield from extended(table, pieces, *((nothing, found) if forward else (found, nothing)))


def _ended(table: TrackTable, pieces: Pieces, ended: Indices, *, forward: bool) -> _Open:
    size = np.minimum(pieces.length[ended], TAIL)
    back = np.minimum(np.arange(TAIL - 1, -1, -1), size[:, None] - 1)
    last = pieces.start[ended] + pieces.length[ended] - 1
    rows = last[:, None] - back if forward else pieces.start[ended, None] + back
    recent = table.position[rows]
    sound = np.flatnonzero(np.isfinite(recent).all(axis=(1, 2)))
    return _Open(ended, recent, size).among(sound)


def _together(going: _Open | None, ended: _Open) -> _Open:
    if going is None:
        return ended
    return _Open(
        np.concatenate([going.piece, ended.piece]),
        np.concatenate([going.recent, ended.recent]),
        np.concatenate([going.size, ended.size]),
    )


def _go_on(targets: FrameTargets, going: _Open, begun: Array, bridges: Bridges, found: Found) -> _Open:
    """The open ends found in this frame; their positions are added to ``found``."""
    expected, variance = _expected(going, bridges)
    seek = np.flatnonzero(~_meets(expected, variance, begun, bridges))
    position, chosen = targets.seek(expected[seek], np.sqrt(variance[seek]))
    mismatch = ((position - expected[seek]) ** 2 / variance[seek]).sum(axis=1)
    kept: list[int] = []
    for index in np.argsort(mismatch).tolist():
        if mismatch[index] <= bridges.narrow[1] and targets.claim(chosen[:, index]):
            kept.append(index)
            found.setdefault(int(going.piece[seek[index]]), []).append(position[index])
    some = np.array(kept, dtype=np.int64)
    return going.among(seek[some]).with_next(position[some])


def _expected(going: _Open, bridges: Bridges) -> tuple[Array, Array]:
    """The predicted next positions (n, 3) [mm], and the variances (n, 3) of their measurements [mm^2]."""
    expected, variance = np.empty((len(going.piece), 3)), np.empty((len(going.piece), 3))
    for size in np.unique(going.size).tolist():
        some = np.flatnonzero(going.size == size)
        bridge = bridges(size, 0, 1)
        expected[some], variance[some] = bridge.expected(going.recent[some, TAIL - size :]), bridge.variance[:, 0]
    return expected, variance


def _meets(expected: Array, variance: Array, begun: Array, bridges: Bridges) -> NDArray[np.bool_]:
    """Which of n predictions (n, 3) fit a piece that begins at one of m positions (m, 3)."""
    if not len(begun):
        return np.zeros(len(expected), dtype=bool)
    squared = np.array(
        [((begun - place) ** 2 / spread).sum(axis=1).min() for place, spread in zip(expected, variance, strict=True)]
    )
    meets: NDArray[np.bool_] = squared <= bridges.limits[1]
    return meets
