"""Targets against the projections of their particles: what is left is noise, a wrong match, or the calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.engines.disparity import fit
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
_BOUND, _FEWEST = 4.0, 60
"""Residuals above this number of medians are wrong matches; with fewer residuals the smooth part is not known."""


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
        views: only particles seen by this number of cameras; None: by all (a pair can only disagree across its plane).
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


def disparity_map(residuals: Residuals, size: tuple[int, int], cells: tuple[int, int] = (8, 6), minimum: int = 5) -> DisparityMap:
    """The median shift in (columns, rows) cells of an image of (width, height) px; cells with fewer than ``minimum`` are NaN."""
    x, y = np.linspace(0, size[0], cells[0] + 1), np.linspace(0, size[1], cells[1] + 1)
    column = np.clip(np.digitize(residuals.projected[:, 0], x) - 1, 0, cells[0] - 1)
    row = np.clip(np.digitize(residuals.projected[:, 1], y) - 1, 0, cells[1] - 1)
    place = row * cells[0] + column
    shift = np.full((cells[1] * cells[0], 2), np.nan)
    count = np.bincount(place, minlength=len(shift))
    for cell in np.flatnonzero(count >= minimum):
        shift[cell] = np.median(residuals.off[place == cell], axis=0)
    return DisparityMap(x, y, shift.reshape(cells[1], cells[0], 2), count.reshape(cells[1], cells[0]))


@dataclass(frozen=True, eq=False)
class Disparity:
    """Summary of a camera's residuals."""

    shift: tuple[float, float]
    """Median target - projection in x, y [px]; NaN without any."""
    smooth: float
    """Share of the residuals' sum of squares that a smooth correction over the image removes; NaN with too few."""
    drift: float
    """How far the mean shift of the first frame and of the last one are apart [px]; NaN with one frame."""
    drift_error: float
    """Standard error of that [px]."""
    worst: tuple[float, float, float, float]
    """The cell of the image with the largest shift: its centre x, y [px], the shift there in x, y [px]; NaN without any."""


def disparity(residuals: Residuals, size: tuple[int, int], cells: tuple[int, int] = (4, 3)) -> Disparity:
    """Summarise the residuals of a camera; ``size`` of its image, (columns, rows) of cells to look at."""
    nothing = float("nan")
    off = residuals.off
    if not len(off):
        return Disparity((nothing, nothing), nothing, nothing, nothing, (nothing,) * 4)
    x, y = np.median(off, axis=0).tolist()
    bounded = np.linalg.norm(off, axis=1) <= _BOUND * max(float(np.median(np.linalg.norm(off, axis=1))), 1e-9)
    left = off - fit(residuals.projected, off, size).evaluate(residuals.projected)
    smooth = 1.0 - float((left[bounded] ** 2).sum() / max(float((off[bounded] ** 2).sum()), 1e-12))
    numbers, mean, rms = residuals.over_time()
    drift = float(np.linalg.norm(mean[-1] - mean[0])) if len(numbers) > 1 else nothing
    counts = [np.count_nonzero(residuals.frame == number) for number in (numbers[0], numbers[-1])]
    error = float(np.sqrt(sum(value**2 / max(n, 1) for value, n in zip((rms[0], rms[-1]), counts, strict=True))))
    return Disparity((x, y), smooth if len(off) >= _FEWEST else nothing, drift, error, _worst(residuals, size, cells))


def _worst(residuals: Residuals, size: tuple[int, int], cells: tuple[int, int]) -> tuple[float, float, float, float]:
    found = disparity_map(residuals, size, cells)
    length = np.linalg.norm(found.shift, axis=2)
    if not np.isfinite(length).any():
        return (float("nan"),) * 4
    row, column = np.unravel_index(int(np.nanargmax(length)), length.shape)
    x, y = found.shift[row, column].tolist()
    return float(found.x[column : column + 2].mean()), float(found.y[row : row + 2].mean()), x, y
