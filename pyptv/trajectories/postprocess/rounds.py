"""Joins in several rounds: a joined trajectory is longer, so more can be joined to it.

A trajectory often ends at a badly measured position, because two spots overlapped. When it is joined and such a
position beside the join deviates more than a good one does, it is cut out: an estimate replaces it, and it remains single.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyptv.trajectories.postprocess.chains import ESTIMATED, Chains, Rows, chains, grouped, rows_of
from pyptv.trajectories.postprocess.cuts import apart
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
    """Join pieces until there is no further join, in at most :data:`_MOST_ROUNDS` rounds; then cut out bad positions.

    From the second round on a chain counts as a piece, with estimates in its gaps.

    Args:
        table: the positions.
        pieces: that may be joined.
        bridges: of the motion model.
        max_gap: maximum number of missing frames of a join.
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
    return _without_bad_ends(table, whole, bridges)


def _as_pieces(table: TrackTable, whole: Chains, model: MotionModel) -> Iterator[Part]:
    number = 0
    for batch in batches(whole.span, ROWS_AT_ONCE):
        some = whole.among(np.arange(batch.start, batch.stop))
        rows = with_gaps_filled(model, rows_of(table, some))
        for first, start, stop in zip(some.first.tolist(), rows.offsets[:-1].tolist(), rows.offsets[1:].tolist(), strict=True):
            yield Part(number, first, rows.position[start:stop], number)
            number += 1


def with_gaps_filled(model: MotionModel, rows: Rows) -> Rows:
    """The same rows, with estimated positions where the particle is missing."""
    gaps = rows.origin == ESTIMATED
    if not gaps.any():
        return rows
    broken = np.flatnonzero(np.add.reduceat(gaps, rows.offsets[:-1]))
    part = rows.among(broken)
    position = rows.position.copy()
    position[gaps] = smooth(model, part.position, part.offsets).value[0][part.origin == ESTIMATED]
    return replace(rows, position=position)


def _without_bad_ends(table: TrackTable, whole: Chains, bridges: Bridges) -> Chains:
    """The chains without the bad positions beside their joins, each of which becomes a separate piece and chain."""
    several = np.flatnonzero(np.diff(whole.offsets) > 1)
    bad = [_bad_ends(table, whole.among(several[batch]), bridges) for batch in batches(whole.span[several], ROWS_AT_ONCE)]
    owner, row = np.concatenate([np.empty((0, 2), np.int64), *bad]).T
    if not len(row):
        return whole
    pieces = whole.pieces
    split = np.where(row == pieces.start[owner], row + 1, row)  # the first position is cut off after it
    owner, split = np.unique(np.column_stack([owner, split]), axis=0).T
    parts = apart(pieces, split, owner)
    chain = np.empty(len(pieces.first), dtype=np.int64)
    chain[whole.order] = np.repeat(np.arange(len(whole.span)), np.diff(whole.offsets))
    label = np.concatenate([chain, chain[owner]])
    alone = np.flatnonzero(np.isin(parts.start, row))
    label[alone] = len(whole.span) + np.arange(len(alone))
    return grouped(parts, label)


def _bad_ends(table: TrackTable, some: Chains, bridges: Bridges) -> Indices:
    """(k, 2) pieces and rows of the positions to be cut out, the worse one of each join; a single position is kept."""
    pieces, order = some.pieces, some.order
    rows = rows_of(table, some)
    estimate = smooth(bridges.model, rows.position, rows.offsets)
    noise = bridges.model.noise**2
    off = ((rows.position - estimate.value[0]) ** 2 / np.maximum(noise - estimate.error[0] ** 2, 1e-6 * noise)).sum(axis=1)
    owner = np.repeat(np.arange(len(some.span)), np.diff(some.offsets))
    place = rows.offsets[owner] + pieces.first[order] - some.first[owner]
    joins = np.flatnonzero(owner[1:] == owner[:-1])
    before, after = order[joins], order[joins + 1]
    sides = np.stack([off[place[joins] + pieces.length[before] - 1], off[place[joins + 1]]])
    sides[0, pieces.length[before] < 2] = sides[1, pieces.length[after] < 2] = 0.0
    worse = sides.argmax(axis=0)
    bad = sides.max(axis=0) > bridges.bad
    piece = np.where(worse == 0, before, after)[bad]
    row = np.where(worse == 0, pieces.start[before] + pieces.length[before] - 1, pieces.start[after])[bad]
    return np.column_stack([piece, row])
