"""Maximum-likelihood estimate of the motion model from the trajectories."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pyptv.trajectories.postprocess.model import HEAD, JERK, LIKELY, MOST_SCALE, STATES, TAIL, TRANSITION, Bridges, MotionModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_LONGEST_WINDOW, _SHORTEST_WINDOW = 12, 5
MOST_WINDOWS = 20_000
"""A sufficient number of windows."""
_FEWEST_WINDOWS = 30
_STRANGE = 5.0
"""Standard deviations beyond which a window is assumed to contain a wrong link, and is left out of the estimate."""
_ROUNDING = 0.001 / math.sqrt(12)
"""Standard deviation [mm] of a position written with 3 decimals: the lower limit of the noise."""
_RATIOS = (-18.0, 5.0)
"""Logarithms of q / sigma^2 [1/frame^5]: the range of the search."""


def learn(windows: Array) -> MotionModel | None:
    """The most likely model of some pieces of trajectories.

    Args:
        windows: (n, length, 3) positions in consecutive frames [mm], without NaN.

    Returns:
        None if there are too few for an estimate.
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
    """The length of windows into which trajectories of some lengths (m,) are divided: a compromise of length and number."""
    for length in range(_LONGEST_WINDOW, _SHORTEST_WINDOW, -1):
        if int((lengths // length).sum()) >= 10 * _FEWEST_WINDOWS:
            return length
    return _SHORTEST_WINDOW


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
    return weights[STATES:], variance[STATES:]  # the first ones carry no information without a prior


def _most_likely(windows: Array) -> tuple[float, float]:
    """Variance sigma^2 [mm^2] and log(q / sigma^2) that make some windows (n, length) of an axis most likely."""
    from scipy.optimize import minimize_scalar  # an extra

    length = windows.shape[1]

    def unlikely(ratio: float) -> float:
        """Minus the log likelihood of a window, except for constants, at the best sigma."""
        weights, variance = _unit_filter(ratio, length)
        scale = float(np.mean((windows @ weights.T) ** 2 / variance))
        return (len(variance) * math.log(max(scale, 1e-30)) + float(np.log(variance).sum())) / 2

    ratio = float(minimize_scalar(unlikely, bounds=_RATIOS, method="bounded", options={"xatol": 0.05}).x)
    weights, variance = _unit_filter(ratio, length)
    return float(np.mean((windows @ weights.T) ** 2 / variance)), ratio


def _strangeness(windows: Array, variance: float, ratio: float) -> Array:
    """(n,) maximum innovation of each window (n, length), in standard deviations estimated from the median of all."""
    weights, scale = _unit_filter(ratio, windows.shape[1])
    size = np.abs((windows - windows[:, :1]) @ weights.T) / np.sqrt(scale * max(variance, _ROUNDING**2))
    usual = float(np.median(size)) / 0.6745
    largest: Array = size.max(axis=1) / max(min(usual, 1.0), 1e-3)
    return largest


def _with_tails(model: MotionModel, windows: Array, sound: NDArray[np.bool_]) -> MotionModel:
    """The model with the measured factors by which the mismatch at artificial gaps exceeds its prediction."""
    from scipy.stats import chi2  # an extra

    bridges = Bridges(model)
    relative = windows - windows[:, :1]
    inflation = 1.0
    for gap in (1, 0):
        head = min(HEAD, max(1, (windows.shape[1] - gap) // 2))
        tail = min(TAIL, windows.shape[1] - gap - head)
        rows = [*range(tail), *range(tail + gap, tail + gap + head)]
        squared, _ = bridges(tail, gap, head).mismatch(relative[:, rows])
        inflation = max(inflation, float(np.quantile(squared[sound], LIKELY)) / float(chi2.ppf(LIKELY, 3 * head)))
    beyond = squared > inflation * chi2.ppf(LIKELY, 3 * head)
    scale = math.sqrt(float(np.mean(squared[beyond])) / (3 * head)) if beyond.any() else 1.0
    return replace(
        model,
        inflation=inflation,
        outliers=max(float(beyond.mean()), 1 - LIKELY),
        outlier_scale=min(max(scale, 1.0), MOST_SCALE),
    )
