"""``truth.csv``: where every particle really was, and where each camera should see it.

Columns: frame, id, x, y, z [mm], and for each camera c from 1: x{c}, y{c} [px, as optv counts them]. The positions in
the images are exact: no noise, no calibration error, and given also where a particle was dropped or is out of view.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.base.errors import FormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILE_NAME = "truth.csv"
_FIXED = ("frame", "id", "x", "y", "z")
_ROWS_AT_ONCE = 100_000


@dataclass(frozen=True)
class Truth:
    """The rows of ``truth.csv``, sorted by frame."""

    frame: NDArray[np.int64]
    """(n,) frame number."""
    identity: NDArray[np.int64]
    """(n,) which particle."""
    position: NDArray[np.float64]
    """(n, 3) [mm]."""
    pixels: NDArray[np.float64]
    """(n_cameras, n, 2) x, y [px]."""

    def rows_of(self, frame: int) -> slice:
        """The rows of a frame."""
        start, stop = np.searchsorted(self.frame, [frame, frame + 1])
        return slice(int(start), int(stop))


def write_truth(path: Path, truth: Truth) -> None:
    """Write ``truth.csv``: positions with 5 decimals in mm, 4 in px."""
    n_cameras = len(truth.pixels)
    names = [*_FIXED, *(f"{axis}{camera + 1}" for camera in range(n_cameras) for axis in "xy")]
    row_format = ",".join(["%d", "%d", *["%.5f"] * 3, *["%.4f"] * (2 * n_cameras)]) + "\n"
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write(",".join(names) + "\n")
        for start in range(0, len(truth.frame), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            columns = [*truth.position[part].T, *(axis for camera in truth.pixels[:, part] for axis in camera.T)]
            whole = [truth.frame[part].tolist(), truth.identity[part].tolist()]
            rows = zip(*whole, *(column.tolist() for column in columns), strict=True)
            file.write((row_format * len(whole[0])) % tuple(chain.from_iterable(rows)))


def read_truth(path: Path) -> Truth:
    """Read ``truth.csv``.

    Raises:
        FormatError: the file is missing, has other columns, or holds something else than numbers.
    """
    try:
        with path.open(encoding="ascii") as file:
            names = tuple(file.readline().strip().split(","))
            cameras = (len(names) - len(_FIXED)) // 2
            expected = (*_FIXED, *(f"{axis}{camera + 1}" for camera in range(cameras) for axis in "xy"))
            if names != expected:
                raise FormatError(f"{path}, line 1: found {','.join(names)[:80]!r}, expected {','.join(_FIXED)},x1,y1,...")
            # an experiment without particles has no row, and loadtxt would warn of it
            lines = file.readlines()
            table = np.loadtxt(lines, delimiter=",", ndmin=2) if lines else np.empty((0, len(names)))
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error
    if table.shape[1] != len(names):
        raise FormatError(f"{path}: found {table.shape[1]} columns, expected {len(names)}")
    table = table[np.argsort(table[:, 0], kind="stable")]
    pixels = table[:, len(_FIXED) :].reshape(len(table), cameras, 2).transpose(1, 0, 2)
    return Truth(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:5].copy(), pixels.copy())
