"""Points in space, found by a grid of cells: the nearest ones of a place, and those within reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyptv.kernels.jit import entry, inner, leaf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_POINTS_A_CELL = 2.0
_MOST_CELLS_A_POINT = 4
"""Points that lie in clusters make a bounding box of mostly empty cells: their number is bounded all the same."""


class Cells(NamedTuple):
    """Points sorted into the cells of a grid over their bounding box."""

    low: Floats
    """(3,) corner of the grid [mm]."""
    size: float
    """Edge of a cell [mm]."""
    shape: Ints
    """(3,) number of cells along each axis."""
    start: Ints
    """(n_cells + 1,) where the points of each cell begin in ``order``."""
    order: Ints
    """(n,) rows of the points, cell by cell, ascending in each."""


@inner
def make_cells(points: Floats) -> Cells:
    """Sort points (n, 3) [mm] into cells that hold about two of them each."""
    n = len(points)
    low, high = np.zeros(3), np.zeros(3)
    for axis in range(3):
        if n > 0:
            low[axis], high[axis] = points[:, axis].min(), points[:, axis].max()
    longest = max(high[0] - low[0], high[1] - low[1], high[2] - low[2], 1e-9)
    volume = 1.0
    for axis in range(3):
        volume *= max(high[axis] - low[axis], 0.01 * longest)
    size = (volume * _POINTS_A_CELL / max(n, 1)) ** (1.0 / 3.0)
    shape = np.ones(3, np.int64)
    while True:
        for axis in range(3):
            shape[axis] = int((high[axis] - low[axis]) / size) + 1
        if shape[0] * shape[1] * shape[2] <= _MOST_CELLS_A_POINT * n + 8:
            break
        size *= 1.3
    start = np.zeros(shape[0] * shape[1] * shape[2] + 1, np.int64)
    of = np.empty(n, np.int64)
    for row in range(n):
        of[row] = _cell(points[row], low, size, shape)
        start[of[row] + 1] += 1
    for cell in range(1, len(start)):
        start[cell] += start[cell - 1]
    place, order = start[:-1].copy(), np.empty(n, np.int64)
    for row in range(n):
        order[place[of[row]]] = row
        place[of[row]] += 1
    return Cells(low, size, shape, start, order)


@leaf
def along(value: float, low: float, size: float, n: int) -> int:
    """The number of the cell that a coordinate lies in, or the nearest one."""
    return int(min(max((value - low) / size, 0.0), n - 1.0))


@leaf
def _cell(point: Floats, low: Floats, size: float, shape: Ints) -> int:
    x, y = along(point[0], low[0], size, shape[0]), along(point[1], low[1], size, shape[1])
    cell: int = (x * shape[1] + y) * shape[2] + along(point[2], low[2], size, shape[2])
    return cell


@leaf
def _take(row: int, square: float, rows: Ints, squares: Floats, n: int) -> int:
    """Put a point into the list of the nearest ones, ascending; returns how many there are then."""
    most = len(rows)
    if n == most and square >= squares[n - 1]:
        return n
    place = min(n, most - 1)
    while place > 0 and squares[place - 1] > square:
        rows[place], squares[place] = rows[place - 1], squares[place - 1]
        place -= 1
    rows[place], squares[place] = row, square
    return min(n + 1, most)


@inner
def _nearest_of(cells: Cells, points: Floats, x: float, y: float, z: float, without: int, rows: Ints, squares: Floats) -> int:
    """Find the nearest points of a place, in shells of cells around it; returns how many there are."""
    cx, cy, cz = (
        along(x, cells.low[0], cells.size, cells.shape[0]),
        along(y, cells.low[1], cells.size, cells.shape[1]),
        along(z, cells.low[2], cells.size, cells.shape[2]),
    )
    n, shell = 0, 0
    widest = max(cells.shape[0], cells.shape[1], cells.shape[2])
    while shell <= widest:
        for i in range(max(cx - shell, 0), min(cx + shell, cells.shape[0] - 1) + 1):
            for j in range(max(cy - shell, 0), min(cy + shell, cells.shape[1] - 1) + 1):
                edge = abs(i - cx) == shell or abs(j - cy) == shell
                step = 1 if edge else max(2 * shell, 1)
                for k in range(cz - shell, cz + shell + 1, step):
                    if not 0 <= k < cells.shape[2]:
                        continue
                    cell = (i * cells.shape[1] + j) * cells.shape[2] + k
                    for at in range(cells.start[cell], cells.start[cell + 1]):
                        row = cells.order[at]
                        if row != without:
                            dx, dy, dz = points[row, 0] - x, points[row, 1] - y, points[row, 2] - z
                            n = _take(row, dx * dx + dy * dy + dz * dz, rows, squares, n)
        if n == len(rows) and squares[n - 1] <= (shell * cells.size) ** 2:
            break
        shell += 1
    return n


@entry("int64[:, ::1](float64[:, ::1], float64[:, ::1], int64, boolean)")
def nearest(points: Floats, places: Floats, k: int, same: bool) -> Ints:  # noqa: FBT001
    """The nearest points of some places.

    Args:
        points: (n, 3) [mm].
        places: (m, 3) [mm]; inside the points' bounding box, or near it.
        k: how many are wanted.
        same: the places are the points: none is its own neighbour.

    Returns:
        (m, k) rows of the points, the nearest first; -1 where there are no more.
    """
    cells = make_cells(points)
    found = np.full((len(places), k), -1, np.int64)
    rows, squares = np.empty(k, np.int64), np.empty(k)
    for place in range(len(places)):
        x, y, z = places[place, 0], places[place, 1], places[place, 2]
        n = _nearest_of(cells, points, x, y, z, place if same else -1, rows, squares)
        for at in range(n):
            found[place, at] = rows[at]
    return found
