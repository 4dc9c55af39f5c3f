"""The charts of the method ``dense``: particles by iteration, energy left in the images, disparity of the cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.report.charts.svg import HEIGHT, SERIES, SOFT, STYLES, Chart, canvas, legend
from pyptv.report.charts.timelines import dress_frames
from pyptv.report.dense.disparity import Tile
from pyptv.report.record import Record
from pyptv.report.words import count, listing, number, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Pass = Mapping[str, Any]

_LEAST_SCALE = 0.1
"""[px] Minimum disparity shown by an arrow as long as a tile, so that noise does not look like disparity."""


def iterations_chart(passes: Sequence[Pass]) -> Chart:
    """Number of particles after each iteration of each pass, mean of the frames that had it."""
    said = []
    with canvas("iterations") as drawn:
        axes = drawn.axes("iteration", "particles per frame")
        for which, one in enumerate(passes):
            means = [row["particles"] / max(1, row["frames"]) for row in one["iterations"]]
            steps = np.arange(1, len(means) + 1)
            axes.plot(
                steps, means, STYLES[which % 4], color=SERIES[which % 4], label=f"pass {which + 1}", marker=".", markersize=6
            )
            if means:
                new, pruned = (sum(row[name] for row in one["iterations"]) for name in ("new", "pruned"))
                frames = max(1, len(one["frame"]))
                said.append(
                    f"pass {which + 1} from {number(round(means[0]))} to {number(round(means[-1]))} particles per frame, "
                    f"{number(round(new / frames))} new and {number(round(pruned / frames))} pruned on the way"
                )
        axes.set_ylim(bottom=0)
        axes.locator_params(axis="x", integer=True)
        legend(axes)
    caption = f"Particles after each iteration: {'; '.join(said) or 'nothing'}. Frames that need fewer iterations end earlier."
    return Chart("iterations", "Particles by iteration", drawn.svg, caption)


def energy_chart(record: Record, passes: Sequence[Pass]) -> Chart:
    """The remaining energy of the images, over the frames."""
    with canvas("energy") as drawn:
        axes = drawn.figure.subplots()
        axes.set_ylabel("energy left [%]")
        for which, one in enumerate(passes):
            values = 100 * np.asarray(one["energy_left"], float)
            axes.plot(one["frame"], values, STYLES[which % 4], color=SERIES[which % 4], label=f"pass {which + 1}", marker=".")
        axes.set_ylim(bottom=0)
        dress_frames(axes, record)
        legend(axes)
    each = (
        f"pass {which}: {spread([100 * value for value in one['energy_left']])} %" for which, one in enumerate(passes, start=1)
    )
    caption = (
        f"Energy of the residual images over that of the images, both above the background and the noise: {'; '.join(each)}."
    )
    return Chart("energy", "What is left in the images", drawn.svg, caption)


def disparity_charts(tiles: Sequence[Tile], cameras: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """For each camera with tiles, maps of the disparity before and after the correction, all on one scale."""
    scale = max((float(np.hypot(tile.before_x, tile.before_y)) for tile in tiles), default=0.0)
    scale = max(scale, _LEAST_SCALE)
    charts = []
    for camera, said in enumerate(cameras, start=1):
        if own := [tile for tile in tiles if tile.camera == camera]:
            name = f"disparity-{camera}"
            with canvas(name, 0.75 * HEIGHT) as drawn:
                before, after = drawn.figure.subplots(1, 2, sharex=True, sharey=True)
                _arrows(before, "before", [(t.x, t.y, t.before_x, t.before_y) for t in own], scale)
                _arrows(after, "after", [(t.x, t.y, t.after_x, t.after_y) for t in own], scale)
            charts.append(Chart(name, f"Disparity of camera {camera}", drawn.svg, _caption(camera, own, said, scale)))
    return charts


def _arrows(axes: Axes, title: str, rows: Sequence[tuple[float, float, float, float]], scale: float) -> None:
    x, y, u, v = np.array(rows).T
    edge = min((float(d) for d in (*np.diff(np.unique(x)), *np.diff(np.unique(y))) if d > 0), default=100.0)
    axes.plot(x, y, ".", color=SOFT, markersize=2)
    axes.quiver(x, y, u, v, color=SERIES[0], scale=scale / edge, angles="xy", scale_units="xy", width=0.012)
    axes.set_title(title)
    axes.set(aspect="equal", xticks=[], yticks=[])
    axes.set_xlim(x.min() - edge, x.max() + edge)
    axes.set_ylim(y.max() + edge, y.min() - edge)


def _caption(camera: int, tiles: Sequence[Tile], said: Mapping[str, Any], scale: float) -> str:
    facts = [
        f"{name} {number(said[key])} px"
        for name, key in (
            ("rms before", "before_px"),
            ("after", "after_px"),
            ("largest correction", "largest_px"),
            ("standard error", "uncertainty_px"),
        )
        if said.get(key) is not None
    ]
    longest = [max(float(np.hypot(*shift)) for shift in shifts) for shifts in _shifts(tiles)]
    return (
        f"Camera {camera}, {count(len(tiles), 'tile')} with {count(said['matches'], 'safe match', 'safe matches')}: "
        f"{listing(facts)}. Longest arrow before {number(longest[0])} px, after {number(longest[1])} px; "
        f"one as long as a tile is {number(scale)} px."
    )


def _shifts(tiles: Sequence[Tile]) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Disparity of each tile [px], before the correction and after it."""
    return [(tile.before_x, tile.before_y) for tile in tiles], [(tile.after_x, tile.after_y) for tile in tiles]
