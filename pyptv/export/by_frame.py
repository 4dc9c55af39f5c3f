"""Rows sorted by trajectory, returned by frame, in bounded memory: sorted into sections of a file, each of some frames."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyptv.export.data import Dataset
from pyptv.trajectories.arrays import Trajectories
from pyptv.trajectories.ordered import ROWS_AT_ONCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Indices = NDArray[np.int64]
    Rows = NDArray[np.void]

ROW = np.dtype([("id", "i8"), ("frame", "i8"), ("position", "f8", 3), ("velocity", "f8", 3), ("acceleration", "f8", 3)])
_DETAILS = ("source", "origin")


def rows_of(block: Trajectories) -> Rows:
    """(n,) of :data:`ROW`: rows with a position; a point at NaN would invalidate the bounds of a whole scene."""
    known = np.flatnonzero(np.isfinite(block.position).all(axis=1))
    kind = row_type(processed=block.detail is not None)
    rows = np.empty(len(known), kind)
    for name in kind.names or ():
        rows[name] = getattr(block.detail if name in _DETAILS else block, name)[known]
    return rows


def row_type(*, processed: bool) -> np.dtype[np.void]:
    """The type of a row: post-processed rows include their origin."""
    return np.dtype([*ROW.descr, *((name, "i8") for name in _DETAILS)]) if processed else ROW


def by_frame(dataset: Dataset, workplace: Path) -> Iterator[tuple[int, Rows]]:
    """Each frame's number and rows, sorted by id; a frame without a known position is left out.

    Args:
        dataset: to be exported.
        workplace: folder for a file of 88 bytes per row, 104 if they are post-processed.
    """
    frames, counts = dataset.ordered.frames
    full = np.cumsum(counts) - 1
    starts = np.flatnonzero(np.diff(full // ROWS_AT_ONCE, prepend=-1))  # first frame of each section
    firsts = frames[starts]
    capacity = np.add.reduceat(counts, starts)
    places = np.cumsum(capacity) - capacity
    used = np.zeros(len(firsts), dtype=np.int64)
    kind = row_type(processed=dataset.processed is not None)
    with tempfile.TemporaryFile(dir=workplace) as file:
        for block in dataset.blocks():
            rows = rows_of(block)
            drawer = np.searchsorted(firsts, rows["frame"], side="right") - 1
            order = np.argsort(drawer, kind="stable")
            for number, part in _groups(drawer[order], rows[order]):
                file.seek(int(places[number] + used[number]) * kind.itemsize)
                file.write(part.tobytes())
                used[number] += len(part)
        for place, size in zip(places.tolist(), used.tolist(), strict=True):
            file.seek(place * kind.itemsize)
            rows = np.frombuffer(file.read(size * kind.itemsize), kind)
            rows = rows[np.argsort(rows["frame"], kind="stable")]
            yield from _groups(rows["frame"], rows)


def _groups(keys: Indices, rows: Rows) -> Iterator[tuple[int, Rows]]:
    """Runs of rows with the same key."""
    breaks = np.flatnonzero(np.diff(keys)) + 1
    for start, stop in pairwise([0, *breaks.tolist(), len(keys)]):
        if stop > start:
            yield int(keys[start]), rows[start:stop]
