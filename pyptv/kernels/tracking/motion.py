"""Displacements, changes of direction, and limits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pyptv.kernels.jit import leaf

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pyptv.kernels.tracking.reach import Point

    Floats = NDArray[np.float64]

_HALF_TURN = 200.0
"""Gon."""


@leaf
def distance(start: Point, end: Point) -> float:
    """The distance of two positions [mm]."""
    dx, dy, dz = end[0] - start[0], end[1] - start[1], end[2] - start[2]
    return math.sqrt(dx * dx + dy * dy + dz * dz)


@leaf
def turn(start: Point, one: Point, other: Point) -> tuple[float, float]:
    """Angle [gon] and distance [mm] between the displacements from ``start`` to two positions [mm].

    The angle is NaN if rounding makes the cosine larger than 1, and if a displacement is zero, as in optv.
    """
    ax, ay, az = one[0] - start[0], one[1] - start[1], one[2] - start[2]
    bx, by, bz = other[0] - start[0], other[1] - start[1], other[2] - start[2]
    apart = math.sqrt((ax - bx) * (ax - bx) + (ay - by) * (ay - by) + (az - bz) * (az - bz))
    if ax == -bx and ay == -by and az == -bz:  # first: two displacements of zero count as opposite ones
        return _HALF_TURN, apart
    if ax == bx and ay == by and az == bz:
        return 0.0, apart
    # divided twice, not by the product: rounding decides whether straight motion has an angle
    cosine = (ax * bx + ay * by + az * bz) / math.sqrt(ax * ax + ay * ay + az * az) / math.sqrt(bx * bx + by * by + bz * bz)
    angle = math.acos(cosine) if -1.0 <= cosine <= 1.0 else math.nan
    return _HALF_TURN / math.pi * angle, apart


@leaf
def within(limits: Floats, start: Point, end: Point) -> bool:
    """Whether a displacement between two positions [mm] is inside its limits (3, 2)."""
    return in_box(limits, (end[0] - start[0], end[1] - start[1], end[2] - start[2]))


@leaf
def in_box(limits: Floats, place: Point) -> bool:
    """Whether a position [mm] is inside a box (3, 2); False for NaN."""
    inside: bool = (
        limits[0, 0] < place[0] < limits[0, 1]
        and limits[1, 0] < place[1] < limits[1, 1]
        and limits[2, 0] < place[2] < limits[2, 1]
    )
    return inside
