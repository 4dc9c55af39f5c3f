"""Cuts links that are impossible for one particle.

A link is cut if its second position more likely belongs to another particle that happens to be there, even after
allowing for the errors of overlapping spots, which are much larger than usual. After a wrong link no position is as
predicted; so a trajectory is followed from both ends, and cut at the first impossible link from each. A wrong link is the same
from both ends. A single outlier is cut out: its trajectory is joined again across it, and it remains single.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pyptv.trajectories.arrays import offsets_of
from pyptv.trajectories.postprocess.model import TAIL, Bridges
from pyptv.trajectories.postprocess.tracks import Pieces, TrackTable, batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

ODDS = math.log(20.0)
"""Logarithm of the odds against a link at which it is cut."""
_FEWEST = 3
"""Minimum number of positions for a prediction."""
_MOST_ROUNDS = 6


def cut(table: TrackTable, bridges: Bridges) -> Pieces:
    """Cut impossible links.

    Args:
        table: the trajectories.
        bridges: of the motion model.

    Returns:
        The remaining pieces: those that begin at a cut are after all others.
    """
    pieces = table.pieces
    log_density = math.log(table.per_frame / table.volume)
    suspects = np.arange(len(pieces.first))
    for _ in range(_MOST_ROUNDS):
        suspects = suspects[pieces.length[suspects] > _FEWEST]
        suspects = suspects[np.argsort(pieces.start[suspects])]
        rows, owners = _impossible(table, pieces, suspects, bridges, log_density)
        if not len(rows):
            break
        before = len(pieces.first)
        pieces = apart(pieces, rows, owners)
        suspects = np.concatenate([np.unique(owners), np.arange(before, len(pieces.first))])
    return pieces


def _impossible(
    table: TrackTable, pieces: Pieces, some: Indices, bridges: Bridges, log_density: float
) -> tuple[Indices, Indices]:
    """Rows after impossible links, the first one from each end, and their pieces."""
    found: list[Indices] = [np.empty(0, np.int64)]
    owners: list[Indices] = [np.empty(0, np.int64)]
    for batch in batches(pieces.length[some]):
        chosen = some[batch]
        start, length = pieces.start[chosen], pieces.length[chosen]
        rows, owner = np.concatenate(
            [
                _first_bad(table.position, start, length, bridges, log_density, sign=1),
                _first_bad(table.position, start, length, bridges.backward, log_density, sign=-1),
            ],
            axis=1,
        )
        found.append(rows)
        owners.append(chosen[owner])
    pairs = np.unique(np.column_stack([np.concatenate(owners), np.concatenate(found)]), axis=0)
    return pairs[:, 1], pairs[:, 0]


def _first_bad(
    position: Array, start: Indices, length: Indices, bridges: Bridges, log_density: float, *, sign: int
) -> NDArray[np.int64]:
    """(2, k): rows after the first bad links, forward in time, and their piece among n pieces.

    Args:
        position: (rows, 3) [mm].
        start: (n,) first rows.
        length: (n,) numbers of rows.
        bridges: of the motion in the direction in which the links are followed.
        log_density: logarithm of the number of particles per frame and mm^3.
        sign: 1 forward in time, -1 backward.
    """
    owner = np.repeat(np.arange(len(start)), length)
    step = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length)
    before = np.minimum(step, TAIL)  # positions before the tested one, in that direction
    checked = np.flatnonzero(before >= _FEWEST)
    row = (start[owner] + step) if sign > 0 else (start + length - 1)[owner] - step
    bad: list[Indices] = [np.empty(0, np.int64)]
    for tail in np.unique(before[checked]).tolist():
        some = checked[before[checked] == tail]
        around = position[row[some, None] + sign * np.arange(-tail, 1)]
        odds = log_density - bridges.together(around, tail, 0)[1]
        bad.append(some[odds > ODDS])  # NaN does not cut
    at = np.sort(np.concatenate(bad))
    first = at[offsets_of(owner[at])[:-1]]
    return np.stack([row[first] + (sign < 0), owner[first]])


def apart(pieces: Pieces, rows: Indices, owners: Indices) -> Pieces:
    """Divide pieces at some rows of ``owners``; the rows are sorted by owner, then by row."""
    offsets = offsets_of(owners)
    ends = pieces.start[owners] + pieces.length[owners]
    stops = np.append(rows[1:], 0)
    stops[offsets[1:] - 1] = ends[offsets[1:] - 1]
    length = pieces.length.copy()
    length[owners[offsets[:-1]]] = rows[offsets[:-1]] - pieces.start[owners[offsets[:-1]]]
    first = pieces.first[owners] + rows - pieces.start[owners]
    return Pieces(
        np.concatenate([pieces.start, rows]),
        np.concatenate([pieces.first, first]),
        np.concatenate([length, stops - rows]),
        np.concatenate([pieces.source, pieces.source[owners]]),
    )
