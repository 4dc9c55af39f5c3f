"""The model of motion and measurement errors. :mod:`pyptv.trajectories.postprocess.learn` estimates it from the data.

For each axis: the acceleration changes by white noise of the density q (jerk), and positions are measured with an error of
the standard deviation sigma. A Kalman filter gives the best estimate of such a motion, and its error (R. E. Kalman, "A New
Approach to Linear Filtering and Prediction Problems", Journal of Basic Engineering 82 (1960) 35-45); it equals a smoothing
spline of degree 5 (G. Wahba, J. R. Statist. Soc. B 40 (1978) 364-372). So one model determines how far a trajectory may be from
its expected position after a gap, how improbable a link is, and the error of a smoothed position.

The prior of a trajectory's velocity and acceleration is their distribution over all trajectories. Times are in frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

STATES = 3
"""Number of states of an axis: position, velocity, acceleration."""
TRANSITION = np.array([[1.0, 1.0, 0.5], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
"""Transition of the states by one frame."""
JERK = np.array([[1 / 20, 1 / 8, 1 / 6], [1 / 8, 1 / 3, 1 / 2], [1 / 6, 1 / 2, 1.0]])
"""Covariance added by a jerk of density 1 in one frame."""

TAIL, HEAD = 8, 4
"""Maximum number of positions used before and after a gap."""
MOST_SCALE = 10.0
"""Maximum mismatch of outliers: a larger one is more likely a wrong link."""
LIKELY = 0.995
"""Share of artificial gaps in complete trajectories that must be bridged: sets the limit."""
_NEVER = 1e-6
"""Share of good positions that deviate more than a position that is cut out beside a join."""


@dataclass(frozen=True)
class MotionModel:
    """The model of one data set."""

    noise: Array
    """(3,) sigma of x, y, z [mm]."""
    jerk: Array
    """(3,) q of x, y, z [mm^2/frame^5]."""
    mean_velocity: Array
    """(3,) [mm/frame]."""
    velocity_spread: Array
    """(3,) standard deviation [mm/frame]."""
    acceleration_spread: Array
    """(3,) standard deviation [mm/frame^2]."""
    windows: int
    """Number of pieces of trajectories from which it was estimated."""
    inflation: float = 1.0
    """Factor by which the squared mismatch at the limit exceeds that of the model, because errors are not Gaussian."""
    outliers: float = 0.0
    """Share of positions around which the mismatch is beyond the limit, mostly because of overlapping spots."""
    outlier_scale: float = 1.0
    """Factor by which the mismatch is larger there."""

    @cached_property
    def start(self) -> tuple[Array, Array]:
        """Mean (3 axes, 3 states) and covariance (3, 3, 3) of a trajectory after one measurement at 0."""
        mean = np.zeros((3, STATES))
        mean[:, 1] = self.mean_velocity
        covariance = np.zeros((3, STATES, STATES))
        variances = (self.noise, self.velocity_spread, self.acceleration_spread)
        for state, spread in enumerate(variances):
            covariance[:, state, state] = spread**2
        return mean, covariance

    def predicted(self, covariance: Array) -> Array:
        """Covariance (..., 3 axes, 3, 3) one frame later."""
        later: Array = TRANSITION @ covariance @ TRANSITION.T + self.jerk[:, None, None] * JERK
        return later

    def updated(self, covariance: Array) -> tuple[Array, Array, Array]:
        """Update of a covariance (..., 3 axes, 3, 3) by a measurement: variance of its innovation, gain, new covariance."""
        variance = covariance[..., 0, 0] + self.noise**2
        gain = covariance[..., 0] / variance[..., None]
        new = covariance - gain[..., :, None] * covariance[..., None, 0, :]
        return variance, gain, (new + np.swapaxes(new, -1, -2)) / 2


@dataclass(frozen=True)
class Bridge:
    """The fit of positions after a gap to those before it; linear in the positions."""

    weights: Array
    """(3 axes, head, tail + head): weights of the positions in the innovations of the head."""
    offset: Array
    """(3 axes, head): contribution of the mean velocity to them [mm]."""
    variance: Array
    """(3 axes, head): variances of the innovations [mm^2]."""

    def mismatch(self, position: Array) -> tuple[Array, Array]:
        """Squared mismatch (n,), chi-square distributed with 3 head degrees of freedom, and log likelihood (n,).

        Args:
            position: (n, tail + head, 3) [mm], relative to the first one.
        """
        innovation = np.einsum("ajk,nka->naj", self.weights, position) - self.offset
        squared = (innovation**2 / self.variance).sum(axis=(1, 2))
        return squared, -(squared + self.log_volume) / 2

    def expected(self, tail: Array) -> Array:
        """The expected first position (n, 3) [mm] after the gap, after a tail (n, tail, 3)."""
        first = self.weights[:, 0, : tail.shape[1]]
        return np.asarray(tail[:, 0] + self.offset[:, 0] - np.einsum("ak,nka->na", first, tail - tail[:, :1]))

    @cached_property
    def log_volume(self) -> float:
        """Twice the logarithm of the normalisation of the density of the innovations."""
        return float(np.log(2 * math.pi * self.variance).sum())


class Bridges:
    """The bridges of a model, created on request for each number of positions and size of the gap."""

    def __init__(self, model: MotionModel) -> None:
        self.model = model
        self._known: dict[tuple[int, int, int], Bridge] = {}

    @cached_property
    def backward(self) -> Bridges:
        """The bridges for motion backward in time."""
        return Bridges(replace(self.model, mean_velocity=-self.model.mean_velocity))

    def together(self, position: Array, tail: int, gap: int) -> tuple[Array, Array]:
        """Squared mismatch (n,) and log likelihood (n,) of positions (n, tail + head, 3) of one particle, some of them bad."""
        head, model = position.shape[1] - tail, self.model
        bridge = self(tail, gap, head)
        squared, likely = bridge.mismatch(position - position[:, :1])
        stretched = squared / model.outlier_scale**2 + bridge.log_volume + 6 * head * math.log(model.outlier_scale)
        either: Array = np.logaddexp(math.log1p(-model.outliers) + likely, math.log(model.outliers) - stretched / 2)
        return squared, either

    def alone(self, position: Array) -> Array:
        """(n,) log likelihood of a piece (n, head, 3), given its first position."""
        head = position.shape[1]
        return self(0, 0, head).mismatch(position - position[:, :1])[1] if head > 1 else np.zeros(len(position))

    @cached_property
    def narrow(self) -> Array:
        """(HEAD + 1,) maximum squared mismatch without large errors, for each number of positions after the gap."""
        return _usual() * self.model.inflation

    @cached_property
    def limits(self) -> Array:
        """(HEAD + 1,) maximum squared mismatch of a join, for each number of positions after the gap."""
        return _usual() * max(self.model.inflation, self.model.outlier_scale**2)

    @cached_property
    def widest(self) -> float:
        """Maximum squared mismatch of a position that a join may leave out; a larger one is more likely a wrong link."""
        return float(_usual()[1]) * MOST_SCALE**2

    @cached_property
    def bad(self) -> float:
        """Squared mismatch beyond which a position beside a join is cut out: too large for a good measurement."""
        from scipy.stats import chi2  # an extra

        return max(float(self.limits[1]), float(chi2.isf(_NEVER, 3)))

    def __call__(self, tail: int, gap: int, head: int) -> Bridge:
        """The bridge from ``tail`` positions over ``gap`` missing frames to ``head`` positions. ``tail`` may be 0."""
        key = tail, gap, head
        if key not in self._known:
            self._known[key] = _bridge(self.model, *key)
        return self._known[key]


def _bridge(model: MotionModel, tail: int, gap: int, head: int) -> Bridge:
    """Run the filter on unit vectors, which determines a linear function."""
    n = tail + head
    frames = [*range(tail), *range(tail + gap, tail + gap + head)]
    _, covariance = model.start
    mean = np.zeros((3, STATES, n + 1))  # of each unit vector; the last one of the prior velocity
    mean[:, 0, 0] = 1.0
    mean[:, 1, n] = model.mean_velocity
    weights, offset, variance = np.zeros((3, n, n)), np.zeros((3, n)), np.ones((3, n))
    for index in range(1, n):
        for _ in range(frames[index] - frames[index - 1]):
            mean, covariance = TRANSITION @ mean, model.predicted(covariance)
        variance[:, index], gain, covariance = model.updated(covariance)
        innovation = -mean[:, 0]
        innovation[:, index] += 1.0
        weights[:, index], offset[:, index] = innovation[:, :n], -innovation[:, n]
        mean = mean + gain[:, :, None] * innovation[:, None]
    first = max(tail, 1)  # the very first position is exact
    return Bridge(weights[:, first:], offset[:, first:], variance[:, first:])


def _usual() -> Array:
    """(HEAD + 1,) squared mismatch that :data:`LIKELY` of the gaps do not exceed according to the model."""
    from scipy.stats import chi2  # an extra

    return np.asarray(chi2.ppf(LIKELY, np.maximum(1, 3 * np.arange(HEAD + 1))))
