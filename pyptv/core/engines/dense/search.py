"""Searching a residual for new particles: peaks, and places where their rays meet.

Of the groups of peaks whose rays meet, those come first of which chance would make the fewest: peaks that are as bright or
brighter, spread evenly over the images, that meet as well or better. Where peaks are near the noise brightness counts, where they
are bright the distance; groups of three and of four cameras compare (a contrario detection: Desolneux, Moisan and Morel 2000,
Int. J. Comput. Vis. 40, 7-23).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.engines.dense.cameras import Cameras
from pyptv.kernels.dense.epipolar import ANY, COMPLETE, LACKING, candidates, choose
from pyptv.kernels.dense.peaks import find_peaks, into_cells

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Image = NDArray[np.float32]

_SMALLEST_CELL, _LARGEST_CELL = 4.0, 16.0
"""[px] Cells hold one peak each on average, within these limits."""
LINE, NEAR = 1.2, 1.6
"""Largest distances of a peak from the epipolar line of another one, and from the projection of where their rays meet,
over the largest distance from the projection of its particle."""
_EXACT = 0.05
"""[px] Rays that meet better than that meet no better: nothing is known more exactly."""
_WITHOUT_ONE = (((0, 1, 2, 3), ANY), ((2, 3, 0, 1), LACKING))
"""Base, second, third, fourth camera, and which groups count: with two base pairs any camera may be the one without a peak."""
_STEPS = 16
"""Of the distance from an epipolar line, for which it is known how rare peaks must be."""
_PAIR = 0.3
"""Rays that pass each other at a distance of one pixel meet with at least that sum of squares: a half, where a pixel of both
cameras covers the same."""
_ANY_RARITY = 1e9


@dataclass(frozen=True)
class Meetings:
    """Places where rays of peaks meet, each peak used once."""

    positions: Floats
    """(n, 3) [mm]."""
    distances: Floats
    """(n,) rms distance of the peaks from the projections [px]."""
    peaks: Ints
    """(n, n_cams) rows of ``places``; -1 for a camera without one."""
    places: Floats
    """(m, 3) the peaks of all cameras: x, y [px], grey value."""


def search(
    residual: Image,
    thresholds: Floats,
    cameras: Cameras,
    tolerance: float,
    *,
    most: int | None = None,
    images: Image | None = None,
    dark: Floats | None = None,
    by_chance: float = math.inf,
) -> Meetings:
    """Find places where rays of peaks meet.

    Args:
        residual: (n_cams, height, width), with margins, in which peaks are looked for.
        thresholds: (n_cams,) of peaks [grey values].
        cameras: with their corrections.
        tolerance: largest distance of a peak from the projection [px].
        most: number of peaks that are taken of each camera, the brightest; None: all.
        images: likewise; with ``dark`` one camera of four may lack a peak where its image, smoothed, is bright.
        dark: (n_cams,) up to where an image is not bright [grey values].
        by_chance: groups of peaks are left out of which chance would make more than this number.
    """
    width, height = cameras.size
    found = [find_peaks(image, threshold) for image, threshold in zip(residual, thresholds, strict=True)]
    if most is not None:
        found = [peaks[np.sort(np.argsort(-peaks[:, 2], kind="stable")[:most])] for peaks in found]
    starts = np.concatenate([[0], np.cumsum([len(peaks) for peaks in found])]).astype(np.int64)
    places = np.empty((starts[-1], 3))
    cell = min(max(math.sqrt(width * height * cameras.n_cams / max(len(places), 1)), _SMALLEST_CELL), _LARGEST_CELL)
    n_x, n_y = int(width / cell) + 1, int(height / cell) + 1
    cells = np.empty((cameras.n_cams, n_x * n_y + 1), np.int64)
    for c, seen in enumerate(found):
        cells[c] = starts[c] + into_cells(seen, places[starts[c] : starts[c + 1]], cell, n_x, n_y)
    rays = cameras.rays(places, starts)
    rarity = _rarity(places, starts, cameras)
    most_rare = _most_rarity(cameras, LINE * tolerance, by_chance)
    orders = _WITHOUT_ONE if dark is not None and cameras.n_cams == 4 else ((tuple(range(cameras.n_cams)), COMPLETE),)
    offers = [
        candidates(
            places,
            rays,
            rarity,
            cells,
            np.array(order),
            cell,
            n_x,
            n_y,
            *cameras.sightlines(order),
            cameras.rows,
            cameras.optics,
            cameras.corrections,
            residual if images is None else images,
            LINE * tolerance,
            NEAR * tolerance,
            tolerance,
            np.zeros(cameras.n_cams) if dark is None else dark,
            most_rare,
            which,
        )
        for order, which in orders
    ]
    peaks: Ints = np.concatenate([offer[0] for offer in offers])
    meets = np.concatenate([offer[1] for offer in offers])
    chance = _chance(peaks, meets[:, 3], rarity, cameras, tolerance)
    best_first = np.argsort(chance, kind="stable")
    if by_chance < math.inf:
        best_first = best_first[chance[best_first] <= math.log(by_chance)]
    taken = choose(peaks, best_first, len(places)).astype(np.bool_)
    return Meetings(meets[taken, :3], meets[taken, 3], peaks[taken], places)


def _rarity(places: Floats, starts: Ints, cameras: Cameras) -> Floats:
    """(m,) logarithm of the number of peaks of the same image per pixel that are as bright as each peak, or brighter."""
    rarity = np.empty(len(places))
    for start, end in itertools.pairwise(starts.tolist()):
        ranks = np.empty(end - start)
        ranks[np.argsort(-places[start:end, 2], kind="stable")] = np.arange(1, end - start + 1)
        rarity[start:end] = np.log(ranks / (cameras.size[0] * cameras.size[1]))
    return rarity


def _chance(peaks: Ints, distances: Floats, rarity: Floats, cameras: Cameras, tolerance: float) -> Floats:
    """(n,) logarithm of the number of groups as good as each that chance would make.

    Args:
        peaks: (n, n_cams) rows of peaks, -1 for a camera without one.
        distances: (n,) rms distance of the peaks from the projections [px]; a camera without one counts with ``tolerance``.
        rarity: of each peak.
        cameras: of which there are ``n_cams``.
        tolerance: largest distance [px].
    """
    used = peaks >= 0
    count = used.sum(axis=1)
    square = distances**2 * cameras.n_cams - (cameras.n_cams - count) * tolerance**2
    chance: Floats = np.where(used, rarity[peaks], 0.0).sum(axis=1) + _meeting_as_well(count, square, cameras)
    return chance


def _meeting_as_well(count: Ints, square: Floats, cameras: Cameras) -> Floats:
    """(n,) logarithm of the number of groups that meet as well as each, were there a peak for each pixel.

    A group of k peaks has 2 k coordinates, of which the place has 3: the others are within a ball of 2 k - 3 dimensions. There
    are as many places as there are pixels in an image, and on an epipolar line.

    Args:
        count: (n,) of peaks.
        square: (n,) sum of the squares of their distances [px^2].
        cameras: with the size of the images.
    """
    (width, height), free = cameras.size, 2 * count - 3
    ball = np.array([math.log(math.pi ** (n / 2) / math.gamma(n / 2 + 1)) for n in range(2 * cameras.n_cams)])
    exact: Floats = ball[free] + 0.5 * free * np.log(np.maximum(square, count * _EXACT**2))
    return exact + math.log(width * height * min(width, height))


def _most_rarity(cameras: Cameras, line: float, by_chance: float) -> Floats:
    """The sum of rarities up to which chance would make ``by_chance`` groups at most, as :func:`candidates` takes it.

    However well the others meet, the distance of a pair from its epipolar line stays. ``line``: the largest one [px].
    """
    most = np.full((_STEPS, cameras.n_cams + 1), _ANY_RARITY)
    if by_chance < math.inf:
        square = _PAIR * (line * np.arange(_STEPS) / _STEPS) ** 2
        for count in range(2, cameras.n_cams + 1):
            most[:, count] = math.log(by_chance) - _meeting_as_well(np.full(_STEPS, count), square, cameras)
    return most
