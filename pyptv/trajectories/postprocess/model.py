"""How particles move, and how exactly they are measured: learnt from the trajectories themselves.

Each axis on its own: the acceleration changes by white noise of the density q (jerk), positions are measured with an error of
the standard deviation sigma. The best estimate of such a motion, and its error, is a Kalman filter's (R. E. Kalman, "A New
Approach to Linear Filtering and Prediction Problems", Journal of Basic Engineering 82 (1960) 35-45); it equals a smoothing
spline of degree 5 (G. Wahba, J. R. Statist. Soc. B 40 (1978) 364-372). So one model says how far a trajectory may be from
where it is expected after a gap, how impossible a link is, and how much a smoothed position is to be trusted.

A trajectory's first velocity and acceleration are drawn from those of all trajectories. Times are in frames.
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
"""Of an axis: position, velocity, acceleration."""
TRANSITION = np.array([[1.0, 1.0, 0.5], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
"""Of the states, by one frame."""
JERK = np.array([[1 / 20, 1 / 8, 1 / 6], [1 / 8, 1 / 3, 1 / 2], [1 / 6, 1 / 2, 1.0]])
"""Covariance that a jerk of density 1 adds in one frame."""

TAIL, HEAD = 8, 4
"""Positions looked at before and after a gap, at most."""
_LONGEST_WINDOW, _SHORTEST_WINDOW = 12, 5
_MOST_WINDOWS = 20_000
_FEWEST_WINDOWS = 30
_STRANGE = 5.0
"""Standard deviations beyond which a window is taken for one with a wrong link, and left out of the estimate."""
_MOST_SCALE = 10.0
"""Of outliers: what is farther off is more likely a wrong link."""
_ROUNDING = 0.001 / math.sqrt(12)
"""Standard deviation [mm] of a position that is written with 3 decimals: none is more exact."""
_RATIOS = (-18.0, 5.0)
"""Logarithms of q / sigma^2 [1/frame^5] between which the most likely one is sought."""
_LIKELY = 0.995
"""Of the gaps that are cut into whole trajectories so many must be bridged again: sets the limit."""


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
    """Pieces of trajectories that it was learnt from."""
    inflation: float = 1.0
    """By how much larger than by the model the squared mismatch at a gap is at the limit: its errors are not Gaussian."""
    outliers: float = 0.0
    """Share of positions around which the mismatch is beyond the limit: spots that overlap, mostly."""
    outlier_scale: float = 1.0
    """How many times larger the mismatch is there."""

    @cached_property
    def start(self) -> tuple[Array, Array]:
        """Mean (3 axes, 3 states) and covariance (3, 3, 3) of a trajectory that was measured once, at 0."""
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
        """What a measurement makes of a covariance (..., 3 axes, 3, 3): variance of its innovation, gain, new covariance."""
        variance = covariance[..., 0, 0] + self.noise**2
        gain = covariance[..., 0] / variance[..., None]
        new = covariance - gain[..., :, None] * covariance[..., None, 0, :]
        return variance, gain, (new + np.swapaxes(new, -1, -2)) / 2


@dataclass(frozen=True)
class Bridge:
    """How well some positions after a gap fit to some before it: linear in the positions."""

    weights: Array
    """(3 axes, head, tail + head): of the positions in the innovations of the head."""
    offset: Array
    """(3 axes, head): what the mean velocity adds to them [mm]."""
    variance: Array
    """(3 axes, head): of the innovations [mm^2]."""

    def mismatch(self, position: Array) -> tuple[Array, Array]:
        """Squared mismatch (n,), chi-square distributed with 3 head degrees of freedom, and log likelihood (n,).

        Args:
            position: (n, tail + head, 3) [mm], relative to the first one.
        """
        innovation = np.einsum("ajk,nka->naj", self.weights, position) - self.offset
        squared = (innovation**2 / self.variance).sum(axis=(1, 2))
        return squared, -(squared + self.log_volume) / 2

    def expected(self, tail: Array) -> Array:
        """Where the first position after the gap is expected (n, 3) [mm], after a tail (n, tail, 3)."""
        first = self.weights[:, 0, : tail.shape[1]]
        return np.asarray(tail[:, 0] + self.offset[:, 0] - np.einsum("ak,nka->na", first, tail - tail[:, :1]))

    @cached_property
    def log_volume(self) -> float:
        """Twice the logarithm of what makes the density of the innovations one in total."""
        return float(np.log(2 * math.pi * self.variance).sum())


class Bridges:
    """The bridges of a model, made when they are wanted: for each number of positions and size of the gap."""

    def __init__(self, model: MotionModel) -> None:
        self.model = model
        self._known: dict[tuple[int, int, int], Bridge] = {}

    @cached_property
    def backward(self) -> Bridges:
        """Those of the motion that runs backward in time."""
        return Bridges(replace(self.model, mean_velocity=-self.model.mean_velocity))

    def together(self, position: Array, tail: int, gap: int) -> tuple[Array, Array]:
        """Squared mismatch (n,) and log likelihood (n,) of positions (n, tail + head, 3) of one particle, some measured badly."""
        head, model = position.shape[1] - tail, self.model
        bridge = self(tail, gap, head)
        squared, likely = bridge.mismatch(position - position[:, :1])
        stretched = squared / model.outlier_scale**2 + bridge.log_volume + 6 * head * math.log(model.outlier_scale)
        either: Array = np.logaddexp(math.log1p(-model.outliers) + likely, math.log(model.outliers) - stretched / 2)
        return squared, either

    def alone(self, position: Array) -> Array:
        """(n,) log likelihood of a piece (n, head, 3) from its first position on, wherever that is."""
        head = position.shape[1]
        return self(0, 0, head).mismatch(position - position[:, :1])[1] if head > 1 else np.zeros(len(position))

    @cached_property
    def reach(self) -> float:
        """Largest squared mismatch of a position that is sought: without the large errors that a join allows for."""
        from scipy.stats import chi2  # an extra

        return float(chi2.ppf(_LIKELY, 3)) * self.model.inflation

    @cached_property
    def limits(self) -> Array:
        """(HEAD + 1,) largest squared mismatch of a join, for each number of positions after the gap."""
        from scipy.stats import chi2  # an extra

        freedom = np.maximum(1, 3 * np.arange(HEAD + 1))
        return np.asarray(chi2.ppf(_LIKELY, freedom) * max(self.model.inflation, self.model.outlier_scale**2))

    def __call__(self, tail: int, gap: int, head: int) -> Bridge:
        """The bridge from ``tail`` positions over ``gap`` missing frames to ``head`` positions. A tail of 0: from nothing."""
        key = tail, gap, head
        if key not in self._known:
            self._known[key] = _bridge(self.model, *key)
        return self._known[key]


def _bridge(model: MotionModel, tail: int, gap: int, head: int) -> Bridge:
    """Run the filter on unit vectors: what is linear is known by what it makes of them."""
    n = tail + head
    frames = [*range(tail), *range(tail + gap, tail + gap + head)]
    _, covariance = model.start
    mean = np.zeros((3, STATES, n + 1))  # of each unit vector; last of the prior velocity
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
    first = max(tail, 1)  # the very first position is where it is
    return Bridge(weights[:, first:], offset[:, first:], variance[:, first:])


def learn(windows: Array) -> MotionModel | None:
    """The most likely model of some pieces of trajectories.

    Args:
        windows: (n, length, 3) positions in consecutive frames [mm], without NaN.

    Returns:
        None where there are too few of them to tell.
    """
    if len(windows) < _FEWEST_WINDOWS:
        return None
    step = np.diff(windows, axis=1)
    bend = np.diff(step, axis=1)
    sound = np.ones(len(windows), dtype=bool)
    for _ in range(3):
        fits = [_most_likely(windows[sound, :, axis] - windows[sound, :1, axis]) for axis in range(3)]
        strange = np.max([_strangeness(windows[:, :, axis], *fit) for axis, fit in enumerate(fits)], axis=0)
        sound = strange < _STRANGE
    noise = np.maximum([math.sqrt(variance) for variance, _ in fits], _ROUNDING)
    model = MotionModel(
        noise=noise,
        jerk=np.array([variance * math.exp(ratio) for variance, ratio in fits]),
        mean_velocity=step[sound].mean(axis=(0, 1)),
        velocity_spread=np.maximum(step[sound].std(axis=(0, 1)), noise),
        acceleration_spread=np.maximum(bend[sound].std(axis=(0, 1)), noise),
        windows=len(windows),
    )
    return _with_tails(model, windows, sound)


def window_length(lengths: NDArray[np.int64]) -> int:
    """How long the windows should be that trajectories of some lengths (m,) are cut into: long ones, but many."""
    for length in range(_LONGEST_WINDOW, _SHORTEST_WINDOW, -1):
        if int((lengths // length).sum()) >= 10 * _FEWEST_WINDOWS:
            return length
    return _SHORTEST_WINDOW


def most_windows() -> int:
    """So many windows are enough."""
    return _MOST_WINDOWS


def _unit_filter(ratio: float, length: int) -> tuple[Array, Array]:
    """Innovations as weights of the positions (length, length), and their variances (length,), for sigma 1 and no prior."""
    mean = np.zeros((STATES, length))
    mean[0, 0] = 1.0
    covariance = np.diag([1.0, 1e7, 1e7])
    weights, variance = np.zeros((length, length)), np.ones(length)
    for index in range(1, length):
        mean, covariance = TRANSITION @ mean, TRANSITION @ covariance @ TRANSITION.T + math.exp(ratio) * JERK
        variance[index] = covariance[0, 0] + 1.0
        gain = covariance[:, 0] / variance[index]
        weights[index] = -mean[0]
        weights[index, index] += 1.0
        mean = mean + gain[:, None] * weights[index]
        covariance = covariance - np.outer(gain, covariance[0])
        covariance = (covariance + covariance.T) / 2
    return weights[STATES:], variance[STATES:]  # the first ones tell nothing without a prior


def _most_likely(windows: Array) -> tuple[float, float]:
    """Variance sigma^2 [mm^2] and log(q / sigma^2) that make some windows (n, length) of an axis most likely."""
    from scipy.optimize import minimize_scalar  # an extra

    length = windows.shape[1]

    def unlikely(ratio: float) -> float:
        """Minus the log likelihood of a window, but for constants, at the best sigma."""
        weights, variance = _unit_filter(ratio, length)
        scale = float(np.mean((windows @ weights.T) ** 2 / variance))
        return (len(variance) * math.log(max(scale, 1e-30)) + float(np.log(variance).sum())) / 2

    ratio = float(minimize_scalar(unlikely, bounds=_RATIOS, method="bounded", options={"xatol": 0.05}).x)
    weights, variance = _unit_filter(ratio, length)
    return float(np.mean((windows @ weights.T) ** 2 / variance)), ratio


def _strangeness(windows: Array, variance: float, ratio: float) -> Array:
    """(n,) the largest innovation of each window (n, length), in standard deviations; those judged by the median of all."""
    weights, scale = _unit_filter(ratio, windows.shape[1])
    size = np.abs((windows - windows[:, :1]) @ weights.T) / np.sqrt(scale * max(variance, _ROUNDING**2))
    usual = float(np.median(size)) / 0.6745
    largest: Array = size.max(axis=1) / max(min(usual, 1.0), 1e-3)
    return largest


def _with_tails(model: MotionModel, windows: Array, sound: NDArray[np.bool_]) -> MotionModel:
    """The model that knows how much larger than it says the mismatch at gaps is that are cut into whole trajectories."""
    from scipy.stats import chi2  # an extra

    bridges = Bridges(model)
    relative = windows - windows[:, :1]
    inflation = 1.0
    for gap in (1, 0):
        head = min(HEAD, max(1, (windows.shape[1] - gap) // 2))
        tail = min(TAIL, windows.shape[1] - gap - head)
        rows = [*range(tail), *range(tail + gap, tail + gap + head)]
        squared, _ = bridges(tail, gap, head).mismatch(relative[:, rows])
        inflation = max(inflation, float(np.quantile(squared[sound], _LIKELY)) / float(chi2.ppf(_LIKELY, 3 * head)))
    beyond = squared > inflation * chi2.ppf(_LIKELY, 3 * head)
    scale = math.sqrt(float(np.mean(squared[beyond])) / (3 * head)) if beyond.any() else 1.0
    return replace(
        model,
        inflation=inflation,
        outliers=max(float(beyond.mean()), 1 - _LIKELY),
        outlier_scale=min(max(scale, 1.0), _MOST_SCALE),
    )
