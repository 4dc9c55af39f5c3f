"""The rules of the verdict for targets and correspondences."""

from __future__ import annotations

import numpy as np

from pyptv.report.rules.evidence import Evidence, Finding, Judged, Level, band, median, rule
from pyptv.report.words import count, listing, number, percent

DROP = 0.2
"""Share of a camera's usual number of targets: fewer mean that the light, the shutter or the image failed."""

DIM_CAMERA = 0.5
"""Share of the cameras' median number of targets: a camera with fewer has another threshold, focus or field of view."""

FEW_USED = 0.3
"""Minimum share of targets that become part of a particle."""

MANY_PAIRS = 1 / 3
"""Share of particles seen by two cameras only: any two rays that pass closely form one."""

OFF_TARGET = 1.0
"""Pixels between particles, projected back, and their targets (median): more means that calibration and images disagree."""

LOCKED = 0.5
"""Degree of peak locking above which sub-pixel positions prefer certain fractions: 1 - smallest over largest count of a histogram
of the fractions in ten bins (Overmars et al. 2010: the share of particles that are displaced)."""

FRACTION_BINS = 10
ENOUGH_TARGETS = 2000
"""Minimum number of targets for the histogram."""

_CAMERAS = {"quadruplets": 4, "triplets": 3, "pairs": 2}


@rule("Targets of a camera over time", f"never below {percent(DROP)} of the camera's median")
def dropping_targets(evidence: Evidence) -> Judged:
    """A camera's targets drop far below their usual number."""
    sequence = evidence.record.sequence
    findings, least = [], []
    for camera, targets in enumerate(sequence.targets, start=1):
        usual = median(targets)
        if usual > 0:
            least.append(float(np.nanmin(targets)) / usual)
        low = np.flatnonzero(targets < DROP * usual)
        if not len(low):
            continue
        deepest = low[np.argmin(targets[low])]
        more = f" ({count(len(low), 'frame')} below a fifth of the usual {number(usual)})"
        text = f"Targets of camera {camera} drop to {number(targets[deepest])} at frame {sequence.frame[deepest]}{more}"
        findings.append(Finding(Level.CHECK, text, "Look at the images of these frames: light, shutter, or a lost image."))
    return Judged(f"minimum: {percent(min(least))}" if least else "", tuple(findings))


@rule("Targets of the cameras", f"each at least {percent(DIM_CAMERA)} of the cameras' median")
def dim_cameras(evidence: Evidence) -> Judged:
    """A camera sees far fewer targets than the others."""
    medians = np.array([median(targets) for targets in evidence.record.sequence.targets])
    usual = median(medians)
    if not usual > 0:
        return Judged()
    findings = []
    for camera in np.flatnonzero(medians < DIM_CAMERA * usual):
        seen = count(int(medians[camera]), "target")
        text = f"Camera {camera + 1} sees {seen} per frame, the cameras' median is {number(usual)}"
        threshold = "" if evidence.record.dense else f"gvthres of camera {camera + 1}, "
        advice = f"Check {threshold}its focus and its field of view."
        findings.append(Finding(Level.CHECK, text, advice))
    return Judged(f"minimum: {percent(float(np.nanmin(medians)) / usual)}", tuple(findings))


@rule("Targets that became part of a particle", f"at least {percent(FEW_USED)}")
def unused_targets(evidence: Evidence) -> Judged:
    """Few targets become part of a particle."""
    record = evidence.record
    used = sum(
        (cameras * record.sequence.kinds[kind] for kind, cameras in _CAMERAS.items() if kind in record.sequence.kinds), 0.0
    )
    total = float(np.nansum(record.sequence.targets))
    if not record.sequence.kinds or not total > 0:
        return Judged()
    share = float(np.nansum(used)) / total
    if share >= FEW_USED:
        return Judged(percent(share))
    text = f"Only {percent(share)} of the targets became part of a particle"
    advice = "Check the calibration, eps0, and whether gvthres lets noise through."
    return Judged(percent(share), (Finding(Level.CHECK, text, advice),))


@rule("Particles seen by two cameras only", f"at most {percent(MANY_PAIRS)}")
def many_pairs(evidence: Evidence) -> Judged:
    """Many particles are seen by two cameras only, although there are more cameras."""
    record = evidence.record
    total, pairs = float(np.nansum(record.sequence.particles)), record.sequence.kinds.get("pairs")
    if record.num_cams <= 2 or pairs is None or total == 0:  # cameras that make a pair
        return Judged()
    share = float(np.nansum(pairs)) / total
    if share <= MANY_PAIRS:
        return Judged(percent(share))
    words = "A third" if share < 0.4 else "Half" if 0.45 < share < 0.55 else percent(share)
    advice = "Pairs are the least certain: check calibration and eps0, or set allcam_flag."
    return Judged(percent(share), (Finding(Level.CHECK, f"{words} of the particles are pairs", advice),))


@rule("Reprojection error (median of each camera)", f"at most {number(OFF_TARGET)} px")
def off_target(evidence: Evidence) -> Judged:
    """Projected particles deviate from their targets."""
    errors = np.array(evidence.sample.errors if evidence.sample is not None else (), dtype=np.float64)
    if not np.isfinite(errors).any():
        return Judged()
    value = f"{number(float(np.nanmax(errors)))} px"
    worst = [f"{number(errors[camera])} px in camera {camera + 1}" for camera in np.flatnonzero(errors > OFF_TARGET)]
    if not worst:
        return Judged(value)
    text = f"Reprojection error {listing(worst)} (median)"
    advice = f"The maps below show where: check the calibration, or narrow eps0 ({band(evidence.record)})."
    return Judged(value, (Finding(Level.CHECK, text, advice),))


@rule("Peak locking (degree, of each camera)", f"at most {number(LOCKED)}")
def peak_locking(evidence: Evidence) -> Judged:
    """Sub-pixel positions prefer certain fractions: spots are too small for an accurate centre."""
    if evidence.sample is None:
        return Judged()
    degrees = [locking(evidence.sample.targets(camera)[:, 1:3]) for camera in range(evidence.record.num_cams)]
    known = [degree for degree in degrees if np.isfinite(degree)]
    if not known:
        return Judged()
    locked = [f"camera {n} ({number(degree)})" for n, degree in enumerate(degrees, start=1) if degree > LOCKED]
    if not locked:
        return Judged(f"largest: {number(max(known))}")
    text = f"Positions of targets prefer certain fractions of a pixel in {listing(locked)}"
    advice = "Spots of 2 to 3 px avoid this: defocus slightly, or lower gvthres so that more pixels are used."
    return Judged(f"largest: {number(max(known))}", (Finding(Level.NOTE, text, advice),))


def locking(places: np.ndarray) -> float:
    """Degree of peak locking of positions (n, 2) [px], the worse of x and y; NaN if there are too few."""
    if len(places) < ENOUGH_TARGETS:
        return float("nan")
    counts = [np.histogram(column % 1, FRACTION_BINS, (0, 1))[0] for column in places.T]
    return max(1 - float(one.min()) / float(one.max()) for one in counts)


RULES = (dropping_targets, dim_cameras, unused_targets, many_pairs, off_target, peak_locking)
