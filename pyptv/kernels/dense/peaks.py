"""Peaks in residual images, and a grid in which they are found by their place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.dense.spots import MARGIN
from pyptv.kernels.jit import entry, routine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Image = NDArray[np.float32]

_FARTHEST = 0.6
"""[px] The peak of a Gaussian fit farther from its pixel's middle is not believed."""
_FLOOR = 0.02
"""Neighbours count with at least this share of the peak: the logarithm needs positive values."""
_CENTRE = 0.5
_PIECE = 64
"""[px] Of a row, that are looked at together."""


@routine
def _offset(before: float, here: float, after: float) -> float:
    """Peak of the Gaussian through three values, px from the middle one."""
    low = _FLOOR * here
    a, b = math.log(max(before, low)), math.log(max(after, low))
    curvature = 2.0 * math.log(here) - a - b
    if not curvature > 1e-6:
        return 0.0
    return min(max(0.5 * (b - a) / curvature, -_FARTHEST), _FARTHEST)


@routine
def _is_peak(image: Image, y: int, x: int) -> bool:
    """Whether no neighbour is brighter; of equal ones the last in reading order counts."""
    v = image[y, x]
    for i in range(y - 1, y + 2):
        for j in range(x - 1, x + 2):
            other = image[i, j]
            if other > v or (other == v and (i > y or (i == y and j > x))):
                return False
    return True


@routine
def _any_above(line: Image, threshold: np.float32) -> bool:
    """Whether a piece of a row has a pixel above a threshold: counted without branches, many pixels at a time."""
    n = 0
    for k in range(len(line)):
        n += line[k] > threshold
    return n > 0


@entry("float64[:, ::1](float32[:, ::1], float64)")
def find_peaks(image: Image, threshold: float) -> Floats:
    """Local maxima above a threshold (> 0), (n, 3): x, y [px] by a Gaussian through three pixels of each axis; the grey value.

    ``image`` has margins. The outermost rows and columns within them are not looked at.
    """
    height, width = image.shape
    found = np.empty((height * width // 4 + 1, 3))
    n, least = 0, np.float32(threshold)
    for y in range(MARGIN + 1, height - MARGIN - 1):
        for first in range(MARGIN + 1, width - MARGIN - 1, _PIECE):
            last = min(first + _PIECE, width - MARGIN - 1)
            if not _any_above(image[y, first:last], least):
                continue
            for x in range(first, last):
                v = image[y, x]
                # the neighbours in the row decide most cases
                if v > threshold and v >= image[y, x - 1] and v >= image[y, x + 1] and _is_peak(image, y, x):
                    found[n, 0] = x - MARGIN + _CENTRE + _offset(image[y, x - 1], v, image[y, x + 1])
                    found[n, 1] = y - MARGIN + _CENTRE + _offset(image[y - 1, x], v, image[y + 1, x])
                    found[n, 2] = v
                    n += 1
    return found[:n].copy()


@routine
def cell_of(x: float, y: float, cell: float, n_x: int, n_y: int) -> int:
    """The cell of a place; places outside belong to the cells on the edge."""
    column, row = min(max(int(x / cell), 0), n_x - 1), min(max(int(y / cell), 0), n_y - 1)
    return row * n_x + column


@entry("int64[::1](float64[:, ::1], float64[:, ::1], float64, int64, int64)")
def into_cells(peaks: Floats, out: Floats, cell: float, n_x: int, n_y: int) -> Ints:
    """Sort peaks (n, 3) by cells of ``cell`` px into ``out``; returns where each cell starts in it, (n_x * n_y + 1,)."""
    starts = np.zeros(n_x * n_y + 1, np.int64)
    for row in range(len(peaks)):
        starts[cell_of(peaks[row, 0], peaks[row, 1], cell, n_x, n_y) + 1] += 1
    for k in range(n_x * n_y):
        starts[k + 1] += starts[k]
    place = starts.copy()
    for row in range(len(peaks)):
        k = cell_of(peaks[row, 0], peaks[row, 1], cell, n_x, n_y)
        for column in range(3):  # a row at once would take seconds to compile
            out[place[k], column] = peaks[row, column]
        place[k] += 1
    return starts
