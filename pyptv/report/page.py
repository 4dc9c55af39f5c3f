"""The page: everything that is known of a run, drawn, judged and put into the template."""

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
from pyptv.report.evidence import Evidence, Finding, Level
from pyptv.report.motion import Motion, read_motion
from pyptv.report.motion_charts import of_trajectories
from pyptv.report.record import Record, read_record
from pyptv.report.statistics import statistics_charts
from pyptv.report.timelines import over_time
from pyptv.report.verdict import headline, judge
from pyptv.report.views import View, crosses, inside, read_views_of, rings

_TEMPLATE, _STYLE = "report.html.j2", "style.css"
_MARK = 4.0
"""Radius of a mark [px] in an image 1000 px wide."""


def render(experiment: Experiment, frame: int | None = None, *, statistics: bool = False) -> str:
    """The report as HTML, one page that refers to nothing outside of it.

    Args:
        experiment: what has been processed.
        frame: whose images to show; None: the one in the middle of those with particles.
        statistics: whether to show Lagrangian statistics, too.

    Raises:
        ProcessingError: not processed yet, or ``frame`` has no results; no trajectory is long enough for statistics.
    """
    record = read_record(experiment)
    shown = _frame_to_show(record, frame)
    views, problem = _views(record, shown)
    motion = _motion(record)
    findings = judge(Evidence(record, motion, tuple(view.marks.error for view in views)))
    context = _context(record, motion, findings) | _frame_context(shown, views, problem)
    if statistics:
        context["track_charts"] += statistics_charts(experiment)
    return _fill(context)


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
    if record.run is None:
        frames = frames_with(record.experiment.results, "rt_is")
    else:  # not what an earlier run left in frames that this one did not come to
        linked = record.tracking.frame.tolist()
        frames = sorted({*linked, *(frame + 1 for frame in linked)})
    known = record.sequence.particles[np.isfinite(record.sequence.particles)]
    return read_motion(record.experiment, frames, float(known.mean()) if len(known) else 0.0)


def _context(record: Record, motion: Motion | None, findings: list[Finding]) -> dict[str, Any]:
    level, verdict = headline(findings)
    return {
        "name": record.experiment.folder.name or str(record.experiment.folder),
        "folder": str(record.experiment.folder),
        "output": None if record.experiment.output is None else str(record.experiment.output),
        "started": None if record.run is None else str(record.run["run"]["started"]),
        "level": level.name.lower(),
        "verdict": verdict,
        "findings": [(finding.level.name.lower(), _LABELS[finding.level], finding) for finding in findings],
        "time_charts": over_time(record),
        "track_charts": [] if motion is None else of_trajectories(record, motion),
        "stages": tables.stages(record),
        "workers": tables.workers(record),
        "failures": tables.failures(record),
        "parameters": tables.parameters(record),
        "calibrations": tables.calibrations(record),
        "origin": tables.origin(record),
        "recorded": record.run is not None,
        "version": __version__,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "record": record,
        "motion": motion,
    }


_LABELS = {Level.BAD: "Failed", Level.CHECK: "Check", Level.NOTE: "Note"}


def _frame_context(frame: int | None, views: list[View], problem: str) -> dict[str, Any]:
    return {"frame": frame, "views": views, "views_problem": problem, "agreement": tables.agreement(views) if views else None}


def _fill(context: dict[str, Any]) -> str:
    from jinja2 import Environment, StrictUndefined  # an extra
    from markupsafe import Markup  # comes with Jinja2

    package = files("pyptv.report")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"rings": rings, "crosses": crosses, "mark": _MARK, "figures": tables.figures, "inside": inside}
    # the only texts that are not escaped: our own style sheet, and (in the template) the SVG that matplotlib made of numbers
    style = Markup(package.joinpath(_STYLE).read_text(encoding="utf-8"))  # noqa: S704
    template = environment.from_string(package.joinpath(_TEMPLATE).read_text(encoding="utf-8"))
    return template.render(context, style=style)
