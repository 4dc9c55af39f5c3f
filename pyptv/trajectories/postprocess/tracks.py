"""The trajectories of a run as a table on disk: any position of any of them is at hand, in bounded memory."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.core.experiment.folder import Experiment
from pyptv.trajectories.postprocess.model import most_windows, window_length
from pyptv.trajectories.stream import stream_trajectories

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

_AT_ONCE = 20_000
_ROWS_AT_ONCE = 200_000
_BY_ID = np.dtype([("id", "i8"), ("start", "i8"), ("first", "i8"), ("length", "i8")])


@dataclass(frozen=True)
class Pieces:
    """Trajectories, or what cuts have left of them: consecutive frames without a gap. n of them, by their numbers."""

    start: Indices
    """(n,) row of the first position in the table."""
    first: Indices
    """(n,) first frame."""
    length: Indices
    """(n,) number of frames."""
    source: Indices
    """(n,) id of the trajectory that it is of, or was."""

    @property
    def last(self) -> Indices:
        """(n,) last frame."""
        return self.first + self.length - 1


class TrackTable:
    """The trajectories of some frames, as the run has linked them.

    Takes 24 bytes of disk a row, in a file that has no name where the system allows it, and 32 bytes of memory a trajectory.
    """

    def __init__(self, experiment: Experiment, first: int | None, last: int | None, workplace: Path | None = None) -> None:
        """Follow the links of all frames; see :func:`pyptv.trajectories.stream_trajectories` for arguments and errors."""
        with ExitStack() as files:
            self._file = files.enter_context(tempfile.TemporaryFile(dir=workplace))
            table = self._fill(experiment, first, last)
            self._files = files.pop_all()
        table = table[np.argsort(table["id"])]
        ids = table["id"].copy()
        self.pieces = Pieces(table["start"].copy(), table["first"].copy(), table["length"].copy(), ids)
        self.rows = int(self.pieces.length.sum())
        self.position: Array = np.memmap(self._file, dtype=np.float64, mode="r", shape=(self.rows, 3))
        """(rows, 3) [mm]: of the longest run of frames first where it ended first."""

    def close(self) -> None:
        """Give the disk space back."""
        del self.position
        self._files.close()

    def windows(self) -> Array:
        """(n, length, 3) pieces of trajectories to learn from, evenly spread, without NaN."""
        pieces = self.pieces
        length = window_length(pieces.length)
        counts = pieces.length // length
        total = int(counts.sum())
        chosen = np.unique(np.linspace(0, max(total - 1, 0), min(total, most_windows())).astype(np.int64))
        owner = np.searchsorted(np.cumsum(counts), chosen, side="right")
        within = chosen - (np.cumsum(counts) - counts)[owner]
        begin = pieces.start[owner] + within * length
        found = self.position[begin[:, None] + np.arange(length)]
        return np.asarray(found[np.isfinite(found).all(axis=(1, 2))])

    @property
    def per_frame(self) -> float:
        """Mean number of positions in a frame, from the first to the last one."""
        return self.rows / float(self.pieces.last.max() - self.pieces.first.min() + 1)

    @cached_property
    def volume(self) -> float:
        """The volume that holds the particles [mm^3]: a box around most of them."""
        sample = self.position[:: max(1, self.rows // 100_000)]
        low, high = np.nanquantile(sample, [0.02, 0.98], axis=0)
        return float(np.prod(np.maximum(high - low, 1e-3) / 0.96))

    def _fill(self, experiment: Experiment, first: int | None, last: int | None) -> NDArray[Any]:
        tables: list[NDArray[Any]] = []
        entries: list[tuple[int, int, int, int]] = []
        row = 0
        for track in stream_trajectories(experiment, first, last):
            entries.append((track.id, row, track.first, len(track.position)))
            self._file.write(track.position.tobytes())
            row += len(track.position)
            if len(entries) >= _AT_ONCE:
                tables.append(np.array(entries, _BY_ID))
                entries = []
        self._file.flush()
        return np.concatenate([*tables, np.array(entries, _BY_ID)])


def batches(lengths: Indices, most: int = _ROWS_AT_ONCE) -> Iterator[slice]:
    """Runs of neighbours of some lengths (n,) that have about so many rows together; one that is longer stands alone."""
    ends = np.cumsum(lengths)
    breaks = np.flatnonzero(np.diff(ends // most)) + 1
    for low, high in pairwise([0, *breaks.tolist(), len(lengths)]):
        if high > low:
            yield slice(low, high)
