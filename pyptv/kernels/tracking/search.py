"""The nearest targets around a position in an image, found with the grids of a frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from pyptv.kernels.jit import leaf
from pyptv.kernels.tracking.frames import NONE, Frame, cell_number, cell_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

    Pixel = tuple[float, float]
    """x, y [px]."""
    Rectangle = tuple[float, float, float, float]
    """Minimum and maximum x, minimum and maximum y [px]; excluding the edges."""

MOST_FOUND = 4
"""Number of targets that a search for particles keeps in an image."""
_SLACK = 1.0 + 1e-9
"""Margin of approximate comparisons of distances, so that rounding has no effect."""


class Found(NamedTuple):
    """The results of a search, the nearest first."""

    target: Ints
    """(MOST_FOUND,) targets, numbered over all cameras."""
    distance: Floats
    """(MOST_FOUND,) their distances [px]; infinite without a target."""


@leaf
def inside(limits: Rectangle, x: float, y: float) -> bool:
    """Whether a position is in a rectangle."""
    return limits[0] < x < limits[1] and limits[2] < y < limits[3]


@leaf
def nearest_used(frame: Frame, camera: int, centre: Pixel, limits: Rectangle, found: Found) -> int:
    """Find the nearest targets with a particle in a rectangle; of equal distances only the first target counts.

    The search goes from the cell of the centre and its neighbours outwards, ring by ring, until a ring is farther away than the
    targets found. Neighbouring cells of a row are searched as one.

    Args:
        frame: to search.
        camera: to search.
        centre: of the search [px].
        limits: the rectangle, which is inside the image.
        found: output.

    Returns:
        The number of targets.
    """
    left, right, up, down = _cells(frame, limits)
    column, row = cell_of(centre[0], frame.cell, frame.grid[1]), cell_of(centre[1], frame.cell, frame.grid[0])
    for place in range(MOST_FOUND):
        found.distance[place] = math.inf
    for ring in range(1, max(column - left, right - column, row - up, down - row, 1) + 1):
        if ring > 1 and _beyond(frame.cell, centre, column, row, ring) > _SLACK * found.distance[MOST_FOUND - 1]:
            break
        for i in range(max(up, row - ring), min(down, row + ring) + 1):
            whole = ring == 1 or abs(i - row) == ring
            for side in range(1 if whole else 2):
                begin = max(left, column - ring) if whole else column + (2 * side - 1) * ring
                end = min(right, column + ring) if whole else begin
                if left <= begin <= end <= right:
                    _gather(frame, cell_number(frame, camera, i, begin), end - begin + 1, centre, limits, found)
    n_found = 0
    while n_found < MOST_FOUND and found.distance[n_found] < math.inf:
        n_found += 1
    return n_found


@leaf
def nearest_free(frame: Frame, camera: int, centre: Pixel, limits: Rectangle) -> int:
    """The nearest target without a particle in a rectangle, numbered over all cameras; NONE if there is none.

    Arguments are those of :func:`nearest_used`; of equal distances the first target counts.
    """
    left, right, up, down = _cells(frame, limits)
    best = NONE
    least = math.inf
    for row in range(up, down + 1):
        cell = cell_number(frame, camera, row, left)
        for place in range(frame.start[cell], frame.start[cell + right - left + 1]):
            x, y = frame.free[place, 0], frame.free[place, 1]
            if inside(limits, x, y):
                target, distance = frame.sorted[place], math.sqrt(_square(centre, x, y))
                if distance < least or (distance == least and target < best):
                    best, least = target, distance
    return best


@leaf
def _square(centre: Pixel, x: float, y: float) -> float:
    """The squared distance of two positions [px^2]."""
    return (x - centre[0]) * (x - centre[0]) + (y - centre[1]) * (y - centre[1])


@leaf
def _cells(frame: Frame, limits: Rectangle) -> tuple[int, int, int, int]:
    """The first and last column and the first and last row of the cells that a rectangle touches."""
    n_rows, n_columns = frame.grid[0], frame.grid[1]
    left, right = cell_of(limits[0], frame.cell, n_columns), cell_of(limits[1], frame.cell, n_columns)
    return left, right, cell_of(limits[2], frame.cell, n_rows), cell_of(limits[3], frame.cell, n_rows)


@leaf
def _beyond(cell: float, centre: Pixel, column: int, row: int, ring: int) -> float:
    """A lower bound of the distance [px] from a position to the cells of a ring around its own."""
    x, y = centre
    aside = min(x - (column - ring + 1) * cell, (column + ring) * cell - x)
    above = min(y - (row - ring + 1) * cell, (row + ring) * cell - y)
    return min(aside, above)


@leaf
def _gather(frame: Frame, cell: int, n_cells: int, centre: Pixel, limits: Rectangle, found: Found) -> None:
    """Search some cells of a row."""
    for place in range(frame.start[cell], frame.start[cell + n_cells]):
        x, y = frame.used[place, 0], frame.used[place, 1]
        square = _square(centre, x, y)
        farthest = found.distance[MOST_FOUND - 1]
        if square <= _SLACK * farthest * farthest and inside(limits, x, y):
            _insert(found, frame.sorted[place], math.sqrt(square))


@leaf
def _insert(found: Found, target: int, d: float) -> None:
    """Insert a target into those found so far, if it is one of the nearest."""
    distance = found.distance
    place = MOST_FOUND
    while place > 0 and d < distance[place - 1]:
        place -= 1
    if place > 0 and d == distance[place - 1]:
        found.target[place - 1] = min(found.target[place - 1], target)
        return
    for behind in range(MOST_FOUND - 1, place, -1):
        found.target[behind], distance[behind] = found.target[behind - 1], distance[behind - 1]
    if place < MOST_FOUND:
        found.target[place], distance[place] = target, d
