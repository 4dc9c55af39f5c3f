"""Storage on disk for post-processed rows until they are written elsewhere."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyptv.trajectories.arrays import Detail, Smoothed
from pyptv.trajectories.ordered import ROWS_AT_ONCE, Block
from pyptv.trajectories.postprocess.chains import Rows
from pyptv.trajectories.postprocess.smoother import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PLAIN = [("id", "i8"), ("frame", "i8"), ("source", "i8"), ("origin", "i8"), ("position", "f8", 3)]
_VECTORS = ("velocity", "acceleration", "position_error", "velocity_error", "acceleration_error")


class Shelf:
    """Rows of complete trajectories, in the order in which they were added."""

    def __init__(self, workplace: Path | None, *, smoothed: bool) -> None:
        """Make a file in a folder; it has no name if the system allows it.

        Args:
            workplace: the folder; None: that of the system.
            smoothed: whether an estimate comes with each row.
        """
        self._dtype = np.dtype([*_PLAIN, *((name, "f8", 3) for name in _VECTORS if smoothed)])
        self._smoothed = smoothed
        self._file = tempfile.TemporaryFile(dir=workplace)  # noqa: SIM115 -- until close()
        self._sizes: list[int] = []

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(self._sizes)

    def put(self, rows: Rows, estimate: Estimate | None) -> None:
        """Add complete trajectories."""
        table = np.empty(len(rows.id), self._dtype)
        for name in ("id", "frame", "source", "origin", "position"):
            table[name] = getattr(rows, name)
        if self._smoothed:
            unknown = [np.nan] * len(_VECTORS)
            vectors = unknown if estimate is None else [*estimate.value[1:], *estimate.error]
            for name, values in zip(_VECTORS, vectors, strict=True):
                table[name] = values
        self._file.write(table.tobytes())
        self._sizes.append(len(table))

    def flush(self) -> None:
        """Write everything to disk; raises ``OSError`` if that fails."""
        self._file.flush()

    def close(self) -> None:
        """Release the disk space."""
        self._file.close()

    def blocks(self) -> Iterator[Block]:
        """All rows, in blocks of complete trajectories as they were added."""
        self._file.seek(0)
        waiting = 0
        for index, size in enumerate(self._sizes):
            waiting += size
            last = index + 1 == len(self._sizes)
            if waiting and (last or waiting + self._sizes[index + 1] > ROWS_AT_ONCE):
                yield self._block(self._read(waiting))
                waiting = 0

    def _read(self, n: int) -> NDArray[np.void]:
        return np.frombuffer(self._file.read(n * self._dtype.itemsize), self._dtype)

    def _block(self, table: NDArray[np.void]) -> Block:
        columns = {name: table[name].copy() for name in self._dtype.names or ()}
        smoothed = Smoothed(*(columns[name] for name in _VECTORS)) if self._smoothed else None
        detail = Detail(columns["source"], columns["origin"], smoothed)
        return Block(columns["id"], columns["frame"], columns["position"], detail)
