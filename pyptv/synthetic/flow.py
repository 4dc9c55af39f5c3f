"""The flow that moves the particles: analytic, three-dimensional, unsteady, free of divergence.

Kinematic simulation (Fung, Hunt, Malik and Perkins 1992, J. Fluid Mech. 236, 281-318): a mean drift and a sum of waves

    u(x, t) = U + sum_n  a_n cos(k_n . x + w_n t) + b_n sin(k_n . x + w_n t),   a_n . k_n = b_n . k_n = 0

Each wave is transverse, so the divergence is zero everywhere. All waves have the period of a box around the measuring
volume: particles that leave the box on one side enter on the other, and stay evenly distributed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_N_WAVES = 8
_HIGHEST_WAVE = 3
_DRIFT = (0.5, 0.2, 0.1)
"""Mean drift over the mean speed of the waves, so that particles keep entering and leaving."""


@dataclass(frozen=True)
class Flow:
    """A periodic velocity field. Length in mm, time in frames."""

    period: Array
    """(3,) size of the periodic box [mm]."""
    wavevectors: Array
    """(n, 3) k [1/mm]."""
    frequencies: Array
    """(n,) w [rad/frame]."""
    cosines: Array
    """(n, 3) a [mm/frame]."""
    sines: Array
    """(n, 3) b [mm/frame]."""
    drift: Array
    """(3,) U [mm/frame]."""

    def velocity(self, points: NDArray[Any], time: float) -> NDArray[Any]:
        """Velocity (n, 3) [mm/frame] at ``points`` (n, 3) [mm] and ``time`` [frames].

        Complex points are continued analytically, which gives derivatives to rounding (the complex step).
        """
        phase = points @ self.wavevectors.T + self.frequencies * time
        return np.cos(phase) @ self.cosines + np.sin(phase) @ self.sines + self.drift

    def advance(self, points: Array, time: float, duration: float = 1.0) -> Array:
        """Points (n, 3) [mm] ``duration`` frames after ``time``: one step of the classical Runge-Kutta scheme, order 4."""
        half = duration / 2
        k1 = self.velocity(points, time)
        k2 = self.velocity(points + half * k1, time + half)
        k3 = self.velocity(points + half * k2, time + half)
        k4 = self.velocity(points + duration * k3, time + duration)
        moved: Array = points + duration / 6 * (k1 + 2 * (k2 + k3) + k4)
        return moved


def random_flow(rng: np.random.Generator, period: Array, mean_speed: float) -> Flow:
    """A flow of random waves with the given period (3,) [mm] and mean speed [mm/frame] over the box."""
    numbers = _wave_numbers(rng)
    k = 2 * np.pi * numbers / period
    size = np.linalg.norm(k, axis=1, keepdims=True)
    amplitudes = np.cross(rng.standard_normal((2, _N_WAVES, 3)), k / size) / size  # larger eddies are faster
    flow = Flow(period, k, np.zeros(_N_WAVES), amplitudes[0], amplitudes[1], np.zeros(3))
    waves_speed = _mean_speed(flow, rng)
    drift = np.array(_DRIFT) * waves_speed * rng.choice([-1.0, 1.0], 3)
    scale = mean_speed / _mean_speed(Flow(period, k, flow.frequencies, flow.cosines, flow.sines, drift), rng)
    # the time scale of an eddy is about its turnover time
    frequencies = size[:, 0] * mean_speed * rng.choice([-1.0, 1.0], _N_WAVES) * rng.uniform(0.2, 0.6, _N_WAVES)
    return Flow(period, k, frequencies, scale * flow.cosines, scale * flow.sines, scale * drift)


@dataclass(frozen=True)
class Extremes:
    """The maximum motion in a flow, as known from a first look at data."""

    velocity: Array
    """(3,) largest component of velocity [mm/frame]."""
    acceleration: float
    """Largest second difference of a path [mm/frame^2]."""


def extremes(flow: Flow, rng: np.random.Generator, duration: int) -> Extremes:
    """Sample the motion over the box and the frames 0..``duration`` (seeded, so reproducible)."""
    velocity = np.zeros(3)
    acceleration = 0.0
    for time in rng.uniform(0, duration, 8):
        start = rng.uniform(-0.5, 0.5, (2000, 3)) * flow.period
        middle = flow.advance(start, float(time))
        end = flow.advance(middle, float(time) + 1)
        velocity = np.maximum(velocity, np.abs(middle - start).max(axis=0))
        acceleration = max(acceleration, float(np.linalg.norm(end - 2 * middle + start, axis=1).max()))
    return Extremes(velocity, acceleration)


def _wave_numbers(rng: np.random.Generator) -> Array:
    """(n, 3) different small whole numbers: waves in the box, no two of them opposite, at most 2 along an axis."""
    grid = np.array(np.meshgrid(*[range(-2, 3)] * 3, indexing="ij")).reshape(3, -1).T
    upper = grid[(grid @ np.array([25, 5, 1])) > 0]
    upper = upper[np.abs(upper).sum(axis=1) <= _HIGHEST_WAVE]
    return rng.permutation(upper)[:_N_WAVES].astype(np.float64)


def _mean_speed(flow: Flow, rng: np.random.Generator) -> float:
    points = rng.uniform(-0.5, 0.5, (4000, 3)) * flow.period
    return float(np.linalg.norm(flow.velocity(points, 0.0), axis=1).mean())
