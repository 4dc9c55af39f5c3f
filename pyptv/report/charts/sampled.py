"""The figures of the sampled frames: reprojection error, sizes and brightness of targets, positions in the volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyptv.report.charts.svg import BAD, GRID, SERIES, STYLES, Chart, canvas, legend
from pyptv.report.evidence import detection_value
from pyptv.report.record import Record
from pyptv.report.sample import Sample
from pyptv.report.words import count, number, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BINS = 48
_CELLS = (8, 6)
"""Of a map: across and down the image."""

_FEWEST = 5
"""Targets in a cell of a map that make an arrow."""

_ARROW = 0.8
"""Length of the longest arrow, over the side of a cell."""


def of_sample(record: Record, sample: Sample) -> list[Chart]:
    """All figures that there is data for."""
    charts = [sizes(record, sample)] if any(len(camera.targets) for camera in sample.cameras) else []
    if any(len(camera.miss) for camera in sample.cameras):
        charts = [errors(record, sample), maps(record, sample), *charts]
    if len(sample.positions):
        charts.append(volume(record, sample))
    return charts


def errors(record: Record, sample: Sample) -> Chart:
    """Reprojection error of each camera over time."""
    with canvas("errors") as drawn:
        axes = drawn.axes("frame", "px")
        for which, camera in enumerate(sample.cameras):
            line = axes.plot(sample.frames, camera.error_in(sample.frames), STYLES[which], label=f"camera {which + 1}")[0]
            line.set(color=SERIES[which], marker=".", markersize=4)
        axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis="x", style="plain")
        axes.locator_params(axis="x", nbins=4, integer=True)
        margin = max(0.5, 0.02 * (record.last - record.first))
        axes.set_xlim(record.first - margin, record.last + margin)
        legend(axes)
    said = "; ".join(f"camera {n} {number(camera.error)}" for n, camera in enumerate(sample.cameras, start=1))
    caption = (
        f"Median distance of targets and particles projected back, in px: {said}. "
        f"{count(len(sample.frames), 'frame')}, evenly spread. A slow rise means that a camera or the light moved."
    )
    return Chart("errors", "Reprojection error over time", drawn.svg, caption)


def maps(record: Record, sample: Sample) -> Chart:
    """Where in the image, and in which direction, projected particles lie beside their targets."""
    ptv = record.experiment.parameters.ptv
    fields = [_arrows(camera.at, camera.miss, ptv.imx, ptv.imy) for camera in sample.cameras]
    longest = max((float(np.hypot(*arrows[1].T).max()) for arrows in fields if len(arrows[0])), default=0.0)
    side = min(ptv.imx / _CELLS[0], ptv.imy / _CELLS[1])
    with canvas("maps", height=360) as drawn:
        columns = 2 if len(fields) > 1 else 1
        grid = drawn.figure.subplots(-(-len(fields) // columns), columns, squeeze=False)
        for axes in grid.flat[len(fields) :]:
            axes.remove()
        for which, (axes, (at, shift)) in enumerate(zip(grid.flat, fields, strict=False)):
            _dress_image(axes, f"camera {which + 1}", ptv.imx, ptv.imy)
            if len(at) and longest > 0:
                scaled = shift * (_ARROW * side / longest)
                arrow = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.008, "color": SERIES[which]}
                axes.quiver(*at.T, *scaled.T, **arrow)
    said = "; ".join(
        f"camera {n} mean {number(float(np.hypot(*camera.miss.mean(axis=0))))}, largest cell "
        f"{number(float(np.hypot(*shift.T).max())) if len(shift) else '–'}"
        for n, (camera, (_, shift)) in enumerate(zip(sample.cameras, fields, strict=True), start=1)
        if len(camera.miss)
    )
    caption = (
        f"Median shift from a target to its particle projected back, over each image; the longest arrow is {number(longest)} px. "
        f"In px: {said}. Arrows that agree with their neighbours are errors of the calibration; cells with fewer than "
        f"{_FEWEST} targets are left out."
    )
    return Chart("maps", "Reprojection error over the image", drawn.svg, caption)


def _arrows(at: Floats, miss: Floats, width: int, height: int) -> tuple[Floats, Floats]:
    """Middle (k, 2) [px] of the cells of an image with enough targets, and their median shift (k, 2) [px]."""
    across, down = _CELLS
    cell = np.clip((at / (width / across, height / down)).astype(int), 0, (across - 1, down - 1))
    which = cell[:, 1] * across + cell[:, 0]
    places, shifts = [], []
    for one in np.unique(which):
        inside = which == one
        if np.count_nonzero(inside) >= _FEWEST:
            places.append(((one % across + 0.5) * width / across, (one // across + 0.5) * height / down))
            shifts.append(np.median(miss[inside], axis=0))
    return np.array(places).reshape(-1, 2), np.array(shifts).reshape(-1, 2)


def _dress_image(axes: Axes, title: str, width: int, height: int) -> None:
    """Axes of an image: y downwards, nothing but a frame."""
    axes.set_title(title, loc="left")
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(GRID)


def sizes(record: Record, sample: Sample) -> Chart:
    """Histograms of the pixel counts and grey sums of targets, with their limits."""
    said = []
    with canvas("sizes", height=380) as drawn:
        rows = drawn.figure.subplots(2, 1)
        limits = (
            (rows[0], 2, "pixels of a target", ("nnmin", "nnmax")),
            (rows[1], 5, "sum of grey values", ("sumg_min",)),
        )
        for row, column, what, names in limits:
            values = [camera.targets[:, column] for camera in sample.cameras]
            high = max((float(np.percentile(one, 99.5)) for one in values if len(one)), default=1.0)
            edges = np.linspace(0, max(high, 1.0), min(_BINS, int(max(high, 2))) + 1)
            for which, one in enumerate(values):
                row.stairs(
                    np.histogram(one, edges)[0], edges, color=SERIES[which], linestyle=STYLES[which], label=f"camera {which + 1}"
                )
            for name in names:
                limit = detection_value(record, name)
                if limit <= edges[-1]:
                    row.axvline(limit, color=BAD, linestyle="--", linewidth=1.2)
            row.set_xlabel(what)
            row.set_ylabel("targets")
            given = ", ".join(f"{name} {number(detection_value(record, name))}" for name in names)
            middle, most = (number(float(one)) for one in np.percentile(np.concatenate(values), (50, 99)))
            said.append(f"{what}: median {middle}, 99\u00a0% below {most} ({given})")
        legend(rows[0])
    total = sum(len(camera.targets) for camera in sample.cameras)
    caption = (
        f"{count(total, 'target')} in {count(len(sample.frames), 'frame')}. {'; '.join(said)}. "
        "Dashed: the limits, where they are in the range shown. A histogram that is cut "
        "at a limit loses particles; one that grows towards the lower limit is noise."
    )
    return Chart("sizes", "Size and brightness of targets", drawn.svg, caption)


def volume(record: Record, sample: Sample) -> Chart:
    """Histograms of positions along each axis, with the limits of the measuring volume."""
    criteria = record.experiment.parameters.criteria
    bounds = {"x": (min(criteria.X_lay), max(criteria.X_lay)), "z": (min(criteria.Zmin_lay), max(criteria.Zmax_lay))}
    said = []
    with canvas("volume", height=420) as drawn:
        rows = drawn.figure.subplots(3, 1)
        for row, axis, values, colour in zip(rows, "xyz", sample.positions.T, SERIES, strict=False):
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
        f"Positions of {count(len(sample.positions), 'particle')} in {count(len(sample.frames), 'frame')}, in mm: "
        f"{'; '.join(said)}. "
        "Dashed: X_lay, where the limits of z are given, and the outermost Zmin_lay and Zmax_lay."
    )
    return Chart("volume", "Positions in the measuring volume", drawn.svg, caption)
