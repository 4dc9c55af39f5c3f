"""Self-calibration, the fine part: what reconstructed particles say of the cameras' disagreement.

Peaks of dense images are off by what overlaps them, and few of them match safely. Reconstructed particles are many, and the spots
of their neighbours are subtracted: where the mean of the shifts that the residual images ask for is not zero, the calibration is
off there (Wieneke 2018, Meas. Sci. Technol. 29, 084002, does so with the residuals of Shake-The-Box).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.engines.dense.calibrate import Round, SelfCalibration, fitted
from pyptv.core.engines.dense.cameras import Cameras
from pyptv.core.engines.dense.particles import Reconstruction, Spots
from pyptv.core.engines.dense.reconstruct import START_SIGMA, reconstruct
from pyptv.core.engines.dense.settings import Settings
from pyptv.core.images.full_depth import Views

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Image = NDArray[np.float32]

_ROUNDS = 2
_FEWEST = 300
"""Of fewer particles the matches of peaks know more."""
_REACH = 2
"""[px] Half the window in which a shift is measured."""
_FARTHEST = 1.0
"""[px] A larger shift is none."""


def refined(
    frames: Sequence[Views], cameras: Cameras, disparity: SelfCalibration, settings: Settings | None = None
) -> SelfCalibration:
    """A self-calibration measured anew at the particles that are reconstructed with it; the same where that knows less.

    Args:
        frames: images of a sample of frames; one for each round.
        cameras: uncorrected.
        disparity: what the matches of peaks have found.
        settings: None: those of a first pass.
    """
    settings = settings or Settings.of_first_pass()
    spots = Spots.round(cameras.n_cams, START_SIGMA)
    for k in range(_ROUNDS):
        corrected = cameras.corrected(disparity.cameras)
        found = reconstruct(frames[k % len(frames)], corrected, spots, settings, fits_spots=True)
        spots = replace(found.spots, level=np.nan)
        complete = found.particles.seen.all(axis=1)
        shifts = measured_shifts(found, corrected)
        complete &= np.isfinite(shifts).all(axis=(1, 2))
        if np.count_nonzero(complete) < _FEWEST:
            return disparity
        shifts = shifts[complete]
        rms = float(np.sqrt((shifts**2).sum(axis=2).mean()))
        round_ = Round(_FARTHEST, len(shifts), rms)
        seen = found.particles.projections[complete] + shifts
        better = fitted(found.particles.positions[complete], seen, cameras, (*disparity.rounds, round_))
        if k == 0 and not better.uncertainty < disparity.uncertainty:
            return disparity
        disparity = better
    return disparity


def measured_shifts(found: Reconstruction, cameras: Cameras) -> Floats:
    """Where the residual images would have the spots of particles, minus where they are: (n, n_cams, 2) [px].

    One Gauss-Newton step of the place in each camera alone; NaN where a camera does not show the whole window.
    """
    particles, (n_cams, height, width) = found.particles, found.residual.shape
    sigma = found.spots.sigma_at(particles.projections, cameras.size) * particles.scale[:, None, None]
    out = np.full((len(particles), n_cams, 2), np.nan)
    offsets = np.arange(-_REACH, _REACH + 1)
    for c in range(n_cams):
        pixel = np.floor(np.nan_to_num(particles.projections[:, c], nan=-1.0)).astype(np.int64)
        inside = (pixel >= _REACH).all(axis=1) & (pixel < np.array([width, height]) - _REACH).all(axis=1)
        rows = np.flatnonzero(inside & particles.seen[:, c])
        column, row = pixel[rows, 0], pixel[rows, 1]
        values = found.residual[c][row[:, None, None] + offsets[:, None], column[:, None, None] + offsets]
        away = [pixel[rows, k, None] + offsets + 0.5 - particles.projections[rows, c, k, None] for k in (0, 1)]
        across, down = (np.exp(-0.5 * (d / sigma[rows, c, k, None]) ** 2) for k, d in enumerate(away))
        spot = particles.intensities[rows, c, None, None] * down[:, :, None] * across[:, None, :]
        slopes = (
            spot * (away[0] / sigma[rows, c, 0, None] ** 2)[:, None, :],
            spot * (away[1] / sigma[rows, c, 1, None] ** 2)[:, :, None],
        )
        for k, slope in enumerate(slopes):
            step = (values * slope).sum(axis=(1, 2)) / np.maximum((slope**2).sum(axis=(1, 2)), 1e-12)
            out[rows, c, k] = np.where(np.abs(step) <= _FARTHEST, step, np.nan)
    return out
