"""Peaks on epipolar lines and near places, found over a grid of cells."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyptv.kernels.jit import leaf, piece, routine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

PIECES = 5
"""Straight pieces that an epipolar line is walked in."""


class Grid(NamedTuple):
    """The peaks of all cameras, by cells."""

    places: Floats
    """(n, 3) x, y [px], grey value."""
    cells: Ints
    """(n_cams, n_x * n_y + 1) where each cell starts in ``places``."""
    cell: float
    """Side of a cell [px]."""
    n_x: int
    n_y: int


@leaf
def limit(at_first: float, at_second: float, layers: Floats, x: float, z: float, dx: float, dz: float) -> float:
    """The z where a ray crosses a limit of the volume that is linear in x, given at the two x of the layers."""
    crossing = at_first
    for _ in range(2):
        at = x + (crossing - z) / dz * dx
        crossing = at_first + (at - layers[0]) / (layers[1] - layers[0]) * (at_second - at_first)
    return crossing


@piece
def walk(grid: Grid, c: int, line: Floats, width: float, out: Ints, where: Floats) -> int:
    """The peaks of a camera within ``width`` px of a line (PIECES + 1, 2), as many as fit in ``out``; returns how many.

    Cell by cell along the longer axis of each piece; only at the ends of the line may they lie beyond it. ``where`` (n, 2)
    receives for each how many pieces along the line it is, and how far from it, on the side of (dy, -dx) [px].
    """
    n = 0
    for k in range(PIECES):
        x, y = line[k, 0], line[k, 1]
        dx, dy = line[k + 1, 0] - x, line[k + 1, 1] - y
        length = math.sqrt(dx * dx + dy * dy)
        if not 1e-9 < length < 1e6:
            continue
        steep = abs(dy) > abs(dx)
        main, other, along, across = (y, x, dy, dx) if steep else (x, y, dx, dy)
        n_main, n_other = (grid.n_y, grid.n_x) if steep else (grid.n_x, grid.n_y)
        low, high = min(main, main + along) - width, max(main, main + along) + width
        first = -width / length if k == 0 else 0.0
        last = 1.0 + width / length if k == PIECES - 1 else 1.0
        for i in range(max(int(low / grid.cell), 0), min(int(high / grid.cell), n_main - 1) + 1):
            a = other + across / along * (i * grid.cell - main)
            b = other + across / along * ((i + 1) * grid.cell - main)
            from_j, to_j = (min(a, b) - 1.5 * width) / grid.cell, (max(a, b) + 1.5 * width) / grid.cell
            if to_j < 0.0 or from_j >= n_other:
                continue
            for j in range(max(int(from_j), 0), min(int(to_j), n_other - 1) + 1):
                at = i * grid.n_x + j if steep else j * grid.n_x + i
                for q in range(grid.cells[c, at], grid.cells[c, at + 1]):
                    px, py = grid.places[q, 0] - x, grid.places[q, 1] - y
                    t = (px * dx + py * dy) / (length * length)
                    if first <= t < last and abs(px * dy - py * dx) < width * length and n < len(out):
                        out[n], where[n, 0], where[n, 1] = q, k + t, (px * dy - py * dx) / length
                        n += 1
    return n


@routine
def near(grid: Grid, c: int, u: float, v: float, distance: float, out: Ints) -> int:
    """The peaks of a camera within ``distance`` px of a place, as many as fit in ``out``; returns how many."""
    n, cell = 0, grid.cell
    if not (-distance < u < grid.n_x * cell + distance and -distance < v < grid.n_y * cell + distance):
        return 0
    left, right = max(int((u - distance) / cell), 0), min(int((u + distance) / cell), grid.n_x - 1)
    for y in range(max(int((v - distance) / cell), 0), min(int((v + distance) / cell), grid.n_y - 1) + 1):
        # cells of a row lie one after the other
        for q in range(grid.cells[c, y * grid.n_x + left], grid.cells[c, y * grid.n_x + right + 1]):
            du, dv = grid.places[q, 0] - u, grid.places[q, 1] - v
            if du * du + dv * dv < distance * distance and n < len(out):
                out[n] = q
                n += 1
    return n
