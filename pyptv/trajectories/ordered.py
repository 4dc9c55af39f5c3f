"""Trajectories in the order of their ids, in bounded memory.

Trajectories end in another order than they begin, and the longest may begin first. So they are stored in a file as they
end, with an index by id, and read from there.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyptv.core.experiment.folder import Experiment
from pyptv.trajectories.arrays import Detail, Trajectory
from pyptv.trajectories.stream import stream_trajectories

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]
    Entries = NDArray[np.void]

ROWS_AT_ONCE = 250_000
"""Rows of a block; the last trajectory in it may exceed this."""

_ENTRY = np.dtype([("start", "i8"), ("first", "i8"), ("length", "i8")])
"""Index entry of a trajectory: its first row in the file of positions, its first frame, its number of rows; 0: left out."""
_POINT = 3 * 8
_IDS_AT_ONCE = 50_000
_ENTRIES_AT_ONCE = 20_000
"""Entries at a time: Python's numbers take ten times the memory."""


class Block(NamedTuple):
    """Some complete trajectories, in the order of their ids."""

    id: Indices
    """(n,) ascending."""
    frame: Indices
    """(n,) frame numbers, consecutive within a trajectory."""
    position: Array
    """(n, 3) [mm]; NaN where the rays of a particle do not meet."""
    detail: Detail | None = None
    """For post-processed rows."""


class OrderedTrajectories:
    """The trajectories of some frames, sorted by id, then by frame, in blocks, which can be read repeatedly.

    Takes 24 bytes of disk per row and 24 per trajectory, in files that have no name if the system allows it, and are removed with
    this object. Memory holds unfinished trajectories while links are followed, a block while they are read, and a few numbers
    per frame.
    """

    def __init__(
        self, experiment: Experiment, first: int | None, last: int | None, *, min_length: int = 1, workplace: Path | None = None
    ) -> None:
        """Follow the links of all frames.

        Args:
            experiment: whose results.
            first: first frame number; None: the first one with a ``ptv_is`` file.
            last: last frame number; None: the last one.
            min_length: minimum number of frames of a trajectory.
            workplace: folder for the files; None: that of the system, which may be memory.

        Raises:
            ValueError: a bad argument.
            ProcessingError: no ``ptv_is`` file in the range; a ``FormatError`` where one is damaged.
            OSError: the workplace is full, or cannot be written.
        """
        self.rows = 0
        self.trajectories = 0
        self._ids = 0
        self._changes: Counter[int] = Counter()
        """Frame -> number of trajectories that begin there, minus those that have ended before it."""
        with ExitStack() as files:
            self._positions = files.enter_context(tempfile.TemporaryFile(dir=workplace))
            self._index = files.enter_context(tempfile.TemporaryFile(dir=workplace))
            self._fill(experiment, first, last, min_length)
            self._files = files.pop_all()

    def close(self) -> None:
        """Release the disk space."""
        self._files.close()

    @property
    def frames(self) -> tuple[Indices, Indices]:
        """The frames with rows, ascending, and their numbers of rows."""
        numbers = sorted(self._changes)
        present = accumulate(self._changes[number] for number in numbers)
        spans = [(first, stop, n) for (first, stop), n in zip(pairwise(numbers), present, strict=False) if n]
        frames = [np.arange(first, stop, dtype=np.int64) for first, stop, _ in spans]
        counts = [np.full(stop - first, n, dtype=np.int64) for first, stop, n in spans]
        return np.concatenate(frames), np.concatenate(counts)

    def blocks(self) -> Iterator[Block]:
        """All rows, at most :data:`ROWS_AT_ONCE` and one trajectory at a time."""
        for ids, entries in self._entries():
            last_rows = np.cumsum(entries["length"]) - 1
            breaks = np.flatnonzero(np.diff(last_rows // ROWS_AT_ONCE)) + 1
            for low, high in _runs(breaks, len(ids)):
                yield self._block(ids[low:high], entries[low:high])

    # -- inside -------------------------------------------------------------------------------------------------------

    def _fill(self, experiment: Experiment, first: int | None, last: int | None, min_length: int) -> None:
        entries: list[tuple[int, int, int, int]] = []
        for track in stream_trajectories(experiment, first, last, min_length=min_length):
            entries.append(self._put(track))
            if len(entries) >= _ENTRIES_AT_ONCE:
                self._note(entries)
                entries = []
        self._note(entries)
        self._positions.flush()
        self._index.flush()

    def _put(self, track: Trajectory) -> tuple[int, int, int, int]:
        length = len(track.position)
        entry = (track.id, self.rows, track.first, length)
        self._positions.write(track.position.tobytes())
        self._changes[track.first] += 1
        self._changes[track.first + length] -= 1
        self.rows += length
        self.trajectories += 1
        return entry

    def _note(self, entries: list[tuple[int, int, int, int]]) -> None:
        """Write entries to the index, neighbours together."""
        if not entries:
            return
        table = np.array(sorted(entries), dtype=np.int64)
        ids, records = table[:, 0], np.ascontiguousarray(table[:, 1:])
        breaks = np.flatnonzero(np.diff(ids) != 1) + 1
        for start, stop in _runs(breaks, len(ids)):
            self._index.seek(int(ids[start]) * _ENTRY.itemsize)
            self._index.write(records[start:stop].tobytes())
        self._ids = max(self._ids, int(ids[-1]) + 1)

    def _entries(self) -> Iterator[tuple[Indices, Entries]]:
        """Ids and entries of the stored trajectories."""
        for low in range(0, self._ids, _IDS_AT_ONCE):
            self._index.seek(low * _ENTRY.itemsize)
            entries = np.frombuffer(self._index.read(_IDS_AT_ONCE * _ENTRY.itemsize), _ENTRY)
            kept = np.flatnonzero(entries["length"])
            if len(kept):
                yield low + kept, entries[kept]

    def _block(self, ids: Indices, entries: Entries) -> Block:
        lengths = entries["length"]
        begins = np.cumsum(lengths) - lengths
        step = np.arange(int(lengths.sum())) - np.repeat(begins, lengths)
        places, position = self._read(entries)
        rows = np.repeat(places, lengths) + step
        return Block(np.repeat(ids, lengths), np.repeat(entries["first"], lengths) + step, position[rows])

    def _read(self, entries: Entries) -> tuple[Indices, Array]:
        """The first row of each entry in the positions read, and the positions, in the order of the file: neighbours together."""
        order = np.argsort(entries["start"])
        starts, lengths = entries["start"][order], entries["length"][order]
        ends = np.cumsum(lengths)
        places = np.empty(len(entries), dtype=np.int64)
        places[order] = ends - lengths
        position = np.empty((int(ends[-1]), 3))
        buffer = position.data.cast("B")
        breaks = np.flatnonzero(starts[1:] != starts[:-1] + lengths[:-1]) + 1
        for low, high in _runs(breaks, len(entries)):
            self._positions.seek(int(starts[low]) * _POINT)
            part = buffer[int(ends[low] - lengths[low]) * _POINT : int(ends[high - 1]) * _POINT]
            self._positions.readinto(part)
        return places, position


def _runs(breaks: Indices, n: int) -> Iterator[tuple[int, int]]:
    """Start and end of the pieces into which ``breaks`` divide ``n`` items."""
    return pairwise([0, *breaks.tolist(), n])
