"""Links between two frames: votes of neighbours where nothing is known, two-way nearest to predictions where something is.

Particles move much as their neighbours do. Where nothing is known of the motion, each displacement that may be a particle's is
voted for by its neighbours: those that may have moved alike (relaxation, after Baek and Lee, Experiments in Fluids 22, 1996).
Where the motion is known, each particle's place in the next frame is predicted, and a link needs two that are each other's
nearest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.dense.cells import along, insert, make_cells
from pyptv.kernels.jit import entry, number, piece, routine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.kernels.dense.cells import Cells

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]

_MOST_CANDIDATES = 32
"""Of the particles in the search box those nearest to its middle count: limits that are far too wide cost no time."""


@piece
def _candidates(cells: Cells, point: Floats, b: Floats, low: Floats, high: Floats, rows: Ints, squares: Floats) -> int:
    """The particles of the next frame in a particle's search box, those nearest to its middle first; returns how many."""
    n = number(0)
    x0 = along(point[0] + low[0], cells.low[0], cells.size, cells.shape[0])
    x1 = along(point[0] + high[0], cells.low[0], cells.size, cells.shape[0])
    y0 = along(point[1] + low[1], cells.low[1], cells.size, cells.shape[1])
    y1 = along(point[1] + high[1], cells.low[1], cells.size, cells.shape[1])
    z0 = along(point[2] + low[2], cells.low[2], cells.size, cells.shape[2])
    z1 = along(point[2] + high[2], cells.low[2], cells.size, cells.shape[2])
    for i in range(x0, x1 + 1):
        for j in range(y0, y1 + 1):
            line = (i * cells.shape[1] + j) * cells.shape[2]
            for at in range(cells.start[line + z0], cells.start[line + z1 + 1]):
                row = cells.order[at]
                square, within = 0.0, True
                for axis in range(3):
                    d = b[row, axis] - point[axis]
                    within = within and low[axis] <= d <= high[axis]
                    square += (d - 0.5 * (low[axis] + high[axis])) ** 2
                if within:
                    n = insert(row, square, rows, squares, n)
    return n


@routine
def _drop_one_way(best: Ints, back: Ints) -> None:
    """Only two that choose each other are linked."""
    for p in range(len(best)):
        if best[p] >= 0 and back[best[p]] != p:
            best[p] = -1


@routine
def _forget(best: Ints, values: Floats, value: float) -> None:
    """No link yet."""
    for p in range(len(best)):
        best[p], values[p] = -1, value


@routine
def _votes(a: Floats, b: Floats, p: int, q: int, neighbours: Ints, rows: Ints, count: Ints, alike: float) -> float:
    """The votes for the displacement from ``a[p]`` to ``b[q]``."""
    votes = 0.0
    x, y, z = b[q, 0] - a[p, 0], b[q, 1] - a[p, 1], b[q, 2] - a[p, 2]
    for k in range(neighbours.shape[1]):
        other = neighbours[p, k]
        if other < 0:
            break
        least = 1e300
        for c in range(count[other]):
            to = rows[other, c]
            dx, dy, dz = b[to, 0] - a[other, 0] - x, b[to, 1] - a[other, 1] - y, b[to, 2] - a[other, 2] - z
            least = min(least, dx * dx + dy * dy + dz * dz)
        votes += 1.0 / (1.0 + least / (alike * alike))
    return votes


@entry("int64[::1](float64[:, ::1], float64[:, ::1], int64[:, ::1], float64[::1], float64[::1], float64[::1], float64)")
def vote(a: Floats, b: Floats, neighbours: Ints, low: Floats, high: Floats, alike: Floats, share: float) -> Ints:
    """Links where nothing is known of the motion but its limits.

    A candidate displacement of a particle gets from each neighbour ``1 / (1 + (d / alike)^2)``, d being the distance to the
    nearest of the neighbour's own candidate displacements. A link needs the most votes among those of both its particles.

    Args:
        a: (n, 3) particles [mm].
        b: (m, 3) those of the next frame [mm].
        neighbours: (n, k) rows of ``a``, -1 for none.
        low: (3,) smallest displacement [mm].
        high: (3,) largest one [mm].
        alike: (n,) difference of two neighbours' displacements at which the vote is a half [mm].
        share: of the possible votes that a link needs.

    Returns:
        (n,) row of ``b``, or -1.
    """
    cells = make_cells(b)
    rows, count, squares = np.empty((len(a), _MOST_CANDIDATES), np.int64), np.empty(len(a), np.int64), np.empty(_MOST_CANDIDATES)
    for p in range(len(a)):
        count[p] = _candidates(cells, a[p], b, low, high, rows[p], squares)
    best, best_votes = np.empty(len(a), np.int64), np.empty(len(a))
    back, back_votes = np.empty(len(b), np.int64), np.empty(len(b))
    _forget(best, best_votes, 0.0)
    _forget(back, back_votes, 0.0)
    for p in range(len(a)):
        n_neighbours = 0
        for k in range(neighbours.shape[1]):
            n_neighbours += neighbours[p, k] >= 0
        for c in range(count[p]):
            q = rows[p, c]
            votes = _votes(a, b, p, q, neighbours, rows, count, alike[p])
            if votes >= share * n_neighbours:
                if votes > best_votes[p]:
                    best[p], best_votes[p] = q, votes
                if votes > back_votes[q]:
                    back[q], back_votes[q] = p, votes
    _drop_one_way(best, back)
    return best


_NINE = np.array(
    [1, 2, 4, 5, 7, 8, 0, 1, 3, 4, 6, 7, 1, 2, 4, 5, 7, 8, 0, 3, 5, 8, 4, 7, 3, 6, 1, 4, 2, 5, 4, 7, 4, 2, 6, 4, 4, 2]
)
"""Pairs of places to be put in order, one after the other: then the median of nine is in the middle (Devillard 1998)."""


@routine
def _median(values: Floats, n: int) -> float:
    """The median of the first ``n`` values, which are put in another order by it."""
    if n == 9:  # nearly always: without branches that nobody can foretell
        for k in range(0, len(_NINE), 2):
            a, b = values[_NINE[k]], values[_NINE[k + 1]]
            values[_NINE[k]], values[_NINE[k + 1]] = min(a, b), max(a, b)
        return float(values[4])
    for at in range(1, n):
        value, place = values[at], at
        while place > 0 and values[place - 1] > value:
            values[place] = values[place - 1]
            place -= 1
        values[place] = value
    return float(0.5 * (values[(n - 1) // 2] + values[n // 2]))


@entry("Tuple((float64[:, ::1], float64[::1]))(float64[:, ::1], boolean[::1], int64[:, ::1], int64)")
def local_median(values: Floats, known: Flags, neighbours: Ints, most: int) -> tuple[Floats, Floats]:
    """The median of the values of the nearest neighbours that have one, and how far these scatter.

    Args:
        values: (n, 3).
        known: (n,) whether there is a value.
        neighbours: (n, k) rows, the nearest first, -1 for none.
        most: largest number of them that count.

    Returns:
        (n, 3) median of each component, 0 where no neighbour has a value; (n,) the largest component's 1.4826 median of the
        distances from it, infinite where fewer than three have one.
    """
    medians, spread = np.zeros((len(neighbours), 3)), np.empty(len(neighbours))
    rows, ordered = np.empty(most, np.int64), np.empty(most)
    for row in range(len(neighbours)):
        n = 0
        for k in range(neighbours.shape[1]):
            other = neighbours[row, k]
            if other < 0 or n == most:
                break
            if known[other]:
                rows[n] = other
                n += 1
        widest = 0.0
        for axis in range(3 if n > 0 else 0):
            for k in range(n):
                ordered[k] = values[rows[k], axis]
            medians[row, axis] = _median(ordered, n)
            for k in range(n):
                ordered[k] = abs(values[rows[k], axis] - medians[row, axis])
            widest = max(widest, _median(ordered, n))
        spread[row] = 1.4826 * widest if n >= 3 else np.inf
    return medians, spread


@routine
def _misfit(
    point: Floats, other: Floats, forward: Floats, weight: float, backward: Floats, back_weight: float, box: Floats
) -> float:
    """How far [mm] a displacement is from the weighted mean of both predictions; infinite outside its limits."""
    square = 0.0
    for axis in range(3):
        d = other[axis] - point[axis]
        if not box[axis] <= d <= box[axis + 3]:
            return np.inf
        expected = (weight * forward[axis] + back_weight * backward[axis]) / (weight + back_weight)
        square += (d - expected) ** 2
    return float(np.sqrt(square))


@entry(
    "int64[::1](float64[:, ::1], float64[:, ::1], float64[:, ::1], float64[::1], float64[:, ::1], float64[::1], float64[::1], "
    "float64[::1])"
)
def two_way(
    a: Floats,
    b: Floats,
    forward: Floats,
    forward_weight: Floats,
    backward: Floats,
    backward_weight: Floats,
    reach: Floats,
    box: Floats,
) -> Ints:
    """Links of particles that are each other's nearest to what is predicted of their displacement.

    Args:
        a: (n, 3) particles [mm].
        b: (m, 3) those of the next frame [mm].
        forward: (n, 3) predicted displacement of each particle of ``a`` [mm].
        forward_weight: (n,) how much it counts, above 0.
        backward: (m, 3) predicted displacement that has led to each particle of ``b`` [mm].
        backward_weight: (m,) how much that counts; 0: there is no prediction.
        reach: (n,) largest distance of a link from the prediction [mm].
        box: (6,) smallest and largest displacement along each axis [mm].

    Returns:
        (n,) row of ``b``, or -1.
    """
    cells = make_cells(b)
    best, least = np.empty(len(a), np.int64), np.empty(len(a))
    back, back_least = np.empty(len(b), np.int64), np.empty(len(b))
    _forget(best, least, np.inf)
    _forget(back, back_least, np.inf)
    first, last = np.empty(3, np.int64), np.empty(3, np.int64)
    for p in range(len(a)):
        # a prediction from behind may pull the expected place away from that of the forward one alone
        wide = 2.0 * reach[p]
        for axis in range(3):
            place = a[p, axis] + forward[p, axis]
            first[axis] = along(place - wide, cells.low[axis], cells.size, cells.shape[axis])
            last[axis] = along(place + wide, cells.low[axis], cells.size, cells.shape[axis])
        for i in range(first[0], last[0] + 1):
            for j in range(first[1], last[1] + 1):
                line = (i * cells.shape[1] + j) * cells.shape[2]
                for at in range(cells.start[line + first[2]], cells.start[line + last[2] + 1]):
                    q = cells.order[at]
                    far = _misfit(a[p], b[q], forward[p], forward_weight[p], backward[q], backward_weight[q], box)
                    if far <= reach[p]:
                        if far < least[p]:
                            best[p], least[p] = q, far
                        if far < back_least[q]:
                            back[q], back_least[q] = p, far
    _drop_one_way(best, back)
    return best
