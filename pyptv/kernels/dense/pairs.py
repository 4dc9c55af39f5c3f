"""Particles that stand for the same one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.dense.peaks import cell_of
from pyptv.kernels.jit import entry, piece

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.uint8]

_CELL = 8.0
_NONE = -1


@piece
def _same(projections: Floats, p: int, q: int, distance: float) -> bool:
    for c in range(projections.shape[1]):
        du, dv = projections[p, c, 0] - projections[q, c, 0], projections[p, c, 1] - projections[q, c, 1]
        if du * du + dv * dv > distance * distance:
            return False
    return True


@entry("void(float64[:, :, ::1], float64[::1], uint8[::1], uint8[::1], float64, float64, int64, int64)")
def drop_doubles(
    projections: Floats,
    strength: Floats,
    sure: Flags,
    kept: Flags,
    distance: float,
    distance_sure: float,
    width: int,
    height: int,
) -> None:
    """Of two particles nearer than ``distance`` px (less than 8) in all images, the weaker one goes.

    Args:
        projections: (n, n_cams, 2) [px].
        strength: (n,) which is the weaker one.
        sure: (n,) of two with 1 ``distance_sure`` is what counts.
        kept: (n,) set to 0 for those that go; those that are 0 do not count.
        distance: [px].
        distance_sure: [px].
        width: of the images [px].
        height: of the images [px].
    """
    n_x, n_y = int(width / _CELL) + 1, int(height / _CELL) + 1
    head, after = np.empty(n_x * n_y, np.int64), np.empty(len(projections), np.int64)
    for at in range(len(head)):
        head[at] = _NONE
    for p in range(len(projections)):
        if not kept[p]:
            continue
        u, v = projections[p, 0, 0], projections[p, 0, 1]
        at = cell_of(u, v, _CELL, n_x, n_y)
        row, column = at // n_x, at % n_x
        for i in range(max(row - 1, 0), min(row + 2, n_y)):
            for j in range(max(column - 1, 0), min(column + 2, n_x)):
                q = head[i * n_x + j]
                while q != _NONE:
                    if kept[q] and kept[p]:
                        near = distance_sure if sure[p] and sure[q] else distance
                        if _same(projections, p, q, near):
                            kept[q if strength[p] > strength[q] else p] = 0
                    q = after[q]
        after[p] = head[at]
        head[at] = p
