"""The nearest targets around a place in an image, by the grids of a frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pyptv.kernels.frames import FREE, NONE, USED, Frame, cell_of
from pyptv.kernels.leaf import leaf

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

    Rectangle = tuple[float, float, float, float]
    """The least and the largest x, the least and the largest y [px]; the edges do not belong to it."""

MOST_FOUND = 4
"""Targets that a search for particles keeps in an image."""
_SLACK = 1.0 + 1e-9
"""What rough comparisons of distances are widened by, so that rounding decides nothing."""


@leaf
def inside(limits: Rectangle, x: float, y: float) -> bool:
    """Whether a place lies in a rectangle."""
    return limits[0] < x < limits[1] and limits[2] < y < limits[3]


@leaf
def nearest_used(frame: Frame, camera: int, x: float, y: float, limits: Rectangle, found: Ints, distance: Floats) -> int:
    """Find the nearest targets with a particle in a rectangle; of equal distances only the first target counts.

    The search goes from the cell of the middle outwards, ring by ring, until a ring is farther away than what is found.

    Args:
        frame: where to look.
        camera: where to look.
        x: the middle [px].
        y: the middle [px].
        limits: the rectangle, which lies in the image.
        found: (MOST_FOUND,) is given the targets, counted over all cameras, the nearest first.
        distance: (MOST_FOUND,) is given their distances [px].

    Returns:
        How many there are.
    """
    head, after, pixel, cell = frame.head, frame.after, frame.pixel, frame.cell
    _, _, n_rows, n_columns = head.shape
    left, right, up, down = _cells(limits, cell, n_rows, n_columns)
    column, row = cell_of(x, cell, n_columns), cell_of(y, cell, n_rows)
    n_found = 0
    for place in range(MOST_FOUND):
        distance[place] = math.inf
    for ring in range(max(max(column - left, right - column), max(row - up, down - row)) + 1):
        if _beyond(cell, x, y, column, row, ring) > _SLACK * distance[MOST_FOUND - 1]:
            break
        for i in range(max(up, row - ring), min(down, row + ring) + 1):
            step = 1 if abs(i - row) == ring else 2 * ring
            for j in range(column - ring, column + ring + 1, step):
                if left <= j <= right:
                    n_found = _gather(pixel, after, head[USED, camera, i, j], x, y, limits, found, distance, n_found)
    return n_found


@leaf
def nearest_free(frame: Frame, camera: int, x: float, y: float, limits: Rectangle) -> int:
    """The nearest target without a particle in a rectangle, counted over all cameras; NONE where there is none.

    Arguments are those of :func:`nearest_used`; of equal distances the first target counts.
    """
    head, after, pixel, cell = frame.head, frame.after, frame.pixel, frame.cell
    left, right, up, down = _cells(limits, cell, head.shape[2], head.shape[3])
    best = NONE
    least = math.inf
    for row in range(up, down + 1):
        for column in range(left, right + 1):
            target = head[FREE, camera, row, column]
            while target != NONE:
                px, py = pixel[target, 0], pixel[target, 1]
                if inside(limits, px, py):
                    distance = math.sqrt((px - x) * (px - x) + (py - y) * (py - y))
                    if distance < least or (distance == least and target < best):
                        best, least = target, distance
                target = after[target]
    return best


@leaf
def _cells(limits: Rectangle, cell: float, n_rows: int, n_columns: int) -> tuple[int, int, int, int]:
    """The first and last column and the first and last row of the cells that a rectangle touches."""
    left, right = cell_of(limits[0], cell, n_columns), cell_of(limits[1], cell, n_columns)
    return left, right, cell_of(limits[2], cell, n_rows), cell_of(limits[3], cell, n_rows)


@leaf
def _beyond(cell: float, x: float, y: float, column: int, row: int, ring: int) -> float:
    """A lower bound of the distance [px] from a place to the cells of a ring around its own."""
    aside = min(x - (column - ring + 1) * cell, (column + ring) * cell - x)
    above = min(y - (row - ring + 1) * cell, (row + ring) * cell - y)
    return min(aside, above)


@leaf
def _gather(
    pixel: Floats, after: Ints, target: int, x: float, y: float, limits: Rectangle, found: Ints, distance: Floats, n_found: int
) -> int:
    """Go through the list of a cell from ``target`` on; returns how many are found then."""
    while target != NONE:
        px, py = pixel[target, 0], pixel[target, 1]
        square = (px - x) * (px - x) + (py - y) * (py - y)
        farthest = distance[MOST_FOUND - 1]
        if square <= _SLACK * farthest * farthest and inside(limits, px, py):
            n_found = _insert(found, distance, n_found, target, math.sqrt(square))
        target = after[target]
    return n_found


@leaf
def _insert(found: Ints, distance: Floats, n_found: int, target: int, d: float) -> int:
    """Insert a target into those found so far, if it is one of the nearest; returns how many there are then."""
    if d > distance[MOST_FOUND - 1]:
        return n_found
    for place in range(n_found):
        if d == distance[place]:
            found[place] = min(found[place], target)
            return n_found
    place = min(n_found, MOST_FOUND - 1)
    while place > 0 and d < distance[place - 1]:
        found[place], distance[place] = found[place - 1], distance[place - 1]
        place -= 1
    found[place], distance[place] = target, d
    return min(n_found + 1, MOST_FOUND)
