"""Trajectories of a run for its report: lengths, displacements, accelerations, and a selection to show.

Time and memory are bounded: of a long run the frames of one contiguous window are read.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.base.errors import FormatError
from pyptv.core.base.frames import FrameRange, contiguous
from pyptv.core.experiment.folder import Experiment
from pyptv.trajectories import stream_trajectories

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]

MOST_PARTICLES = 400_000
"""Maximum number of particles, over all frames, that are followed."""

MOST_FRAMES = 4000
FARTHEST = 1e6
"""Maximum coordinates [mm, px] that are drawn."""

MOST_TRACKS = 200
"""Number of trajectories in the 3-D view."""

SHOWN_FROM = 5
"""Minimum frames of trajectories in the 3-D view, if there are such."""

_SEED = 0


@dataclass(frozen=True)
class Motion:
    """Motion from the links of some frames."""

    stretches: tuple[FrameRange, ...]
    """The frames that were read."""
    whole: bool
    """Whether these are all tracked frames."""
    lengths: Integers
    """(m,) number of frames of each trajectory, 1 for a particle without a link."""
    displacement: Floats
    """(n, 3) of each link [mm/frame]; links from or to a particle without a position are left out."""
    acceleration: Floats = field(default_factory=lambda: np.empty(0))
    """(k,) magnitude [mm/frame^2] of the change between successive displacements, which ``dacc`` limits."""
    angle: Floats = field(default_factory=lambda: np.empty(0))
    """(k,) angle [gon] between them, which ``angle`` limits; NaN if one of them is zero."""
    shown: tuple[Floats, ...] = ()
    """Positions (n, 3) [mm] of trajectories chosen at random with equal probability, longest first."""
    shown_from: int = 2
    """Minimum number of frames of the trajectories from which they were chosen."""
    damaged: str = ""
    """Why reading ended early."""

    @property
    def n_frames(self) -> int:
        """Number of frames that were read."""
        return sum(last - first + 1 for first, last in self.stretches)


def read_motion(experiment: Experiment, frames: Sequence[int], particles_per_frame: float) -> Motion | None:
    """Follow the trajectories of tracked frames.

    Args:
        experiment: where the results are.
        frames: that may have been tracked.
        particles_per_frame: about how many there are, to bound the work.

    Returns:
        None if no frame has links.
    """
    tracked = contiguous(frame for frame in frames if experiment.result_path("ptv_is", frame).exists())
    if not tracked:
        return None
    most = int(min(MOST_FRAMES, max(2, MOST_PARTICLES / max(1.0, particles_per_frame))))
    stretches, whole = _window(tracked, most)
    lengths: list[int] = []
    steps: list[Floats] = []
    turns: list[Floats] = []
    long, short = _Picked(), _Picked()
    damaged = ""
    try:
        for track in stream_trajectories(experiment, stretches[0][0], stretches[-1][1]):
            position = within(track.position)
            lengths.append(len(position))
            step = np.diff(position, axis=0)
            turns.append(np.hstack([step[:-1], step[1:]]))
            steps.append(step[np.isfinite(step).all(axis=1)])  # NaN: rays that do not meet
            position = position[np.isfinite(position).all(axis=1)]
            if len(position) > 1:
                (long if len(position) >= SHOWN_FROM else short).offer(position)
    except FormatError as error:
        damaged = str(error)
    acceleration, angle = _turning(np.concatenate(turns) if turns else np.empty((0, 6)))
    picked = long if long.kept else short
    return Motion(
        stretches=tuple(stretches),
        whole=whole,
        lengths=np.array(lengths, dtype=np.int64),
        displacement=np.concatenate(steps) if steps else np.empty((0, 3)),
        acceleration=acceleration,
        angle=angle,
        shown=tuple(sorted(picked.kept, key=len, reverse=True)),
        shown_from=SHOWN_FROM if long.kept else 2,
        damaged=damaged,
    )


class _Picked:
    """A random selection of the offered trajectories with equal probability (reservoir sampling); reproducible."""

    def __init__(self) -> None:
        self.kept: list[Floats] = []
        self._offered = 0
        self._random = random.Random(_SEED)  # noqa: S311 -- a sample, not a secret

    def offer(self, position: Floats) -> None:
        """Offer a trajectory, (n, 3) positions."""
        self._offered += 1
        if len(self.kept) < MOST_TRACKS:
            self.kept.append(position)
        elif (place := self._random.randrange(self._offered)) < MOST_TRACKS:
            self.kept[place] = position


def _turning(pairs: Floats) -> tuple[Floats, Floats]:
    """Accelerations and angles of successive displacements (k, 6) [mm/frame], computed as in optv's tracker."""
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    before, after = pairs[:, :3], pairs[:, 3:]
    sizes = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = np.einsum("ij,ij->i", before, after) / sizes
    angle = np.arccos(np.clip(cosine, -1, 1)) * (200 / np.pi)
    return np.linalg.norm(after - before, axis=1), angle


def within(coordinates: Floats) -> Floats:
    """Coordinates of any shape [mm, px], limited to what can be drawn: files may contain any number, and 1e300 has no square."""
    cut: Floats = np.clip(coordinates, -FARTHEST, FARTHEST)
    return cut


def _window(tracked: list[FrameRange], most: int) -> tuple[list[FrameRange], bool]:
    """All stretches if they have few frames in total, otherwise ``most`` frames in the middle of the longest one."""
    if sum(last - first + 1 for first, last in tracked) <= most:
        return tracked, True
    first, last = max(tracked, key=lambda stretch: stretch[1] - stretch[0])
    start = first + max(0, (last - first + 1 - most) // 2)
    return [(start, min(last, start + most - 1))], False
