"""Background and noise of images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.dense.images import tile_medians

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Image = NDArray[np.float32]

_TO_SIGMA = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
_STRIDE = 3
_LEAST_NOISE = 1e-3
"""[grey values] Of images without any: thresholds must not be 0."""


def background(images: Image, tile: int) -> Image:
    """A smooth background of images (n, height, width): medians of tiles, the median of 3 x 3 of these, bilinear."""
    out = np.empty_like(images)
    for image, smooth in zip(images, out, strict=True):
        medians = np.pad(tile_medians(image, tile, 2), 1, mode="edge")
        rows, columns = medians.shape
        nine = [medians[i : rows - 2 + i, j : columns - 2 + j] for i in range(3) for j in range(3)]
        _interpolate(np.median(nine, axis=0), tile, smooth)
    return out


def _interpolate(values: Image, tile: int, out: Image) -> None:
    """Bilinear between the middles of tiles, constant beyond."""
    down, across = (_weights(side, n, tile) for side, n in zip(out.shape, values.shape, strict=True))
    (y0, y1, fy), (x0, x1, fx) = down, across
    columns = values[:, x0] * (1 - fx) + values[:, x1] * fx
    np.multiply(columns[y0], (1 - fy)[:, None], out=out)
    out += columns[y1] * fy[:, None]


def _weights(side: int, n: int, tile: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Image]:
    """For each pixel of an axis: the tiles before and after it, and the weight of the latter."""
    place = np.clip((np.arange(side) + 0.5) / tile - 0.5, 0, n - 1)
    before = np.minimum(np.floor(place).astype(np.int64), max(n - 2, 0))
    return before, np.minimum(before + 1, n - 1), (place - before).astype(np.float32)


def noise(images: Image) -> Floats:
    """The robust standard deviation of each image, (n,) [grey values]; from each third pixel of each third row."""
    sample = images[:, ::_STRIDE, ::_STRIDE].reshape(len(images), -1)
    away = np.abs(sample - np.median(sample, axis=1, keepdims=True))
    return np.asarray(np.maximum(_TO_SIGMA * np.median(away, axis=1), _LEAST_NOISE), np.float64)
