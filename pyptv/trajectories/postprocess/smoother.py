"""The best estimate of each particle's position in every frame of its trajectory, and its error.

A Kalman filter forward in time, then the smoother of H. E. Rauch, F. Tung, C. T. Striebel, "Maximum Likelihood Estimates of
Linear Dynamic Systems", AIAA Journal 3 (1965) 1445-1450. Many trajectories are processed together, one frame of all of them at
a time. Trajectories longer than :data:`_SPAN` are processed in overlapping parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pyptv.trajectories.postprocess.model import STATES, TRANSITION, MotionModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

_SPAN, _OVERLAP = 256, 48
"""Frames of a part whose estimate is used, and further frames on both sides that are included in it."""


@dataclass(frozen=True)
class Estimate:
    """Position, velocity and acceleration, (3 states, n, 3 axes) [mm, mm/frame, mm/frame^2]."""

    value: Array
    error: Array
    """Standard deviations."""


def smooth(model: MotionModel, position: Array, offsets: Indices) -> Estimate:
    """Estimate some trajectories.

    Args:
        model: of the motion.
        position: (n, 3) in consecutive frames of each trajectory [mm]; NaN if it was not measured.
        offsets: (m + 1,) first rows of the trajectories, and n.

    Returns:
        NaN before the first and after the last known position.
    """
    value, error = np.full((STATES, *position.shape), np.nan), np.full((STATES, *position.shape), np.nan)
    parts = _parts(np.asarray(np.isfinite(position).all(axis=1)), offsets)
    filtered = _filter(model, position, parts)
    later: tuple[Array, Array] | None = None
    for step in range(len(filtered) - 1, -1, -1):
        mean, covariance = filtered[step]
        if later is not None:
            _look_back(model, mean, covariance, *later)
        later = mean, covariance
        rows = parts.begin[: len(mean)] + step
        kept = np.flatnonzero((rows >= parts.keep_from[: len(mean)]) & (rows < parts.keep_to[: len(mean)]))
        value[:, rows[kept]] = np.moveaxis(mean[kept], 2, 0)
        spread = np.diagonal(covariance[kept], axis1=-2, axis2=-1)
        error[:, rows[kept]] = np.sqrt(np.maximum(np.moveaxis(spread, 2, 0), 0))
    return Estimate(value, error)


@dataclass(frozen=True)
class _Parts:
    """n parts that are estimated together, the longest first."""

    begin: Indices
    end: Indices
    keep_from: Indices
    keep_to: Indices
    """The rows whose estimate is used: others belong to the part before or after."""


def _parts(known: NDArray[np.bool_], offsets: Indices) -> _Parts:
    rows = np.flatnonzero(known)
    at = np.searchsorted(rows, offsets)
    there = np.flatnonzero(np.diff(at))
    first, stop = rows[at[there]], rows[at[there + 1] - 1] + 1
    counts = -(-(stop - first) // _SPAN)
    owner = np.repeat(np.arange(len(first)), counts)
    number = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    keep_from = first[owner] + number * _SPAN
    keep_to = np.minimum(keep_from + _SPAN, stop[owner])
    begin = rows[np.searchsorted(rows, np.maximum(keep_from - _OVERLAP, first[owner]))]  # a filter begins with a measurement
    begin = np.where(begin <= keep_from, begin, rows[np.searchsorted(rows, keep_from, side="right") - 1])
    end = np.minimum(keep_to + _OVERLAP, stop[owner])
    order = np.argsort(begin - end, kind="stable")
    return _Parts(begin[order], end[order], keep_from[order], keep_to[order])


def _filter(model: MotionModel, position: Array, parts: _Parts) -> list[tuple[Array, Array]]:
    """Mean (k, 3 axes, 3) and covariance (k, 3, 3, 3) after each step, of the k parts that have it."""
    lengths = parts.end - parts.begin
    start_mean, start_covariance = model.start
    mean = np.repeat(start_mean[None], len(lengths), axis=0)
    mean[:, :, 0] = position[parts.begin]
    covariance = np.repeat(start_covariance[None], len(lengths), axis=0)
    filtered = [(mean, covariance)] if len(lengths) else []
    for step in range(1, int(lengths.max(initial=0))):
        alive = int(np.count_nonzero(lengths > step))
        mean, covariance = mean[:alive] @ TRANSITION.T, model.predicted(covariance[:alive])
        measured = position[parts.begin[:alive] + step]
        seen = np.flatnonzero(np.isfinite(measured).all(axis=1))
        _, gain, updated = model.updated(covariance[seen])
        mean[seen] += gain * (measured[seen] - mean[seen, :, 0])[:, :, None]
        covariance[seen] = updated
        filtered.append((mean, covariance))
    return filtered


def _look_back(model: MotionModel, mean: Array, covariance: Array, later_mean: Array, later_covariance: Array) -> None:
    """Update an estimate, in place, with the smoothed one of the next frame; the last parts have none."""
    n = len(later_mean)
    predicted = model.predicted(covariance[:n])
    gain = np.swapaxes(np.linalg.solve(predicted, TRANSITION @ covariance[:n]), -1, -2)
    mean[:n] += (gain @ (later_mean - mean[:n] @ TRANSITION.T)[..., None])[..., 0]
    covariance[:n] += gain @ (later_covariance - predicted) @ np.swapaxes(gain, -1, -2)
