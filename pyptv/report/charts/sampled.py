"""The charts of the sampled frames: reprojection error, sizes and brightness of targets, positions in the volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyptv.measures.frames import SUMG, N
from pyptv.measures.reprojection import disparity_map
from pyptv.report.charts.svg import BAD, GRID, SERIES, STYLES, Chart, canvas, legend
from pyptv.report.charts.timelines import dress_frames
from pyptv.report.record import Record
from pyptv.report.rules.evidence import detection_value
from pyptv.report.sample import Sample, lengths
from pyptv.report.words import count, number, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BINS = 48
_CELLS = (8, 6)
"""Cells of a map across and down the image."""

_FEWEST = 5
"""Minimum number of targets in a cell for an arrow."""

_ARROW = 0.8
"""Length of the longest arrow relative to the side of a cell."""


def of_sample(record: Record, sample: Sample) -> list[Chart]:
    """All charts for which there are data."""
    charts = [sizes(record, sample)] if any(len(targets) for frame in sample.frames for targets in frame.targets) else []
    if any(len(one.off) for one in sample.residuals):
        charts = [errors(record, sample), maps(record, sample), *charts]
    if len(sample.positions):
        charts.append(volume(record, sample))
    return charts


def errors(record: Record, sample: Sample) -> Chart:
    """Reprojection error of each camera over time."""
    with canvas("errors") as drawn:
        axes = drawn.axes("frame", "px")
        for which, one in enumerate(sample.residuals):
            size = lengths(one)
            medians = [np.median(size[one.frame == frame]) if np.any(one.frame == frame) else np.nan for frame in sample.numbers]
            line = axes.plot(sample.numbers, medians, STYLES[which], label=f"camera {which + 1}")[0]
            line.set(color=SERIES[which], marker=".", markersize=4)
        axes.set_ylim(bottom=0)
        dress_frames(axes, record)
        legend(axes)
    said = "; ".join(f"camera {n} {number(error)}" for n, error in enumerate(sample.errors, start=1))
    caption = (
        f"Median distance of targets and projected particles in px: {said}. For particles seen by "
        f"{number(sample.views)} cameras, in {count(len(sample.frames), 'frame')}, evenly spread. "
        "A slow rise means that a camera or the light moved."
    )
    return Chart("errors", "Reprojection error over time", drawn.svg, caption)


def maps(record: Record, sample: Sample) -> Chart:
    """Maps of the shift from projected particles to their targets over the image."""
    ptv = record.experiment.parameters.ptv
    size = (ptv.imx, ptv.imy)
    fields = [disparity_map(one, size, _CELLS, _FEWEST) for one in sample.residuals]
    largest = [float(np.nanmax(np.hypot(*field.shift.T), initial=0.0)) for field in fields]
    side = min(ptv.imx / _CELLS[0], ptv.imy / _CELLS[1])
    with canvas("maps", height=360) as drawn:
        grid = drawn.figure.subplots(-(-len(fields) // 2), 2, squeeze=False)
        for axes in grid.flat[len(fields) :]:
            axes.remove()
        for which, (axes, field) in enumerate(zip(grid.flat, fields, strict=False)):
            _dress_image(axes, f"camera {which + 1}", *size)
            if max(largest) > 0:
                x, y = np.meshgrid((field.x[:-1] + field.x[1:]) / 2, (field.y[:-1] + field.y[1:]) / 2)
                shift = field.shift * (_ARROW * side / max(largest))
                arrow = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.008, "color": SERIES[which]}
                known = np.isfinite(shift).all(axis=2)
                axes.quiver(x[known], y[known], *shift[known].T, **arrow)
    said = "; ".join(f"camera {n} {number(one)}" for n, one in enumerate(largest, start=1))
    caption = (
        f"Median shift from a projected particle to its target, in cells of each image; the longest arrow is "
        f"{number(max(largest))} px. Largest in px: {said}. Arrows that agree with their neighbours are errors of the "
        f"calibration; cells with fewer than {_FEWEST} targets are left out."
    )
    return Chart("maps", "Reprojection error over the image", drawn.svg, caption)


def _dress_image(axes: Axes, title: str, width: int, height: int) -> None:
    """Axes of an image: y downwards, only a frame."""
    axes.set_title(title, loc="left")
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(GRID)


def sizes(record: Record, sample: Sample) -> Chart:
    """Histograms of the pixel counts and grey sums of targets, with their limits where the method has any."""
    said = []
    targets = [sample.targets(camera) for camera in range(record.num_cams)]
    limits = ((N, "size [pixels]", ("nnmin", "nnmax")), (SUMG, "sum of grey values", ("sumg_min",)))
    with canvas("sizes", height=380) as drawn:
        rows = drawn.figure.subplots(2, 1)
        for row, (column, what, names) in zip(rows, limits, strict=True):
            values = [one[:, column] for one in targets]
            middle, high, most = np.percentile(np.concatenate(values), (50, 98, 99)).tolist()
            edges = whole_bins(high)
            for which, one in enumerate(values):
                counts = np.histogram(one[one < edges[-1]], edges)[0]
                steps = row.stairs(counts, edges, color=SERIES[which], label=f"camera {which + 1}")
                steps.set_linestyle(STYLES[which])
            limited = () if record.dense else names
            for name in limited:
                if (limit := detection_value(record, name)) <= edges[-1]:
                    row.axvline(limit, color=BAD, linestyle="--", linewidth=1.2)
            row.set_xlabel(what)
            row.set_ylabel("targets")
            row.locator_params(axis="x", nbins=5, integer=True)
            given = ", ".join(f"{name} {number(detection_value(record, name))}" for name in limited)
            said.append(f"{what}: median {number(middle)}, 99\u00a0% below {number(most)}" + (f" ({given})" if given else ""))
        legend(rows[0])
    hint = (
        "Calculated from the spots that were fitted."
        if record.dense
        else "Dashed: the limits, if they are in the range shown (98\u00a0% of the targets). A histogram that is cut at a "
        "limit loses particles; a rise towards the lower limit is noise."
    )
    targets_in = f"{count(sum(map(len, targets)), 'target')} in {count(len(sample.frames), 'frame')}"
    caption = f"{targets_in}. Their {'; their '.join(said)}. {hint}"
    return Chart("sizes", "Size and brightness of targets", drawn.svg, caption)


def whole_bins(high: float) -> NDArray[np.int64]:
    """Edges of some fifty bins or fewer from 0 to above ``high``, each of which holds equally many whole numbers."""
    above = int(max(high, 1.0)) + 1
    width = -(-above // _BINS)
    return np.arange(0, above + width, width)


def volume(record: Record, sample: Sample) -> Chart:
    """Histograms of positions along each axis, with the limits of the measuring volume."""
    criteria = record.experiment.parameters.criteria
    bounds = {"x": (min(criteria.X_lay), max(criteria.X_lay)), "z": (min(criteria.Zmin_lay), max(criteria.Zmax_lay))}
    said = []
    positions = sample.positions
    with canvas("volume", height=420) as drawn:
        rows = drawn.figure.subplots(3, 1)
        for row, axis, values, colour in zip(rows, "xyz", positions.T, SERIES, strict=False):
            low, high = (float(one) for one in np.percentile(values, (0.2, 99.8)))
            given = bounds.get(axis, (low, high))
            row.stairs(
                *np.histogram(values, np.linspace(min(low, given[0]), max(high, given[1]) + 1e-9, _BINS + 1)),
                fill=True,
                color=colour,
            )
            inner = " to ".join(number(float(one)) for one in np.percentile(values, (0.5, 99.5)))
            said.append(f"{axis} 99\u00a0% within {inner}")
            if axis in bounds:
                for limit in given:
                    row.axvline(limit, color=BAD, linestyle="--", linewidth=1.2)
                inside = float(np.mean((values >= given[0]) & (values <= given[1])))
                said[-1] += f", limits {number(given[0])} to {number(given[1])} (inside: {percent(inside)})"
            row.set_xlabel(f"{axis} [mm]")
            row.set_ylabel("particles")
    caption = (
        f"Positions of {count(len(positions), 'particle')} in {count(len(sample.frames), 'frame')}, in mm: "
        f"{'; '.join(said)}. "
        "Dashed: X_lay, where the limits of z are given, and the outermost Zmin_lay and Zmax_lay."
    )
    return Chart("volume", "Positions in the measuring volume", drawn.svg, caption)
