"""New particles: peaks of several cameras whose rays meet.

For each peak of a base camera its epipolar line is walked in a second one, over a grid of peaks; the meeting point of each such
pair is projected into the other cameras, which must have a peak there or, where one may be missing, be bright.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyptv.kernels.dense.optics import seen
from pyptv.kernels.dense.spots import MARGIN, is_drawn
from pyptv.kernels.jit import entry, inner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Image = NDArray[np.float32]

NONE = -1
KEPT = 8
"""Candidates kept for each peak of the base camera: the best ones."""
_PIECES = 5
"""Straight pieces that an epipolar line is walked in."""
_MOST_ON_LINE = 4096
_MOST_NEAR = 16
_MAX_CAMERAS = 4


class Setup(NamedTuple):
    """The cameras, the volume, and how near is near."""

    cameras: Floats
    optics: Floats
    corrections: Floats
    layers: Floats
    images: Image
    line: float
    near: float
    fit: float
    dark: Floats
    missing: bool


class Peaks(NamedTuple):
    """The peaks of all cameras, by cells."""

    places: Floats
    rays: Floats
    cells: Ints
    cell: float
    n_x: int
    n_y: int


class Found(NamedTuple):
    """The best candidates of a base peak so far, the best first; and working memory."""

    peaks: Ints
    places: Floats
    rays: Floats
    chosen: Ints
    line: Floats
    on_line: Ints
    near: Ints
    near_last: Ints


@inner
def meet(rays: Floats, n: int, out: Floats) -> None:
    """The point (mm) nearest to n rays (n, 6) by least squares, into ``out``; not finite where they are parallel."""
    a00 = a01 = a02 = a11 = a12 = a22 = b0 = b1 = b2 = 0.0
    for k in range(n):
        x, y, z, dx, dy, dz = rays[k]
        xx, xy, xz, yy, yz, zz = 1 - dx * dx, -dx * dy, -dx * dz, 1 - dy * dy, -dy * dz, 1 - dz * dz
        a00, a01, a02, a11, a12, a22 = a00 + xx, a01 + xy, a02 + xz, a11 + yy, a12 + yz, a22 + zz
        b0, b1, b2 = b0 + xx * x + xy * y + xz * z, b1 + xy * x + yy * y + yz * z, b2 + xz * x + yz * y + zz * z
    c00, c01, c02 = a11 * a22 - a12 * a12, a02 * a12 - a01 * a22, a01 * a12 - a02 * a11
    c11, c12, c22 = a00 * a22 - a02 * a02, a01 * a02 - a00 * a12, a00 * a11 - a01 * a01
    inverse = 1.0 / (a00 * c00 + a01 * c01 + a02 * c02)
    out[0] = (c00 * b0 + c01 * b1 + c02 * b2) * inverse
    out[1] = (c01 * b0 + c11 * b1 + c12 * b2) * inverse
    out[2] = (c02 * b0 + c12 * b1 + c22 * b2) * inverse


@inner
def _limit(layers: Floats, low: int, ray: Floats) -> float:
    """The z where a ray crosses the lower (2) or upper (4) limit of the volume, which is linear in x."""
    z: float = layers[low]
    for _ in range(2):
        x = ray[0] + (z - ray[2]) / ray[5] * ray[3]
        z = layers[low] + (x - layers[0]) / (layers[1] - layers[0]) * (layers[low + 1] - layers[low])
    return z


@inner
def _epipolar_line(setup: Setup, ray: Floats, c: int, line: Floats) -> None:
    """Places (_PIECES + 1, 2) of a ray in another camera, through the volume."""
    z0, z1 = _limit(setup.layers, 2, ray), _limit(setup.layers, 4, ray)
    for k in range(_PIECES + 1):
        z = z0 + (z1 - z0) * k / _PIECES
        t = (z - ray[2]) / ray[5]
        line[k, 0], line[k, 1] = seen(
            setup.cameras[c], setup.optics, setup.corrections[c], ray[0] + t * ray[3], ray[1] + t * ray[4], z
        )


@inner
def _walk(peaks: Peaks, c: int, line: Floats, width: float, out: Ints) -> int:
    """The peaks of a camera within ``width`` px of a line of several pieces; returns how many."""
    n = 0
    for k in range(_PIECES):
        n = _walk_piece(peaks, c, line[k], line[k + 1], (k == 0, k == _PIECES - 1), width, out, n)
    return n


@inner
def _walk_piece(
    peaks: Peaks, c: int, start: Floats, end: Floats, ends: tuple[bool, bool], width: float, out: Ints, n: int
) -> int:
    """Those of one piece, cell by cell along its longer axis; only at the ends of the line may they lie beyond it."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.sqrt(dx * dx + dy * dy)
    if not (length > 1e-9 and length < 1e6):
        return n
    steep = abs(dy) > abs(dx)
    main, other = (1, 0) if steep else (0, 1)
    n_main, n_other = (peaks.n_y, peaks.n_x) if steep else (peaks.n_x, peaks.n_y)
    slope = (end[other] - start[other]) / (end[main] - start[main])
    low, high = min(start[main], end[main]) - width, max(start[main], end[main]) + width
    first = -width / length if ends[0] else 0.0
    last = 1.0 + width / length if ends[1] else 1.0
    cell = peaks.cell
    for i in range(max(int(low / cell), 0), min(int(high / cell), n_main - 1) + 1):
        a = start[other] + slope * (i * cell - start[main])
        b = start[other] + slope * ((i + 1) * cell - start[main])
        from_j, to_j = (min(a, b) - 1.5 * width) / cell, (max(a, b) + 1.5 * width) / cell
        if to_j < 0.0 or from_j >= n_other:
            continue
        for j in range(max(int(from_j), 0), min(int(to_j), n_other - 1) + 1):
            at = i * peaks.n_x + j if steep else j * peaks.n_x + i
            for q in range(peaks.cells[c, at], peaks.cells[c, at + 1]):
                px, py = peaks.places[q, 0] - start[0], peaks.places[q, 1] - start[1]
                t = (px * dx + py * dy) / (length * length)
                if first <= t < last and abs(px * dy - py * dx) < width * length and n < len(out):
                    out[n] = q
                    n += 1
    return n


@inner
def _near(peaks: Peaks, c: int, u: float, v: float, distance: float, out: Ints) -> int:
    """The peaks of a camera within ``distance`` px of a place; returns how many."""
    n = 0
    cell = peaks.cell
    if not (-distance < u < peaks.n_x * cell + distance and -distance < v < peaks.n_y * cell + distance):
        return 0
    for y in range(max(int((v - distance) / cell), 0), min(int((v + distance) / cell), peaks.n_y - 1) + 1):
        for x in range(max(int((u - distance) / cell), 0), min(int((u + distance) / cell), peaks.n_x - 1) + 1):
            at = y * peaks.n_x + x
            for q in range(peaks.cells[c, at], peaks.cells[c, at + 1]):
                du, dv = peaks.places[q, 0] - u, peaks.places[q, 1] - v
                if du * du + dv * dv < distance * distance and n < len(out):
                    out[n] = q
                    n += 1
    return n


@inner
def _is_dark(setup: Setup, x: float, y: float, z: float, chosen: Ints) -> bool:
    """Whether a camera that has no peak there sees the place and nothing in it."""
    height, width = setup.images.shape[1] - 2 * MARGIN, setup.images.shape[2] - 2 * MARGIN
    for c in range(len(setup.cameras)):
        if chosen[c] == NONE:
            u, v = seen(setup.cameras[c], setup.optics, setup.corrections[c], x, y, z)
            if is_drawn(u, v, width, height) and setup.images[c, int(v) + MARGIN, int(u) + MARGIN] < setup.dark[c]:
                return True
    return False


@inner
def _offer(setup: Setup, peaks: Peaks, found: Found, n: int) -> int:
    """Consider the chosen peaks as a candidate; returns how many are kept now."""
    n_cams = len(setup.cameras)
    n_rays = 0
    for c in range(n_cams):
        if found.chosen[c] != NONE:
            found.rays[n_rays] = peaks.rays[found.chosen[c]]
            n_rays += 1
    place = found.places[KEPT]
    meet(found.rays, n_rays, place)
    total = 0.0
    for c in range(n_cams):
        if found.chosen[c] != NONE:
            u, v = seen(setup.cameras[c], setup.optics, setup.corrections[c], place[0], place[1], place[2])
            du, dv = u - peaks.places[found.chosen[c], 0], v - peaks.places[found.chosen[c], 1]
            square = du * du + dv * dv
            if not square < setup.fit * setup.fit:
                return NONE
            total += square
    if n_rays < n_cams and _is_dark(setup, place[0], place[1], place[2], found.chosen):
        return NONE
    # a missing camera counts as if its peak were at the farthest distance allowed
    total += (n_cams - n_rays) * setup.fit * setup.fit
    place[3] = math.sqrt(total / n_cams)
    return _keep(found, n)


@inner
def _keep(found: Found, n: int) -> int:
    """Insert the candidate into those kept, by distance; returns how many these are."""
    rms = found.places[KEPT, 3]
    if n == KEPT:
        if rms >= found.places[KEPT - 1, 3]:
            return n
        n -= 1
    at = n
    while at > 0 and found.places[at - 1, 3] > rms:
        found.places[at] = found.places[at - 1]
        found.peaks[at] = found.peaks[at - 1]
        at -= 1
    found.places[at] = found.places[KEPT]
    found.peaks[at] = found.chosen
    return n + 1


@inner
def _confirm(setup: Setup, peaks: Peaks, found: Found, order: Ints, n: int) -> int:
    """Candidates of a base pair of peaks, with a third camera and where there is one a fourth; returns how many are kept."""
    n_cams = len(setup.cameras)
    if n_cams == 2:
        return max(_offer(setup, peaks, found, n), n)
    pair = found.places[KEPT]
    for way in range(2 if setup.missing and n_cams == _MAX_CAMERAS else 1):
        third = order[2 + way]
        found.chosen[order[2]] = found.chosen[order[n_cams - 1]] = NONE
        found.rays[0], found.rays[1] = peaks.rays[found.chosen[order[0]]], peaks.rays[found.chosen[order[1]]]
        meet(found.rays, 2, pair)
        u, v = seen(setup.cameras[third], setup.optics, setup.corrections[third], pair[0], pair[1], pair[2])
        for s in range(_near(peaks, third, u, v, setup.near, found.near)):
            found.chosen[third] = found.near[s]
            n, complete = _confirm_last(setup, peaks, found, order, way, n)
            if n_cams == 3 or (setup.missing and not complete):
                n = max(_offer(setup, peaks, found, n), n)
        found.chosen[third] = NONE
    return n


@inner
def _confirm_last(setup: Setup, peaks: Peaks, found: Found, order: Ints, way: int, n: int) -> tuple[int, bool]:
    """Candidates with all four cameras; returns how many are kept, and whether there is such a one."""
    complete = False
    if len(setup.cameras) == _MAX_CAMERAS and way == 0:
        last = order[3]
        found.rays[2] = peaks.rays[found.chosen[order[2]]]
        found.rays[0], found.rays[1] = peaks.rays[found.chosen[order[0]]], peaks.rays[found.chosen[order[1]]]
        meet(found.rays, 3, found.places[KEPT])
        x, y, z = found.places[KEPT, 0], found.places[KEPT, 1], found.places[KEPT, 2]
        u, v = seen(setup.cameras[last], setup.optics, setup.corrections[last], x, y, z)
        for s in range(_near(peaks, last, u, v, setup.near, found.near_last)):
            found.chosen[last] = found.near_last[s]
            kept = _offer(setup, peaks, found, n)
            if kept != NONE:
                n, complete = kept, True
        found.chosen[last] = NONE
    return n, complete


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
    setup = Setup(cameras, optics, corrections, layers, images, line, near, fit, dark, missing)
    peaks = Peaks(places, rays, cells, cell, n_x, n_y)
    found = Found(
        np.full((KEPT + 1, n_cams), NONE),
        np.empty((KEPT + 1, 4)),
        np.empty((n_cams, 6)),
        np.full(n_cams, NONE),
        np.empty((_PIECES + 1, 2)),
        np.empty(_MOST_ON_LINE, np.int64),
        np.empty(_MOST_NEAR, np.int64),
        np.empty(_MOST_NEAR, np.int64),
    )
    base, second = order[0], order[1]
    room = KEPT * (cells[base, -1] - cells[base, 0])
    out, out_places = np.empty((room, n_cams), np.int64), np.empty((room, 4))
    total = 0
    for i in range(cells[base, 0], cells[base, -1]):
        _epipolar_line(setup, rays[i], second, found.line)
        n = 0
        for q in range(_walk(peaks, second, found.line, line, found.on_line)):
            found.chosen[:] = NONE
            found.chosen[base], found.chosen[second] = i, found.on_line[q]
            n = _confirm(setup, peaks, found, order, n)
        out[total : total + n], out_places[total : total + n] = found.peaks[:n], found.places[:n]
        total += n
    return out[:total].copy(), out_places[:total].copy()


@entry("uint8[::1](int64[:, ::1], int64[::1], int64)")
def choose(peaks: Ints, order: Ints, n_peaks: int) -> NDArray[np.uint8]:
    """Which candidates (m, n_cams) to take, in the order given: each peak is used once. Returns 1 or 0 for each."""
    used = np.zeros(n_peaks, np.uint8)
    taken = np.zeros(len(peaks), np.uint8)
    for k in order:
        free = True
        for peak in peaks[k]:
            if peak != NONE and used[peak]:
                free = False
        if free:
            taken[k] = 1
            for peak in peaks[k]:
                if peak != NONE:
                    used[peak] = 1
    return taken
