"""A frame as arrays for the tracking kernels: particles, targets, and per camera a grid over the targets.

The targets of a cell, and the cells of a row, are consecutive. The positions of targets with a particle and of those
without are in two arrays, each with NaN where the other has a position: so a target changes from one to the other, when
the tracker adds a particle, without moving other targets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import float64, int64, void
from numba.types import NamedTuple as NamedTupleType
from numba.types import NamedUniTuple

from pyptv.kernels.jit import entry, leaf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

    from pyptv.kernels.tracking.reach import Point

NONE = -1
"""No target, no particle, no previous frame's row."""
NO_NEXT = -2
"""No row of the next frame."""
PREVIOUS, NEXT, PRIORITY = 0, 1, 2
"""Columns of :attr:`Frame.link`."""
_FROM_FILE, _ADDED = 4, 2
"""Priorities: of a particle of the sequence step, and of one that the tracker adds."""
_TARGETS_A_CELL = 2.0
_SMALLEST_CELL = 8.0


class Frame(NamedTuple):
    """The targets of all cameras are consecutive; ``first`` has the start of each camera's."""

    size: Ints
    """(1,) number of particles; the arrays of particles have room for all added ones."""
    position: Floats
    """(room, 3) [mm]."""
    target: Ints
    """(room, n_cams) row of the particle's target among those of its camera, -1 for none."""
    link: Ints
    """(room, 3) previous row or -1, next row or -2, priority."""
    pixel: Floats
    """(n_targets, 2) [px]."""
    particle: Ints
    """(n_targets,) row of the target's particle, -1 for none (``tnr``)."""
    first: Ints
    """(n_cams + 1,)."""
    grid: Ints
    """(2,) number of rows and columns of cells, the same for all cameras."""
    start: Ints
    """(n_cams * rows * columns + 1,) start of each cell among the ``sorted`` targets, row by row."""
    sorted: Ints
    """(n_targets,) targets, cell by cell."""
    place: Ints
    """(n_targets,) place of each target in ``sorted``."""
    used: Floats
    """(n_targets, 2) [px] of the ``sorted`` targets that have a particle; NaN for the others."""
    free: Floats
    """(n_targets, 2) [px] of the ``sorted`` targets that have none; NaN for the others."""
    cell: float
    """Side of a cell [px]."""


FRAME = NamedTupleType(
    (
        *(int64[::1], float64[:, ::1], int64[:, ::1], int64[:, ::1], float64[:, ::1]),
        *(int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], float64[:, ::1], float64[:, ::1], float64),
    ),
    Frame,
)
"""The type of :class:`Frame` in signatures."""


class Frames(NamedTuple):
    """The frames that a step uses."""

    previous: Frame
    current: Frame
    following: Frame
    after: Frame
    """The one after ``following``."""


FRAMES = NamedUniTuple(FRAME, len(Frames._fields), Frames)
"""The type of :class:`Frames` in signatures."""


def make_frame(particles: Floats, targets: Sequence[Floats], width: float, height: float) -> Frame:
    """A frame from the sequence step's numbers.

    Args:
        particles: (n, 8) rows of ``rt_is``.
        targets: per camera (n, 8) rows of ``_targets``.
        width: of the images [px].
        height: of the images [px].
    """
    n_cams, n_particles = len(targets), len(particles)
    every = np.concatenate(targets)
    particle = every[:, 7].astype(np.int64)
    room = n_particles + int(np.count_nonzero(particle == NONE)) // 2  # an added particle takes two targets or more
    position = np.empty((room, 3))
    position[:n_particles] = particles[:, 1:4]
    target = np.full((room, n_cams), NONE)
    target[:n_particles] = particles[:, 4 : 4 + n_cams]
    cell = max(_SMALLEST_CELL, math.sqrt(_TARGETS_A_CELL * width * height * n_cams / max(1, len(every))))
    n_rows, n_columns = int(height / cell) + 1, int(width / cell) + 1
    frame = Frame(
        size=np.array([n_particles]),
        position=position,
        target=target,
        link=np.tile(np.array([NONE, NO_NEXT, _FROM_FILE]), (room, 1)),
        pixel=np.ascontiguousarray(every[:, 1:3]),
        particle=particle,
        first=np.cumsum([0, *map(len, targets)]),
        grid=np.array([n_rows, n_columns]),
        start=np.empty(n_cams * n_rows * n_columns + 1, np.int64),
        sorted=np.empty(len(every), np.int64),
        place=np.empty(len(every), np.int64),
        used=np.empty((len(every), 2)),
        free=np.empty((len(every), 2)),
        cell=cell,
    )
    sort_into_cells(frame)
    return frame


def empty_frame(n_cams: int) -> Frame:
    """A frame without particles and targets."""
    nothing = np.empty((0, 8))
    return make_frame(nothing, [nothing] * n_cams, 1.0, 1.0)


@leaf
def cell_of(pixel: float, size: float, n_cells: int) -> int:
    """The row or column of cells of a coordinate [px]; the first or last one for coordinates outside."""
    return int(min(max(pixel / size, 0.0), n_cells - 1.0))


@leaf
def cell_number(frame: Frame, camera: int, row: int, column: int) -> int:
    """The number of a cell among those of all cameras."""
    return int((camera * frame.grid[0] + row) * frame.grid[1] + column)


@leaf
def _put(frame: Frame, place: int) -> None:
    """Store the coordinates of a ``sorted`` target in the array of those with a particle, or of those without."""
    target = frame.sorted[place]
    taken = frame.particle[target] != NONE
    for axis in range(2):
        value = frame.pixel[target, axis]
        frame.used[place, axis] = value if taken else math.nan
        frame.free[place, axis] = math.nan if taken else value


@entry(void(FRAME))
def sort_into_cells(frame: Frame) -> None:
    """Sort the targets into their cells."""
    start, place = frame.start, frame.place
    for number in range(len(start)):
        start[number] = 0
    for camera in range(len(frame.first) - 1):
        for target in range(frame.first[camera], frame.first[camera + 1]):
            row = cell_of(frame.pixel[target, 1], frame.cell, frame.grid[0])
            column = cell_of(frame.pixel[target, 0], frame.cell, frame.grid[1])
            place[target] = cell_number(frame, camera, row, column)
            start[place[target]] += 1
    for number in range(1, len(start)):
        start[number] += start[number - 1]  # end of the cell
    for target in range(len(place) - 1, -1, -1):
        cell = place[target]
        start[cell] -= 1
        place[target] = start[cell]
        frame.sorted[place[target]] = target
        _put(frame, place[target])


@leaf
def position_of(frame: Frame, row: int) -> Point:
    """The position of a particle [mm]."""
    return frame.position[row, 0], frame.position[row, 1], frame.position[row, 2]


@leaf
def append(frame: Frame, place: Point, targets: Ints) -> None:
    """Append a particle at a position [mm], seen by ``targets`` (n_cams,), rows of each camera or -1."""
    row = frame.size[0]
    frame.size[0] = row + 1
    frame.position[row, 0], frame.position[row, 1], frame.position[row, 2] = place
    frame.link[row, PRIORITY] = _ADDED
    for camera in range(len(targets)):
        frame.target[row, camera] = targets[camera]
        if targets[camera] != NONE:
            target = frame.first[camera] + targets[camera]
            frame.particle[target] = row
            _put(frame, frame.place[target])
