"""The numbers that the verdict relies on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from pyptv.report.motion import Motion
from pyptv.report.record import Record
from pyptv.report.words import number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class Level(IntEnum):
    """How much a finding matters."""

    NOTE = 0
    """Good to know; a good run may have it."""
    CHECK = 1
    """Something to look at."""
    BAD = 2
    """The run, or a part of it, has failed."""


@dataclass(frozen=True)
class Finding:
    """One thing to know about a run."""

    level: Level
    text: str
    advice: str = ""


@dataclass(frozen=True)
class Evidence:
    """What the rules look at."""

    record: Record
    motion: Motion | None = None
    reprojection: tuple[float, ...] = ()
    """Median distance [px] of particles and targets in each camera, in one frame; NaN where unknown."""


def link_ratio(record: Record) -> float:
    """Links over links and losses of the whole run; NaN where there are none."""
    links, lost = float(np.nansum(record.tracking.links)), float(np.nansum(record.tracking.lost))
    return links / (links + lost) if links + lost > 0 else float("nan")


def limits(record: Record, axis: str) -> tuple[float, float]:
    """The least and largest displacement [mm/frame] that the tracker allows along an axis: the run's own, if recorded."""
    now, then = record.experiment.parameters.as_tree()["track"], record.values.get("track")
    low, high = (
        float(then[name]) if isinstance(then, dict) and isinstance(then.get(name), int | float) else float(now[name])
        for name in (f"dv{axis}min", f"dv{axis}max")
    )
    return low, high


def band(record: Record) -> str:
    """The epipolar band in words."""
    eps0, pixel = record.experiment.parameters.criteria.eps0, record.experiment.parameters.ptv.pix_x
    return f"{number(eps0)} mm are {number(eps0 / pixel)} px"


def median(values: Floats) -> float:
    """The median of what is known; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")
