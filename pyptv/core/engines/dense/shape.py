"""How large spots are, and how bright in each camera: fitted to the particles of a frame."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.engines.dense.particles import LARGEST_SIGMA, SMALLEST_SIGMA, Spots
from pyptv.core.engines.disparity import TERMS, design
from pyptv.kernels.dense.shapes import widen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.engines.dense.model import Model

    Floats = NDArray[np.float64]
    Image = NDArray[np.float32]

_LARGEST_CHANGE = 0.15
"""[px] Of sigma in a round."""
_ALIKE = 0.05
"""Sizes that scatter by less (of the logarithm) are taken for alike."""
_MOST_UNLIKE = 0.3
"""More is not believed: such spots are no particles, or several."""
_LARGEST_GAIN = 8.0
_FEWEST = 10
_FOR_ORDER: tuple[tuple[int, int], ...] = ((TERMS, 2000), (3, 300), (1, _FEWEST))
"""Terms of the polynomial of sigma over the image, and particles that a camera must see for as many."""
_WORTH = 0.02
"""[px] A polynomial that changes sigma by less over the image is not worth more terms than one."""
_REJECT = 3.0
_TO_SIGMA = 1.4826


def fit_sigma(model: Model) -> Spots:
    """Spots whose sigma is nearer to what the particles of a frame show; the same where there are few of them."""
    steps = widen(
        model.residual,
        model.near_saturated,
        model.projections,
        model.intensities,
        model.sharpness,
        model.radius,
    )
    sigma = model.spots.sigma.copy()
    for c in range(model.cameras.n_cams):
        shown = np.isfinite(steps[:, c]).all(axis=1)
        n_terms = next((terms for terms, least in _FOR_ORDER if np.count_nonzero(shown) >= least), 0)
        if n_terms:
            terms = design(model.projections[shown, c], model.cameras.size)
            for axis in (0, 1):
                change = _robust(terms, np.clip(steps[shown, c, axis], -1.0, 1.0), n_terms)
                change *= min(1.0, _LARGEST_CHANGE / max(np.abs(change).max(), 1e-9))
                sigma[c, axis] += change
                sigma[c, axis, 0] = np.clip(sigma[c, axis, 0], SMALLEST_SIGMA, LARGEST_SIGMA)
    return replace(model.spots, sigma=sigma)


def fit_scatter(model: Model) -> float:
    """Standard deviation of the logarithm of particles' sizes; 0 where they are alike.

    Half of the cameras against the other half: what both say of a particle is its size, noise and neighbours are not the same.
    """
    steps, weights = _growth(model)
    sizes = np.log(model.scale)[:, None] + np.clip(steps, -1.0, 1.0)
    complete = (weights > 0).all(axis=1)
    if model.cameras.n_cams < 2 or np.count_nonzero(complete) < _FOR_ORDER[1][1]:
        return model.spots.scatter
    half = model.cameras.n_cams // 2
    one, other = (
        np.average(sizes[complete, part], axis=1, weights=weights[complete, part]) for part in (slice(half), slice(half, None))
    )
    common = (_deviation(one + other) ** 2 - _deviation(one - other) ** 2) / 4
    scatter = min(float(np.sqrt(max(common, 0.0))), _MOST_UNLIKE)
    return scatter if scatter > _ALIKE else 0.0


def _growth(model: Model) -> tuple[Floats, Floats]:
    """The step of the logarithm of its size that each camera would give a particle, and its inverse variance, (n, n_cams).

    A camera knows it to noise / (intensity sigma sqrt(pi)); 0 where it does not see the particle.
    """
    steps = widen(model.residual, model.near_saturated, model.projections, model.intensities, model.sharpness, model.radius)
    sigma = np.sqrt(0.5 / model.sharpness.astype(np.float64))
    shown = np.isfinite(steps).all(axis=2)
    content = model.intensities / model.noise * np.sqrt(np.pi * sigma[:, :, 0] * sigma[:, :, 1])
    return np.where(shown, (steps / sigma).mean(axis=2), 0.0), np.where(shown, content**2, 0.0)


def _deviation(values: Floats) -> float:
    """The robust standard deviation."""
    return float(_TO_SIGMA * np.median(np.abs(values - np.median(values))))


def _robust(terms: Floats, values: Floats, n_terms: int) -> Floats:
    """A polynomial (TERMS,) through values that have outliers: the median, and the slopes where they are worth it."""
    solution = np.zeros(TERMS)
    solution[0] = np.median(values)
    if n_terms > 1:
        away = values - solution[0]
        near = np.abs(away) <= _REJECT * _TO_SIGMA * np.median(np.abs(away))
        fitted = np.zeros(TERMS)
        part = terms[near, :n_terms]
        fitted[:n_terms] = np.linalg.lstsq(part.T @ part, part.T @ values[near], rcond=1e-12)[0]
        if np.ptp(terms @ fitted) > _WORTH:
            # the median is what the mean of the curve is to be: means of skew distributions are not
            fitted[0] += solution[0] - np.median(terms @ fitted)
            return fitted
    return solution


def fit_gains(spots: Spots, own: Image) -> Spots:
    """The same spots with the brightness of the cameras that particles show, each of which all cameras see.

    Args:
        spots: to be changed.
        own: (n, n_cams) what each camera alone says of the intensity; NaN where it does not see the particle.
    """
    complete = own[np.isfinite(own).all(axis=1) & (own > 0).all(axis=1)]
    if len(complete) < _FEWEST:
        return spots
    shares = np.median(complete / complete.mean(axis=1, keepdims=True), axis=0)
    gains = np.clip(shares / shares.mean(), 1 / _LARGEST_GAIN, _LARGEST_GAIN)
    return replace(spots, gains=gains.astype(np.float64))
