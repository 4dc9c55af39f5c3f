"""Displacements, turns and limits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pyptv.kernels.leaf import leaf
from pyptv.kernels.scene import Scene

if TYPE_CHECKING:
    from pyptv.kernels.reach import Point

_HALF_TURN = 200.0
"""Gon."""


@leaf
def distance(start: Point, end: Point) -> float:
    """The distance of two places [mm]."""
    dx, dy, dz = end[0] - start[0], end[1] - start[1], end[2] - start[2]
    return math.sqrt(dx * dx + dy * dy + dz * dz)


@leaf
def turn(start: Point, one: Point, other: Point) -> tuple[float, float]:
    """Angle [gon] and distance [mm] between the displacements from ``start`` to two places [mm].

    The angle is NaN where rounding makes the cosine larger than 1, and where a displacement is zero: so it is in optv.
    """
    ax, ay, az = one[0] - start[0], one[1] - start[1], one[2] - start[2]
    bx, by, bz = other[0] - start[0], other[1] - start[1], other[2] - start[2]
    apart = math.sqrt((ax - bx) * (ax - bx) + (ay - by) * (ay - by) + (az - bz) * (az - bz))
    if ax == -bx and ay == -by and az == -bz:  # first: two displacements of zero count as opposite ones
        return _HALF_TURN, apart
    if ax == bx and ay == by and az == bz:
        return 0.0, apart
    lengths = math.sqrt(ax * ax + ay * ay + az * az) * math.sqrt(bx * bx + by * by + bz * bz)
    cosine = (ax * bx + ay * by + az * bz) / lengths
    angle = math.acos(cosine) if -1.0 <= cosine <= 1.0 else math.nan
    return _HALF_TURN / math.pi * angle, apart


@leaf
def within(scene: Scene, start: Point, end: Point) -> bool:
    """Whether a displacement, between two places [mm], is within the limits."""
    dx, dy, dz = end[0] - start[0], end[1] - start[1], end[2] - start[2]
    least, most = scene.least, scene.most
    return least[0] < dx < most[0] and least[1] < dy < most[1] and least[2] < dz < most[2]


@leaf
def in_volume(scene: Scene, place: Point) -> bool:
    """Whether a place [mm] lies in the measuring volume."""
    for axis in range(3):
        if not scene.volume[axis, 0] < place[axis] < scene.volume[axis, 1]:
            return False
    return True
