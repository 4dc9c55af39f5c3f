"""Velocity and acceleration: a polynomial is fitted to a window of frames around each point (Savitzky-Golay).

A. Savitzky, M. J. E. Golay, "Smoothing and Differentiation of Data by Simplified Least Squares Procedures", Analytical
Chemistry 36 (1964) 1627-1639; the ends as in ``scipy.signal.savgol_filter(mode="interp")``: the fit of the first, or
last, window gives the values of all its points up to its middle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.core.base.errors import ProcessingError
from pyptv.trajectories.arrays import offsets_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

MIN_WINDOW, MAX_WINDOW = 3, 99
MIN_ORDER, MAX_ORDER = 2, 5
"""A line has no acceleration, and a symmetric window gives the same velocity for orders 1 and 2."""
_ROWS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Fit:
    """A polynomial of an order over a window of frames."""

    window: int
    order: int
    frame_rate: float | None = None
    """Frames per second; None: times are in frames."""

    def __post_init__(self) -> None:
        """Raise ``ValueError`` with the first value that is out of its limits."""
        if not (MIN_WINDOW <= self.window <= MAX_WINDOW) or self.window % 2 == 0:
            raise ValueError(f"window: found {self.window}, expected an odd number of frames, {MIN_WINDOW} to {MAX_WINDOW}")
        most = min(MAX_ORDER, self.window - 1)
        if not MIN_ORDER <= self.order <= most:
            raise ValueError(f"order: found {self.order}, expected {MIN_ORDER} to {most} with a window of {self.window} frames")
        if self.frame_rate is not None and not (math.isfinite(self.frame_rate) and self.frame_rate > 0):
            raise ValueError(f"frame_rate: found {self.frame_rate}, expected a number of frames per second above 0")

    @cached_property
    def weights(self) -> Array:
        """(2, window, window): weights of the positions in a window, for velocity and acceleration at each of its points."""
        coefficients = _savgol_coeffs()
        delta = 1.0 if self.frame_rate is None else 1 / self.frame_rate
        return np.array(
            [
                [coefficients(self.window, self.order, deriv, delta, point, use="dot") for point in range(self.window)]
                for deriv in (1, 2)
            ]
        )

    def derivatives(self, identity: Indices, position: Array) -> tuple[Array, Array]:
        """Velocity and acceleration, each (n, 3), NaN in trajectories shorter than the window.

        Args:
            identity: (n,) id of the trajectory, ascending.
            position: (n, 3) in consecutive frames of each trajectory [mm].
        """
        weights = self.weights
        result = np.full((2, *position.shape), np.nan)
        offsets = offsets_of(identity)
        lengths = np.diff(offsets)
        long = np.repeat(lengths >= self.window, lengths)
        starts, stops = np.repeat(offsets[:-1], lengths), np.repeat(offsets[1:], lengths)
        rows = np.flatnonzero(long)
        for low in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[low : low + _ROWS_AT_ONCE]
            begin = np.clip(part - self.window // 2, starts[part], stops[part] - self.window)
            point = part - begin
            for derivative in (0, 1):
                result[derivative, part] = sum(
                    weights[derivative, point, place, None] * position[begin + place] for place in range(self.window)
                )
        return result[0], result[1]


def _savgol_coeffs() -> Any:
    try:
        from scipy.signal import savgol_coeffs  # an extra, and slow to load
    except ImportError as error:
        raise ProcessingError('velocity and acceleration need scipy: pip install "pyptv-batch[trajectories]"') from error
    return savgol_coeffs
