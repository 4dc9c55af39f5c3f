"""Several runs side by side: key figures, parameters that differ, and overlaid diagrams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.core.experiment.folder import Experiment
from pyptv.report.charts.svg import SERIES, STYLES, Chart, canvas, logarithmic
from pyptv.report.figures import figures_of
from pyptv.report.page import fill, read_evidence
from pyptv.report.rules.evidence import Evidence
from pyptv.report.rules.verdict import findings_of, headline, judge
from pyptv.report.sample import lengths
from pyptv.report.tables import Table, shown_value
from pyptv.report.words import number, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MOST_RUNS = 8
_TEMPLATE = "compare.html.j2"
_BINS = 40
_SAID_OF = {
    "Targets": " per camera and frame",
    "Particles": " per frame",
    "Density": " [particles per pixel]",
    "Trajectories": ", mean length [frames]",
    "Speed": ", median",
    "Displacement": " over the distance to the nearest particle",
    "Reprojection": ", worst camera",
}
"""Explanation of figures whose name is not sufficient."""


@dataclass(frozen=True)
class _Run:
    """A run and its name on the page."""

    label: str
    evidence: Evidence

    @property
    def folder(self) -> str:
        """The folder of the run's results, or of its experiment."""
        experiment = self.evidence.record.experiment
        return str(experiment.output or experiment.folder)


def render_comparison(experiments: Sequence[Experiment]) -> str:
    """The page as HTML.

    Args:
        experiments: two to eight processed ones.

    Raises:
        ProcessingError: one has not been processed.
    """
    runs = [_Run(chr(ord("A") + n), read_evidence(experiment)) for n, experiment in enumerate(experiments)]
    heads = ("", *(f"{run.label}" for run in runs))
    context = {
        "runs": [(run.label, run.folder, *_verdict(run.evidence)) for run in runs],
        "figures": Table("Key figures", heads, _figure_rows(runs), numeric=True),
        "parameters": Table("Parameters that differ", heads, _different(runs), numeric=True),
        "charts": _charts(runs),
    }
    return fill(_TEMPLATE, context)


def _verdict(evidence: Evidence) -> tuple[str, str, list[str]]:
    findings = findings_of(judge(evidence))
    level, words = headline(findings)
    return level.name.lower(), words, [finding.text for finding in findings]


def _figure_rows(runs: Sequence[_Run]) -> list[tuple[str, ...]]:
    """One row per figure that any run has; a dash for runs without it."""
    columns = [{(what, _SAID_OF.get(what, "")): value for what, value, _ in figures_of(run.evidence)} for run in runs]
    names = list(dict.fromkeys(what for column in columns for what in column))
    return [(f"{what}{more}", *(column.get((what, more), "–") for column in columns)) for what, more in names]


def _different(runs: Sequence[_Run]) -> list[tuple[str, ...]]:
    trees = [_flat(run.evidence.record.values) for run in runs]
    names = list(dict.fromkeys(name for tree in trees for name in tree))
    rows = [(name, *(shown_value(tree.get(name)) for tree in trees)) for name in names]
    return [row for row in rows if len(set(row[1:])) > 1]


def _flat(tree: dict[str, Any]) -> dict[str, Any]:
    """Parameters by section and name."""
    flat: dict[str, Any] = {}
    for section, values in tree.items():
        if isinstance(values, dict):
            flat |= {f"{section}.{name}": value for name, value in values.items()}
        else:
            flat[section] = values
    return flat


def _charts(runs: Sequence[_Run]) -> list[Chart]:
    particles = [(run.label, run.evidence.record.sequence.frame, run.evidence.record.sequence.particles) for run in runs]
    charts = [_over_time("particles", "Particles over time", "particles", particles)]
    moved = [
        (run.label, run.evidence.motion.lengths[run.evidence.motion.lengths > 1])
        for run in runs
        if run.evidence.motion is not None and np.any(run.evidence.motion.lengths > 1)
    ]
    if moved:
        charts.append(_histograms("lengths", "Trajectory lengths", "length [frames]", moved))
    speeds = [
        (run.label, np.linalg.norm(run.evidence.motion.displacement, axis=1))
        for run in runs
        if run.evidence.motion is not None and len(run.evidence.motion.displacement)
    ]
    if speeds:
        charts.append(_histograms("speeds", "Displacements", "displacement [mm/frame]", speeds))
    errors = [
        (run.label, np.concatenate([lengths(one) for one in run.evidence.sample.residuals]))
        for run in runs
        if run.evidence.sample is not None and any(len(one.off) for one in run.evidence.sample.residuals)
    ]
    if errors:
        charts.append(_histograms("errors", "Reprojection errors", "distance [px]", errors))
    return charts


def _over_time(name: str, title: str, unit: str, lines: Sequence[tuple[str, Any, Floats]]) -> Chart:
    with canvas(name) as drawn:
        axes = drawn.axes("frame", unit)
        for which, (label, frame, values) in enumerate(lines):
            axes.plot(frame, values, _style(which), color=_colour(which), label=label)
        axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis="x", style="plain")
        axes.locator_params(axis="x", nbins=4, integer=True)
        _legend(axes)
    said = "; ".join(f"{label} {spread(values.tolist())}" for label, _, values in lines)
    return Chart(name, title, drawn.svg, f"{title}: {said}.")


def _histograms(name: str, title: str, unit: str, values: Sequence[tuple[str, Any]]) -> Chart:
    together = np.concatenate([one for _, one in values])
    low, high = float(together.min()), float(np.percentile(together, 99.8))
    whole = together.dtype.kind == "i"
    step = max(1, round((high - low) / _BINS)) if whole else max(high - low, 1e-9) / _BINS
    edges = np.arange(low, high + 2 * step, step) - 0.5 * whole
    with canvas(name) as drawn:
        axes = drawn.axes(unit, "")
        for which, (label, one) in enumerate(values):
            axes.stairs(
                np.histogram(one, edges)[0], edges, color=_colour(which), linestyle=_style(which), label=label, linewidth=1.5
            )
        logarithmic(axes, "number")
        axes.locator_params(axis="x", integer=whole)
        _legend(axes)
    said = "; ".join(f"{label} {number(float(np.median(one)))} ({number(len(one))} in number)" for label, one in values)
    return Chart(name, title, drawn.svg, f"{title}, medians: {said}.")


def _legend(axes: Axes) -> None:
    """Up to eight short labels in a row."""
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=MOST_RUNS, handlelength=1.3, columnspacing=0.7, borderpad=0)


def _colour(which: int) -> str:
    return SERIES[which % len(SERIES)]


def _style(which: int) -> str:
    return STYLES[(which + which // len(SERIES)) % len(STYLES)]
