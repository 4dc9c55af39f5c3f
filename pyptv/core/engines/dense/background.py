"""Background and noise of images."""

from __future__ import annotations

import itertools
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
_STEP = 2
_SAMPLE = 20_000
_LEAST_NOISE = 1e-3
"""[grey values] Of images without any: thresholds must not be 0."""


def background(images: Image, tile: int) -> Image:
    """A smooth background of images (n, height, width): medians of tiles, the median of 3 x 3 of these, bilinear."""
    out = np.empty(images.shape, np.float32)
    for image, smooth in zip(images, out, strict=True):
        medians = np.pad(tile_medians(image, tile), 1, mode="edge")
        rows, columns = medians.shape
        nine = [medians[i : rows - 2 + i, j : columns - 2 + j] for i in range(3) for j in range(3)]
        _interpolate(np.median(nine, axis=0), tile, smooth)
    return out


def tile_medians(image: Image, tile: int) -> Image:
    """The medians of the tiles of an image (rows, columns), from each second pixel of each second row.

    The last tiles reach back where the image is not a multiple of ``tile``; no tile is larger than the image.
    """
    rows, columns = (_tile_pixels(side, tile) for side in image.shape)
    values = image[rows[:, None, :, None], columns[None, :, None, :]].reshape(len(rows), len(columns), -1)
    middle = values.shape[2] // 2
    return np.partition(values, middle, axis=2)[:, :, middle]


def _tile_pixels(side: int, tile: int) -> Ints:
    """(n_tiles, n) each second pixel of the tiles along an axis."""
    length = min(tile, side)
    starts = np.minimum(np.arange(0, side, tile), side - length)
    return starts[:, None] + np.arange(0, length, _STEP)


def _interpolate(values: Image, tile: int, out: Image) -> None:
    """Bilinear between the middles of tiles, constant beyond."""
    (rows, down), (columns, across) = (_weights(side, n, tile) for side, n in zip(out.shape, values.shape, strict=True))
    wide = values[:, columns] * (1 - across) + values[:, np.minimum(columns + 1, values.shape[1] - 1)] * across
    starts = np.searchsorted(rows, np.arange(values.shape[0] + 1))
    for row, (start, end) in enumerate(itertools.pairwise(starts.tolist())):  # a band fits in the processor's cache
        band = out[start:end]
        np.multiply(down[start:end, None], wide[min(row + 1, len(wide) - 1)] - wide[row], out=band)
        band += wide[row]


def _weights(side: int, n: int, tile: int) -> tuple[Ints, Image]:
    """For each pixel of an axis: the tile before it, and the weight of the one after it."""
    place = np.clip((np.arange(side) + 0.5) / tile - 0.5, 0, n - 1)
    before = np.minimum(np.floor(place).astype(np.int64), max(n - 2, 0))
    return before, (place - before).astype(np.float32)


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
