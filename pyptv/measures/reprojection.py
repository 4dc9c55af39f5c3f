"""Targets against the projections of their particles: what is left is noise, a wrong match, or the calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.engines.disparity import CameraDisparity, fit
from pyptv.core.engines.optv.backend import project
from pyptv.core.experiment.calibration import Calibration
from pyptv.core.experiment.parameters.schema import Parameters
from pyptv.measures.frames import MatchedFrame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

_SCATTER = 1.1774
"""Median of the length of a 2-D normal vector over the standard deviation of an axis."""


@dataclass(frozen=True, eq=False)
class Residuals:
    """One camera: what was measured minus what the calibration projects."""

    projected: Floats
    """(n, 2) where the particles are projected to [px]."""
    off: Floats
    """(n, 2) target - projection [px]."""
    frame: Integers
    """(n,) number of the frame."""

    @property
    def rms(self) -> float:
        """Root mean square length [px]; NaN without any."""
        return float(np.sqrt((self.off**2).sum(axis=1).mean())) if len(self.off) else np.nan

    @property
    def scatter(self) -> float:
        """Robust standard deviation of an axis around the median [px]; NaN without any."""
        if not len(self.off):
            return np.nan
        return float(np.median(np.linalg.norm(self.off - np.median(self.off, axis=0), axis=1)) / _SCATTER)

    def over_time(self) -> tuple[Integers, Floats, Floats]:
        """Frames (k,), their mean shift (k, 2) and rms length (k,) [px]."""
        numbers, which = np.unique(self.frame, return_inverse=True)
        count = np.bincount(which)
        mean = np.column_stack([np.bincount(which, self.off[:, axis]) / count for axis in (0, 1)])
        return numbers, mean, np.sqrt(np.bincount(which, (self.off**2).sum(axis=1)) / count)


@dataclass(frozen=True, eq=False)
class DisparityMap:
    """The mean shift in cells of an image."""

    x: Floats
    """(columns + 1,) edges of the cells [px]."""
    y: Floats
    """(rows + 1,) edges of the cells [px]."""
    shift: Floats
    """(rows, columns, 2) median of target - projection [px]; NaN in cells with too few."""
    count: Integers
    """(rows, columns) how many there are."""


def residuals(
    frames: Sequence[MatchedFrame], parameters: Parameters, calibrations: Sequence[Calibration], views: int | None = None
) -> tuple[Residuals, ...]:
    """What is left over of safe matches, per camera.

    Args:
        frames: matched frames.
        parameters: sensor and layers.
        calibrations: one per camera.
        views: only particles that so many cameras see; None: all cameras (a pair cannot disagree but across its plane).
    """
    n_cams = len(calibrations)
    parts: list[tuple[Floats, Floats, Integers]] = []
    for frame in frames:
        rows = np.flatnonzero((frame.views == (views or n_cams)) & np.isfinite(frame.position).all(axis=1))
        projected = project(frame.position[rows], parameters, calibrations)
        parts.append((projected, frame.pixels(rows) - projected, np.full(len(rows), frame.number)))
    result = []
    for camera in range(n_cams):
        projected = np.concatenate([part[0][camera] for part in parts]) if parts else np.empty((0, 2))
        off = np.concatenate([part[1][camera] for part in parts]) if parts else np.empty((0, 2))
        number = np.concatenate([part[2] for part in parts]) if parts else np.empty(0, np.int64)
        good = np.isfinite(off).all(axis=1)
        result.append(Residuals(projected[good], off[good], number[good]))
    return tuple(result)


def disparity_map(residuals: Residuals, size: tuple[int, int], cells: tuple[int, int] = (8, 6), least: int = 5) -> DisparityMap:
    """The median shift in (columns, rows) cells of an image of (width, height) px; cells with fewer than ``least`` are NaN."""
    x, y = np.linspace(0, size[0], cells[0] + 1), np.linspace(0, size[1], cells[1] + 1)
    column = np.clip(np.digitize(residuals.projected[:, 0], x) - 1, 0, cells[0] - 1)
    row = np.clip(np.digitize(residuals.projected[:, 1], y) - 1, 0, cells[1] - 1)
    place = row * cells[0] + column
    shift = np.full((cells[1] * cells[0], 2), np.nan)
    count = np.bincount(place, minlength=len(shift))
    for cell in np.flatnonzero(count >= least):
        shift[cell] = np.median(residuals.off[place == cell], axis=0)
    return DisparityMap(x, y, shift.reshape(cells[1], cells[0], 2), count.reshape(cells[1], cells[0]))


def smooth_part(residuals: Sequence[Residuals], size: tuple[int, int]) -> tuple[CameraDisparity, ...]:
    """The correction of each camera: a polynomial of second order over the image, fitted robustly."""
    return tuple(fit(camera.projected, camera.off, size) for camera in residuals)
