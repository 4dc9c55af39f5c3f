"""Points in space, found by a grid of cells: the nearest ones of a place, and those within reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyptv.kernels.jit import entry, inner, leaf, number, piece, routine

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
    low, high, shape = np.zeros(3), np.zeros(3), np.ones(3, np.int64)
    for row in range(n):
        for axis in range(3):
            low[axis] = min(low[axis], points[row, axis]) if row > 0 else points[row, axis]
            high[axis] = max(high[axis], points[row, axis]) if row > 0 else points[row, axis]
    size = _size(low, high, shape, n)
    n_cells = shape[0] * shape[1] * shape[2]
    start, order, of = np.zeros(n_cells + 1, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    for row in range(n):
        x = along(points[row, 0], low[0], size, shape[0])
        y = along(points[row, 1], low[1], size, shape[1])
        z = along(points[row, 2], low[2], size, shape[2])
        of[row] = (x * shape[1] + y) * shape[2] + z
        start[of[row] + 1] += 1
    for cell in range(n_cells):
        start[cell + 1] += start[cell]
    for row in range(n):  # each cell's start moves on to its end, which is where the next one starts
        order[start[of[row]]] = row
        start[of[row]] += 1
    for cell in range(n_cells, 0, -1):
        start[cell] = start[cell - 1]
    start[0] = 0
    return Cells(low, size, shape, start, order)


@routine
def _size(low: Floats, high: Floats, shape: Ints, n: int) -> float:
    """Edge of the cells of a box [mm]; ``shape`` receives their number along each axis."""
    longest = max(high[0] - low[0], high[1] - low[1], high[2] - low[2], 1e-9)
    volume = 1.0
    for axis in range(3):
        volume *= max(high[axis] - low[axis], 0.01 * longest)
    size: float = (volume * _POINTS_A_CELL / max(n, 1)) ** (1.0 / 3.0)
    while True:
        for axis in range(3):
            shape[axis] = int((high[axis] - low[axis]) / size) + 1
        if shape[0] * shape[1] * shape[2] <= _MOST_CELLS_A_POINT * n + 8:
            return size
        size *= 1.3


@leaf
def along(value: float, low: float, size: float, n: int) -> int:
    """The number of the cell that a coordinate lies in, or the nearest one."""
    return int(min(max((value - low) / size, 0.0), n - 1.0))


@routine
def insert(row: int, square: float, rows: Ints, squares: Floats, n: int) -> int:
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


@piece
def _nearest_of(cells: Cells, points: Floats, x: float, y: float, z: float, without: int, rows: Ints, squares: Floats) -> int:
    """Find the nearest points of a place, in shells of cells around it; returns how many there are."""
    cx, cy, cz = (
        along(x, cells.low[0], cells.size, cells.shape[0]),
        along(y, cells.low[1], cells.size, cells.shape[1]),
        along(z, cells.low[2], cells.size, cells.shape[2]),
    )
    n, shell = number(0), 0
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
                            n = insert(row, dx * dx + dy * dy + dz * dz, rows, squares, n)
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
    found = np.empty((len(places), k), np.int64)
    rows, squares = np.empty(k, np.int64), np.empty(k)
    for place in range(len(places)):
        x, y, z = places[place, 0], places[place, 1], places[place, 2]
        n = _nearest_of(cells, points, x, y, z, place if same else -1, rows, squares)
        for at in range(k):
            found[place, at] = rows[at] if at < n else -1
    return found
