"""The rules of the verdict that look at links and trajectories."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pyptv.report.evidence import Evidence, Finding, Level, limits, link_ratio
from pyptv.report.words import listing, number, percent

LOW_LINK_RATIO = 0.8
"""Links over links and losses. Particles that leave the volume cost a few per cent; below this the tracker loses them inside."""

EDGE = 0.05
"""The outermost part of the interval from dvmin to dvmax, on either side, that counts as "at the limit"."""

MANY_AT_LIMIT = 0.01
"""Share of links at a limit from which the limit cuts off the velocities: their distribution should end before it."""

ROOM = 4.0
"""Limits so many times wider than nearly all displacements let the tracker reach for wrong particles."""

NEARLY_ALL = 99.5
"""Percentile of displacements that the limits need to hold."""

SHORT = 5
"""Frames: shorter trajectories give no acceleration (a fit over 5 frames needs 5)."""

MANY_SHORT = 0.5
"""Share of linked particles in trajectories shorter than that."""

FEW_LINKS = 50
"""Fewer links say nothing about velocities."""


def not_tracked(evidence: Evidence) -> Iterator[Finding]:
    """There are particles, but no links."""
    record = evidence.record
    if np.nansum(record.sequence.particles) > 0 and not len(record.tracking.frame):
        yield Finding(Level.NOTE, "Not tracked: there are no links", "Run --mode tracking to link the particles.")


def low_link_ratio(evidence: Evidence) -> Iterator[Finding]:
    """The tracker loses many particles, or all of them."""
    ratio = link_ratio(evidence.record)
    if ratio == 0:
        advice = "Two frames on their own are never linked, it takes three in a row; else check the dv limits and dacc."
        yield Finding(Level.CHECK, "No particle was linked", advice)
    elif ratio < LOW_LINK_RATIO:
        advice = "Links over links and losses: look at the velocity histogram, and for ghost particles."
        yield Finding(Level.CHECK, f"Link ratio {ratio:.2f}: check the dv limits and dacc", advice)


def velocities_at_limits(evidence: Evidence) -> Iterator[Finding]:
    """Displacements pile up at a dv limit."""
    if evidence.motion is None or len(evidence.motion.displacement) < FEW_LINKS:
        return
    for axis, values in zip("xyz", evidence.motion.displacement.T, strict=True):
        low, high = limits(evidence.record, axis)
        edge = EDGE * (high - low)
        for name, share in ((f"dv{axis}min", np.mean(values < low + edge)), (f"dv{axis}max", np.mean(values > high - edge))):
            if share > MANY_AT_LIMIT:
                text = f"Velocities lie at the limit {name} for {percent(float(share))} of the links: widen it"
                advice = (
                    f"Counted: the outermost {percent(EDGE)} of its range. Where the histogram is flat there, links are wrong."
                )
                yield Finding(Level.CHECK, text, advice)


def wide_limits(evidence: Evidence) -> Iterator[Finding]:
    """The dv limits are far wider than the displacements."""
    if evidence.motion is None or len(evidence.motion.displacement) < FEW_LINKS:
        return
    wide = []
    for axis, values in zip("xyz", evidence.motion.displacement.T, strict=True):
        low, high = limits(evidence.record, axis)
        most = float(np.percentile(np.abs(values), NEARLY_ALL))
        if max(abs(low), abs(high)) > ROOM * most > 0:
            wide.append(f"{axis} (needed: {number(most)} mm/frame)")
    if wide:
        text = f"The dv limits are more than {number(ROOM)} times wider than the velocities in {listing(wide)}"
        yield Finding(Level.NOTE, text, "Narrower limits give fewer wrong links where particles are dense.")


def short_trajectories(evidence: Evidence) -> Iterator[Finding]:
    """Most linked particles are in short trajectories, although the run is long enough for longer ones."""
    motion = evidence.motion
    if motion is None or motion.n_frames < 2 * SHORT:
        return
    linked = motion.lengths[motion.lengths > 1]
    total = int(linked.sum())
    if total and (share := int(linked[linked < SHORT].sum()) / total) > MANY_SHORT:
        text = f"{percent(share)} of the linked particles are in trajectories shorter than {SHORT} frames"
        yield Finding(Level.CHECK, text, "Too short for accelerations: check the dv limits, angle and dacc.")


RULES = (low_link_ratio, velocities_at_limits, short_trajectories, not_tracked, wide_limits)
