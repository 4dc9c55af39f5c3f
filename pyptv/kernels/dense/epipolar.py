"""New particles: peaks of several cameras whose rays meet.

For each peak of a base camera its epipolar line is walked in a second one, over a grid of peaks; the meeting point of each such
pair is projected into the other cameras, which must have a peak there or, where one may be missing, be bright.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyptv.kernels.dense.lines import PIECES, Grid, limit, near, walk
from pyptv.kernels.dense.optics import seen
from pyptv.kernels.dense.spots import MARGIN, is_drawn
from pyptv.kernels.jit import entry, number, piece, routine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Image = NDArray[np.float32]

NONE = -1
KEPT = 8
"""Candidates kept for each peak of the base camera: the best ones."""
_MOST_ON_LINE = 4096
_MOST_NEAR = 16
_MOST_GROUPS = 512
"""Groups of peaks that a base pair may be part of."""


class Setup(NamedTuple):
    """The cameras and their images, and how near is near; as in :func:`candidates`."""

    cameras: Floats
    optics: Floats
    corrections: Floats
    rays: Floats
    images: Image
    dark: Floats
    near: float
    fit: float
    missing: bool


class Work(NamedTuple):
    """Working memory."""

    groups: Ints
    """(_MOST_GROUPS, n_cams + 1) peaks that may be a particle's; last which groups exclude each other."""
    near: Ints
    near_last: Ints
    point: Floats
    """(4,) where their rays meet [mm], and the rms distance [px]."""


@routine
def meet(rays: Floats, group: Ints, n: int, out: Floats) -> None:
    """The point [mm] nearest to the rays of a group's peaks by least squares, into ``out``; not finite for parallel ones."""
    a00 = a01 = a02 = a11 = a12 = a22 = b0 = b1 = b2 = 0.0
    for c in range(n):
        k = group[c]
        if k == NONE:
            continue
        x, y, z, dx, dy, dz = rays[k, 0], rays[k, 1], rays[k, 2], rays[k, 3], rays[k, 4], rays[k, 5]
        xx, xy, xz, yy, yz, zz = 1 - dx * dx, -dx * dy, -dx * dz, 1 - dy * dy, -dy * dz, 1 - dz * dz
        a00, a01, a02, a11, a12, a22 = a00 + xx, a01 + xy, a02 + xz, a11 + yy, a12 + yz, a22 + zz
        b0, b1, b2 = b0 + xx * x + xy * y + xz * z, b1 + xy * x + yy * y + yz * z, b2 + xz * x + yz * y + zz * z
    c00, c01, c02 = a11 * a22 - a12 * a12, a02 * a12 - a01 * a22, a01 * a12 - a02 * a11
    c11, c12, c22 = a00 * a22 - a02 * a02, a01 * a02 - a00 * a12, a00 * a11 - a01 * a01
    inverse = 1.0 / (a00 * c00 + a01 * c01 + a02 * c02)
    out[0] = (c00 * b0 + c01 * b1 + c02 * b2) * inverse
    out[1] = (c01 * b0 + c11 * b1 + c12 * b2) * inverse
    out[2] = (c02 * b0 + c12 * b1 + c22 * b2) * inverse


@routine
def _near_meeting(setup: Setup, grid: Grid, group: Ints, c: int, point: Floats, out: Ints) -> int:
    """The peaks of a camera near the projection of where a group's rays meet; returns how many."""
    meet(setup.rays, group, len(setup.cameras), point)
    u, v = seen(setup.cameras[c], setup.optics, setup.corrections[c], point[0], point[1], point[2])
    return near(grid, c, u, v, setup.near, out)


@piece
def _groups(setup: Setup, grid: Grid, order: Ints, base: int, second: int, work: Work) -> int:
    """Groups of peaks with a base pair: the pair itself of two cameras, triples of three, quadruples of four.

    Where a peak may be missing the triples of four cameras as well, each after the quadruples that it excludes. Returns how many.
    """
    n, n_cams = number(0), len(setup.cameras)
    group = work.groups[0]
    for c in range(n_cams):
        group[c] = NONE
    group[order[0]], group[order[1]], group[n_cams] = base, second, 0
    if n_cams == 2:
        return 1
    spare = work.groups[_MOST_GROUPS]
    for c in range(n_cams + 1):
        spare[c] = group[c]
    for way in range(2 if setup.missing and n_cams == 4 else 1):
        third = order[2 + way]
        spare[order[2]] = spare[order[n_cams - 1]] = NONE
        for s in range(_near_meeting(setup, grid, spare, third, work.point, work.near)):
            spare[order[n_cams - 1]] = NONE
            spare[third] = work.near[s]
            spare[n_cams] += 1
            if n_cams == 4 and way == 0:
                for t in range(_near_meeting(setup, grid, spare, order[3], work.point, work.near_last)):
                    n = _copy(spare, work, n, order[3], work.near_last[t])
            if n_cams == 3 or setup.missing:
                n = _copy(spare, work, n, third, work.near[s])
    return n


@routine
def _copy(group: Ints, work: Work, n: int, c: int, peak: int) -> int:
    """Take down a group with a peak in a camera besides; returns how many there are."""
    if n == _MOST_GROUPS:
        return n
    for k in range(len(group)):
        work.groups[n, k] = group[k]
    work.groups[n, c] = peak
    return n + 1


@routine
def _smooth(images: Image, c: int, y: int, x: int) -> float:
    """A pixel, weighted 1 2 1 with its neighbours along each axis."""
    total = 0.0
    for i in range(-1, 2):
        line = images[c, y + i]
        total += (2 - abs(i)) * (line[x - 1] + 2.0 * line[x] + line[x + 1])
    return total / 16.0


@piece
def _fits(setup: Setup, grid: Grid, group: Ints, point: Floats) -> bool:
    """Whether the rays of a group meet; ``point`` receives where, and the rms distance of the peaks [px].

    A camera without a peak counts as if it were at the farthest distance allowed. It must not see the place and nothing in it.
    """
    n_cams = len(setup.cameras)
    meet(setup.rays, group, n_cams, point)
    height, width = setup.images.shape[1] - 2 * MARGIN, setup.images.shape[2] - 2 * MARGIN
    total = 0.0
    for c in range(n_cams):
        u, v = seen(setup.cameras[c], setup.optics, setup.corrections[c], point[0], point[1], point[2])
        square = setup.fit * setup.fit
        if group[c] != NONE:
            du, dv = u - grid.places[group[c], 0], v - grid.places[group[c], 1]
            square = du * du + dv * dv
            if not square < setup.fit * setup.fit:
                return False
        elif is_drawn(u, v, width, height) and _smooth(setup.images, c, int(v) + MARGIN, int(u) + MARGIN) < setup.dark[c]:
            return False
        total += square
    point[3] = math.sqrt(total / n_cams)
    return True


@piece
def _keep(group: Ints, point: Floats, peaks: Ints, places: Floats, first: int, n: int) -> int:
    """Insert a candidate into the n kept ones of a base peak, from row ``first`` on, by distance; returns how many these are."""
    if n == KEPT:
        if point[3] >= places[first + n - 1, 3]:
            return n
        n -= 1
    at = first + n
    while at > first and places[at - 1, 3] > point[3]:
        for k in range(4):
            places[at, k] = places[at - 1, k]
        for c in range(peaks.shape[1]):
            peaks[at, c] = peaks[at - 1, c]
        at -= 1
    for k in range(4):
        places[at, k] = point[k]
    for c in range(peaks.shape[1]):
        peaks[at, c] = group[c]
    return n + 1


@entry(
    "Tuple((int64[:, ::1], float64[:, ::1]))(float64[:, ::1], float64[:, ::1], int64[:, ::1], int64[::1], float64, int64, int64,"
    "float64[:, ::1], float64[::1], float64[:, ::1], float64[::1], float32[:, :, ::1],"
    "float64, float64, float64, float64[::1], boolean)"
)
def candidates(
    places: Floats,
    rays: Floats,
    cells: Ints,
    order: Ints,
    cell: float,
    n_x: int,
    n_y: int,
    cameras: Floats,
    optics: Floats,
    corrections: Floats,
    layers: Floats,
    images: Image,
    line: float,
    near: float,
    fit: float,
    dark: Floats,
    missing: bool,  # noqa: FBT001 -- compiled functions take no keywords
) -> tuple[Ints, Floats]:
    """Places where the rays of peaks meet.

    Args:
        places: (n, 3) peaks of all cameras, by cameras and cells: x, y [px], grey value.
        rays: (n, 6) of the peaks.
        cells: (n_cams, n_x * n_y + 1) where each cell starts in ``places``.
        order: (n_cams,) of the cameras: base, second, third, fourth.
        cell: side of a cell [px].
        n_x: cells in x.
        n_y: cells in y.
        cameras: (n_cams, CAMERA_SIZE).
        optics: (OPTICS_SIZE,).
        corrections: (n_cams, CORRECTION_SIZE).
        layers: (6,) [mm] two x, then the lower and the upper limit of z at these.
        images: (n_cams, height, width) grey values above the background, margins included.
        line: largest distance of a peak from an epipolar line [px].
        near: largest distance of a peak from the projection of a pair or a triple [px].
        fit: largest distance of a peak from the projection of the meeting point [px].
        dark: (n_cams,) a missing camera's image must be brighter.
        missing: with four cameras, one of the third and the fourth may lack a peak.

    Returns:
        (m, n_cams) peaks, -1 for a camera without one; (m, 4) x, y, z [mm] and the rms distance [px].
    """
    n_cams = len(cameras)
    setup = Setup(cameras, optics, corrections, rays, images, dark, near, fit, missing)
    grid = Grid(places, cells, cell, n_x, n_y)
    work = Work(
        np.empty((_MOST_GROUPS + 1, n_cams + 1), np.int64),
        np.empty(_MOST_NEAR, np.int64),
        np.empty(_MOST_NEAR, np.int64),
        np.empty(4),
    )
    points, on_line = np.empty((PIECES + 1, 2)), np.empty(_MOST_ON_LINE, np.int64)
    base, second = order[0], order[1]
    room = KEPT * (cells[base, n_x * n_y] - cells[base, 0])
    peaks, meetings = np.empty((room, n_cams), np.int64), np.empty((room, 4))
    total = 0
    for i in range(cells[base, 0], cells[base, n_x * n_y]):
        x, y, z, dx, dy, dz = rays[i, 0], rays[i, 1], rays[i, 2], rays[i, 3], rays[i, 4], rays[i, 5]
        z0, z1 = limit(layers[2], layers[3], layers, x, z, dx, dz), limit(layers[4], layers[5], layers, x, z, dx, dz)
        for k in range(PIECES + 1):
            depth = z0 + (z1 - z0) * k / PIECES
            t = (depth - z) / dz
            points[k, 0], points[k, 1] = seen(cameras[second], optics, corrections[second], x + t * dx, y + t * dy, depth)
        n = number(0)
        for q in range(walk(grid, second, points, line, on_line)):
            excluded = NONE
            for k in range(_groups(setup, grid, order, i, on_line[q], work)):
                group = work.groups[k]
                complete = n_cams < 4 or (group[order[2]] != NONE and group[order[3]] != NONE)
                if (complete or group[n_cams] != excluded) and _fits(setup, grid, group, work.point):
                    excluded = group[n_cams] if complete else excluded
                    n = _keep(group, work.point, peaks, meetings, total, n)
        total += n
    return peaks[:total].copy(), meetings[:total].copy()


@entry("uint8[::1](int64[:, ::1], int64[::1], int64)")
def choose(peaks: Ints, order: Ints, n_peaks: int) -> NDArray[np.uint8]:
    """Which candidates (m, n_cams) to take, in the order given: each peak is used once. Returns 1 or 0 for each."""
    used = np.zeros(n_peaks, np.uint8)
    taken = np.zeros(len(peaks), np.uint8)
    for at in range(len(order)):
        k = order[at]
        free = True
        for c in range(peaks.shape[1]):
            free = free and (peaks[k, c] == NONE or not used[peaks[k, c]])
        if free:
            taken[k] = 1
            for c in range(peaks.shape[1]):
                if peaks[k, c] != NONE:
                    used[peaks[k, c]] = 1
    return taken
