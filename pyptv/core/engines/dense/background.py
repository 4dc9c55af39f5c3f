"""Background and noise of images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Image = NDArray[np.float32]

_TO_SIGMA = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
_STRIDE = 3
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
    return starts[:, None] + np.arange(0, length, 2)


def _interpolate(values: Image, tile: int, out: Image) -> None:
    """Bilinear between the middles of tiles, constant beyond."""
    down, across = (_weights(side, n, tile) for side, n in zip(out.shape, values.shape, strict=True))
    (y0, y1, fy), (x0, x1, fx) = down, across
    columns = values[:, x0] * (1 - fx) + values[:, x1] * fx
    np.multiply(columns[y0], (1 - fy)[:, None], out=out)
    out += columns[y1] * fy[:, None]


def _weights(side: int, n: int, tile: int) -> tuple[Ints, Ints, Image]:
    """For each pixel of an axis: the tiles before and after it, and the weight of the latter."""
    place = np.clip((np.arange(side) + 0.5) / tile - 0.5, 0, n - 1)
    before = np.minimum(np.floor(place).astype(np.int64), max(n - 2, 0))
    return before, np.minimum(before + 1, n - 1), (place - before).astype(np.float32)


def noise(images: Image) -> Floats:
    """The robust standard deviation of each image, (n,) [grey values]; from each third pixel of each third row."""
    sample = images[:, ::_STRIDE, ::_STRIDE].reshape(len(images), -1)
    away = np.abs(sample - _median(sample))
    return np.asarray(np.maximum(_TO_SIGMA * _median(away)[:, 0], _LEAST_NOISE), np.float64)


def smoothed(images: Image) -> Image:
    """Images (n, height, width), weighted 1 2 1 along each axis; edges stay as they are along theirs."""
    out = images.copy()
    for axis in (1, 2):
        once = np.moveaxis(out.copy(), axis, 0)
        np.moveaxis(out, axis, 0)[1:-1] = 0.5 * once[1:-1] + 0.25 * (once[:-2] + once[2:])
    return out


def _median(rows: Image) -> Image:
    """The median of each row, (n, 1); of an even number of values the upper one of the middle two."""
    middle = rows.shape[1] // 2
    return np.partition(rows, middle, axis=1)[:, middle : middle + 1]
