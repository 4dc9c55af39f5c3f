"""Self-calibration: what the cameras disagree by, measured in the images themselves, and how particles look in them.

Done once before a run, from a sample of frames, so that all frames are treated alike. The calibration files are not touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.engines.dense.background import ground, noise
from pyptv.core.engines.dense.cameras import Cameras
from pyptv.core.engines.dense.model import with_margins, without_margins
from pyptv.core.engines.dense.particles import Spots
from pyptv.core.engines.dense.reconstruct import START_SIGMA, reconstruct
from pyptv.core.engines.dense.search import LINE, NEAR, search
from pyptv.core.engines.dense.settings import Settings
from pyptv.core.engines.disparity import CameraDisparity, fit
from pyptv.core.images.full_depth import Views
from pyptv.kernels.dense.pixels import subtract_ground
from pyptv.kernels.dense.spots import MARGIN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TOLERANCES = (5.0, 3.0, 2.0, 1.2, 0.8, 0.8)
"""Largest distance of a peak from the projection in each round [px]: each begins with what the one before has corrected."""
NARROW = (0.8, 0.8, 0.8)
"""The same where the calibration is about right: at high densities the few peaks that may be taken with a large tolerance, the
brightest, are several particles each, and match by chance only."""
_MORE = 1.1
"""A large correction is believed if it brings at least this multiple of the matches of a small one."""
_CHANCE = 0.01
"""Share of matches by chance that a round may have: as many of the brightest peaks are taken as that allows."""
_FEWEST_MATCHES = 100
"""A displacement of space is not fitted to fewer,"""
_ENOUGH_MATCHES = 2000
"""nor to many times as many: its 30 numbers are known well enough then."""
_DISC = 2.0
"""Radius of the disc that a spot covers, in sigmas."""


@dataclass(frozen=True)
class Round:
    """A round of the self-calibration."""

    tolerance: float
    """[px]"""
    matches: int
    """Matches that all cameras take part in."""
    rms: float
    """Of the distances of peaks from projections, before the correction of this round [px]."""


@dataclass(frozen=True)
class SelfCalibration:
    """What the self-calibration found."""

    cameras: tuple[CameraDisparity, ...]
    rounds: tuple[Round, ...]
    places: tuple[Floats, ...]
    """Of each camera (n, 2): projections by the calibration alone [px] of the matches of the last round."""
    shifts: tuple[Floats, ...]
    """Of each camera (n, 2): measured place - projection by the calibration alone [px]: before the correction. What is left after
    it is that minus ``cameras[c].evaluate(places[c])``."""

    @property
    def largest(self) -> float:
        """The largest correction in any image [px]."""
        return max(camera.largest for camera in self.cameras)

    @property
    def uncertainty(self) -> float:
        """The largest standard error of any camera [px]; infinite where one could not be fitted."""
        return max(float(np.nan_to_num(camera.uncertainty, nan=np.inf)) for camera in self.cameras)


def self_calibrate(frames: Sequence[Views], cameras: Cameras, settings: Settings | None = None) -> SelfCalibration:
    """Measure what the cameras of a calibration disagree by.

    Peaks that all cameras have are matched, with a tolerance that gets tighter; in each camera a polynomial of the place is
    fitted to the distances of the peaks from the projections of the meeting points of their rays. The same is done with a small
    tolerance from the beginning, and kept unless the other way finds more matches in the end.

    Args:
        frames: images of a sample of frames.
        cameras: uncorrected.
        settings: None: the defaults.
    """
    settings = settings or Settings()
    images = [with_margins(views.values) for views in frames]
    for image, views in zip(images, frames, strict=True):
        subtract_ground(image, ground(views.values, settings.tile), settings.tile, 1.0, MARGIN)
    thresholds = [settings.noise_factor * noise(without_margins(image)) for image in images]
    large, small = (_rounds(images, thresholds, cameras, tolerances) for tolerances in (TOLERANCES, NARROW))
    return large if large.rounds[-1].matches >= _MORE * small.rounds[-1].matches else small


def _rounds(
    images: Sequence[NDArray[np.float32]], thresholds: Sequence[Floats], cameras: Cameras, tolerances: Sequence[float]
) -> SelfCalibration:
    """Match and fit again and again, each time within another tolerance [px]."""
    corrected = cameras
    rounds: list[Round] = []
    for tolerance in tolerances:
        most = _most_peaks(cameras, tolerance)
        met = [search(image, least, corrected, tolerance, most=most) for image, least in zip(images, thresholds, strict=True)]
        positions = np.concatenate([m.positions for m in met])
        seen = np.concatenate([m.places[m.peaks, :2] for m in met])
        distances = np.concatenate([m.distances for m in met])
        rms = float(np.sqrt((distances**2).mean())) if len(distances) else np.nan
        rounds.append(Round(tolerance, len(distances), rms))
        disparity = fitted(positions, seen, cameras, tuple(rounds))
        corrected = cameras.corrected(disparity.cameras)
    return disparity


def fitted(positions: Floats, seen: Floats, cameras: Cameras, rounds: tuple[Round, ...]) -> SelfCalibration:
    """The corrections with which positions (n, 3) [mm] project to where they are seen, (n, n_cams, 2) [px].

    What a smooth displacement of the particles explains is left out. ``cameras`` are uncorrected.
    """
    place = cameras.project(positions)
    place = place + _common(positions, seen - place, place, cameras)
    shift, each = seen - place, range(cameras.n_cams)
    disparities = tuple(fit(place[:, c], shift[:, c], cameras.size) for c in each)
    return SelfCalibration(disparities, rounds, tuple(place[:, c] for c in each), tuple(shift[:, c] for c in each))


def _common(positions: Floats, shifts: Floats, places: Floats, cameras: Cameras) -> Floats:
    """The part of shifts (n, n_cams, 2) [px] that a smooth displacement of the particles explains.

    No image can tell a displacement of space from a change of all cameras. Without this, what a round has wrong by chance stays
    in the positions that the next one begins with, and the corrections drift.

    Args:
        positions: (n, 3) [mm].
        shifts: measured place - projection.
        places: these projections, (n, n_cams, 2) [px].
        cameras: uncorrected.
    """
    if len(positions) < _FEWEST_MATCHES:
        return np.zeros_like(shifts)
    scaled = (positions - positions.mean(axis=0)) / np.maximum(np.ptp(positions, axis=0), 1e-9)
    x, y, z = scaled.T
    basis = np.column_stack([np.ones_like(x), x, y, z, x * x, x * y, x * z, y * y, y * z, z * z])
    derivatives = cameras.derivatives(positions, places).astype(np.float64)
    some = slice(None, None, max(1, len(positions) // _ENOUGH_MATCHES))
    terms = (derivatives[some, :, :, None, :] * basis[some, None, None, :, None]).reshape(-1, 3 * basis.shape[1])
    values = np.nan_to_num(shifts[some].reshape(-1))
    used = np.ones(len(values), bool)
    for _ in range(3):
        part = terms[used]  # normal equations: decomposing the rows themselves takes a second
        solution = np.linalg.lstsq(part.T @ part, part.T @ values[used], rcond=1e-12)[0]
        left = np.abs(values - terms @ solution)
        used = left <= 3 * 1.4826 * max(float(np.median(left)), 0.02)
    explained: Floats = np.einsum("ncak,nk->nca", derivatives, basis @ solution.reshape(-1, 3))
    return explained


def _most_peaks(cameras: Cameras, tolerance: float) -> int:
    """How many peaks a camera may have such that few of them match by chance.

    Of n peaks, spread evenly, n band / area lie in the epipolar band of another one and n pi near^2 / area near a projection
    in each further camera: the product is the expected number of matches by chance of each peak.
    """
    width, height = cameras.size
    band = 2 * LINE * tolerance * min(width, height) / (width * height)
    near = np.pi * (NEAR * tolerance) ** 2 / (width * height)
    further = cameras.n_cams - 2
    return int((_CHANCE / (band * near**further)) ** (1 / (1 + further)))


def fit_spots(frames: Sequence[Views], cameras: Cameras, settings: Settings | None = None) -> Spots:
    """How particles look, from a sample of frames; NaN as level where there is no particle in them.

    Args:
        frames: images of a sample of frames.
        cameras: with their corrections.
        settings: None: those of a first pass.
    """
    settings = settings or Settings.of_first_pass()
    spots = Spots.round(cameras.n_cams, START_SIGMA)
    sigmas, gains, levels, scatters, counts = [], [], [], [], []
    for views in frames:
        found = reconstruct(views, cameras, spots, settings, fits_spots=True)
        spots = replace(found.spots, level=np.nan)  # the next frame begins with the last one's
        if len(found.particles):
            sigmas.append(found.spots.sigma)
            gains.append(found.spots.gains)
            levels.append(found.spots.level)
            scatters.append(found.spots.scatter)
            counts.append(len(found.particles))
    if not sigmas:
        return spots
    half = len(sigmas) // 2  # the first frames may not have come to the end of it
    sigma: Floats = np.median(sigmas[half:], axis=0)
    disc = np.pi * _DISC**2 * float(sigma[:, :, 0].prod(axis=1).mean())
    return Spots(
        sigma,
        np.median(gains[half:], axis=0),
        float(np.median(levels)),
        float(np.median(scatters[half:])),
        float(np.median(counts)) * disc / (cameras.size[0] * cameras.size[1]),
    )
