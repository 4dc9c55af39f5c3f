"""The key figures of a run: name, value, and remark."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pyptv.report.rules.evidence import Evidence, link_ratio
from pyptv.report.rules.tracking import displacement_over_spacing
from pyptv.report.words import duration, number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Figure = tuple[str, str, str]
"""Name, value, and remark."""


def figures_of(evidence: Evidence, frame_rate: float | None = None) -> list[Figure]:
    """All known key figures."""
    record = evidence.record
    asked = f"{record.first} to {record.last}" if record.asked else ""
    return [
        ("Frames", f"{number(record.done)} of {number(record.asked)}", asked),
        *_density(evidence),
        *_tracking(evidence, frame_rate),
        *_agreement(evidence),
        *_time(evidence),
    ]


def _density(evidence: Evidence) -> list[Figure]:
    sequence, ptv = evidence.record.sequence, evidence.record.experiment.parameters.ptv
    targets = mean(np.array([mean(one) for one in sequence.targets]))
    particles = mean(sequence.particles)
    return [
        ("Targets", number(targets), "per camera and frame"),
        ("Particles", number(particles), "per frame"),
        ("Density", number(particles / (ptv.imx * ptv.imy)), "particles per pixel (ppp)"),
    ]


def _tracking(evidence: Evidence, frame_rate: float | None) -> list[Figure]:
    found: list[Figure] = []
    motion = evidence.motion
    if len(evidence.record.tracking.frame):
        found.append(("Link ratio", number(link_ratio(evidence.record)), "links over links and losses"))
    if motion is not None and (linked := motion.lengths[motion.lengths > 1]).size:
        found.append(("Trajectories", number(float(linked.mean())), "frames long on average"))
    if motion is not None and len(motion.displacement):
        speed = float(np.median(np.linalg.norm(motion.displacement, axis=1)))
        value = f"{number(speed * frame_rate)} mm/s" if frame_rate else f"{number(speed)} mm/frame"
        found.append(("Speed", value, "median of the links"))
    if math.isfinite(ratio := displacement_over_spacing(evidence)):
        found.append(("Displacement", number(ratio), "over the distance to the nearest particle"))
    return found


def _agreement(evidence: Evidence) -> list[Figure]:
    errors = evidence.sample.errors if evidence.sample is not None else ()
    known = [error for error in errors if math.isfinite(error)]
    return [("Reprojection", f"{number(max(known))} px", "worst camera's median distance to the targets")] if known else []


def _time(evidence: Evidence) -> list[Figure]:
    run = evidence.record.run
    if run is None:
        return []
    seconds = float(run["run"]["seconds"])
    new = evidence.record.done - int(run["frames"]["kept"])
    rate = f"{number(new / seconds)} frames/s" if seconds > 0 and new > 0 else ""
    return [("Time", duration(seconds), rate)]


def mean(values: Floats) -> float:
    """The mean of the known values; NaN if there are none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
