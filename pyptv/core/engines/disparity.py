"""The disparity of the cameras of a calibration: a smooth correction for each image, fitted to measurements.

A particle seen by several cameras has a position; its projections differ from the detected spots. Where the mean of
this difference, the disparity, is not zero, the calibration is wrong. It is described by a polynomial of second order in
each camera and axis. This is volume self-calibration in the sense of Wieneke (2008, Exp. Fluids 45, 549-556), with one
map per image instead of one for each part of the volume.

Positions and shifts are in px in optv's convention: x to the right, y down, the middle of the first pixel at (0.5, 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TERMS = 6
"""1, a, b, a^2, a b, b^2, where a = x / width - 1/2 and b = y / height - 1/2."""

_POINTS_PER_TERM = 8
_TERMS_BY_ORDER = (1, 3, TERMS)
_ROUNDS = 5
_REJECT = 3.0
"""Shifts that deviate from the fit by more than this many robust standard deviations are left out."""
_SMALLEST = 0.03
"""[px] Minimum assumed scatter."""
_RAYLEIGH = 1.1774
"""Median of the length of a 2-D normal vector over the standard deviation of an axis."""


@dataclass(frozen=True)
class CameraDisparity:
    """The correction of one camera: a particle is seen at ``projection + evaluate(projection)``."""

    size: tuple[int, int]
    """Width and height of the image [px]."""
    coefficients: Floats
    """(2, TERMS) [px]: coefficients of the shift in x and in y; all 0 if nothing could be fitted."""
    box: tuple[float, float, float, float]
    """Minimum x and y, maximum x and y [px] of the measurements: beyond, the correction has its value at the edge."""
    n_points: int
    """Number of given shifts."""
    n_used: int
    """Number of shifts used by the fit."""
    rms_before: float
    """Root mean square length of the shifts used [px]; NaN if there were too few."""
    rms_after: float
    """The same after the correction."""
    uncertainty: float
    """Maximum standard error per axis of the correction at the points used [px]; NaN likewise."""

    def evaluate(self, places: Floats) -> Floats:
        """The shift (n, 2) [px] at projections (n, 2) [px] of the calibration."""
        low, high = np.array(self.box[:2]), np.array(self.box[2:])
        return np.asarray(design(np.clip(places, low, high), self.size) @ self.coefficients.T)

    @property
    def largest(self) -> float:
        """The maximum shift in the box, on a grid of 17 x 17 positions [px]."""
        x, y = np.linspace(self.box[0], self.box[2], 17), np.linspace(self.box[1], self.box[3], 17)
        grid = np.column_stack([axis.ravel() for axis in np.meshgrid(x, y)])
        return float(np.linalg.norm(self.evaluate(grid), axis=1).max())


def none(size: tuple[int, int], n_points: int = 0) -> CameraDisparity:
    """No correction."""
    box = (0.0, 0.0, float(size[0]), float(size[1]))
    return CameraDisparity(size, np.zeros((2, TERMS)), box, n_points, 0, np.nan, np.nan, np.nan)


def design(places: Floats, size: tuple[int, int]) -> Floats:
    """The terms of the polynomial (n, TERMS) at positions (n, 2) [px] of an image of (width, height) px."""
    a, b = places[:, 0] / size[0] - 0.5, places[:, 1] / size[1] - 0.5
    return np.column_stack([np.ones_like(a), a, b, a * a, a * b, b * b])


def fit(places: Floats, shifts: Floats, size: tuple[int, int]) -> CameraDisparity:
    """Fit the correction of a camera.

    Least squares, repeated without shifts farther than three robust standard deviations from the last fit; the first of
    these is the median. Few points give a polynomial of lower order: eight points per term (1, 3 or 6 terms); fewer
    than eight points give none.

    Args:
        places: (n, 2) projections by the uncorrected calibration [px].
        shifts: (n, 2) measured position - projection [px]; rows that are not finite are left out.
        size: width and height of the image [px].
    """
    finite = np.isfinite(places).all(axis=1) & np.isfinite(shifts).all(axis=1)
    places, shifts = places[finite], shifts[finite]
    if len(places) < _POINTS_PER_TERM:
        return none(size, len(places))
    terms = design(places, size)
    residual = shifts - np.median(shifts, axis=0)
    solution = np.zeros((TERMS, 2))
    n_terms = 1
    used = _near(residual)
    for _ in range(_ROUNDS):
        n_terms = max(n for n in _TERMS_BY_ORDER if n == 1 or n * _POINTS_PER_TERM <= np.count_nonzero(used))
        solution[:] = 0.0
        solution[:n_terms] = np.linalg.lstsq(terms[used, :n_terms], shifts[used], rcond=1e-8)[0]
        residual = shifts - terms @ solution
        kept = _near(residual)
        if (kept == used).all():
            break
        used = kept
    low, high = places[used].min(axis=0), places[used].max(axis=0)
    return CameraDisparity(
        size,
        np.ascontiguousarray(solution.T),
        (float(low[0]), float(low[1]), float(high[0]), float(high[1])),
        len(places),
        int(np.count_nonzero(used)),
        _rms(shifts[used]),
        _rms(residual[used]),
        _standard_error(terms[used, :n_terms], residual[used]),
    )


def _near(residual: Floats) -> NDArray[np.bool_]:
    """Whether residuals (n, 2) are not outliers."""
    length = np.linalg.norm(residual, axis=1)
    scatter = max(float(np.median(length)) / _RAYLEIGH, _SMALLEST)
    near: NDArray[np.bool_] = length <= _REJECT * scatter
    return near


def _rms(vectors: Floats) -> float:
    return float(np.sqrt((vectors**2).sum(axis=1).mean()))


def _standard_error(terms: Floats, residual: Floats) -> float:
    """Maximum standard error of a fit at its own points, by the usual formula: s^2 x (M^T M)^-1 x^T."""
    freedom = max(len(terms) - terms.shape[1], 1)
    variance = float((residual**2).sum(axis=0).max()) / freedom
    leverage = np.einsum("ij,jk,ik->i", terms, np.linalg.pinv(terms.T @ terms), terms)
    return float(np.sqrt(variance * leverage.max()))
