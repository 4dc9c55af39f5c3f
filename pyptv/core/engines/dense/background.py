"""Background and noise of images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Image = NDArray[np.float32]

_TO_SIGMA = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
_STEP = 3
_SAMPLE = 20_000
_LEAST_NOISE = 0.3
"""[grey values] What rounding to whole ones leaves: images whose background is cut off at 0 show no other."""


def ground(images: Image, tile: int) -> Image:
    """A smooth background of images (n, height, width), at the middles of tiles: (n, rows, columns).

    Medians of the tiles, the median of 3 x 3 of these. :func:`pyptv.kernels.dense.pixels.subtract_ground` takes it away.
    """
    grounds = []
    for image in images:
        medians = np.pad(tile_medians(image, tile), 1, mode="edge")
        rows, columns = medians.shape
        nine = np.array([medians[i : rows - 2 + i, j : columns - 2 + j] for i in range(3) for j in range(3)])
        grounds.append(np.partition(nine, 4, axis=0)[4])
    return np.array(grounds, np.float32)


def tile_medians(image: Image, tile: int) -> Image:
    """The medians of the tiles of an image (rows, columns), from each third pixel of each third row.

    The last tiles reach back where the image is not a multiple of ``tile``; no tile is larger than the image.
    """
    rows, columns = (_tile_pixels(side, tile) for side in image.shape)
    values = image[rows[:, None, :, None], columns[None, :, None, :]].reshape(len(rows), len(columns), -1)
    middle = values.shape[2] // 2
    return np.partition(values, middle, axis=2)[:, :, middle]


def _tile_pixels(side: int, tile: int) -> Ints:
    """(n_tiles, n) each third pixel of the tiles along an axis."""
    length = min(tile, side)
    starts = np.minimum(np.arange(0, side, tile), side - length)
    return starts[:, None] + np.arange(0, length, _STEP)


def noise(images: Image) -> Floats:
    """The robust standard deviation of each image, (n,) [grey values]; from some 20 000 of its pixels, evenly spread."""
    step = max(1, math.isqrt(images[0].size // _SAMPLE)) if len(images) else 1
    sample = images[:, ::step, ::step].reshape(len(images), -1)
    away = np.abs(sample - _median(sample))
    return np.asarray(np.maximum(_TO_SIGMA * _median(away)[:, 0], _LEAST_NOISE), np.float64)


def _median(rows: Image) -> Image:
    """The median of each row, (n, 1); of an even number of values the upper one of the middle two."""
    middle = rows.shape[1] // 2
    return np.partition(rows, middle, axis=1)[:, middle : middle + 1]
