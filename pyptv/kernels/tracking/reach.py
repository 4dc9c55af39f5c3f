"""The reach of a particle in an image: the projection of the box of possible displacements, exactly or between two bounds.

The exact value costs eight projections. It is rarely needed: usually an approximate one shows whether a target is in the
rectangle. So both bounds are tabulated once, over the measuring volume and all positions that can be reached from it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.geometry import project_pixel
from pyptv.kernels.jit import entry, inner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

    Point = tuple[float, float, float]
    """x, y, z [mm]."""
    Cell = tuple[int, int, int]
    from pyptv.kernels.tracking.search import Rectangle

LOWER, UPPER = 0, 1
"""The two bounds."""
SIDES = 4
"""Left, right, up, down."""
_CORNERS = 8
_CELLS = 12
"""Number of cells of the table along each axis."""
_SHARE, _LEAST = 0.02, 0.2
"""Margins of the bounds: this share of the reach, these px, and the whole variation of the reach in a cell."""


@inner
def covered(camera: Floats, optics: Floats, displacement: Floats, point: Point) -> Rectangle:
    """Project the eight corners of the box of displacements.

    Args:
        camera: (K,).
        optics: (K2,).
        displacement: (3, 2) minimum and maximum displacements along x, y, z [mm].
        point: start of the displacements [mm].

    Returns:
        Minimum and maximum x, minimum and maximum y [px].
    """
    left, right, up, down = math.inf, -math.inf, math.inf, -math.inf
    for corner in range(_CORNERS):
        x = point[0] + displacement[0, corner & 1]
        y = point[1] + displacement[1, corner >> 1 & 1]
        z = point[2] + displacement[2, corner >> 2]
        px, py = project_pixel(camera, optics, x, y, z)
        left, right = min(left, px), max(right, px)  # NaN has no effect
        up, down = min(up, py), max(down, py)
    return left, right, up, down


@inner
def _nodes(camera: Floats, optics: Floats, displacement: Floats, span: Floats, largest: float) -> Floats:
    """The reach (n, n, n, 4) [px] at the corners of the table's cells; NaN if it is larger than ``largest`` or unknown."""
    n = _CELLS + 1
    nodes = np.empty((n, n, n, SIDES))
    for node in range(n * n * n):
        i, j, k = node // (n * n), node // n % n, node % n
        point = _along(span[0], i), _along(span[1], j), _along(span[2], k)
        px, py = project_pixel(camera, optics, point[0], point[1], point[2])
        left, right, up, down = covered(camera, optics, displacement, point)
        reach = px - left, right - px, py - up, down - py
        for side in range(SIDES):
            nodes[i, j, k, side] = reach[side] if abs(reach[side]) < largest else math.nan
    return nodes


@inner
def _along(span: Floats, node: int) -> float:
    """The coordinate [mm] of a node of the table along an axis, on which it spans (2,)."""
    place: float = span[0] + node * ((span[1] - span[0]) / _CELLS)
    return place


@inner
def _bound(nodes: Floats, cell: Cell, side: int) -> tuple[float, float]:
    """The bounds of a side's reach in a cell, by its values at the corners of the cell."""
    low, high = math.inf, -math.inf
    for corner in range(_CORNERS):
        value = nodes[cell[0] + (corner & 1), cell[1] + (corner >> 1 & 1), cell[2] + (corner >> 2), side]
        if math.isnan(value):
            return -math.inf, math.inf
        low, high = min(low, value), max(high, value)
    more = (high - low) + _SHARE * max(abs(high), abs(low)) + _LEAST
    return low - more, high + more


@entry("float64[:, :, :, :, :, ::1](float64[:, ::1], float64[::1], float64[:, ::1], float64[:, ::1], float64)")
def reach_bounds(cameras: Floats, optics: Floats, displacement: Floats, span: Floats, largest: float) -> Floats:
    """Bounds of the reach, left, right, up and down, anywhere in the cells of a table.

    Projection is smooth: its values between the corners of a cell, which is small compared with the distance of the cameras, stay
    well within the values at the corners, widened by their whole variation. This does not hold if a box is near a camera.
    Its reach is then longer than the image, and there is no bound.

    Args:
        cameras: (n_cams, K).
        optics: (K2,).
        displacement: (3, 2) minimum and maximum displacements along x, y, z [mm].
        span: (3, 2) limits of x, y, z [mm].
        largest: the longer side of the image [px].

    Returns:
        (cells in x, in y, in z, n_cams, 2, 4): lower bounds, then upper ones [px]; infinite if there is none.
    """
    bounds = np.empty((_CELLS, _CELLS, _CELLS, len(cameras), 2, SIDES))
    for camera in range(len(cameras)):
        nodes = _nodes(cameras[camera], optics, displacement, span, largest)
        for number in range(_CELLS * _CELLS * _CELLS):
            i, j, k = number // (_CELLS * _CELLS), number // _CELLS % _CELLS, number % _CELLS
            for side in range(SIDES):
                low, high = _bound(nodes, (i, j, k), side)
                bounds[i, j, k, camera, LOWER, side], bounds[i, j, k, camera, UPPER, side] = low, high
    return bounds


@inner
def cell_at(span: Floats, point: Point) -> Cell:
    """The cell of the table that contains a point [mm]; its first index is -1 for a point outside the span, and for NaN."""
    i = _cell_along(span[0, 0], span[0, 1], point[0])
    j = _cell_along(span[1, 0], span[1, 1], point[1])
    k = _cell_along(span[2, 0], span[2, 1], point[2])
    return (i if min(j, k) >= 0 else -1), j, k


@inner
def _cell_along(first: float, last: float, place: float) -> int:
    share = (place - first) / (last - first) * _CELLS
    return int(share) if 0.0 <= share < _CELLS else -1
