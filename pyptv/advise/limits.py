"""Limits of the tracker, from motion above the chance level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.experiment.parameters.schema import TrackingParameters
from pyptv.measures.bench import Workbench
from pyptv.measures.frames import MatchedFrame
from pyptv.measures.linking import LinkChance, both_ways, link_chance
from pyptv.measures.motion import Motion

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ENOUGH = 60
"""Chains that limits are proposed from."""
WORTH = 1.003
"""A change must raise the score by that factor,"""
_KEEPS = 0.997
"""and keep that share of the links that are the same when the frames are tracked backward."""
_ENDS = (0.3, 99.7)
"""Percentiles of the displacements that count as their ends."""
_MARGIN = 0.15
_NOISES = 4.0
_MOST_FRAMES = 10
"""Of a run that limits are compared on."""


@dataclass(frozen=True)
class Tracked:
    """Limits that were compared, and what the tracker does with them."""

    present: LinkChance
    proposed: LinkChance
    limits: TrackingParameters


def from_motion(motion: Motion, present: TrackingParameters) -> TrackingParameters:
    """Limits that include the displacements and accelerations that were measured.

    The tracker searches around its prediction: each interval includes the accelerations on both sides of 0, too.
    """
    acceleration = float(np.percentile(motion.acceleration, 99.7))
    dacc = 1.25 * acceleration
    angle = float(np.clip(1.25 * np.nanpercentile(motion.angle, 99.5), 60, 200)) if motion.chains else present.angle
    values: dict[str, float] = {"dacc": rounded(dacc), "angle": float(min(200, 10 * np.ceil(angle / 10)))}
    for axis, name in enumerate("xyz"):
        low, high = np.percentile(motion.displacement[:, axis], _ENDS)
        margin = _MARGIN * max(abs(low), abs(high)) + _NOISES * np.nan_to_num(motion.noise[axis])
        values[f"dv{name}min"] = rounded(min(low - margin, -0.8 * acceleration))
        values[f"dv{name}max"] = rounded(max(high + margin, 0.8 * acceleration))
    return replace(present, **values)  # type: ignore[arg-type]


def best_limits(bench: Workbench, runs: Sequence[Sequence[MatchedFrame]], motion: Motion, present: TrackingParameters) -> Tracked:
    """The limits from the motion, or wider or narrower ones, with the most links above chance; else the present ones."""
    some = [run[:_MOST_FRAMES] for run in sorted(runs, key=len, reverse=True)[:2]]
    now = link_chance(bench.with_track(present), some)
    if motion.chains < ENOUGH:
        return Tracked(now, now, present)
    limits = from_motion(motion, present)
    best, agreed = link_chance(bench.with_track(limits), some), both_ways(bench.with_track(limits), some).agree
    for change in _CHANGES:
        other = bench.with_track(change(limits))
        found = link_chance(other, some)
        if score(found) <= WORTH * score(best):
            continue
        agree = both_ways(other, some).agree
        if agree > _KEEPS * agreed:  # more links that are not found backward are no gain: they are ambiguous
            limits, best, agreed = change(limits), found, agree
    if score(best) < score(now):
        return Tracked(now, now, present)
    return Tracked(now, best, limits)


def score(links: LinkChance) -> float:
    """True links minus wrong ones."""
    return links.links - 2.0 * links.expected_false


def rounded(value: float) -> float:
    """Two digits that count, away from 0."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (np.floor(np.log10(abs(value))) - 1)
    return float(np.sign(value) * round(float(np.ceil(abs(value) / unit - 1e-9) * unit), 10))


def _wider_acceleration(limits: TrackingParameters) -> TrackingParameters:
    return replace(limits, dacc=rounded(1.6 * limits.dacc), angle=min(200.0, limits.angle * 1.3))


def _narrower_acceleration(limits: TrackingParameters) -> TrackingParameters:
    return replace(limits, dacc=rounded(0.6 * limits.dacc))


def _wider_box(limits: TrackingParameters, factor: float = 1.4) -> TrackingParameters:
    names = [f"dv{axis}{end}" for axis in "xyz" for end in ("min", "max")]
    return replace(limits, **{name: rounded(factor * getattr(limits, name)) for name in names})  # type: ignore[arg-type]


def _narrower_box(limits: TrackingParameters) -> TrackingParameters:
    return _wider_box(limits, 0.75)


_CHANGES = (_wider_acceleration, _wider_acceleration, _wider_box, _wider_box, _narrower_acceleration, _narrower_box)
