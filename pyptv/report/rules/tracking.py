"""The rules of the verdict for links and trajectories."""

from __future__ import annotations

import numpy as np

from pyptv.report.rules.evidence import Evidence, Finding, Judged, Level, limits, link_ratio, rule, track_value
from pyptv.report.words import listing, number, percent

LOW_LINK_RATIO = 0.8
"""Links over links and losses. Particles leaving the volume cause a few per cent; below this the tracker loses others."""

EDGE = 0.05
"""The outermost part of the interval from dvmin to dvmax, on each side, that counts as "at the limit"."""

MANY_AT_LIMIT = 0.01
"""Share of links at a limit above which the limit cuts off velocities: their distribution should end before it."""

ROOM = 4.0
"""Limits this many times wider than nearly all displacements allow links to wrong particles."""

NEARLY_ALL = 99.5
"""Percentile of displacements that the limits must include."""

SHORT = 5
"""Frames: shorter trajectories give no acceleration (a fit over 5 frames needs 5)."""

MANY_SHORT = 0.5
"""Share of linked particles in trajectories shorter than ``SHORT``."""

SURE = 3.0
"""Standard deviations above the chance level from which motion is certain."""

FEW_LINKS = 50
"""Minimum number of links for conclusions about velocities."""

FAR = 0.5
"""Median displacement over the distance to the nearest neighbour: above it, the nearest particle is often the wrong one."""

NEAR_LIMIT = 0.9
"""Share of dacc and angle above which values are "at the limit"."""

MANY_CUT = 0.05
"""Share of accelerations, or of angles, at their limit above which the limit cuts."""


@rule("Links between frames", "present where there are particles")
def not_tracked(evidence: Evidence) -> Judged:
    """There are particles, but no links."""
    record = evidence.record
    if np.nansum(record.sequence.particles) > 0 and not len(record.tracking.frame):
        finding = Finding(Level.NOTE, "Not tracked: there are no links", "Run --mode tracking to link the particles.")
        return Judged("none", (finding,))
    return Judged("present" if len(record.tracking.frame) else "")


@rule("Link ratio", f"at least {number(LOW_LINK_RATIO)}")
def low_link_ratio(evidence: Evidence) -> Judged:
    """The tracker loses many particles, or all of them."""
    ratio = link_ratio(evidence.record)
    if not np.isfinite(ratio):
        return Judged()
    if ratio == 0:
        advice = f"Links need at least three consecutive frames; otherwise check {_to_check(evidence)}."
        return Judged("0", (Finding(Level.CHECK, "No particle was linked", advice),))
    if ratio >= LOW_LINK_RATIO:
        return Judged(number(ratio))
    advice = "Links over links and losses: look at the velocity histogram, and for ghost particles."
    return Judged(number(ratio), (Finding(Level.CHECK, f"Link ratio {ratio:.2f}: check {_to_check(evidence)}", advice),))


def _to_check(evidence: Evidence) -> str:
    """The limits of the tracker that was used."""
    return "the dv limits" if evidence.record.dense else "the dv limits and dacc"


@rule("Displacements at a dv limit", f"at most {percent(MANY_AT_LIMIT)} in the outermost {percent(EDGE)}")
def velocities_at_limits(evidence: Evidence) -> Judged:
    """Many displacements are at a dv limit."""
    if evidence.motion is None or len(evidence.motion.displacement) < FEW_LINKS:
        return Judged()
    findings, most = [], 0.0
    for axis, values in zip("xyz", evidence.motion.displacement.T, strict=True):
        low, high = limits(evidence.record, axis)
        edge = EDGE * (high - low)
        for name, inner, outer in ((f"dv{axis}min", low, low + edge), (f"dv{axis}max", high - edge, high)):
            share = float(np.mean((values >= inner) & (values <= outer)))
            most = max(most, share)
            if share > MANY_AT_LIMIT:
                findings.append(_at_limit(name, share, above=_above_chance(evidence, "xyz".index(axis), inner, outer)))
    return Judged(f"maximum: {percent(most)}", tuple(findings))


@rule("dv limits over displacements", f"at most {number(ROOM)} times")
def wide_limits(evidence: Evidence) -> Judged:
    """The dv limits are far wider than the displacements."""
    if evidence.motion is None or len(evidence.motion.displacement) < FEW_LINKS:
        return Judged()
    wide, widest = [], 0.0
    for axis, values in zip("xyz", evidence.motion.displacement.T, strict=True):
        low, high = limits(evidence.record, axis)
        needed = float(np.percentile(np.abs(values), NEARLY_ALL))
        if not needed > 0:
            continue
        widest = max(widest, max(abs(low), abs(high)) / needed)
        if max(abs(low), abs(high)) > ROOM * needed:
            wide.append(f"{axis} (needed: {number(needed)} mm/frame)")
    value = f"{number(widest)} times"
    if not wide:
        return Judged(value)
    text = f"The dv limits are more than {number(ROOM)} times wider than the velocities in {listing(wide)}"
    return Judged(value, (Finding(Level.NOTE, text, "Narrower limits give fewer wrong links where particles are dense."),))


@rule("Accelerations and angles at their limits", f"at most {percent(MANY_CUT)} above {number(NEAR_LIMIT)} of dacc or angle")
def turns_at_limits(evidence: Evidence) -> Judged:
    """Accelerations or angles are cut by dacc or angle, which the method dense does not use."""
    motion = evidence.motion
    if motion is None or evidence.record.dense or len(motion.acceleration) < FEW_LINKS:
        return Judged()
    findings, most = [], 0.0
    for name, values, what in (("dacc", motion.acceleration, "accelerations"), ("angle", motion.angle, "angles")):
        limit = track_value(evidence.record, name)
        known = values[np.isfinite(values)]
        if not len(known) or not limit > 0:
            continue
        share = float(np.mean(known > NEAR_LIMIT * limit))
        most = max(most, share)
        if share > MANY_CUT:
            text = f"{percent(share)} of the {what} lie at their limit {name} = {number(limit)}"
            advice = "The motion is this unsteady, or positions are this noisy, or these links are by chance: see pyptv-advise."
            findings.append(Finding(Level.CHECK, text, advice))
    return Judged(f"maximum: {percent(most)}", tuple(findings))


@rule("Displacement over particle distance (medians)", f"at most {number(FAR)}")
def far_displacements(evidence: Evidence) -> Judged:
    """Displacements are comparable with the particle distance."""
    ratio = displacement_over_spacing(evidence)
    if not np.isfinite(ratio):
        return Judged()
    if ratio <= FAR:
        return Judged(number(ratio))
    text = f"Particles move {number(ratio)} times the distance to their nearest neighbour between frames"
    advice = "Links are ambiguous there: a higher frame rate or fewer particles make them reliable."
    return Judged(number(ratio), (Finding(Level.CHECK, text, advice),))


@rule(f"Linked particles in trajectories shorter than {SHORT} frames", f"at most {percent(MANY_SHORT)}")
def short_trajectories(evidence: Evidence) -> Judged:
    """Most linked particles are in short trajectories, although the run is long enough for longer ones."""
    motion = evidence.motion
    if motion is None or motion.n_frames < 2 * SHORT:
        return Judged()
    linked = motion.lengths[motion.lengths > 1]
    total = int(linked.sum())
    if not total:
        return Judged()
    share = int(linked[linked < SHORT].sum()) / total
    if share <= MANY_SHORT:
        return Judged(percent(share))
    text = f"{percent(share)} of the linked particles are in trajectories shorter than {SHORT} frames"
    finding = Finding(Level.CHECK, text, f"Too short for accelerations: check {_to_check(evidence)}.")
    return Judged(percent(share), (finding,))


def displacement_over_spacing(evidence: Evidence) -> float:
    """Median displacement of the links over the median distance to the nearest neighbour; NaN if one is not known."""
    if evidence.motion is None or evidence.sample is None or not len(evidence.motion.displacement):
        return float("nan")
    moved = float(np.median(np.linalg.norm(evidence.motion.displacement, axis=1)))
    return moved / evidence.sample.spacing if evidence.sample.spacing > 0 else float("nan")


def _above_chance(evidence: Evidence, axis: int, low: float, high: float) -> bool | None:
    """Whether more particles move by ``low`` to ``high`` along an axis than by chance; None: not known."""
    motion = evidence.sample.motion if evidence.sample is not None else None
    if motion is None or motion.chains < FEW_LINKS:
        return None
    found, chance = (
        int(np.count_nonzero((values[:, axis] >= low) & (values[:, axis] <= high)))
        for values in (motion.displacement, motion.displacement_chance)
    )
    expected = chance * motion.chance_chains / max(len(motion.displacement_chance), 1)
    return bool(found - expected > SURE * np.sqrt(expected + 1))


def _at_limit(name: str, share: float, *, above: bool | None) -> Finding:
    counted = f"This counts links in the outermost {percent(EDGE)} of its range."
    if above is None:
        text = f"Displacements lie at the limit {name} for {percent(share)} of the links"
        return Finding(Level.CHECK, text, f"{counted} There are too few particles to distinguish these links from chance.")
    if above:
        text = f"Displacements lie at the limit {name} for {percent(share)} of the links, more than by chance: widen it"
        return Finding(Level.CHECK, text, counted)
    text = f"{percent(share)} of the links lie at the limit {name}, no more than by chance"
    return Finding(Level.CHECK, text, f"{counted} Do not widen it: these links are wrong. pyptv-advise proposes limits.")


RULES = (
    *(low_link_ratio, velocities_at_limits, turns_at_limits, far_displacements, short_trajectories),
    *(not_tracked, wide_limits),
)
