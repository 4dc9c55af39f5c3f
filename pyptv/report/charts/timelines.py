"""The charts over time: targets, correspondences, links and losses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pyptv.report.charts.svg import BAD, HEIGHT, SERIES, STYLES, Chart, canvas, legend
from pyptv.report.record import KINDS, Record
from pyptv.report.rules.evidence import link_ratio, median
from pyptv.report.words import count, listing, number, percent, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

MOST_POINTS = 400
"""A longer series is drawn as mean, minimum and maximum of this many groups of frames."""

_FEW_POINTS = 50


def over_time(record: Record) -> list[Chart]:
    """Targets, correspondences, links and losses over the frames; as far as there are data."""
    sequence, tracking = record.sequence, record.tracking
    charts = []
    if len(sequence.frame):
        cameras = {f"camera {n}": targets for n, targets in enumerate(sequence.targets, start=1)}
        lines = _Timeline(record, "targets", "Targets of each camera", sequence.frame, cameras, deviation=not _nothing(cameras))
        charts.append(lines.chart("targets"))
        if sequence.kinds:
            chart = _Timeline(record, "kinds", "Correspondences by kind", sequence.frame, sequence.kinds).chart("particles")
            charts.append(_with(chart, _shares(sequence.kinds)))
    if len(tracking.frame):
        links = {"links": tracking.links, "lost": tracking.lost}
        if tracking.added is not None:
            links["added"] = tracking.added
        chart = _Timeline(record, "links", "Links and losses", tracking.frame, links).chart("particles")
        unknown = " The number of particles added by the tracker was not recorded." if tracking.added is None else ""
        charts.append(_with(chart, f" Link ratio {number(link_ratio(record))}.{unknown}"))
    return charts


def _nothing(lines: dict[str, Floats]) -> bool:
    """Whether all lines are zero, or unknown."""
    return not any(np.nanmax(values, initial=0) > 0 for values in lines.values())


def _with(chart: Chart, more: str) -> Chart:
    return replace(chart, caption=chart.caption + more)


def _shares(kinds: dict[str, Floats]) -> str:
    """The share of each kind in all correspondences."""
    totals = {kind: float(np.nansum(kinds[kind])) for kind in KINDS if kind in kinds}
    whole = sum(totals.values())
    return f" In total {listing(f'{percent(total / whole)} {kind}' for kind, total in totals.items())}." if whole else ""


@dataclass(frozen=True)
class _Timeline:
    """Lines over the frames, from zero, with gaps for missing frames and marks on the axis for failed ones."""

    record: Record
    name: str
    title: str
    frame: Integers
    """(n,) ascending."""
    lines: dict[str, Floats]
    """Label -> (n,)."""
    deviation: bool = False
    """Show the deviation of each line from its own median below: lines of nearly the same height hide changes."""

    def chart(self, unit: str) -> Chart:
        """Draw them."""
        with canvas(self.name, HEIGHT + 110 * self.deviation) as drawn:
            rows = drawn.figure.subplots(
                1 + self.deviation, 1, sharex=True, squeeze=False, height_ratios=[2, 1][: 1 + self.deviation]
            )[:, 0]
            for which, (label, values) in enumerate(self.lines.items()):
                self._draw(rows[0], which, label, values)
                if self.deviation:
                    usual = median(values)
                    self._draw(rows[1], which, label, 100 * (values / usual - 1) if usual > 0 else np.full(len(values), np.nan))
            rows[0].set_ylabel(unit)
            rows[0].set_ylim(0, 1 if _nothing(self.lines) else None)  # for zeros only, matplotlib would draw hundredths
            rows[0].locator_params(axis="y", integer=True)
            if self.deviation:
                rows[1].set_ylabel("% off median")
            dress_frames(rows[-1], self.record)
            _mark_failures(rows[0], self.record)
            legend(rows[0])
        return Chart(self.name, self.title, drawn.svg, self._caption())

    @property
    def _group(self) -> int:
        """Number of values that are drawn as one."""
        span = int(self.frame[-1] - self.frame[0]) // self.record.every + 1
        return -(-span // MOST_POINTS)

    def _draw(self, axes: Axes, which: int, label: str, values: Floats) -> None:
        colour, style = SERIES[which], STYLES[which]
        width = self.record.every * self._group
        mean, low, high = grouped((self.frame - self.frame[0]) // width, values)
        middle = self.frame[0] + width * np.arange(len(mean)) + (width - self.record.every) / 2
        if self._group > 1:
            axes.fill_between(middle, low, high, color=colour, alpha=0.25, linewidth=0)
        marked = range(len(mean)) if len(mean) <= _FEW_POINTS else []
        axes.plot(middle, mean, style, color=colour, label=label, marker=".", markersize=4, markevery=list(marked))
        alone = _alone(mean)
        axes.plot(middle[alone], mean[alone], ".", color=colour, markersize=9)

    def _caption(self) -> str:
        record = self.record
        said = "; ".join(f"{label} {spread(values.tolist())}" for label, values in self.lines.items())
        parts = [f"{self.title} in {count(len(self.frame), 'frame')}: {said}."]
        if record.every > 1:
            parts.append(f"Of {count(record.done, 'frame')}, one in {record.every} was read.")
        if self._group > 1:
            parts.append(f"Drawn: mean, minimum and maximum of each {self._group} values.")
        if failed := len(record.failures) + len(record.missing):
            parts.append(f"{count(failed, 'failed frame')} marked in red on the axis.")
        if self.deviation:
            parts.append("Below: each camera's deviation from its own median.")
        return " ".join(parts)


def grouped(group: Integers, values: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean, minimum and maximum of each group; NaN if a group has no values.

    Args:
        group: (n,) group of each value, ascending, from 0.
        values: (n,); NaN is ignored.
    """
    known = np.isfinite(values)
    n = np.bincount(group[known], minlength=group[-1] + 1)
    some = n > 0
    mean, low, high = (np.full(len(n), np.nan) for _ in range(3))
    starts = np.searchsorted(group[known], np.flatnonzero(some))
    if len(starts):
        mean[some] = np.add.reduceat(values[known], starts) / n[some]
        low[some] = np.minimum.reduceat(values[known], starts)
        high[some] = np.maximum.reduceat(values[known], starts)
    return mean, low, high


def _alone(values: Floats) -> list[int]:
    """The indices of values without a neighbour, which a line would not show."""
    known = np.pad(np.isfinite(values), 1)
    alone: list[int] = np.flatnonzero(known[1:-1] & ~known[:-2] & ~known[2:]).tolist()
    return alone


def _mark_failures(axes: Axes, record: Record) -> None:
    span = max(1, record.asked // MOST_POINTS)
    failed = {failure.frame for failure in record.failures} | set(record.missing)
    if shown := sorted({frame // span * span for frame in failed}):
        axes.plot(shown, [0] * len(shown), "|", color=BAD, markersize=9, markeredgewidth=1.5, clip_on=False)


def dress_frames(axes: Axes, record: Record) -> None:
    """Set the same range of frames on every axis of the page."""
    axes.set_xlabel("frame")
    axes.ticklabel_format(axis="x", style="plain")
    axes.locator_params(axis="x", nbins=4, integer=True)
    margin = max(0.5, 0.02 * (record.last - record.first))
    axes.set_xlim(record.first - margin, record.last + margin)
