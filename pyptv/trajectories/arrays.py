"""Trajectories as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One trajectory: a particle in consecutive frames."""

    id: int
    """Counts from 0: by first frame, then by row in that frame's ``ptv_is``."""
    first: int
    """Number of its first frame; row i of :attr:`position` is of frame ``first + i``."""
    position: Array
    """(n, 3) float64, x, y, z [mm]; NaN as in :class:`Trajectories`."""


@dataclass(frozen=True, eq=False)
class Trajectories:
    """All trajectories of some frames, one row per particle and frame, sorted by id, then by frame.

    n is the number of rows, m of trajectories. Lengths are in mm; times are in frames, or in seconds where
    :attr:`frame_rate` is known. The frames of a trajectory are consecutive.
    """

    id: Indices
    """(n,) int64, ascending; see :class:`Trajectory`. Ids of trajectories that were left out are missing."""
    frame: Indices
    """(n,) int64, frame number."""
    position: Array
    """(n, 3) float64, x, y, z [mm], as in ``ptv_is``: 3 decimals; NaN where the rays of a particle do not meet."""
    velocity: Array
    """(n, 3) float64 [mm/frame, or mm/s]; NaN in trajectories that are shorter than :attr:`window`, and
    if the window contains a position that is NaN."""
    acceleration: Array
    """(n, 3) float64 [mm/frame^2, or mm/s^2]; NaN as in :attr:`velocity`."""
    frame_rate: float | None
    """Frames per second; None: velocity and acceleration are per frame."""
    window: int
    """Frames in the fit of velocity and acceleration."""
    order: int
    """Order of its polynomial."""
    detail: Detail | None = None
    """Details of post-processing per row; None: the trajectories are as linked by the run."""

    @cached_property
    def offsets(self) -> Indices:
        """(m + 1,) int64: trajectory k has the rows ``offsets[k]`` to ``offsets[k + 1] - 1``; the last one is n."""
        return offsets_of(self.id)

    @cached_property
    def lengths(self) -> Indices:
        """(m,) int64, number of frames of each trajectory."""
        return np.diff(self.offsets)


@dataclass(frozen=True, eq=False)
class Detail:
    """Details of post-processing for n rows."""

    source: Indices
    """(n,) id of the row's trajectory in the run; -1 if the run has no such row."""
    origin: Indices
    """(n,) origin of the position: 0 the run; 1 found among the targets of its frame; 2 estimated in a gap."""
    smoothed: Smoothed | None = None
    """Only if positions are smoothed."""


@dataclass(frozen=True, eq=False)
class Smoothed:
    """The motion of n rows estimated by a model, and standard deviations of the estimates, (n, 3) each."""

    velocity: Array
    """[mm/frame]."""
    acceleration: Array
    """[mm/frame^2]."""
    position_error: Array
    """[mm]."""
    velocity_error: Array
    """[mm/frame]."""
    acceleration_error: Array
    """[mm/frame^2]."""


def offsets_of(identity: Indices) -> Indices:
    """(m + 1,) start of each run of equal values in (n,) ascending values, and n."""
    starts = np.flatnonzero(np.diff(identity, prepend=identity[:1] - 1))
    return np.append(starts, len(identity)).astype(np.int64)
