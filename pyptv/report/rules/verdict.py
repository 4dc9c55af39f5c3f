"""The verdict of a report in words: one rule for each possible problem.

Each rule states the measured value, and gives a finding if its limit is exceeded. Limits are rules of
thumb: they point to possible problems and prove nothing.
"""

from __future__ import annotations

from pathlib import Path

from pyptv.core.base.errors import FormatError
from pyptv.core.base.frames import describe
from pyptv.core.record.run_report import parameters_digest
from pyptv.report.rules import matching, tracking
from pyptv.report.rules.evidence import Evidence, Finding, Judged, Level, Rule, rule
from pyptv.report.words import count, duration, number, percent

MANY_FAILED = 0.1
"""Share of failed frames above which the run as a whole has failed."""


def judge(evidence: Evidence) -> list[tuple[Rule, Judged]]:
    """Every rule with its value and findings."""
    return [(one, one.judge(evidence)) for one in RULES]


def findings_of(judged: list[tuple[Rule, Judged]]) -> list[Finding]:
    """All findings, the worst first."""
    return sorted((finding for _, one in judged for finding in one.findings), key=lambda finding: -finding.level)


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


@rule("End of the run", "at the last frame")
def ended_early(evidence: Evidence) -> Judged:
    """The run was interrupted, terminated, or ended at a failed frame."""
    run = evidence.record.run
    if run is None:
        return Judged()
    outcome = str(run["run"]["outcome"])
    if outcome not in {"failed", "interrupted", "terminated"}:
        return Judged(outcome.replace("_", " "))
    left = int(run["frames"]["not_reached"])
    said = f": {run['run']['error']}" if run["run"]["error"] else ""
    not_reached = f", {count(left, 'frame')} not reached" if left else ""
    advice = "The same command with --resume continues from there."
    return Judged(outcome, (Finding(Level.BAD, f"The run ended early ({outcome}){not_reached}{said}", advice),))


@rule("Failed frames", f"none; failed from {percent(MANY_FAILED)}")
def failed_frames(evidence: Evidence) -> Judged:
    """Frames failed."""
    record = evidence.record
    n = len(record.failures)
    if not n:
        return Judged("none" if record.run is not None else "")
    level = Level.BAD if n > MANY_FAILED * record.asked else Level.CHECK
    finding = Finding(level, f"{number(n)} of {count(record.asked, 'frame')} failed", "The reasons are listed below.")
    return Judged(number(n), (finding,))


@rule("Frames without results", "none")
def missing_frames(evidence: Evidence) -> Judged:
    """Frames between others have no results, and the reason was not recorded."""
    record = evidence.record
    n = len(record.missing)
    if not n:
        return Judged("none")
    text = f"{number(n)} of {count(record.asked, 'frame')} {'has' if n == 1 else 'have'} no results: {describe(record.missing)}"
    return Judged(number(n), (Finding(Level.CHECK, text, "The reason was not recorded."),))


@rule("Damaged result files", "none")
def damaged_files(evidence: Evidence) -> Judged:
    """A result file cannot be read."""
    said = [
        *evidence.record.damaged,
        *([evidence.motion.damaged] if evidence.motion and evidence.motion.damaged else []),
    ]
    if not said:
        return Judged("none among those read")
    more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
    finding = Finding(Level.BAD, f"Damaged result file: {said[0]}{more}", "Process these frames again.")
    return Judged(number(len(said)), (finding,))


@rule("Frames without particles", "none")
def no_particles(evidence: Evidence) -> Judged:
    """No particles in all frames, or in some."""
    sequence = evidence.record.sequence
    if not len(sequence.frame):
        return Judged("all", (Finding(Level.BAD, "No frame has results"),))
    empty = sequence.frame[sequence.particles == 0]
    if len(empty) == len(sequence.frame):
        advice = "Check gvthres, nnmin and sumg_min where there are no targets, calibration and eps0 where there are."
        if evidence.record.dense:
            advice = "Check the images, the calibration and the limits of the volume."
        return Judged("all", (Finding(Level.BAD, "No particle in any frame", advice),))
    if len(empty):
        text = f"{count(len(empty), 'frame')} without a particle: {describe(empty.tolist())}"
        return Judged(number(len(empty)), (Finding(Level.CHECK, text),))
    return Judged("none")


@rule("Parameter files", "those of the run")
def changed_parameters(evidence: Evidence) -> Judged:
    """The parameter files are no longer those of the run."""
    run = evidence.record.run
    if run is None:
        return Judged()
    experiment, inputs = evidence.record.experiment, run["inputs"]
    if inputs["values"] == experiment.parameters.as_tree() or _same_files(inputs["parameters"]["sha256"], experiment.source):
        return Judged("unchanged")
    text = "The parameter files have changed since the run"
    return Judged("changed", (Finding(Level.NOTE, text, "The table below shows the values of the run."),))


def _same_files(digest: str, source: Path) -> bool:
    """Whether parameter files are those of a run: another version of this program may have other defaults, and other values."""
    try:
        return parameters_digest(source) == digest
    except FormatError:
        return False


@rule("Frames of an earlier run", "none")
def kept_frames(evidence: Evidence) -> Judged:
    """The run kept frames of an earlier one, so its time is not that of all frames."""
    run = evidence.record.run
    if run is None:
        return Judged()
    kept = int(run["frames"]["kept"])
    if not kept:
        return Judged("none")
    text = f"{count(kept, 'frame')} kept from an earlier run: times are those of the other frames"
    return Judged(number(kept), (Finding(Level.NOTE, f"{text} ({duration(float(run['run']['seconds']))})"),))


@rule("Segments of tracking that were tracked twice", "none")
def seams_given_up(evidence: Evidence) -> Judged:
    """Tracking could not be divided among workers."""
    seams = evidence.record.run["seams"] if evidence.record.run is not None else None
    if not seams:
        return Judged()
    given_up = int(seams["given_up"])
    if not given_up:
        return Judged("none")
    text = f"{count(given_up, 'segment')} of tracking had to be tracked twice: this took time, the results are the same"
    return Judged(number(given_up), (Finding(Level.NOTE, text),))


RULES: tuple[Rule, ...] = (
    *(ended_early, failed_frames, missing_frames, damaged_files, no_particles),
    *matching.RULES,
    *tracking.RULES,
    *(changed_parameters, kept_frames, seams_given_up),
)
