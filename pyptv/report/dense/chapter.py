"""The chapter on the method ``dense``: iterations, residual images, the self-calibration, links by chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.core.files.store import Store
from pyptv.core.files.tables import NO_FRAME
from pyptv.report.charts.svg import Chart
from pyptv.report.dense.charts import disparity_charts, energy_chart, iterations_chart
from pyptv.report.dense.disparity import Tile, read_tiles
from pyptv.report.record import Record
from pyptv.report.tables import Table
from pyptv.report.views import encoded, stretched
from pyptv.report.words import count, number, percent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

_VIEW = "view"
"""Name of the table with a part of the images of one frame (:mod:`pyptv.core.stages.dense.find` writes it)."""
_LARGEST_SIDE = 2000
_MOST_CAMERAS = 8

Figures = list[tuple[str, str, str]]
Pass = Mapping[str, Any]


@dataclass(frozen=True)
class Leftover:
    """A part of a camera's image, and its residual."""

    camera: int
    """Counted from 1."""
    width: int
    """Size of the part [px]."""
    height: int
    image: str
    """As a ``data:`` URI."""
    residual: str
    left: str
    """Share of the energy above the background."""


@dataclass(frozen=True)
class Chapter:
    """The content of the chapter."""

    figures: Figures
    """Name, value, remark."""
    charts: Sequence[Chart]
    iterations: Table
    disparity: Sequence[Chart]
    disparity_problem: str
    """Why no disparity is shown; empty if it is, or if there was no self-calibration."""
    views: Sequence[Leftover]
    place: str
    """The part and the frame."""
    views_problem: str


def read_chapter(record: Record) -> Chapter | None:
    """The chapter on a run; None if another method found the particles, or nothing was reconstructed."""
    said = (record.run or {}).get("dense")
    passes = [one for one in said["passes"] if one["frame"]] if said else []
    if not said or not passes:
        return None
    tiles, problem = _disparity(record, said["self_calibration"])
    views, place, missing = _views(record)
    return Chapter(
        [*_found(passes), *_chance(said["chance"])],
        [iterations_chart(passes), energy_chart(record, passes)],
        _iterations(passes, record.num_cams),
        disparity_charts(tiles, said["self_calibration"]["cameras"]) if tiles else [],
        problem,
        views,
        place,
        missing,
    )


# -- numbers -----------------------------------------------------------------------------------------------------------


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _found(passes: Sequence[Pass]) -> Figures:
    last, first = passes[-1], passes[0]
    particles, before = _mean(last["particles"]), _mean(first["particles"])
    more = f"mean of {count(len(last['frame']), 'frame')}" + (f"; {number(before)} after pass 1" if len(passes) > 1 else "")
    figures = [
        ("Particles per frame", number(particles), more),
        ("Energy left", percent(_mean(last["energy_left"])), "of the images, above background and noise"),
        ("Misfit", percent(_mean(last["misfit"])), "median particle: energy left over that of its spots"),
    ]
    if len(passes) > 1:
        figures.append(
            ("Known at the start", number(_mean(last["begun_with"])), "particles per frame, from tracks, in the last pass")
        )
    return figures


def _chance(chance: Mapping[str, int] | None) -> Figures:
    if chance is None:
        return []
    tracks = chance["chance_tracks"] / chance["sampled_tracks"] if chance["sampled_tracks"] else math.nan
    more = (
        f"tracks of 3 frames that displaced frames give, over those that there are, in {count(chance['frames'], 'frame')}: "
        f"{number(chance['chance_tracks'])} of {number(chance['sampled_tracks'])}; links "
        f"{number(chance['chance_links'])} of {number(chance['sampled_links'])}"
    )
    return [("By chance", percent(tracks), more)]


def _iterations(passes: Sequence[Pass], n_cams: int) -> Table:
    """One row per iteration of each pass, means over the frames that had it."""
    rows = []
    for which, one in enumerate(passes, start=1):
        for step, row in enumerate(one["iterations"], start=1):
            frames = max(1, row["frames"])
            cameras = row["cameras"] / frames
            last = step == len(one["iterations"])
            kind = "all cameras" if cameras == n_cams else "one camera less" if cameras > n_cams - 1.5 else "first or last"
            kind = "last shaking" if cameras == 0 and last else "what tracks say" if cameras == 0 and step == 1 else kind
            values = [number(round(row[name] / frames, 1)) for name in ("new", "pruned", "particles")]
            rows.append((f"{which}.{step}", kind, number(row["frames"]), *values))
    heads = ("Iteration", "Searched with", "Frames", "New", "Pruned", "Particles")
    return Table("Iterations of each pass, means over the frames that had them", heads, rows, numeric=True)


# -- what is left, and the self-calibration ------------------------------------------------------------------------------


def _disparity(record: Record, said: Mapping[str, Any] | None) -> tuple[list[Tile], str]:
    if said is None:
        return [], "The calibration was used as it is: there was no self-calibration."
    tiles, problem = read_tiles(record.experiment.results, len(said["cameras"]))
    return tiles, f"The self-calibration's table cannot be shown: {problem}" if problem else ""


def _views(record: Record) -> tuple[list[Leftover], str, str]:
    """The stored parts of the images, their place, or why there are none."""
    table = Store(record.experiment).tables.read(_VIEW, NO_FRAME)
    if table is None:
        return [], "", "The images' residual was not kept: there is no table of it, or a damaged one."
    image, residual, notes = table.arrays.get("image"), table.arrays.get("residual"), table.header.notes
    frame, left, top = (notes.get(name) for name in ("frame", "left", "top"))
    if not (
        (image is not None and residual is not None and image.shape == residual.shape and image.ndim == 3)
        and image.dtype == residual.dtype == np.uint8
        and (0 < len(image) <= _MOST_CAMERAS and min(image.shape) > 0 and max(image.shape) <= _LARGEST_SIDE)
        and all(isinstance(value, int) for value in (frame, left, top))
    ):
        return [], "", "The images' residual cannot be shown: its table holds something else."
    if not (isinstance(frame, int) and record.first <= frame <= record.last):
        return [], "", f"The images' residual that was kept is of frame {frame}, which is not of this run."
    height, width = image.shape[1:]
    place = f"{width} x {height} px from x {left}, y {top} of frame {frame}."
    views = [
        Leftover(number, width, height, encoded(stretched(a)), encoded(stretched(b, like=a)), percent(_energy(b) / _energy(a)))
        for number, (a, b) in enumerate(zip(image, residual, strict=True), start=1)
    ]
    return views, place, ""


def _energy(image: Image) -> float:
    """Energy of an image above its median, per pixel; never 0."""
    above = image.astype(np.float64) - np.median(image)
    return max(float((above**2).mean()), 1e-9)
