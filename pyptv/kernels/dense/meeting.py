"""Where the rays of peaks meet: groups of peaks, one of each camera at most, that may be a particle.

A base pair is given, and where the other cameras see the place where its rays meet: they must have a peak there or, where one may
be missing, be bright.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyptv.kernels.dense.lines import Grid, near
from pyptv.kernels.dense.optics import seen
from pyptv.kernels.dense.spots import MARGIN, is_drawn
from pyptv.kernels.jit import inner, number, piece, routine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Image = NDArray[np.float32]

NONE = -1
KEPT = 8
"""Candidates kept for each peak of the base camera: the best ones."""
COMPLETE, ANY, LACKING = 0, 1, 2
"""Which groups of four cameras count: those of all cameras; those as well in which the third or the fourth one lacks a peak; only
the latter."""
_MOST_NEAR = 16
_MOST_GROUPS = 512
"""Groups of peaks that a base pair may be part of."""


class Setup(NamedTuple):
    """The cameras and their images, and how near is near; as in :func:`pyptv.kernels.dense.epipolar.candidates`."""

    cameras: Floats
    optics: Floats
    corrections: Floats
    rays: Floats
    rarity: Floats
    images: Image
    dark: Floats
    near: float
    fit: float
    which: int


class Work(NamedTuple):
    """Working memory."""

    groups: Ints
    """(_MOST_GROUPS, n_cams + 1) peaks that may be a particle's; last which groups exclude each other."""
    near: Ints
    near_last: Ints
    point: Floats
    """(4,) where their rays meet [mm], and the rms distance [px]."""


@inner
def make_work(n_cams: int) -> Work:
    """Working memory for so many cameras."""
    return Work(
        np.empty((_MOST_GROUPS + 1, n_cams + 1), np.int64),
        np.empty(_MOST_NEAR, np.int64),
        np.empty(_MOST_NEAR, np.int64),
        np.empty(4),
    )


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


@piece
def groups_of(setup: Setup, grid: Grid, order: Ints, base: int, second: int, predicted: Floats, most: Floats, work: Work) -> int:
    """Groups of peaks with a base pair: the pair itself of two cameras, triples of three, quadruples of four.

    Where a peak may be missing the triples of four cameras as well, each after the quadruples that it excludes. Returns how many.

    Args:
        setup: with how near is near.
        grid: the peaks.
        order: (n_cams,) of the cameras.
        base: the pair's peak in the first,
        second: and in the second.
        predicted: (n_cams - 2, 2) where the others see the place where it meets [px].
        most: (n_cams + 1,) largest sum of the rarities of so many peaks.
        work: receives the groups.
    """
    n, n_cams = number(0), len(order)
    spare = work.groups[_MOST_GROUPS]
    for c in range(n_cams):
        spare[c] = NONE
    spare[order[0]], spare[order[1]], spare[n_cams] = base, second, 0
    pair = setup.rarity[base] + setup.rarity[second]
    if n_cams == 2:
        return _copy(spare, work, n, order[1], second)
    n_third, n_fourth = near(grid, order[2], predicted[0, 0], predicted[0, 1], setup.near, work.near), number(0)
    if n_cams == 4:
        n_fourth = near(grid, order[3], predicted[1, 0], predicted[1, 1], setup.near, work.near_last)
    for s in range(n_third):
        third = work.near[s]
        spare[order[2]] = third
        spare[n_cams] += 1
        for t in range(n_fourth if setup.which != LACKING else 0):
            if pair + setup.rarity[third] + setup.rarity[work.near_last[t]] <= most[4]:
                n = _copy(spare, work, n, order[3], work.near_last[t])
        if (n_cams == 3 or setup.which != COMPLETE) and pair + setup.rarity[third] <= most[3]:
            n = _copy(spare, work, n, order[2], third)
    spare[order[2]] = NONE
    for t in range(n_fourth if setup.which != COMPLETE else 0):
        spare[n_cams] += 1
        if pair + setup.rarity[work.near_last[t]] <= most[3]:
            n = _copy(spare, work, n, order[3], work.near_last[t])
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
def fits(setup: Setup, grid: Grid, group: Ints, point: Floats) -> bool:
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
def keep(group: Ints, point: Floats, peaks: Ints, places: Floats, first: int, n: int) -> int:
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
