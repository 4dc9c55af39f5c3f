"""Whole images: medians of tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.jit import entry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float32]


@entry("float32[:, ::1](float32[:, ::1], int64, int64)")
def tile_medians(image: Image, tile: int, stride: int) -> Image:
    """The medians of the tiles of an image, (rows, columns), from each ``stride``-th pixel of a row, which are staggered.

    Tiles are ``tile`` px wide and high; the last ones reach back where the image is not a multiple of that, and no tile is
    larger than the image.
    """
    height, width = image.shape
    rows, columns = -(-height // tile), -(-width // tile)
    out = np.empty((rows, columns), np.float32)
    high, wide = min(tile, height), min(tile, width)
    values = np.empty(high * wide, np.float32)
    for i in range(rows):
        for j in range(columns):
            y0, x0 = min(i * tile, height - high), min(j * tile, width - wide)
            n = 0
            for y in range(y0, y0 + high):
                for x in range(x0 + y % stride, x0 + wide, stride):
                    values[n] = image[y, x]
                    n += 1
            values[:n].sort()
            out[i, j] = values[n // 2]
    return out
