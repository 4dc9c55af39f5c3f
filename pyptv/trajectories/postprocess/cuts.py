"""Links that no particle can have followed are cut.

Each link is looked at from both sides: the positions after it are compared with where those before it lead. It is cut where
they are more likely those of another particle that happens to be there, even if the errors of overlapping spots, which are
much larger than usual, are allowed for. A single position that is far off breaks the link before it and the one after it: the
trajectory is joined again across it, and the position stays alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pyptv.trajectories.arrays import offsets_of
from pyptv.trajectories.postprocess.model import HEAD, TAIL, Bridges
from pyptv.trajectories.postprocess.tracks import Pieces, TrackTable, batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

ODDS = math.log(20.0)
"""Logarithm of the odds against a link at which it is cut."""
_FEWEST = 4
"""Positions around a link that tell anything of it."""


def cut(table: TrackTable, bridges: Bridges) -> Pieces:
    """Cut impossible links.

    Args:
        table: the trajectories.
        bridges: of the motion model.

    Returns:
        What is left: pieces that begin at a cut stand behind all others.
    """
    pieces = table.pieces
    long = np.flatnonzero(pieces.length >= _FEWEST)
    long = long[np.argsort(pieces.start[long])]
    log_density = math.log(table.per_frame / table.volume)
    rows: list[Indices] = []
    owners: list[Indices] = []
    for batch in batches(pieces.length[long]):
        some = long[batch]
        bad, owner = _bad_links(table.position, pieces.start[some], pieces.length[some], bridges, log_density)
        rows.append(bad)
        owners.append(some[owner])
    none = np.empty(0, np.int64)
    return _apart(pieces, np.concatenate([none, *rows]), np.concatenate([none, *owners]))


def _bad_links(position: Array, start: Indices, length: Indices, bridges: Bridges, log_density: float) -> tuple[Indices, Indices]:
    """Rows that bad links arrive at, and which of some trajectories they are of."""
    owner = np.repeat(np.arange(len(start)), length)
    step = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length)
    before = np.minimum(step, TAIL)  # positions before the row that a link arrives at
    after = np.minimum(length[owner] - step, HEAD)
    checked = np.flatnonzero((before >= 1) & (before + after >= _FEWEST))
    kinds = before[checked] * (HEAD + 1) + after[checked]
    bad: list[Indices] = []
    for kind in np.unique(kinds).tolist():
        tail, head = divmod(kind, HEAD + 1)
        some = checked[kinds == kind]
        rows = (start[owner[some]] + step[some])[:, None] + np.arange(-tail, head)
        around = position[rows]
        chance = log_density + bridges.alone(around[:, tail:])
        bad.append(some[chance - bridges.together(around, tail, 0)[1] > ODDS])  # NaN is no reason
    found = np.sort(np.concatenate([np.empty(0, np.int64), *bad]))
    return start[owner[found]] + step[found], owner[found]


def _apart(pieces: Pieces, rows: Indices, owners: Indices) -> Pieces:
    """Pieces that begin anew at some rows, which belong to some of them, sorted by owner, then by row."""
    if not len(rows):
        return pieces
    order = np.lexsort((rows, owners))
    rows, owners = rows[order], owners[order]
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
