"""The targets of a frame as correspondence takes them: sorted, in flat coordinates, with their rays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.geometry import FLATTENING_STEP, pixel_to_flat, ray
from pyptv.kernels.jit import inner
from pyptv.kernels.matching.candidates import Seen
from pyptv.kernels.ordering import descending

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]


@inner
def look(cameras: Floats, optics: Floats, base: Integers, targets: Floats) -> tuple[Seen, Integers]:
    """The targets sorted by x of their flat coordinates, and the number of each in its camera."""
    flat, rays = np.empty((len(targets), 2)), np.empty((len(targets), 6))
    sizes, number = np.empty((len(targets), 4)), np.empty(len(targets), np.int64)
    for camera in range(len(cameras)):
        begin, end = base[camera], base[camera + 1]
        minus_x, y = np.empty(end - begin), np.empty(end - begin)
        for index in range(end - begin):
            x, y[index] = pixel_to_flat(
                cameras[camera], optics, targets[begin + index, 0], targets[begin + index, 1], FLATTENING_STEP
            )
            minus_x[index] = -x
        for place, index in enumerate(descending(minus_x), begin):
            number[place] = index
            flat[place, 0], flat[place, 1] = -minus_x[index], y[index]
            for column in range(4):
                sizes[place, column] = targets[begin + index, 2 + column]
            for column, value in enumerate(ray(cameras[camera], optics, flat[place, 0], flat[place, 1])):
                rays[place, column] = value
    return Seen(base, flat, rays, sizes), number
