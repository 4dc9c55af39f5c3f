"""Joined pieces: trajectories without missing frames, one row per frame, with the origin of each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pyptv.trajectories.arrays import offsets_of
from pyptv.trajectories.postprocess.tracks import Pieces, TrackTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

MEASURED, FOUND, ESTIMATED = 0, 1, 2
"""Origin of a position: the run; a search among the targets of its frame; the motion model."""
NO_SOURCE = -1
"""In place of the original trajectory's id, if the run has no such row."""


@dataclass(frozen=True)
class Chains:
    """m chains of joined pieces."""

    pieces: Pieces
    order: Indices
    """(p,) pieces by chain, then by frame."""
    offsets: Indices
    """(m + 1,) start of each chain in :attr:`order`."""

    @property
    def id(self) -> Indices:
        """(m,) number of the first piece of each: the id of its trajectory, or a new one if it was cut before it."""
        return self.order[self.offsets[:-1]]

    @property
    def first(self) -> Indices:
        """(m,) first frame."""
        return self.pieces.first[self.id]

    @property
    def span(self) -> Indices:
        """(m,) frames from the first to the last one, including missing ones."""
        return self.pieces.last[self.order[self.offsets[1:] - 1]] - self.first + 1

    def among(self, chosen: Indices) -> Chains:
        """Some of the chains, in that order."""
        counts = np.diff(self.offsets)[chosen]
        ends = np.cumsum(counts)
        places = np.arange(int(counts.sum())) + np.repeat(self.offsets[chosen] - (ends - counts), counts)
        return Chains(self.pieces, self.order[places], np.concatenate([[0], ends]))


def chains(pieces: Pieces, before: Indices, after: Indices) -> Chains:
    """Follow the joins (k,), sorted by the number of the first piece."""
    root = np.arange(len(pieces.first))
    root[after] = before
    while not np.array_equal(root, higher := root[root]):  # joins lead backward in time, so there are no cycles
        root = higher
    return grouped(pieces, root)


def grouped(pieces: Pieces, label: Indices) -> Chains:
    """Pieces (p,) with the same label (p,) form a chain; sorted by the number of the first piece."""
    order = np.lexsort((pieces.first, label))
    begin = offsets_of(label[order])
    root = np.empty(len(order), dtype=np.int64)
    root[order] = np.repeat(order[begin[:-1]], np.diff(begin))
    order = np.lexsort((pieces.first, root))
    return Chains(pieces, order, offsets_of(root[order]))


@dataclass(frozen=True)
class Rows:
    """Complete trajectories, one row per frame: n rows."""

    id: Indices
    frame: Indices
    position: Array
    """(n, 3) [mm]; NaN if the particle is missing."""
    source: Indices
    """(n,) id of the row's original trajectory, or :data:`NO_SOURCE`."""
    origin: Indices
    """(n,) :data:`MEASURED`, or :data:`ESTIMATED` if it is missing."""

    @property
    def offsets(self) -> Indices:
        """(m + 1,) first rows of the trajectories, and n."""
        return offsets_of(self.id)

    def among(self, chosen: Indices) -> Rows:
        """The rows of some trajectories, by their number among these, ascending."""
        kept = np.repeat(np.isin(np.arange(len(self.offsets) - 1), chosen), np.diff(self.offsets))
        return Rows(self.id[kept], self.frame[kept], self.position[kept], self.source[kept], self.origin[kept])


def rows_of(table: TrackTable, some: Chains) -> Rows:
    """The rows of some chains."""
    pieces, order = some.pieces, some.order
    span = some.span
    begins = np.cumsum(span) - span
    identity = np.repeat(some.id, span)
    frame = np.arange(int(span.sum())) + np.repeat(some.first - begins, span)
    owner = np.repeat(np.arange(len(span)), np.diff(some.offsets))
    length = pieces.length[order]
    step = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length)
    places = np.repeat(begins[owner] + pieces.first[order] - some.first[owner], length) + step
    rows = np.repeat(pieces.start[order], length) + step
    found = table.found(rows)
    position = np.full((len(frame), 3), np.nan)
    position[places] = table.position[rows]
    source = np.full(len(frame), NO_SOURCE, dtype=np.int64)
    source[places] = np.where(found, NO_SOURCE, np.repeat(pieces.source[order], length))
    origin = np.full(len(frame), ESTIMATED, dtype=np.int64)
    origin[places] = np.where(found, FOUND, MEASURED)
    return Rows(identity, frame, position, source, origin)
