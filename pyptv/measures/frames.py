"""A frame after matching, as arrays: targets, particles, and which belong together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.experiment.folder import Experiment
from pyptv.core.files.formats import PARTICLES, TARGET_COLUMNS, TARGETS, check_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.files.formats import Rows

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

X, Y, N, NX, NY, SUMG = range(1, 7)
"""Columns of targets."""


@dataclass(frozen=True, eq=False)
class MatchedFrame:
    """Targets and particles of one frame."""

    number: int
    """Of the frame."""
    targets: tuple[Floats, ...]
    """Per camera (n, 8) float64, the columns of ``_targets``: pnr, x, y [px], n, nx, ny, sumg, tnr."""
    position: Floats
    """(m, 3) float64 [mm]; NaN where the rays do not meet."""
    target: Integers
    """(m, n_cams) row of the particle's target in each camera, -1 where it is not seen."""

    @cached_property
    def views(self) -> Integers:
        """(m,) by how many cameras each particle is seen."""
        views: Integers = np.count_nonzero(self.target >= 0, axis=1)
        return views

    @property
    def n_cams(self) -> int:
        """Number of cameras."""
        return len(self.targets)

    def counts(self) -> tuple[int, ...]:
        """Particles seen by n_cams cameras, by one less, ..., by two."""
        return tuple(int(np.count_nonzero(self.views == kind)) for kind in range(self.n_cams, 1, -1))

    def unused(self, camera: int) -> Integers:
        """The rows of a camera's targets that no particle has."""
        used = np.zeros(len(self.targets[camera]), np.bool_)
        rows = self.target[:, camera]
        used[rows[rows >= 0]] = True
        return np.flatnonzero(~used)

    def pixels(self, rows: Integers) -> Floats:
        """Where some particles are seen: (n_cams, n, 2) [px]; NaN in cameras that do not see them."""
        places = np.full((self.n_cams, len(rows), 2), np.nan)
        for camera, targets in enumerate(self.targets):
            which = self.target[rows, camera]
            seen = which >= 0
            places[camera, seen] = targets[which[seen], X : Y + 1]
        return places


def columns_of(rows: Rows) -> Floats:
    """Rows of a text table as (n, number of columns) float64."""
    names = rows.dtype.names or ()
    return np.column_stack([rows[name] for name in names]).astype(np.float64) if len(rows) else np.empty((0, len(names)))


def rows_of(columns: Floats) -> Rows:
    """Columns of ``_targets`` (n, 8) as rows of that table."""
    rows = np.empty(len(columns), TARGETS.dtype)
    for index, name in enumerate(TARGETS.columns):
        rows[name] = columns[:, index]
    return rows


def read_matched(experiment: Experiment, frame: int) -> MatchedFrame:
    """A frame as its result files have it.

    Raises:
        FormatError: a file is missing or damaged.
    """
    paths = [experiment.result_path("rt_is", frame)]
    paths += [experiment.targets_path(camera, frame) for camera in range(experiment.num_cams)]
    particles, targets = PARTICLES.read(paths[0]), [TARGETS.read(path) for path in paths[1:]]
    check_frame(particles, targets, [str(path) for path in paths], most=None)
    return MatchedFrame(
        frame,
        tuple(columns_of(rows) for rows in targets),
        columns_of(particles)[:, 1:4],
        np.column_stack([particles[name] for name in TARGET_COLUMNS[: len(targets)]]).astype(np.int64),
    )


def sample(first: int, last: int, places: int, consecutive: int) -> list[range]:
    """Runs of consecutive frames, spread evenly over a range; fewer and longer ones where the range is short.

    >>> sample(0, 99, 3, 5)
    [range(0, 5), range(48, 53), range(95, 100)]
    >>> sample(0, 11, 3, 5)
    [range(0, 12)]
    """
    n = last - first + 1
    if n <= places * consecutive:
        return [range(first, last + 1)]
    starts = np.rint(np.linspace(first, last + 1 - consecutive, places)).astype(int).tolist()
    return [range(start, start + consecutive) for start in starts]
