"""Joins, round after round: a trajectory that was joined is longer, and so more can be joined to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyptv.trajectories.postprocess.chains import ESTIMATED, Chains, Rows, chains, rows_of
from pyptv.trajectories.postprocess.joins import join
from pyptv.trajectories.postprocess.model import Bridges, MotionModel
from pyptv.trajectories.postprocess.smoother import smooth
from pyptv.trajectories.postprocess.tracks import Part, Pieces, TrackTable, batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

ROWS_AT_ONCE = 50_000
_MOST_ROUNDS = 4


def join_all(table: TrackTable, pieces: Pieces, bridges: Bridges, max_gap: int, workplace: Path | None) -> Chains:
    """Join pieces until nothing is left to join, :data:`_MOST_ROUNDS` times at most.

    From the second round on a chain counts as a piece, with estimates in its gaps.

    Args:
        table: where the positions are.
        pieces: what may be joined.
        bridges: of the motion model.
        max_gap: largest number of missing frames of a join.
        workplace: folder for temporary files; None: that of the system.
    """
    before, after = join(table, pieces, bridges, max_gap)
    whole = chains(pieces, before, after)
    for _ in range(_MOST_ROUNDS - 1):
        longer = TrackTable(_as_pieces(table, whole, bridges.model), workplace)
        try:
            a, b = join(longer, longer.pieces, bridges, max_gap)
        finally:
            longer.close()
        if not len(a):
            break
        before = np.concatenate([before, whole.order[whole.offsets[a + 1] - 1]])
        after = np.concatenate([after, whole.id[b]])
        whole = chains(pieces, before, after)
    return whole


def _as_pieces(table: TrackTable, whole: Chains, model: MotionModel) -> Iterator[Part]:
    number = 0
    for batch in batches(whole.span, ROWS_AT_ONCE):
        some = whole.among(np.arange(batch.start, batch.stop))
        rows = with_gaps_filled(model, rows_of(table, some))
        for first, start, stop in zip(some.first.tolist(), rows.offsets[:-1].tolist(), rows.offsets[1:].tolist(), strict=True):
            yield Part(number, first, rows.position[start:stop], number)
            number += 1


def with_gaps_filled(model: MotionModel, rows: Rows) -> Rows:
    """The same rows, with the estimated position where the particle is missing."""
    gaps = rows.origin == ESTIMATED
    if not gaps.any():
        return rows
    broken = np.flatnonzero(np.add.reduceat(gaps, rows.offsets[:-1]))
    part = rows.among(broken)
    position = rows.position.copy()
    position[gaps] = smooth(model, part.position, part.offsets).value[0][part.origin == ESTIMATED]
    return replace(rows, position=position)
