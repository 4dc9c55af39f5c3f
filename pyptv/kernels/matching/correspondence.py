"""Stereo-correspondence: quadruplets, triplets and pairs of targets, and their positions in space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.geometry import FLATTENING_STEP, pixel_to_flat, ray, triangulate
from pyptv.kernels.jit import entry, inner, number
from pyptv.kernels.matching.candidates import CORRMIN, Seen, find_candidates, half_way
from pyptv.kernels.matching.cliques import find_pairs, find_quadruplets, find_triplets, take_best
from pyptv.kernels.ordering import descending

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

_QUADRUPLET, _TRIPLET = 4, 3


@inner
def _look(cameras: Floats, optics: Floats, base: Integers, targets: Floats) -> tuple[Seen, Integers]:
    """The targets sorted by x of their flat coordinates, and the number of each in its camera."""
    flat, rays = np.empty((len(targets), 2)), np.empty((len(targets), 6))
    sizes, number = np.empty((len(targets), 4)), np.empty(len(targets), np.int64)
    for camera in range(len(cameras)):
        begin, end = base[camera], base[camera + 1]
        minus_x, y = np.empty(end - begin), np.empty(end - begin)
        for index in range(end - begin):
            x, y[index] = pixel_to_flat(
                cameras[camera], optics, targets[begin + index, 0], targets[begin + index, 1], FLATTENING_STEP
            )
            minus_x[index] = -x
        for place, index in enumerate(descending(minus_x), begin):
            number[place] = index
            flat[place, 0], flat[place, 1] = -minus_x[index], y[index]
            for column in range(4):
                sizes[place, column] = targets[begin + index, 2 + column]
            for column, value in enumerate(ray(cameras[camera], optics, flat[place, 0], flat[place, 1])):
                rays[place, column] = value
    return Seen(base, flat, rays, sizes), number


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


@entry("Tuple((int64[::1], float64[:, ::1]))(float64[::1], float64[::1], float64[::1], float64[:, ::1])")
def single_camera(camera: Floats, optics: Floats, criteria: Floats, targets: Floats) -> tuple[Integers, Floats]:
    """Positions for a single camera, as in optv: on the rays of its targets, halfway between the Z limits.

    Args:
        camera: (CAMERA_SIZE,)
        optics: (OPTICS_SIZE,)
        criteria: as for :func:`match`.
        targets: as for :func:`match`.

    Returns:
        (n,) numbers of the targets, by x of their flat coordinates; (n, 3) positions, mm.
    """
    base = np.array([0, len(targets)])
    seen, number = _look(camera.reshape(1, -1), optics, base, targets)
    positions = np.empty((len(targets), 3))
    for index in range(len(targets)):
        positions[index, 0], positions[index, 1], positions[index, 2] = half_way(criteria, seen.rays[index])
    return number, positions


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
    seen, number = _look(cameras, optics, base, targets)
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
