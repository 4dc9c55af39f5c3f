"""Positions of the targets of a single camera."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.jit import entry
from pyptv.kernels.matching.candidates import half_way
from pyptv.kernels.matching.rays import look

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]


@entry("Tuple((int64[::1], float64[:, ::1]))(float64[::1], float64[::1], float64[::1], float64[:, ::1])")
def single_camera(camera: Floats, optics: Floats, criteria: Floats, targets: Floats) -> tuple[Integers, Floats]:
    """Positions for a single camera, as in optv: on the rays of its targets, halfway between the Z limits.

    Args:
        camera: (CAMERA_SIZE,)
        optics: (OPTICS_SIZE,)
        criteria: as for :func:`pyptv.kernels.matching.correspondence.match`.
        targets: as for :func:`pyptv.kernels.matching.correspondence.match`.

    Returns:
        (n,) numbers of the targets, by x of their flat coordinates; (n, 3) positions, mm.
    """
    base = np.array([0, len(targets)])
    seen, number = look(camera.reshape(1, -1), optics, base, targets)
    positions = np.empty((len(targets), 3))
    for index in range(len(targets)):
        positions[index, 0], positions[index, 1], positions[index, 2] = half_way(criteria, seen.rays[index])
    return number, positions
