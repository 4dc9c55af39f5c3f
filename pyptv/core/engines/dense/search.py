"""Searching a residual for new particles: peaks, and places where their rays meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.engines.dense.cameras import Cameras
from pyptv.kernels.dense.epipolar import candidates, choose
from pyptv.kernels.dense.peaks import find_peaks, into_cells

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Image = NDArray[np.float32]

_CELL = 4.0
"""[px]"""
LINE, NEAR = 1.2, 1.6
"""Largest distances of a peak from the epipolar line of another one, and from the projection of where two or three rays meet,
over the largest distance from the projection of its particle."""
_ORDERS: dict[int, tuple[tuple[int, ...], ...]] = {2: ((0, 1),), 3: ((0, 1, 2),), 4: ((0, 1, 2, 3),)}
_ORDERS_WITHOUT_ONE: tuple[tuple[int, ...], ...] = ((0, 1, 2, 3), (2, 3, 0, 1))
"""Base, second, third, fourth camera: with two base pairs any camera may be the one without a peak."""


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
) -> Meetings:
    """Find places where rays of peaks meet.

    Args:
        residual: (n_cams, height, width), with margins, in which peaks are looked for.
        thresholds: (n_cams,) of peaks [grey values].
        cameras: with their corrections.
        tolerance: largest distance of a peak from the projection [px].
        most: only the brightest peaks of each camera are taken, so many; None: all.
        images: likewise; with ``dark`` one camera of four may lack a peak where its image, smoothed, is bright.
        dark: (n_cams,) up to where an image is not bright [grey values].
    """
    width, height = cameras.size
    n_x, n_y = int(width / _CELL) + 1, int(height / _CELL) + 1
    found = [find_peaks(image, threshold) for image, threshold in zip(residual, thresholds, strict=True)]
    if most is not None:
        found = [peaks[np.sort(np.argsort(-peaks[:, 2], kind="stable")[:most])] for peaks in found]
    starts = np.concatenate([[0], np.cumsum([len(peaks) for peaks in found])]).astype(np.int64)
    places = np.empty((starts[-1], 3))
    cells = np.empty((cameras.n_cams, n_x * n_y + 1), np.int64)
    for c, seen in enumerate(found):
        cells[c] = starts[c] + into_cells(seen, places[starts[c] : starts[c + 1]], _CELL, n_x, n_y)
    rays = cameras.rays(places, starts)
    missing = dark is not None and cameras.n_cams == 4
    orders = _ORDERS_WITHOUT_ONE if missing else _ORDERS[cameras.n_cams]
    offers = [
        candidates(
            places,
            rays,
            cells,
            np.array(order),
            _CELL,
            n_x,
            n_y,
            cameras.rows,
            cameras.optics,
            cameras.corrections,
            cameras.layers,
            residual if images is None else images,
            LINE * tolerance,
            NEAR * tolerance,
            tolerance,
            np.zeros(cameras.n_cams) if dark is None else dark,
            missing,
        )
        for order in orders
    ]
    peaks: Ints = np.concatenate([offer[0] for offer in offers])
    meets = np.concatenate([offer[1] for offer in offers])
    best_first = np.lexsort((meets[:, 3], -(peaks >= 0).sum(axis=1)))
    taken = choose(peaks, best_first, len(places)).astype(np.bool_)
    return Meetings(meets[taken, :3], meets[taken, 3], peaks[taken], places)
