"""Trajectories that do not move: reflections on a wall, stuck pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyptv.trajectories.postprocess.model import MotionModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

_LIKELY = 0.999
"""Share of particles at rest that are recognised."""
_FAR = 10.0
"""Standard deviations of a position that a particle of the usual speed must have moved; otherwise no decision is possible."""


def stationary(model: MotionModel, position: Array, offsets: Indices) -> NDArray[np.bool_]:
    """Which of m trajectories scatter about their mean position by no more than the noise, while others move far.

    Args:
        model: noise and usual speed.
        position: (n, 3) [mm]; NaN where it is not known.
        offsets: (m + 1,) their first rows, and n.
    """
    from scipy.stats import chi2  # an extra

    if len(offsets) < 2:
        return np.zeros(0, dtype=bool)
    known = np.isfinite(position).all(axis=1)
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[known]
    count = np.bincount(owner, minlength=len(offsets) - 1)
    mean = _sums(owner, position[known], len(count)) / np.maximum(count, 1)[:, None]
    squared = _sums(owner, ((position[known] - mean[owner]) / model.noise) ** 2, len(count)).sum(axis=1)
    speed = np.sqrt(model.mean_velocity**2 + model.velocity_spread**2)
    way = (speed[:, None] * np.diff(offsets) / model.noise[:, None]).max(axis=0)
    limit = chi2.ppf(_LIKELY, np.maximum(3 * (count - 1), 1)) * model.inflation
    still: NDArray[np.bool_] = (count > 2) & (way > _FAR) & (squared <= limit)
    return still


def _sums(owner: Indices, values: Array, n: int) -> Array:
    """(n, 3) sums of the rows (k, 3) of each owner."""
    return np.column_stack([np.bincount(owner, weights=column, minlength=n) for column in values.T])
