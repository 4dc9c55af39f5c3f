"""Limits that let targets and matches pass: sizes and brightness, how alike targets must be, quality. Changed only for a gain.

Each is loosened step by step as long as the gain rises. The limits of likeness and quality are tightened as well where many
ghosts are expected; those of sizes and brightness are not, for a tighter one that gains would have been found as a threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pyptv.advise.sample import Sample, Setting
from pyptv.advise.search import WORTH

RATIOS = ("cnx", "cny", "cn", "csumg")
SIZES = ("nnmax", "nxmax", "nymax")
_MANY_GHOSTS = 0.1
"""Share of ghosts from which tighter limits are tried."""
_MOST_STEPS = 3
_LARGEST = 10_000
"""[px] No limit of a size is proposed above it."""


@dataclass(frozen=True)
class Tried:
    """A change of some limits that was tried last, and by how much the gain changed with it."""

    keys: tuple[str, ...]
    factor: float
    change: float
    """Gain with it over gain without it, minus 1."""


def best_filters(sample: Sample, start: Setting) -> tuple[Setting, tuple[Tried, ...]]:
    """The setting with the limits that gain, and what was tried last of each."""
    found, tried = start, []
    outcome = sample.outcome(start)
    many = outcome is not None and outcome.ghosts.share > _MANY_GHOSTS
    changes: list[tuple[tuple[str, ...], Callable[[Setting, float], Setting], tuple[float, ...]]] = [
        (RATIOS, _ratios, (0.5, 1.4) if many else (0.5,)),
        (("corrmin",), _quality, (0.5, 2.0) if many else (0.5,)),
    ]
    if not sample.reads_targets:
        changes += [(SIZES, _sizes, (2.0,)), (("sumg_min",), _brightness, (0.5,))]
    for keys, change, factors in changes:
        for factor in factors:
            found, last = _steps(sample, found, change, factor)
            if last is not None:
                tried.append(Tried(keys, factor, last))
    return found, tuple(tried)


def _steps(
    sample: Sample, start: Setting, change: Callable[[Setting, float], Setting], factor: float
) -> tuple[Setting, float | None]:
    """Change a setting by a factor as long as it gains; the last relative change of the gain, None: nothing to change."""
    found, last = start, None
    for _ in range(_MOST_STEPS):
        other = change(found, factor)
        if other == found:
            break
        now, then = sample.gain(found), sample.gain(other)
        last = then / now - 1.0 if now > 0 else 0.0
        if not then > max(WORTH * now, now + 1):
            break
        found = other
    return found, last


def _ratios(setting: Setting, factor: float) -> Setting:
    values = {key: min(round(getattr(setting.criteria, key) * factor, 3), 0.95) for key in RATIOS}
    return replace(setting, criteria=replace(setting.criteria, **values))


def _quality(setting: Setting, factor: float) -> Setting:
    return replace(setting, criteria=replace(setting.criteria, corrmin=round(setting.criteria.corrmin * factor, 3)))


def _sizes(setting: Setting, factor: float) -> Setting:
    limits = setting.detection
    values = {key: max(getattr(limits, key), min(round(getattr(limits, key) * factor), _LARGEST)) for key in SIZES}
    return replace(setting, detection=replace(limits, **values))


def _brightness(setting: Setting, factor: float) -> Setting:
    return replace(setting, detection=replace(setting.detection, sumg_min=round(setting.detection.sumg_min * factor)))
