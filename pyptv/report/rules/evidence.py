"""The numbers that the verdict relies on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from pyptv.report.motion import Motion
from pyptv.report.record import Record
from pyptv.report.sample import Sample
from pyptv.report.words import number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class Level(IntEnum):
    """The weight of a finding."""

    NOTE = 0
    """For information; a good run may have it."""
    CHECK = 1
    """To be checked."""
    BAD = 2
    """The run, or a part of it, has failed."""


@dataclass(frozen=True)
class Finding:
    """A finding about a run."""

    level: Level
    text: str
    advice: str = ""


@dataclass(frozen=True)
class Evidence:
    """The data for the rules."""

    record: Record
    motion: Motion | None = None
    sample: Sample | None = None
    """Targets and positions of some frames."""


@dataclass(frozen=True)
class Judged:
    """The measured value and the findings of a rule."""

    value: str = ""
    """The value in words; empty if there was nothing to judge."""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Rule:
    """A rule: its name, the limit in words, and the function that judges."""

    name: str
    limit: str
    judge: Callable[[Evidence], Judged]


def rule(name: str, limit: str) -> Callable[[Callable[[Evidence], Judged]], Rule]:
    """Make a rule from the function that judges."""
    return lambda judge: Rule(name, limit, judge)


def link_ratio(record: Record) -> float:
    """Links over links and losses of the whole run; NaN if there are none."""
    links, lost = float(np.nansum(record.tracking.links)), float(np.nansum(record.tracking.lost))
    return links / (links + lost) if links + lost > 0 else float("nan")


def limits(record: Record, axis: str) -> tuple[float, float]:
    """Minimum and maximum displacement [mm/frame] that the tracker allows along an axis."""
    return track_value(record, f"dv{axis}min"), track_value(record, f"dv{axis}max")


def track_value(record: Record, name: str) -> float:
    """A parameter of section ``track``: that of the run if it was recorded, otherwise the present one."""
    return _value(record, "track", name)


def detection_value(record: Record, name: str) -> float:
    """A parameter of section ``targ_rec``, likewise."""
    return _value(record, "targ_rec", name)


def _value(record: Record, section: str, name: str) -> float:
    then = record.values.get(section)
    if isinstance(then, dict) and isinstance(then.get(name), int | float):
        return float(then[name])
    return float(record.experiment.parameters.as_tree()[section][name])


def band(record: Record) -> str:
    """The epipolar band in words."""
    eps0, pixel = record.experiment.parameters.criteria.eps0, record.experiment.parameters.ptv.pix_x
    return f"{number(eps0)} mm are {number(eps0 / pixel)} px"


def median(values: Floats) -> float:
    """The median of the known values; NaN if there are none."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")
