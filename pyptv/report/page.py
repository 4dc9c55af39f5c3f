"""The page: charts, verdicts and tables of a run, inserted into the template."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import numpy as np

from pyptv import __version__
from pyptv.core.base.errors import FormatError, ProcessingError
from pyptv.core.base.frames import describe
from pyptv.core.experiment.folder import Experiment
from pyptv.core.files.result_names import frames_with
from pyptv.report import tables
from pyptv.report.advice import advice_chapter
from pyptv.report.charts.motion import of_trajectories
from pyptv.report.charts.sampled import of_sample
from pyptv.report.charts.statistics import statistics_charts
from pyptv.report.charts.timelines import over_time
from pyptv.report.charts.whole_tracks import whole_tracks_chart
from pyptv.report.dense.chapter import read_chapter
from pyptv.report.figures import figures_of
from pyptv.report.methods import citations, methods
from pyptv.report.motion import Motion, read_motion
from pyptv.report.record import Record, read_record
from pyptv.report.rules.evidence import Evidence, Judged, Level
from pyptv.report.rules.verdict import findings_of, headline, judge
from pyptv.report.sample import Sample, read_sample
from pyptv.report.views import View, crosses, inside, read_views_of, rings
from pyptv.report.words import moment, number
from pyptv.trajectories.postprocess.settings import PostProcessing

_TEMPLATE, _STYLE = "report.html.j2", "style.css"
_MARK = 4.0
"""Radius of a mark [px] in an image 1000 px wide."""


def render(
    experiment: Experiment,
    frame: int | None = None,
    frame_rate: float | None = None,
    *,
    statistics: bool = False,
    postprocess: bool = False,
) -> str:
    """The report as HTML, one page without external references.

    Args:
        experiment: a processed one.
        frame: whose images to show; None: the one in the middle of those with particles.
        frame_rate: frames per second; None: as in the parameters.
        statistics: whether to show Lagrangian statistics as well.
        postprocess: whether to show the effect of post-processing; the statistics then use post-processed trajectories.

    Raises:
        ProcessingError: not processed yet, or ``frame`` has no results; no trajectory is long enough for statistics.
    """
    evidence = read_evidence(experiment)
    shown = _frame_to_show(evidence.record, frame)
    views, problem = _views(evidence.record, shown)
    rate = frame_rate or experiment.parameters.sequence.frame_rate or None
    context = _context(evidence, rate) | _frame_context(evidence.record, shown, views, problem)
    if postprocess:
        context["track_charts"].append(whole_tracks_chart(experiment))
    if statistics:
        context["track_charts"] += statistics_charts(experiment, rate, PostProcessing() if postprocess else None)
    return fill(_TEMPLATE, context)


def read_evidence(experiment: Experiment) -> Evidence:
    """All measurements of a run.

    Raises:
        ProcessingError: not processed yet.
    """
    record = read_record(experiment)
    return Evidence(record, _motion(record), _sample(record))


def _frame_to_show(record: Record, frame: int | None) -> int | None:
    there = frames_with(record.experiment.results, "rt_is")
    if frame is not None:
        if frame not in there:
            found = describe(there) if there else "none"
            raise ProcessingError(f"{record.experiment.results}: frame {frame} has no results; frames that have: {found}")
        return frame
    with_particles = record.sequence.frame[record.sequence.particles > 0].tolist()
    known = sorted(set(with_particles) & set(there)) or there
    return known[len(known) // 2] if known else None


def _views(record: Record, frame: int | None) -> tuple[list[View], str]:
    """The views of a frame, or why there are none."""
    if frame is None:
        return [], "No frame has results."
    try:
        command = record.run["command"] if record.run is not None else {}
        return read_views_of(record.experiment, frame, command.get("bit_depth"), command.get("page")), ""
    except FormatError as error:
        return [], str(error)


def _motion(record: Record) -> Motion | None:
    return read_motion(record.experiment, _tracked(record), _particles(record))


def _tracked(record: Record) -> list[int]:
    if record.run is None:
        return frames_with(record.experiment.results, "rt_is")
    linked = record.tracking.frame.tolist()  # without results of an earlier run in frames that this one did not reach
    return sorted({*linked, *(frame + 1 for frame in linked)})


def _sample(record: Record) -> Sample | None:
    there = set(frames_with(record.experiment.results, "rt_is"))
    frames = sorted(there & set(record.sequence.frame.tolist()))
    return read_sample(record.experiment, frames, _particles(record), projections=record.dense)


def _particles(record: Record) -> float:
    """Approximate number of particles per frame."""
    known = record.sequence.particles[np.isfinite(record.sequence.particles)]
    return float(known.mean()) if len(known) else 0.0


def _context(evidence: Evidence, frame_rate: float | None) -> dict[str, Any]:
    record, motion, sample = evidence.record, evidence.motion, evidence.sample
    judged = judge(evidence)
    findings = findings_of(judged)
    level, verdict = headline(findings)
    return {
        "name": record.experiment.folder.name or str(record.experiment.folder),
        "folder": str(record.experiment.folder),
        "output": None if record.experiment.output is None else str(record.experiment.output),
        "started": None if record.run is None else moment(str(record.run["run"]["started"])),
        "level": level.name.lower(),
        "verdict": verdict,
        "findings": [(finding.level.name.lower(), _LABELS[finding.level], finding) for finding in findings],
        "rules": [(rule.name, one.value or "–", rule.limit, *_outcome(one)) for rule, one in judged],
        "figures": figures_of(evidence, frame_rate),
        "time_charts": over_time(record),
        "track_charts": [] if motion is None else of_trajectories(record, motion, frame_rate),
        "sample_charts": [] if sample is None else of_sample(record, sample),
        "dense": read_chapter(record),
        "stages": tables.stages(record),
        "workers": tables.workers(record),
        "failures": tables.failures(record),
        "parameters": tables.parameters(record),
        "calibrations": tables.calibrations(record),
        "origin": tables.origin(record),
        "methods": methods(evidence, frame_rate),
        "citations": citations(record),
        "advice": advice_chapter(record),
        "recorded": record.run is not None,
        "motion": motion,
        "particles": _particles(record) > 0,
    }


_LABELS = {Level.BAD: "Failed", Level.CHECK: "Check", Level.NOTE: "Note"}


def _outcome(judged: Judged) -> tuple[str, str]:
    """The verdict of a rule in one word, and its class in the style sheet."""
    if not judged.findings:
        return ("passed", "") if judged.value else ("not judged", "")
    level = max(finding.level for finding in judged.findings)
    return _LABELS[level].lower(), level.name.lower()


def _frame_context(record: Record, frame: int | None, views: list[View], problem: str) -> dict[str, Any]:
    agreement = tables.agreement(views) if views and not record.dense else None
    return {"frame": frame, "views": views, "views_problem": problem, "agreement": agreement}


def fill(template: str, context: dict[str, Any]) -> str:
    """A template of this package, filled."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined  # an extra
    from markupsafe import Markup  # comes with Jinja2

    package = files("pyptv.report")

    def source(name: str) -> str:
        """The text of a template."""
        return package.joinpath(name).read_text(encoding="utf-8")

    loader = FunctionLoader(source)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=loader)
    environment.globals |= {"rings": rings, "crosses": crosses, "mark": _MARK, "inside": inside, "number": number}
    # the only texts that are not escaped: our own style sheet, and (in the template) SVG that matplotlib made from numbers
    page = {"style": Markup(source(_STYLE)), "version": __version__, "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}  # noqa: S704
    return environment.get_template(template).render(context, **page)
