"""Targets and positions of some frames, evenly spread over a run: what the report measures on them.

Bounded in time and memory: of a long run, or of one with many particles, fewer frames are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.base.errors import FormatError
from pyptv.core.engines.optv.backend import project
from pyptv.core.experiment.folder import Experiment
from pyptv.core.files.formats import PARTICLES, TARGET_COLUMNS, TARGETS
from pyptv.report.motion import within

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.files.formats import Rows

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]

MOST_FRAMES = 24
MOST_PARTICLES = 100_000
"""Of all frames together."""


@dataclass(frozen=True)
class CameraSample:
    """What a camera shows in the frames of a sample."""

    targets: Floats
    """(m, 6) of all targets: x, y [px], pixels, width, height [px], sum of grey values."""
    per_frame: Floats
    """(n_frames,) number of targets; NaN where the file cannot be read."""
    at: Floats
    """(n, 2) x, y [px] of targets that are part of a particle."""
    miss: Floats
    """(n, 2) [px] from there to where the particle, projected with the calibration, should be seen."""
    frame: Integers
    """(n,) frame of each of them."""

    @property
    def error(self) -> float:
        """Median distance [px] of targets and projected particles; NaN where there are none."""
        return float(np.median(np.linalg.norm(self.miss, axis=1))) if len(self.miss) else float("nan")

    def error_in(self, frames: Integers) -> Floats:
        """The same for each of some frames (k,)."""
        distance = np.linalg.norm(self.miss, axis=1)
        return np.array([np.median(distance[self.frame == frame]) if np.any(self.frame == frame) else np.nan for frame in frames])


@dataclass(frozen=True)
class Sample:
    """Some frames of a run."""

    frames: Integers
    """(n_frames,) ascending."""
    cameras: tuple[CameraSample, ...]
    positions: Floats
    """(n, 3) [mm] of all particles that have a position."""
    spacing: float
    """Median distance [mm] of a particle to its nearest neighbour in the same frame; NaN where no frame has two."""

    @property
    def particles(self) -> float:
        """Mean number of particles per frame."""
        return len(self.positions) / len(self.frames)


def read_sample(experiment: Experiment, frames: Sequence[int], particles_per_frame: float) -> Sample | None:
    """Read targets and positions of frames that are evenly spread; frames whose ``rt_is`` cannot be read are left out.

    Args:
        experiment: where the results are.
        frames: those that have results, ascending.
        particles_per_frame: about how many there are, to bound the work.

    Returns:
        None where no frame can be read.
    """
    most = int(min(MOST_FRAMES, max(3, MOST_PARTICLES / max(1.0, particles_per_frame))))
    chosen = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, most).astype(int))] if frames else []
    read: list[tuple[int, Rows]] = []
    for frame in chosen:
        try:
            read.append((frame, PARTICLES.read(experiment.result_path("rt_is", frame))))
        except FormatError:
            continue  # the record names damaged files
    if not read:
        return None
    positions = [within(np.column_stack([rows[axis] for axis in "xyz"])) for _, rows in read]
    known = [place[np.isfinite(place).all(axis=1)] for place in positions]
    return Sample(
        frames=np.array([frame for frame, _ in read], dtype=np.int64),
        cameras=_cameras(experiment, read, positions),
        positions=np.concatenate(known),
        spacing=_spacing(known),
    )


def _spacing(places: Sequence[Floats]) -> float:
    from scipy.spatial import cKDTree  # an extra

    nearest = [np.asarray(cKDTree(place).query(place, k=2)[0])[:, 1] for place in places if len(place) > 1]
    return float(np.median(np.concatenate(nearest))) if nearest else float("nan")


def _cameras(experiment: Experiment, read: Sequence[tuple[int, Rows]], positions: Sequence[Floats]) -> tuple[CameraSample, ...]:
    seen_at = [projected(experiment, place) for place in positions]
    cameras = []
    for camera in range(experiment.num_cams):
        targets, per_frame, at, miss, frame_of = [], [], [], [], []
        for (frame, particles), pixels in zip(read, seen_at, strict=True):
            try:
                rows = TARGETS.read(experiment.targets_path(camera, frame))
            except FormatError:
                per_frame.append(np.nan)
                continue
            table = np.column_stack([rows[name].astype(np.float64) for name in ("x", "y", "n", "nx", "ny", "sumg")])
            targets.append(within(table))
            per_frame.append(float(len(rows)))
            pointers = particles[TARGET_COLUMNS[camera]]
            seen = (pointers >= 0) & (pointers < len(rows)) & np.isfinite(pixels[camera]).all(axis=1)
            place = within(table[pointers[seen], :2])
            at.append(place)
            miss.append(pixels[camera][seen] - place)
            frame_of.append(np.full(len(place), frame, dtype=np.int64))
        cameras.append(
            CameraSample(
                targets=np.concatenate(targets) if targets else np.empty((0, 6)),
                per_frame=np.array(per_frame),
                at=np.concatenate(at) if at else np.empty((0, 2)),
                miss=np.concatenate(miss) if miss else np.empty((0, 2)),
                frame=np.concatenate(frame_of) if frame_of else np.empty(0, dtype=np.int64),
            )
        )
    return tuple(cameras)


def projected(experiment: Experiment, positions: Floats) -> Floats:
    """Where positions (n, 3) [mm] appear in the images.

    Returns:
        (n_cams, n, 2) x, y [px]; NaN where there is no position, and with one camera: it has no depth.
    """
    known = np.isfinite(positions).all(axis=1)
    pixels = np.full((experiment.num_cams, len(positions), 2), np.nan)
    if experiment.num_cams > 1:
        pixels[:, known] = project(positions[known], experiment.parameters, experiment.calibrations)
    return pixels
