"""Targets and positions of some frames, evenly spread over a run, and their measurements for the report.

Time and memory are bounded: in a long run, or with many particles, fewer frames are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.base.errors import FormatError
from pyptv.core.engines.optv.backend import project
from pyptv.core.experiment.folder import Experiment
from pyptv.measures.frames import MatchedFrame, read_matched, sample
from pyptv.measures.motion import Motion, measure_motion
from pyptv.measures.reprojection import Residuals, residuals
from pyptv.report.motion import within

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]

MOST_FRAMES = 24
MOST_PARTICLES = 100_000
"""Maximum number of particles in all frames together."""

PLACES, CONSECUTIVE = 3, 5
"""Number of places where motion is measured, and of consecutive frames at each."""

ENOUGH = 50
"""Minimum number of particles for a reprojection error."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Some frames of a run."""

    frames: tuple[MatchedFrame, ...]
    residuals: tuple[Residuals, ...]
    """Residuals of each camera; empty with one camera, which has no depth, and where targets are projections."""
    views: int
    """Number of cameras that see the particles of the residuals."""
    spacing: float
    """Median distance [mm] of a particle to its nearest neighbour in the same frame; NaN if no frame has two."""
    motion: Motion
    """Motion of particles between consecutive frames, and its chance level; without the tracker."""

    @property
    def numbers(self) -> Integers:
        """(n_frames,) of the frames, ascending."""
        return np.array([frame.number for frame in self.frames], dtype=np.int64)

    @property
    def positions(self) -> Floats:
        """(n, 3) [mm] of all particles that have a position."""
        return np.concatenate([_known(frame) for frame in self.frames])

    def targets(self, camera: int) -> Floats:
        """(m, 8) of all targets of a camera: the columns of ``_targets``."""
        return np.concatenate([frame.targets[camera] for frame in self.frames])

    @property
    def errors(self) -> tuple[float, ...]:
        """Median distance [px] of targets and projected particles in each camera; NaN if there are none."""
        return tuple(float(np.median(size)) if len(size) else float("nan") for size in map(lengths, self.residuals))


def read_sample(
    experiment: Experiment, frames: Sequence[int], particles_per_frame: float, *, projections: bool = False
) -> Sample | None:
    """Read targets and positions of frames that are evenly spread; frames that cannot be read are left out.

    Args:
        experiment: where the results are.
        frames: those that have results, ascending.
        particles_per_frame: approximate number, to bound the work.
        projections: the targets are the particles' projections, and their distance says nothing.

    Returns:
        None if no frame can be read.
    """
    most = int(min(MOST_FRAMES, max(3, MOST_PARTICLES / max(1.0, particles_per_frame))))
    chosen = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, most).astype(int))] if frames else []
    read = [frame for number in chosen if (frame := _read(experiment, number)) is not None]
    if not read:
        return None
    found, views = ((), 0) if projections else _residuals(experiment, read)
    spacing = _spacing([_known(frame) for frame in read])
    return Sample(tuple(read), found, views, spacing, measure_motion(_runs(experiment, frames, particles_per_frame)))


def _runs(experiment: Experiment, frames: Sequence[int], particles_per_frame: float) -> list[list[MatchedFrame]]:
    """Runs of consecutive frames at several places; at only one if there are many particles."""
    places = PLACES if particles_per_frame * PLACES * CONSECUTIVE < MOST_PARTICLES else 1
    there = set(frames)
    wanted = [[number for number in run if number in there] for run in sample(frames[0], frames[-1], places, CONSECUTIVE)]
    return [[frame for number in run if (frame := _read(experiment, number)) is not None] for run in wanted]


def _read(experiment: Experiment, number: int) -> MatchedFrame | None:
    try:
        frame = read_matched(experiment, number)
    except FormatError:
        return None  # the record lists damaged files
    return replace(frame, position=within(frame.position), targets=tuple(map(within, frame.targets)))


def _residuals(experiment: Experiment, frames: Sequence[MatchedFrame]) -> tuple[tuple[Residuals, ...], int]:
    """Residuals of the particles that most cameras see, if these are enough."""
    found: tuple[Residuals, ...] = ()
    views = experiment.num_cams
    while views > 1:
        found = residuals(frames, experiment.parameters, experiment.calibrations, views)
        if sum(len(one.off) for one in found) >= ENOUGH * views:
            break
        views -= 1
    return found, views


def lengths(of: Residuals) -> Floats:
    """(n,) distances [px] of targets and projected particles."""
    size: Floats = np.linalg.norm(of.off, axis=1)
    return size


def _known(frame: MatchedFrame) -> Floats:
    return frame.position[np.isfinite(frame.position).all(axis=1)]


def _spacing(places: Sequence[Floats]) -> float:
    from scipy.spatial import cKDTree  # an extra

    nearest = [np.asarray(cKDTree(place).query(place, k=2)[0])[:, 1] for place in places if len(place) > 1]
    return float(np.median(np.concatenate(nearest))) if nearest else float("nan")


def projected(experiment: Experiment, positions: Floats) -> Floats:
    """Project positions (n, 3) [mm] into the images.

    Returns:
        (n_cams, n, 2) x, y [px]; NaN without a position.
    """
    known = np.isfinite(positions).all(axis=1)
    pixels = np.full((experiment.num_cams, len(positions), 2), np.nan)
    pixels[:, known] = project(positions[known], experiment.parameters, experiment.calibrations)
    return pixels
