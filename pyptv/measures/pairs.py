"""How many particles that two cameras see are accidents, by how far their two rays miss each other.

The target in one image lies beside the epipolar line of the target in the other. Targets of one particle do so by noise and by
what the calibration is off: as much as the targets of particles that all cameras see. Accidents lie anywhere within the band, on
average at half its width. So the mean distance of all pairs says what share of them are accidents (a mixture of two known
distributions, solved by its first moment). With a narrow band, or a calibration that is off, the two hardly differ: the standard
error says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.engines.optv.backend import project
from pyptv.measures.frames import MatchedFrame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.experiment.folder import Experiment

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

_STEP = 0.1
"""[mm] To either side, for derivatives of the projection."""
_MOST_SAFE = 300
"""Particles seen by all cameras that are looked at, in each frame."""


def accidental_pairs(experiment: Experiment, frames: Sequence[MatchedFrame]) -> tuple[float, float]:
    """How many of the pairs are expected to be accidents, and the standard error; infinite where nothing tells.

    Args:
        experiment: whose calibrations and ``eps0`` the frames were matched with.
        frames: matched frames.
    """
    parameters = experiment.parameters
    band = parameters.criteria.eps0 / parameters.ptv.pix_x
    beside, excess, room = [], 0.0, 0.0
    for cameras in combinations(range(experiment.num_cams), 2):
        pairs = np.concatenate([_beside(experiment, frame, cameras, _pairs_of(frame, cameras)) for frame in frames])
        safe = np.concatenate([_beside(experiment, frame, cameras, _safe(frame)) for frame in frames])
        if len(pairs) and len(safe):
            usual = float(np.minimum(safe, band).mean())
            excess += float((pairs - usual).sum())
            room += len(pairs) * (band / 2 - usual)
            beside.append(pairs - usual)
    if room <= 0:
        return 0.0, np.inf
    off = np.concatenate(beside)
    share = float(np.clip(excess / room, 0.0, 1.0))
    error = np.hypot(float(np.std(off)) * np.sqrt(len(off)), excess - share * room) / room  # what no share explains is error, too
    return share * len(off), max(float(error) * len(off), 1.0)


def _pairs_of(frame: MatchedFrame, cameras: tuple[int, int]) -> Integers:
    seen = (frame.target[:, cameras] >= 0).all(axis=1)
    return np.flatnonzero((frame.views == 2) & seen & np.isfinite(frame.position).all(axis=1))


def _safe(frame: MatchedFrame) -> Integers:
    rows = np.flatnonzero((frame.views == frame.n_cams) & np.isfinite(frame.position).all(axis=1) & (frame.n_cams > 2))
    return rows[:: max(1, len(rows) // _MOST_SAFE)]


def _beside(experiment: Experiment, frame: MatchedFrame, cameras: tuple[int, int], rows: Integers) -> Floats:
    """(n,) how far the targets of particles in two cameras lie from each other's epipolar lines [px].

    Both targets have four coordinates, a position three: one combination of the four does not change where the position does. In
    it the error of the position is nothing, to first order.
    """
    if not len(rows):
        return np.empty(0)
    calibrations = [experiment.calibrations[camera] for camera in cameras]
    position = frame.position[rows]
    off = frame.pixels(rows)[list(cameras)] - project(position, experiment.parameters, calibrations)
    slopes = []
    for step in _STEP * np.eye(3):
        ahead, behind = (project(position + way * step, experiment.parameters, calibrations) for way in (1, -1))
        slopes.append((ahead - behind).transpose(1, 0, 2).reshape(len(rows), 4))
    held = np.linalg.svd(np.stack(slopes, axis=2))[0][:, :, 3]  # (n, 4) what no displacement changes
    by_pixel = np.minimum(np.linalg.norm(held[:, :2], axis=1), np.linalg.norm(held[:, 2:], axis=1))
    distance: Floats = np.abs(np.einsum("ni,ni->n", held, off.transpose(1, 0, 2).reshape(len(rows), 4))) / by_pixel
    return distance[np.isfinite(distance)]
