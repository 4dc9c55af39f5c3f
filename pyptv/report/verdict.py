"""What a report says of a run in words: one small rule for each thing that can be wrong.

Each rule looks at the evidence and yields a finding where its threshold is passed. Thresholds are rules
of thumb: they say where to look, not what is true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from pyptv.core.frames import describe
from pyptv.report.evidence import Evidence, Finding, Level, band, limits, link_ratio, median
from pyptv.report.words import count, duration, listing, number, percent

MANY_FAILED = 0.1
"""Share of failed frames from which the run as a whole has failed."""

LOW_LINK_RATIO = 0.8
"""Links over links and losses. Particles that leave the volume cost a few per cent; below this the tracker loses them inside."""

MANY_PAIRS = 1 / 3
"""Share of particles seen by two cameras only: any two rays that pass each other closely make one."""

DROP = 0.2
"""Of a camera's usual number of targets: fewer mean that the light, the shutter or the image failed."""

DIM_CAMERA = 0.5
"""Of the cameras' median number of targets: a camera with fewer has another threshold, focus or field of view."""

FEW_USED = 0.3
"""Least share of targets that become part of a particle."""

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

OFF_TARGET = 1.0
"""Pixels between particles, projected back, and their targets (median): more means that calibration and images disagree."""

FEW_LINKS = 50
"""Fewer links say nothing about velocities."""


Rule = Callable[[Evidence], Iterator[Finding]]


def judge(evidence: Evidence) -> list[Finding]:
    """All findings, the worst first."""
    found = [finding for rule in RULES for finding in rule(evidence)]
    return sorted(found, key=lambda finding: -finding.level)


def headline(findings: list[Finding]) -> tuple[Level, str]:
    """The verdict in a few words."""
    bad = [finding for finding in findings if finding.level == Level.BAD]
    check = [finding for finding in findings if finding.level == Level.CHECK]
    if bad:
        return Level.BAD, "Not a good run"
    if check:
        return Level.CHECK, f"{count(len(check), 'thing')} to check"
    return Level.NOTE, "Good run"


# -- the run -----------------------------------------------------------------------------------------------------------


def ended_early(evidence: Evidence) -> Iterator[Finding]:
    """The run was interrupted, terminated, or ended at a failed frame."""
    run = evidence.record.run
    if run is None or run["run"]["outcome"] not in {"failed", "interrupted", "terminated"}:
        return
    left = int(run["frames"]["not_reached"])
    said = f": {run['run']['error']}" if run["run"]["error"] else ""
    not_reached = f", {count(left, 'frame')} not reached" if left else ""
    advice = "The same command with --resume goes on from there."
    yield Finding(Level.BAD, f"The run ended early ({run['run']['outcome']}){not_reached}{said}", advice)


def failed_frames(evidence: Evidence) -> Iterator[Finding]:
    """Frames failed."""
    record = evidence.record
    if record.failures:
        n = len(record.failures)
        level = Level.BAD if n > MANY_FAILED * record.asked else Level.CHECK
        yield Finding(level, f"{number(n)} of {count(record.asked, 'frame')} failed", "The reasons are listed below.")


def missing_frames(evidence: Evidence) -> Iterator[Finding]:
    """Frames between others have no results, and nobody recorded why."""
    record = evidence.record
    if record.missing:
        text = f"{number(len(record.missing))} of {count(record.asked, 'frame')} have no results: {describe(record.missing)}"
        yield Finding(Level.CHECK, text, "Why was not recorded.")


def damaged_files(evidence: Evidence) -> Iterator[Finding]:
    """A result file cannot be read."""
    said = [*evidence.record.damaged, *([evidence.motion.damaged] if evidence.motion and evidence.motion.damaged else [])]
    if said:
        more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
        yield Finding(Level.BAD, f"Damaged result file: {said[0]}{more}", "Process these frames again.")


def no_particles(evidence: Evidence) -> Iterator[Finding]:
    """No particles in all frames, or in some."""
    sequence = evidence.record.sequence
    if not len(sequence.frame):
        yield Finding(Level.BAD, "No frame has results")
        return
    empty = sequence.frame[sequence.particles == 0]
    if len(empty) == len(sequence.frame):
        advice = "Check gvthres, nnmin and sumg_min where there are no targets, calibration and eps0 where there are."
        yield Finding(Level.BAD, "No particle in any frame", advice)
    elif len(empty):
        yield Finding(Level.CHECK, f"{count(len(empty), 'frame')} without a particle: {describe(empty.tolist())}")


def changed_parameters(evidence: Evidence) -> Iterator[Finding]:
    """The parameter files are no longer those of the run."""
    run = evidence.record.run
    if run is not None and run["inputs"]["values"] != evidence.record.experiment.parameters.as_tree():
        yield Finding(Level.NOTE, "The parameter files have changed since the run", "The table below holds the run's values.")


def seams_given_up(evidence: Evidence) -> Iterator[Finding]:
    """Tracking could not be shared out between workers."""
    seams = evidence.record.run["seams"] if evidence.record.run is not None else None
    if seams and seams["given_up"]:
        yield Finding(Level.NOTE, f"{count(seams['given_up'], 'seam')} of tracking given up: this cost time, no result")


# -- targets and correspondences ---------------------------------------------------------------------------------------


def dropping_targets(evidence: Evidence) -> Iterator[Finding]:
    """A camera's targets drop far below their usual number."""
    sequence = evidence.record.sequence
    for camera, targets in enumerate(sequence.targets, start=1):
        usual = median(targets)
        low = np.flatnonzero(targets < DROP * usual)
        if not len(low):
            continue
        deepest = low[np.argmin(targets[low])]
        where = f"frame {sequence.frame[deepest]}"
        more = f" ({count(len(low), 'frame')} below a fifth of the usual {number(usual)})"
        text = f"Targets of camera {camera} drop to {number(targets[deepest])} at {where}{more}"
        yield Finding(Level.CHECK, text, "Look at the images of these frames: light, shutter, or a lost image.")


def dim_cameras(evidence: Evidence) -> Iterator[Finding]:
    """A camera sees far fewer targets than the others."""
    medians = np.array([median(targets) for targets in evidence.record.sequence.targets])
    usual = median(medians)
    for camera in np.flatnonzero(medians < DIM_CAMERA * usual):
        text = f"Camera {camera + 1} sees {count(int(medians[camera]), 'target')} a frame, the cameras' median is {number(usual)}"
        yield Finding(Level.CHECK, text, f"Check gvthres of camera {camera + 1}, its focus and its field of view.")


def unused_targets(evidence: Evidence) -> Iterator[Finding]:
    """Few targets become part of a particle."""
    record = evidence.record
    used = sum(
        (cameras * record.sequence.kinds[kind] for kind, cameras in _CAMERAS.items() if kind in record.sequence.kinds), 0.0
    )
    total = float(np.nansum(record.sequence.targets))
    if record.sequence.kinds and total > 0 and (share := float(np.nansum(used)) / total) < FEW_USED:
        text = f"Only {percent(share)} of the targets became part of a particle"
        yield Finding(Level.CHECK, text, "Check the calibration, eps0, and whether gvthres lets noise through.")


def many_pairs(evidence: Evidence) -> Iterator[Finding]:
    """Many particles are seen by two cameras only, although there are more."""
    record = evidence.record
    total, pairs = float(np.nansum(record.sequence.particles)), record.sequence.kinds.get("pairs")
    if record.num_cams <= 2 or pairs is None or total == 0:  # noqa: PLR2004 -- cameras that make a pair
        return
    share = float(np.nansum(pairs)) / total
    if share > MANY_PAIRS:
        words = "A third" if share < 0.4 else "Half" if 0.45 < share < 0.55 else percent(share)  # noqa: PLR2004
        advice = "Pairs are the least certain: check calibration and eps0, or set allcam_flag."
        yield Finding(Level.CHECK, f"{words} of the particles are pairs", advice)


def off_target(evidence: Evidence) -> Iterator[Finding]:
    """Particles, projected back, lie beside their targets."""
    errors = np.array(evidence.reprojection, dtype=np.float64)
    worst = [f"{number(errors[camera])} px in camera {camera + 1}" for camera in np.flatnonzero(errors > OFF_TARGET)]
    if worst:
        text = f"Particles lie beside their targets by {listing(worst)} (median of one frame)"
        yield Finding(Level.CHECK, text, f"Check the calibration, or narrow eps0 ({band(evidence.record)}).")


# -- tracking ----------------------------------------------------------------------------------------------------------


def not_tracked(evidence: Evidence) -> Iterator[Finding]:
    """There are particles, but no links."""
    record = evidence.record
    if np.nansum(record.sequence.particles) > 0 and not len(record.tracking.frame):
        yield Finding(Level.NOTE, "Not tracked: there are no links", "Run --mode tracking to link the particles.")


def low_link_ratio(evidence: Evidence) -> Iterator[Finding]:
    """The tracker loses many particles."""
    if (ratio := link_ratio(evidence.record)) < LOW_LINK_RATIO:
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


def kept_frames(evidence: Evidence) -> Iterator[Finding]:
    """The run kept frames of an earlier one: its time is not that of all frames."""
    run = evidence.record.run
    if run is not None and run["frames"]["kept"]:
        text = f"{count(int(run['frames']['kept']), 'frame')} kept from an earlier run: times are those of the rest"
        yield Finding(Level.NOTE, f"{text} ({duration(float(run['run']['seconds']))})")


RULES: tuple[Rule, ...] = (
    *(ended_early, failed_frames, missing_frames, damaged_files, no_particles),
    *(dropping_targets, dim_cameras, unused_targets, many_pairs, off_target),
    *(low_link_ratio, velocities_at_limits, short_trajectories, not_tracked),
    *(wide_limits, changed_parameters, kept_frames, seams_given_up),
)

_CAMERAS = {"quadruplets": 4, "triplets": 3, "pairs": 2}
