"""``truth.csv``: the true position of every particle, and its true position in each image.

Columns: frame, id, x, y, z [mm], and for each camera c from 1: x{c}, y{c} [px, in optv's convention]. The positions in
the images are exact: without noise or calibration error, and also given if a particle was dropped or is out of view.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.base.errors import FormatError
from pyptv.core.base.regular_files import read_regular

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILE_NAME = "truth.csv"
_FIXED = ("frame", "id", "x", "y", "z")
_ROWS_AT_ONCE = 100_000
_LARGEST = 2**53
"""Whole numbers below this are exact."""


@dataclass(frozen=True)
class Truth:
    """The rows of ``truth.csv``, sorted by frame."""

    frame: NDArray[np.int64]
    """(n,) frame number."""
    identity: NDArray[np.int64]
    """(n,) number of the particle."""
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
        FormatError: the file is missing, has other columns, or contains values that are not numbers.
    """
    try:
        first, *lines = read_regular(path).decode("ascii").splitlines() or [""]
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: found the byte 0x{error.object[error.start]:02x}, expected text in ASCII") from error
    names = tuple(first.strip().split(","))
    cameras = (len(names) - len(_FIXED)) // 2
    expected = (*_FIXED, *(f"{axis}{camera + 1}" for camera in range(cameras) for axis in "xy"))
    if names != expected:
        raise FormatError(f"{path}, line 1: found {','.join(names)[:80]!r}, expected {','.join(_FIXED)},x1,y1,...")
    table = _numbers([line for line in lines if line.strip()], path, len(names))
    table = table[np.argsort(table[:, 0], kind="stable")]
    pixels = table[:, len(_FIXED) :].reshape(len(table), cameras, 2).transpose(1, 0, 2)
    return Truth(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:5].copy(), pixels.copy())


def _numbers(lines: list[str], path: Path, n_columns: int) -> NDArray[np.float64]:
    """The table (n, n_columns) in some lines, each number finite, frames and particles whole."""
    try:  # an experiment without particles has no row, and loadtxt would warn about it
        table = np.loadtxt(lines, delimiter=",", ndmin=2, comments=None) if lines else np.empty((0, n_columns))
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error
    if table.shape[1] != n_columns:
        raise FormatError(f"{path}: found {table.shape[1]} columns, expected {n_columns}")
    sound = np.isfinite(table).all(axis=1) & (np.abs(table[:, :2]) < _LARGEST).all(axis=1)
    sound &= (np.trunc(table[:, :2]) == table[:, :2]).all(axis=1)
    if not sound.all():
        row = int(np.argmin(sound))
        raise FormatError(
            f"{path}, row {row + 1}: found {lines[row][:80]!r}, expected finite numbers, the first two of them whole"
        )
    return table
