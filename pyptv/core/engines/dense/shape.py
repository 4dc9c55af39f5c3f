"""How large spots are: fitted to the particles of a frame."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.engines.dense.particles import LARGEST_SIGMA, SMALLEST_SIGMA, Spots
from pyptv.kernels.dense.shapes import widen

if TYPE_CHECKING:
    from pyptv.core.engines.dense.model import Model

_LARGEST_CHANGE = 0.15
"""[px] In a round."""
_FEWEST = 10


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
        shown = steps[np.isfinite(steps[:, c]).all(axis=1), c]
        if len(shown) >= _FEWEST:
            change = np.clip(np.median(shown, axis=0), -_LARGEST_CHANGE, _LARGEST_CHANGE)
            sigma[c, :, 0] = np.clip(sigma[c, :, 0] + change, SMALLEST_SIGMA, LARGEST_SIGMA)
    return replace(model.spots, sigma=sigma)
