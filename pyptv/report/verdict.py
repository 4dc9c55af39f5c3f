"""What a report says of a run in words: one small rule for each thing that can be wrong.

Each rule looks at the evidence and yields a finding where its threshold is passed. Thresholds are rules
of thumb: they say where to look, not what is true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from pyptv.core.base.frames import describe
from pyptv.report import tracking_rules
from pyptv.report.evidence import Evidence, Finding, Level, band, median
from pyptv.report.words import count, duration, listing, number, percent

MANY_FAILED = 0.1
"""Share of failed frames from which the run as a whole has failed."""

MANY_PAIRS = 1 / 3
"""Share of particles seen by two cameras only: any two rays that pass each other closely make one."""

DROP = 0.2
"""Of a camera's usual number of targets: fewer mean that the light, the shutter or the image failed."""

DIM_CAMERA = 0.5
"""Of the cameras' median number of targets: a camera with fewer has another threshold, focus or field of view."""

FEW_USED = 0.3
"""Least share of targets that become part of a particle."""

OFF_TARGET = 1.0
"""Pixels between particles, projected back, and their targets (median): more means that calibration and images disagree."""

_CAMERAS = {"quadruplets": 4, "triplets": 3, "pairs": 2}

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


def kept_frames(evidence: Evidence) -> Iterator[Finding]:
    """The run kept frames of an earlier one: its time is not that of all frames."""
    run = evidence.record.run
    if run is not None and run["frames"]["kept"]:
        text = f"{count(int(run['frames']['kept']), 'frame')} kept from an earlier run: times are those of the rest"
        yield Finding(Level.NOTE, f"{text} ({duration(float(run['run']['seconds']))})")


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
    if record.num_cams <= 2 or pairs is None or total == 0:  # cameras that make a pair
        return
    share = float(np.nansum(pairs)) / total
    if share > MANY_PAIRS:
        words = "A third" if share < 0.4 else "Half" if 0.45 < share < 0.55 else percent(share)
        advice = "Pairs are the least certain: check calibration and eps0, or set allcam_flag."
        yield Finding(Level.CHECK, f"{words} of the particles are pairs", advice)


def off_target(evidence: Evidence) -> Iterator[Finding]:
    """Particles, projected back, lie beside their targets."""
    errors = np.array(evidence.reprojection, dtype=np.float64)
    worst = [f"{number(errors[camera])} px in camera {camera + 1}" for camera in np.flatnonzero(errors > OFF_TARGET)]
    if worst:
        text = f"Particles lie beside their targets by {listing(worst)} (median of one frame)"
        yield Finding(Level.CHECK, text, f"Check the calibration, or narrow eps0 ({band(evidence.record)}).")


RULES: tuple[Rule, ...] = (
    *(ended_early, failed_frames, missing_frames, damaged_files, no_particles),
    *(dropping_targets, dim_cameras, unused_targets, many_pairs, off_target),
    *tracking_rules.RULES,
    *(changed_parameters, kept_frames, seams_given_up),
)
