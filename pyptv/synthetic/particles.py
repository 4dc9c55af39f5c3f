"""The particles: uniformly seeded, moved by the flow, visible while they are in the measuring volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pyptv.synthetic.flow import Flow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

VOLUME = (100.0, 80.0, 40.0)
"""Size of the measuring volume in x, y, z [mm]; its centre is the origin."""

_MARGIN = 10.0
"""Minimum distance from the measuring volume to the walls of the periodic box [mm]."""


@dataclass(frozen=True)
class Particles:
    """One row per particle and frame, sorted by frame."""

    frame: NDArray[np.int64]
    """(n,) frame number."""
    identity: NDArray[np.int64]
    """(n,) number of the particle, from 1; a particle that returns through the periodic box is a new one."""
    position: Array
    """(n, 3) [mm]."""

    @property
    def n_identities(self) -> int:
        """The number of different particles."""
        return int(self.identity.max(initial=0))


def mean_spacing(n_particles: int) -> float:
    """The mean particle distance [mm]: the cube root of the volume per particle."""
    return float((np.prod(VOLUME) / max(n_particles, 1)) ** (1 / 3))


def periodic_box(mean_displacement: float) -> Array:
    """(3,) size of the box [mm]: no particle moves from its wall into the measuring volume in one frame."""
    return np.array(VOLUME) + 2 * (_MARGIN + 4 * mean_displacement)


def simulate(flow: Flow, rng: np.random.Generator, n_frames: int, n_particles: int, first_frame: int) -> Particles:
    """Move the particles through ``n_frames`` frames; on average ``n_particles`` are in the measuring volume."""
    n_box = round(n_particles * np.prod(flow.period) / np.prod(VOLUME))
    points = rng.uniform(-0.5, 0.5, (n_box, 3)) * flow.period
    identity = np.arange(n_box)
    next_identity = n_box
    half = np.array(VOLUME) / 2
    frames, identities, positions = [], [], []
    for step in range(n_frames):
        inside = (np.abs(points) <= half).all(axis=1)
        frames.append(np.full(np.count_nonzero(inside), first_frame + step))
        identities.append(identity[inside])
        positions.append(points[inside])
        points = flow.advance(points, float(step))
        laps = np.rint(points / flow.period)
        if laps.any():
            wrapped = laps.any(axis=1)
            points = points - laps * flow.period
            identity = identity.copy()
            n_new = int(wrapped.sum())
            identity[wrapped] = next_identity + np.arange(n_new)
            next_identity += n_new
    _, consecutive = np.unique(np.concatenate(identities), return_inverse=True)
    return Particles(np.concatenate(frames), consecutive.reshape(-1) + 1, np.concatenate(positions))
