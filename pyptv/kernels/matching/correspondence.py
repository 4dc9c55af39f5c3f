"""Stereo-correspondence: quadruplets, triplets and pairs of targets, and their positions in space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.geometry import triangulate
from pyptv.kernels.jit import entry, inner, number
from pyptv.kernels.matching.candidates import CORRMIN, find_candidates
from pyptv.kernels.matching.cliques import find_pairs, find_quadruplets, find_triplets, take_best
from pyptv.kernels.matching.rays import look

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

_QUADRUPLET, _TRIPLET = 4, 3


@inner
def _positions(base: Integers, rays: Floats, rows: Integers) -> Floats:
    """Positions (m, 3), mm, of correspondences."""
    positions = np.empty((len(rows), 3))
    together = np.empty((rows.shape[1], 6))
    for row in range(len(rows)):
        n = number(0)
        for camera in range(rows.shape[1]):
            if rows[row, camera] >= 0:
                for column in range(6):
                    together[n, column] = rays[base[camera] + rows[row, camera], column]
                n += 1
        positions[row, 0], positions[row, 1], positions[row, 2] = triangulate(together, n)
    return positions


@entry(
    "Tuple((int64[:, ::1], float64[:, ::1], int64[::1]))"
    "(float64[:, ::1], float64[::1], float64[::1], float64[:, ::1], int64, int64[::1], float64[:, ::1])"
)
def match(
    cameras: Floats, optics: Floats, criteria: Floats, sensors: Floats, kinds: int, base: Integers, targets: Floats
) -> tuple[Integers, Floats, Integers]:
    """Correspondences of the targets of one frame, two to four cameras.

    Args:
        cameras: (n_cams, CAMERA_SIZE) of :func:`pyptv.kernels.geometry.camera_rows`.
        optics: (OPTICS_SIZE,) of :func:`pyptv.kernels.geometry.optics_row`.
        criteria: (12,): X_lay, Zmin_lay, Zmax_lay (two values each, mm), eps0 (mm), cn, cnx, cny, csumg, corrmin.
        sensors: (n_cams, 4) flat coordinates of the sensors' lower left and upper right corners: x, y, x, y (mm).
        kinds: number of kinds of correspondences to search: those of all cameras, of one less, ...
        base: (n_cams + 1,) start of each camera's targets.
        targets: (n, 6) x, y (px), n, nx, ny, sumg, camera after camera.

    Returns:
        (m, n_cams) number of the target in each camera, or -1; (m, 3) positions, mm; (n_cams,) where the rows begin, and end,
        that are seen by n_cams cameras, by one less, ..., by two.

    Raises:
        TooManyError: more candidates, or correspondences to choose from, than should be held in memory.
    """
    seen, number = look(cameras, optics, base, targets)
    n_cams = len(cameras)
    candidates = find_candidates(cameras, optics, criteria, sensors, seen)
    used = np.zeros(len(targets), np.bool_)
    rows = np.empty((len(targets) // 2, n_cams), np.int64)
    totals = np.zeros(n_cams, np.int64)
    for kind in range(kinds):
        if n_cams - kind == _QUADRUPLET:
            members, quality = find_quadruplets(base, candidates, criteria[CORRMIN])
        elif n_cams - kind == _TRIPLET:
            members, quality = find_triplets(base, candidates, used, criteria[CORRMIN])
        else:
            members, quality = find_pairs(base, candidates, used, criteria[CORRMIN])
        totals[kind + 1 :] = take_best(base, members, quality, used, rows, totals[kind])
    rows = rows[: totals[-1]]
    positions = _positions(base, seen.rays, rows)
    for camera in range(n_cams):
        for row in range(len(rows)):
            if rows[row, camera] >= 0:
                rows[row, camera] = number[base[camera] + rows[row, camera]]
    return rows, positions, totals
