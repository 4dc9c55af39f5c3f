"""Which setting finds the most particles above chance: one parameter after the other, as long as it gains.

Settings are compared by their gain: particles found, minus twice those that are expected to be accidents or halves of others.
No truth is needed for that, and the present values are only one start among others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pyptv.advise.sample import Sample, Setting, threshold_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WORTH = 1.003
"""A step must raise the gain by that factor."""
ALMOST = 0.996
"""Share of the highest gain that a band must reach: the widest such band is taken, for it has more quadruplets."""
THRESHOLDS = tuple(sorted({round(3 * 1.3**step) for step in range(17)}))
"""Grey values 3 to 200 at which targets are counted."""
_BANDS = (0.3, 0.45, 0.65, 0.95, 1.4, 2.0, 3.0, 4.5, 6.5, 10.0, 15.0)
"""Widths of the epipolar band [px]."""
_DISCOS = (2, 4, 7, 12, 20, 35, 60, 100)
_SMALLEST_SPOT = 3
"""[px] of targets that are counted for the plateau: single bright pixels are noise."""
_FALLS = 2


def plateau(counts: Sequence[Sequence[float]]) -> tuple[int, float]:
    """Where the number of targets depends least on the threshold, from below.

    Args:
        counts: of one camera, (thresholds, frames), for :data:`THRESHOLDS`.

    Returns:
        The place in :data:`THRESHOLDS` of the first minimum of the decline, smoothed over three, and the decline there:
        -d ln(count) / d ln(threshold).
    """
    number = np.maximum(np.mean(np.asarray(counts, np.float64), axis=1), 0.5)
    decline = -np.diff(np.log(number)) / np.diff(np.log(THRESHOLDS))
    smooth = np.convolve(np.pad(decline, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    for place in range(1, len(smooth) - 1):
        if smooth[place] <= smooth[place + 1] and smooth[place] < max(smooth[: place + 1].max() / 2, 1.0):
            return place, float(smooth[place])
    return int(np.argmin(smooth)), float(smooth.min())


def count_targets(sample: Sample) -> NDArray[np.float64]:
    """Targets of at least three pixels over the threshold: (cameras, thresholds, frames)."""
    n_cams = sample.bench.experiment.num_cams
    counts = np.zeros((n_cams, len(THRESHOLDS), len(sample.numbers)))
    for index, frame in enumerate(sample.numbers):
        for camera, image in enumerate(sample.images(frame)):
            for place, threshold in enumerate(THRESHOLDS):
                counts[camera, place, index] = _spots(image > threshold)
    return counts


def _spots(bright: NDArray[np.bool_]) -> int:
    """Connected bright areas of at least three pixels."""
    from scipy.ndimage import label  # an extra

    names, n = label(bright)
    return int(np.count_nonzero(np.bincount(names.ravel(), minlength=n + 1)[1:] >= _SMALLEST_SPOT))


def best_setting(sample: Sample, start: Setting) -> Setting:
    """The setting with the highest gain that is found from a start, with its calibrations."""
    found = best_band(sample, start)
    if not sample.reads_targets:
        for _ in range(2):
            before = sample.gain(found)
            found = best_detection(sample, found)
            found = best_band(sample, found, near=True)
            if not sample.gain(found) > WORTH * before:
                break
    return found


def best_band(sample: Sample, start: Setting, *, near: bool = False) -> Setting:
    """The width of the epipolar band with the highest gain; ``near``: only around that of the start."""
    pixel = sample.bench.experiment.parameters.ptv.pix_x
    if near:
        return climb(sample, start, lambda setting, factor: setting.with_eps0(setting.criteria.eps0 * factor), (0.75, 1.33))
    gains: dict[Setting, float] = {}
    falls = 0
    for band in _BANDS:
        setting = start.with_eps0(band * pixel)
        falls = falls + 1 if gains and sample.gain(setting) <= max(gains.values()) else 0
        gains[setting] = sample.gain(setting)
        if falls > _FALLS:  # wider ones only take longer
            break
    enough = max(gains.values()) - (1 - ALMOST) * abs(max(gains.values()))
    return [setting for setting, gain in gains.items() if gain >= enough][-1]


def best_detection(sample: Sample, start: Setting) -> Setting:
    """Thresholds, discontinuity and the lower limits of size with the highest gain."""
    found = climb(sample, start, _scaled, (1.35, 0.75))
    for camera in range(sample.bench.experiment.num_cams):
        found = climb(sample, found, lambda setting, factor, camera=camera: _scaled(setting, factor, camera), (1.35, 0.75))
    found = climb(sample, found, _next_disco, (1, -1))
    return climb(sample, found, _next_smallest, (-1, 1))


def climb(sample: Sample, start: Setting, change: Callable[..., Setting], ways: Sequence[float], worth: float = WORTH) -> Setting:
    """Go on changing a setting the same way as long as its gain rises; then the other way, if the first was none."""
    best, gain = start, sample.gain(start)
    for way in ways:
        moved = False
        while True:
            setting = change(best, way)
            if setting == best or not sample.gain(setting) > max(worth * gain, gain + 1):
                break
            best, gain, moved = setting, sample.gain(setting), True
        if moved:
            break
    return best


def _scaled(setting: Setting, factor: float, camera: int | None = None) -> Setting:
    """Thresholds times a factor, at least one more or less: all of them, or a camera's (0-based)."""

    def scaled(value: int) -> int:
        """A threshold times the factor, within 1 to 254."""
        step = max(abs(round(value * factor) - value), 1)
        return int(np.clip(value + (step if factor > 1 else -step), 1, 254))

    limits = setting.detection
    n = len(limits.gvthres)
    values = tuple(
        scaled(threshold_of(limits, which)) if camera in {None, which} else limits.gvthres[which] for which in range(n)
    )
    return replace(setting, detection=replace(limits, gvthres=values))


def _next_disco(setting: Setting, step: float) -> Setting:
    place = int(np.argmin([abs(np.log(disco / max(setting.detection.disco, 1))) for disco in _DISCOS])) + int(step)
    disco = _DISCOS[int(np.clip(place, 0, len(_DISCOS) - 1))]
    return replace(setting, detection=replace(setting.detection, disco=disco))


def _next_smallest(setting: Setting, step: float) -> Setting:
    limits = setting.detection
    smallest = max(1, limits.nnmin + int(step))
    side = 1 if smallest < 3 else 2
    return replace(
        setting, detection=replace(limits, nnmin=smallest, nxmin=min(limits.nxmin, side), nymin=min(limits.nymin, side))
    )
