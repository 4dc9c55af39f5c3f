"""New particles: peaks of several cameras whose rays meet.

For each peak of a base camera its epipolar line is walked in a second one, over a grid of peaks. How far along the line a peak is
tells where the other cameras see the place where the rays of both meet. A map tells whether they have peaks there, and how rare
ones. Only where that may be enough are rays met.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyptv.kernels.dense.lines import PIECES, Grid, walk
from pyptv.kernels.dense.meeting import ANY, COMPLETE, KEPT, LACKING, NONE, Setup, fits, groups_of, keep, make_work
from pyptv.kernels.dense.sightlines import Sight, look, make_sight
from pyptv.kernels.jit import entry, inner, number, piece, routine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Image = NDArray[np.float32]

__all__ = ["ANY", "COMPLETE", "LACKING", "candidates", "choose"]

_MOST_ON_LINE = 4096
_SCREEN_CELL = 2.0
"""[px]"""
_NO_PEAK = 1e12
"""Rarity where there is none."""
_LEVELS, _NONE_THERE = 16.0, 255
"""Steps of the map's rarities, and its number for cells without a peak: a byte, so that maps fit in the processor's cache."""


class Screen(NamedTuple):
    """For each camera and cell the rarity of the rarest peak that may be near a place in it."""

    rarest: NDArray[np.uint8]
    """(n_cams, rows, columns) in steps above the rarest of all, rounded down."""
    least: float
    """The rarity of that one."""
    pad: float
    """[px] So far the map reaches beyond the image."""


@inner
def _make_screen(grid: Grid, rarity: Floats, n_cams: int, reach: float) -> Screen:
    pad = reach + _SCREEN_CELL
    columns = int((grid.n_x * grid.cell + 2.0 * pad) / _SCREEN_CELL) + 1
    rows = int((grid.n_y * grid.cell + 2.0 * pad) / _SCREEN_CELL) + 1
    least = rarity.min() if len(rarity) > 0 else 0.0
    screen = Screen(np.full((n_cams, rows, columns), _NONE_THERE, np.uint8), least, pad)
    for c in range(n_cams):
        for k in range(grid.cells[c, 0], grid.cells[c, grid.n_x * grid.n_y]):
            level = int(min((rarity[k] - least) * _LEVELS, _NONE_THERE - 1.0))
            _mark(screen.rarest[c], grid.places[k, 0] + pad, grid.places[k, 1] + pad, reach, level)
    return screen


@routine
def _mark(rarest: NDArray[np.uint8], x: float, y: float, reach: float, level: int) -> None:
    """Note a peak in the cells within its reach."""
    for i in range(max(int((y - reach) / _SCREEN_CELL), 0), min(int((y + reach) / _SCREEN_CELL) + 1, rarest.shape[0])):
        for j in range(max(int((x - reach) / _SCREEN_CELL), 0), min(int((x + reach) / _SCREEN_CELL) + 1, rarest.shape[1])):
            rarest[i, j] = min(rarest[i, j], level)


@piece
def _rarest(screen: Screen, c: int, place: Floats) -> float:
    """The rarity of the rarest peak of a camera near a place (2,) [px], or less."""
    u, v = place[0] + screen.pad, place[1] + screen.pad
    if not (0.0 <= u < screen.rarest.shape[2] * _SCREEN_CELL and 0.0 <= v < screen.rarest.shape[1] * _SCREEN_CELL):
        return _NO_PEAK
    level = screen.rarest[c, int(v / _SCREEN_CELL), int(u / _SCREEN_CELL)]
    return _NO_PEAK if level == _NONE_THERE else screen.least + level / _LEVELS


@piece
def _may_be(screen: Screen, order: Ints, predicted: Floats, known: float, most: Floats, which: int) -> bool:
    """Whether a base pair may be part of a group that is rare enough; ``known``: sum of the rarities of its peaks."""
    n_cams = len(order)
    if n_cams == 2:
        return bool(known <= most[2])
    third = _rarest(screen, order[2], predicted[0])
    if n_cams == 3:
        return bool(known + third <= most[3])
    fourth = _rarest(screen, order[3], predicted[1])
    if which != LACKING and known + third + fourth <= most[4]:
        return True
    return which != COMPLETE and bool(known + min(third, fourth) <= most[3])


@piece
def _predict(sight: Sight, at: float, off: float, predicted: Floats) -> None:
    """Where a pair meets in the cameras from the third on: ``at`` pieces along the line, the second peak ``off`` px beside it."""
    k = min(max(int(at), 0), PIECES - 1)
    for b in range(len(predicted)):
        line, aside = sight.lines[b + 1], sight.aside[b]
        for axis in range(2):
            predicted[b, axis] = line[k, axis] + (at - k) * (line[k + 1, axis] - line[k, axis]) + off * aside[axis]


@entry(
    "Tuple((int64[:, ::1], float64[:, ::1]))(float64[:, ::1], float64[:, ::1], float64[::1], int64[:, ::1], int64[::1], float64,"
    "int64, int64, float32[:, :, ::1], float64, float64[:, ::1], float64[::1], float64[:, ::1], float32[:, :, ::1],"
    "float64, float64, float64, float64[::1], float64[:, ::1], int64)"
)
def candidates(
    places: Floats,
    rays: Floats,
    rarity: Floats,
    cells: Ints,
    order: Ints,
    cell: float,
    n_x: int,
    n_y: int,
    table: Image,
    spacing: float,
    cameras: Floats,
    optics: Floats,
    corrections: Floats,
    images: Image,
    line: float,
    near: float,
    fit: float,
    dark: Floats,
    most: Floats,
    which: int,
) -> tuple[Ints, Floats]:
    """Places where the rays of peaks meet.

    Args:
        places: (n, 3) peaks of all cameras, by cameras and cells: x, y [px], grey value.
        rays: (n, 6) of the peaks.
        rarity: (n,) of the peaks: logarithms of probabilities, say.
        cells: (n_cams, n_x * n_y + 1) where each cell starts in ``places``.
        order: (n_cams,) of the cameras: base, second, third, fourth.
        cell: side of a cell [px].
        n_x: cells in x.
        n_y: cells in y.
        table: of :func:`pyptv.kernels.dense.sightlines.sightlines` for that order.
        spacing: of its places [px].
        cameras: (n_cams, CAMERA_SIZE).
        optics: (OPTICS_SIZE,).
        corrections: (n_cams, CORRECTION_SIZE).
        images: (n_cams, height, width) grey values above the background, margins included.
        line: largest distance of a peak from an epipolar line [px].
        near: largest distance of a peak from the projection of a pair [px].
        fit: largest distance of a peak from the projection of the meeting point [px].
        dark: (n_cams,) a missing camera's image must be brighter.
        most: (n, n_cams + 1) largest sum of the rarities of the peaks of a group, for each number of peaks. Rows: how far the
            base pair's second peak is from the epipolar line, in steps of line / n.
        which: of four cameras: :data:`COMPLETE`, :data:`ANY` or :data:`LACKING`.

    Returns:
        (m, n_cams) peaks, -1 for a camera without one; (m, 4) x, y, z [mm] and the rms distance [px].
    """
    n_cams = len(cameras)
    setup = Setup(cameras, optics, corrections, rays, rarity, images, dark, near, fit, which)
    grid = Grid(places, cells, cell, n_x, n_y)
    screen = _make_screen(grid, rarity, n_cams, near)
    work, sight, predicted = make_work(n_cams), make_sight(n_cams), np.empty((n_cams - 2, 2))
    on_line, where = np.empty(_MOST_ON_LINE, np.int64), np.empty((_MOST_ON_LINE, 2))
    base, second = order[0], order[1]
    room = KEPT * (cells[base, n_x * n_y] - cells[base, 0])
    peaks, meetings = np.empty((room, n_cams), np.int64), np.empty((room, 4))
    total = 0
    for i in range(cells[base, 0], cells[base, n_x * n_y]):
        look(table, spacing, places[i, 0], places[i, 1], sight.flat)
        n = number(0)
        for q in range(walk(grid, second, sight.lines[0], line, on_line, where)):
            _predict(sight, where[q, 0], where[q, 1], predicted)
            enough = most[min(int(abs(where[q, 1]) / line * len(most)), len(most) - 1)]
            if not _may_be(screen, order, predicted, rarity[i] + rarity[on_line[q]], enough, which):
                continue
            excluded = NONE
            for k in range(groups_of(setup, grid, order, i, on_line[q], predicted, enough, work)):
                group = work.groups[k]
                complete = n_cams < 4 or (group[order[2]] != NONE and group[order[3]] != NONE)
                if (complete or group[n_cams] != excluded) and fits(setup, grid, group, work.point):
                    excluded = group[n_cams] if complete else excluded
                    n = keep(group, work.point, peaks, meetings, total, n)
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
