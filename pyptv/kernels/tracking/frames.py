"""A frame in arrays, as the tracking kernels see it: particles, targets, and per camera two grids over the targets.

One grid holds the targets that have a particle, the other one those that have none. A cell is a linked list, so that a
target changes from one to the other, when the tracker adds a particle, without anything being moved.
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
"""No target, no particle, no previous frame's row, end of a cell's list."""
NO_NEXT = -2
"""No row of the next frame."""
USED, FREE = 0, 1
"""The two grids: targets with a particle, and without."""
PREVIOUS, NEXT, PRIORITY = 0, 1, 2
"""Columns of :attr:`Frame.link`."""
_FROM_FILE, _ADDED = 4, 2
"""Priorities: of a particle of the sequence step, and of one that the tracker adds."""
_TARGETS_A_CELL = 2.0
_SMALLEST_CELL = 8.0


class Frame(NamedTuple):
    """Targets of all cameras stand one after the other; ``first`` says where each camera's begin."""

    size: Ints
    """(1,) number of particles; the arrays of particles have room for all that can be added."""
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
    head: Ints
    """(2, n_cams, cells in y, cells in x) first target of each cell's list, -1 for none; USED and FREE."""
    after: Ints
    """(n_targets,) next target in the list of its cell, -1 at its end."""
    cell: float
    """Side of a cell [px]."""


FRAME = NamedTupleType(
    (
        *(int64[::1], float64[:, ::1], int64[:, ::1], int64[:, ::1], float64[:, ::1]),
        *(int64[::1], int64[::1], int64[:, :, :, ::1], int64[::1], float64),
    ),
    Frame,
)
"""The type of :class:`Frame` in signatures."""


class Frames(NamedTuple):
    """The frames that a step looks at."""

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
    frame = Frame(
        size=np.array([n_particles]),
        position=position,
        target=target,
        link=np.tile(np.array([NONE, NO_NEXT, _FROM_FILE]), (room, 1)),
        pixel=np.ascontiguousarray(every[:, 1:3]),
        particle=particle,
        first=np.cumsum([0, *map(len, targets)]),
        head=np.full((2, n_cams, int(height / cell) + 1, int(width / cell) + 1), NONE),
        after=np.full(len(every), NONE),
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
    """The row or column of cells that a coordinate [px] lies in; the first or last one for what lies outside."""
    return int(min(max(pixel / size, 0.0), n_cells - 1.0))


@leaf
def put(frame: Frame, kind: int, camera: int, target: int) -> None:
    """Put a target (counted over all cameras) into a grid."""
    _, _, n_rows, n_columns = frame.head.shape
    column = cell_of(frame.pixel[target, 0], frame.cell, n_columns)
    row = cell_of(frame.pixel[target, 1], frame.cell, n_rows)
    frame.after[target] = frame.head[kind, camera, row, column]
    frame.head[kind, camera, row, column] = target


@leaf
def take_out(frame: Frame, kind: int, camera: int, target: int) -> None:
    """Take a target out of the grid that it is in."""
    _, _, n_rows, n_columns = frame.head.shape
    column = cell_of(frame.pixel[target, 0], frame.cell, n_columns)
    row = cell_of(frame.pixel[target, 1], frame.cell, n_rows)
    behind = frame.after[target]
    other = frame.head[kind, camera, row, column]
    if other == target:
        frame.head[kind, camera, row, column] = behind
        return
    while frame.after[other] != target:
        other = frame.after[other]
    frame.after[other] = behind


@entry(void(FRAME))
def sort_into_cells(frame: Frame) -> None:
    """Put every target into the grid that it belongs to."""
    for camera in range(len(frame.first) - 1):
        for target in range(frame.first[camera], frame.first[camera + 1]):
            put(frame, FREE if frame.particle[target] == NONE else USED, camera, target)


@leaf
def position_of(frame: Frame, row: int) -> Point:
    """Where a particle is [mm]."""
    return frame.position[row, 0], frame.position[row, 1], frame.position[row, 2]


@leaf
def append(frame: Frame, place: Point, targets: Ints) -> None:
    """Append a particle at a place [mm], seen by ``targets`` (n_cams,), rows of each camera or -1."""
    row = frame.size[0]
    frame.size[0] = row + 1
    frame.position[row, 0], frame.position[row, 1], frame.position[row, 2] = place
    frame.link[row, PRIORITY] = _ADDED
    for camera in range(len(targets)):
        frame.target[row, camera] = targets[camera]
        if targets[camera] != NONE:
            target = frame.first[camera] + targets[camera]
            frame.particle[target] = row
            take_out(frame, FREE, camera, target)
            put(frame, USED, camera, target)
