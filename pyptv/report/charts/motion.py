"""The charts of trajectories: lengths, velocities, and a view in space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.report.charts.svg import BAD, GRID, INK, RAMP, SERIES, SOFT, Chart, canvas, logarithmic
from pyptv.report.motion import Motion
from pyptv.report.record import Record
from pyptv.report.rules.evidence import limits, track_value
from pyptv.report.words import count, listing, number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BINS = 60
_WIDE = 50
"""Ratio of maximum and minimum count above which a histogram has a logarithmic scale."""

_TRACK_POINTS = 60
"""Maximum number of points drawn per trajectory."""

_FLAT = 0.3
"""Minimum ratio of a side of the 3-D view to its longest one."""


def of_trajectories(record: Record, motion: Motion, frame_rate: float | None = None) -> list[Chart]:
    """All charts of trajectories; empty if no particle was linked."""
    if not motion.shown or not len(motion.displacement):
        return []
    charts = [lengths(motion), velocities(record, motion, frame_rate)]
    if len(motion.acceleration):
        charts.append(turns(record, motion))
    return [*charts, space(motion, frame_rate)]


def lengths(motion: Motion) -> Chart:
    """Histogram of trajectory lengths, without single particles."""
    linked = motion.lengths[motion.lengths > 1]
    most = int(linked.max())
    edges = np.unique(np.rint(np.linspace(2, most + 1, min(_BINS, most) + 1)))
    counts = np.histogram(linked, edges)[0]
    with canvas("lengths") as drawn:
        axes = drawn.axes("length [frames]", "trajectories")
        axes.stairs(counts, edges - 0.5, fill=True, color=SERIES[0])
        axes.locator_params(axis="x", integer=True)
        wide = counts.max() > _WIDE * counts[counts > 0].min()
        if wide:
            logarithmic(axes, "trajectories")
    caption = (
        f"Lengths of {count(len(linked), 'trajectory', 'trajectories')}: median {count(int(np.median(linked)), 'frame')}, "
        f"mean {number(float(linked.mean()))}, longest {most}. "
        f"{count(int(np.count_nonzero(motion.lengths == 1)), 'particle')} without a link left out. "
        f"{'Logarithmic scale. ' if wide else ''}{_where(motion)}"
    )
    return Chart("lengths", "Trajectory lengths", drawn.svg, caption)


def velocities(record: Record, motion: Motion, frame_rate: float | None = None) -> Chart:
    """Histogram of displacements along each axis, with the dv limits."""
    moved = motion.displacement
    bounds = [limits(record, axis) for axis in "xyz"]
    ends = [*np.ravel(bounds).tolist(), *np.percentile(moved, (0.1, 99.9)).tolist()]
    edges = np.linspace(min(ends), max(ends), 2 * _BINS + 1)
    said = []
    with canvas("velocities", height=400) as drawn:
        rows = drawn.figure.subplots(3, 1, sharex=True, sharey=True)
        for row, axis, pair, values, colour in zip(rows, "xyz", bounds, moved.T, SERIES, strict=False):
            counts = np.histogram(values, edges)[0]
            row.stairs(counts, edges, fill=True, color=colour)
            row.text(0.02, 0.82, axis, transform=row.transAxes, fontweight="bold")
            for limit in pair:
                line = row.axvline(limit, color=BAD, linestyle="--", linewidth=1.2)
            low, high = np.percentile(values, (0.5, 99.5))
            inner = f"99\u00a0% within {number(float(low))} to {number(float(high))}"
            said.append(f"{axis} mean {number(float(values.mean()))}, {inner}, limits {number(pair[0])} to {number(pair[1])}")
        logarithmic(rows[1], "links")
        rows[0].legend([line], ["dv limits"], loc="lower right", bbox_to_anchor=(1.0, 1.0), borderpad=0)
        rows[-1].set_xlabel("displacement [mm/frame]")
    speed = f" {number(frame_rate)} frames/s: 1 mm/frame is {number(frame_rate)} mm/s." if frame_rate else ""
    caption = (
        f"Displacements of {count(len(moved), 'link')} along each axis in mm/frame: {'; '.join(said)}. "
        f"Dashed: the dv limits.{speed} {_where(motion)}"
    )
    return Chart("velocities", "Velocities and dv limits", drawn.svg, caption)


def turns(record: Record, motion: Motion) -> Chart:
    """Histograms of accelerations and of angles, each with its limit."""
    said = []
    with canvas("turns", height=380) as drawn:
        rows = drawn.figure.subplots(2, 1)
        for row, name, what, unit, values, colour in (
            (rows[0], "dacc", "acceleration", "mm/frame²", motion.acceleration, SERIES[0]),
            (rows[1], "angle", "angle", "gon", motion.angle, SERIES[1]),
        ):
            known = values[np.isfinite(values)]
            limit = track_value(record, name)
            if not len(known):
                continue
            end = max(0.0 if record.dense else limit, float(np.percentile(known, 99.9))) * 1.05 or 1.0
            row.stairs(*np.histogram(known, np.linspace(0, end, _BINS + 1)), fill=True, color=colour)
            logarithmic(row, "links")
            row.set_ylabel("links (log)")
            row.set_xlabel(f"{what} [{unit}]")
            middle, most = (number(float(one)) for one in np.percentile(known, (50, 99)))
            said.append(f"{what} median {middle}, 99\u00a0% below {most} {unit}")
            if not record.dense:
                line = row.axvline(limit, color=BAD, linestyle="--", linewidth=1.2)
                row.legend([line], [f"limit {name}"], loc="lower right", bbox_to_anchor=(1.0, 1.0), borderpad=0)
                said[-1] += f", limit {name} {number(limit)}"
    if record.dense:
        free = "The method dense has no limits for them."
        caption = f"Change between successive displacements: {'; '.join(said)}. {free} {_where(motion)}"
        return Chart("turns", "Accelerations and angles", drawn.svg, caption)
    caption = (
        f"Change between successive displacements, which the tracker limits: {'; '.join(said)}. "
        f"A particle may exceed the angle if its acceleration is below a tenth of dacc. {_where(motion)}"
    )
    return Chart("turns", "Accelerations, angles and their limits", drawn.svg, caption)


def space(motion: Motion, frame_rate: float | None = None) -> Chart:
    """Some trajectories in space, coloured by their mean speed."""
    tracks = motion.shown
    unit, factor = ("mm/s", frame_rate) if frame_rate else ("mm/frame", 1.0)
    speeds = factor * np.array([np.linalg.norm(np.diff(track, axis=0), axis=1).mean() for track in tracks])
    edges = np.linspace(speeds.min(), speeds.max(), len(RAMP) + 1)
    classes = np.clip(np.searchsorted(edges, speeds, side="right") - 1, 0, len(RAMP) - 1)
    points = np.concatenate(tracks)
    with canvas("space", height=430) as drawn:
        drawn.figure.set_layout_engine("none")  # which does not support 3-D axes well
        axes: Any = drawn.figure.add_axes((0.0, 0.19, 1.0, 0.83), projection="3d")
        for track, which in zip(tracks, classes, strict=True):
            thin = track[:: -(-len(track) // _TRACK_POINTS)]
            axes.plot(*thin[:, [0, 2, 1]].T, color=RAMP[which], linewidth=1.1)
        _dress(axes, points)
        for low, high, colour in zip(edges[:-1], edges[1:], RAMP, strict=True):
            axes.plot([], [], [], color=colour, linewidth=4, label=f"{number(low)} – {number(high)}")
        drawn.figure.legend(loc="lower center", ncols=3, title=f"mean speed [{unit}]", handlelength=1.2)
    sides = zip("xyz", points.min(axis=0), points.max(axis=0), strict=True)
    long = int(np.count_nonzero(motion.lengths >= motion.shown_from))
    which_ones = (
        f"All {count(long, 'trajectory', 'trajectories')}"
        if len(tracks) == long
        else f"{number(len(tracks))} trajectories chosen at random from {number(long)}"
    )
    caption = (
        f"{which_ones} of at least {count(motion.shown_from, 'frame')}, in "
        f"{listing(f'{axis} {number(low)} to {number(high)}' for axis, low, high in sides)} mm. "
        f"Mean speeds from {number(float(speeds.min()))} to {number(float(speeds.max()))} {unit}. {_where(motion)}"
    )
    return Chart("space", "Trajectories in space", drawn.svg, caption)


def _dress(axes: Any, points: Floats) -> None:
    """Axes of a 3-D view: y upwards, equal scales, nothing filled."""
    axes.set_xlabel("x [mm]")
    axes.set_ylabel("z [mm]")
    axes.set_zlabel("y [mm]")
    axes.tick_params(pad=1)
    sides = np.maximum(np.ptp(points, axis=0), 1e-3)[[0, 2, 1]]
    axes.set_box_aspect(np.maximum(sides, _FLAT * sides.max()), zoom=1.12)
    axes.view_init(elev=18, azim=-62)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color("none")
        axis.line.set_color(SOFT)
        axis.get_major_locator().set_params(nbins=4)
        axis._axinfo["grid"].update(color=GRID, linewidth=0.8)  # noqa: SLF001 -- the only way there is
        axis.label.set_color(INK)


def _where(motion: Motion) -> str:
    """The frames from which trajectories were read."""
    first, last = motion.stretches[0][0], motion.stretches[-1][1]
    if motion.whole:
        return f"Frames {first} to {last}."
    return f"Only frames {first} to {last} were read, to limit the time; trajectories that extend beyond them are cut."
