"""The trajectories of a run as a table on disk, with random access to all positions in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pyptv.core.experiment.folder import Experiment
from pyptv.trajectories.postprocess.learn import MOST_WINDOWS, window_length
from pyptv.trajectories.stream import stream_trajectories

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

_AT_ONCE = 20_000
_ROWS_AT_ONCE = 200_000
_ENTRY = np.dtype([("number", "i8"), ("start", "i8"), ("first", "i8"), ("length", "i8"), ("source", "i8")])


@dataclass(frozen=True)
class Pieces:
    """n trajectories, or pieces of them after cuts: consecutive frames without a gap, sorted by their numbers."""

    start: Indices
    """(n,) row of the first position in the table."""
    first: Indices
    """(n,) first frame."""
    length: Indices
    """(n,) number of frames."""
    source: Indices
    """(n,) id of the original trajectory."""

    @property
    def last(self) -> Indices:
        """(n,) last frame."""
        return self.first + self.length - 1


class TrackTable:
    """Trajectories, or pieces of them, with all their positions.

    Takes 25 bytes of disk per row, in a file that has no name if the system allows it, and 32 bytes of memory per trajectory.
    """

    def __init__(self, parts: Iterable[Part], workplace: Path | None = None) -> None:
        """Put pieces into the table; see :func:`as_tracked` and :func:`extended`."""
        with ExitStack() as files:
            self._file = files.enter_context(tempfile.TemporaryFile(dir=workplace))
            self.pieces, self._found = self._fill(parts)
            self._files = files.pop_all()
        self.rows = int(self.pieces.length.sum())
        self.position: Array = np.memmap(self._file, dtype=np.float64, mode="r", shape=(self.rows, 3))
        """(rows, 3) [mm]."""

    def close(self) -> None:
        """Release the disk space."""
        del self.position
        self._files.close()

    def found(self, rows: Indices) -> NDArray[np.bool_]:
        """Which rows (n,) are not from the run, but were found among the targets."""
        at = np.searchsorted(self._found, rows)
        return (
            np.asarray(self._found[np.minimum(at, len(self._found) - 1)] == rows)
            if len(self._found)
            else np.zeros(len(rows), bool)
        )

    def found_in(self, pieces: Pieces) -> Indices:
        """(n,) number of positions of each piece that were found among the targets."""
        return np.searchsorted(self._found, pieces.start + pieces.length) - np.searchsorted(self._found, pieces.start)

    def windows(self) -> Array:
        """(n, length, 3) pieces of trajectories for the estimate, evenly spread, without NaN."""
        pieces = self.pieces
        length = window_length(pieces.length)
        counts = pieces.length // length
        total = int(counts.sum())
        chosen = np.unique(np.linspace(0, max(total - 1, 0), min(total, MOST_WINDOWS)).astype(np.int64))
        owner = np.searchsorted(np.cumsum(counts), chosen, side="right")
        within = chosen - (np.cumsum(counts) - counts)[owner]
        begin = pieces.start[owner] + within * length
        found = self.position[begin[:, None] + np.arange(length)]
        return np.asarray(found[np.isfinite(found).all(axis=(1, 2))])

    @property
    def per_frame(self) -> float:
        """Mean number of positions per frame, from the first to the last frame."""
        return self.rows / float(self.pieces.last.max() - self.pieces.first.min() + 1)

    @cached_property
    def volume(self) -> float:
        """The volume of the particles [mm^3]: a box around most of them."""
        sample = self.position[:: max(1, self.rows // 100_000)]
        low, high = np.nanquantile(sample, [0.02, 0.98], axis=0)
        return float(np.prod(np.maximum(high - low, 1e-3) / 0.96))

    def _fill(self, parts: Iterable[Part]) -> tuple[Pieces, Indices]:
        tables: list[NDArray[Any]] = []
        entries: list[tuple[int, int, int, int, int]] = []
        found: list[int] = []
        row = 0
        for part in parts:
            length = len(part.position)
            entries.append((part.number, row, part.first, length, part.source))
            if part.behind or part.ahead:
                found += [*range(row, row + part.behind), *range(row + length - part.ahead, row + length)]
            self._file.write(part.position.tobytes())
            row += length
            if len(entries) >= _AT_ONCE:
                tables.append(np.array(entries, _ENTRY))
                entries = []
        self._file.flush()
        table = np.concatenate([*tables, np.array(entries, _ENTRY)])
        table = table[np.argsort(table["number"], kind="stable")]
        columns = (table[name].copy() for name in ("start", "first", "length", "source"))
        return Pieces(*columns), np.array(found, dtype=np.int64)


class Part(NamedTuple):
    """A piece to be added to a table."""

    number: int
    """Number of the piece, from 0, in any order."""
    first: int
    position: Array
    """(n, 3) [mm]."""
    source: int
    behind: int = 0
    """Number of positions at the start that were found among targets."""
    ahead: int = 0
    """Likewise at the end."""


def as_tracked(experiment: Experiment, first: int | None, last: int | None) -> Iterator[Part]:
    """The trajectories of a run; see :func:`pyptv.trajectories.stream_trajectories` for arguments and errors."""
    for track in stream_trajectories(experiment, first, last):
        yield Part(track.id, track.first, track.position, track.id)


def extended(table: TrackTable, pieces: Pieces, behind: dict[int, list[Array]], ahead: dict[int, list[Array]]) -> Iterator[Part]:
    """Pieces extended by positions found beyond their ends, nearest first; earlier extensions are at their last ends."""
    columns = (pieces.start, pieces.first, pieces.length, pieces.source, table.found_in(pieces))
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for number, (start, first, length, source, known) in enumerate(rows):
        back, on = behind.get(number, []), ahead.get(number, [])
        position = np.asarray(table.position[start : start + length])
        if back or on:
            position = np.concatenate([np.reshape(back[::-1], (-1, 3)), position, np.reshape(on, (-1, 3))])
        yield Part(number, first - len(back), position, source, len(back), known + len(on))


def batches(lengths: Indices, most: int = _ROWS_AT_ONCE) -> Iterator[slice]:
    """Runs of neighbours of some lengths (n,) with about ``most`` rows together; a longer one is on its own."""
    ends = np.cumsum(lengths)
    breaks = np.flatnonzero(np.diff(ends // most)) + 1
    for low, high in pairwise([0, *breaks.tolist(), len(lengths)]):
        if high > low:
            yield slice(low, high)
