"""Whole images: smoothed, and freed of a ground that varies slowly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.dense.spots import MARGIN
from pyptv.kernels.jit import entry, routine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float32]
    Ints = NDArray[np.int64]


@routine
def _weigh(before: Image, here: Image, after: Image, out: Image) -> None:
    for k in range(len(out)):
        out[k] = np.float32(0.5) * here[k] + np.float32(0.25) * (before[k] + after[k])


@entry("float32[:, :, ::1](float32[:, :, ::1])")
def smoothed(images: Image) -> Image:
    """Images with margins, weighted 1 2 1 along each axis; edges stay as they are along theirs. The margins become 0."""
    height, width = images.shape[1] - 2 * MARGIN, images.shape[2] - 2 * MARGIN
    out = np.zeros_like(images)
    line = np.empty(width, np.float32)
    first, last = MARGIN, MARGIN + width
    for c in range(len(images)):
        for y in range(MARGIN, MARGIN + height):
            beside = 0 if y in (MARGIN, MARGIN + height - 1) else 1
            above, here, below = images[c, y - beside], images[c, y], images[c, y + beside]
            _weigh(above[first:last], here[first:last], below[first:last], line)
            target = out[c, y]
            target[first], target[last - 1] = line[0], line[width - 1]
            _weigh(line[: width - 2], line[1 : width - 1], line[2:], target[first + 1 : last - 1])
    return out


@routine
def _between(n: int, tile: float, step: float, before: Ints, weight: Image) -> None:
    """For each place of an axis: the tile whose middle is before it, and the weight of the one after it."""
    for k in range(len(before)):
        place = min(max((k + 0.5) * step / tile - 0.5, 0.0), n - 1.0)
        before[k] = min(int(place), max(n - 2, 0))
        weight[k] = place - before[k]


@entry("void(float32[:, :, ::1], float32[:, :, ::1], float64, float64, int64)")
def subtract_ground(images: Image, grounds: Image, tile: float, step: float, margin: int) -> None:
    """Subtract from images, in place, what is given at the middles of tiles: bilinear between these, constant beyond.

    Args:
        images: (n, height, width), margins included.
        grounds: (n, rows, columns).
        tile: side of a tile [px].
        step: side of what a place of ``images`` stands for [px].
        margin: so many places on each side are left as they are.
    """
    height, width = images.shape[1] - 2 * margin, images.shape[2] - 2 * margin
    above, down = np.empty(height, np.int64), np.empty(height, np.float32)
    left, across = np.empty(width, np.int64), np.empty(width, np.float32)
    _between(grounds.shape[1], tile, step, above, down)
    _between(grounds.shape[2], tile, step, left, across)
    line, slope = np.zeros(grounds.shape[2] + 1, np.float32), np.zeros(grounds.shape[2], np.float32)
    for c in range(len(images)):
        for y in range(height):
            below = min(above[y] + 1, grounds.shape[1] - 1)
            for k in range(grounds.shape[2]):
                line[k] = grounds[c, above[y], k] + down[y] * (grounds[c, below, k] - grounds[c, above[y], k])
            for k in range(grounds.shape[2] - 1):
                slope[k] = line[k + 1] - line[k]
            out = images[c, margin + y, margin : margin + width]
            for x in range(width):
                out[x] -= line[left[x]] + across[x] * slope[left[x]]
