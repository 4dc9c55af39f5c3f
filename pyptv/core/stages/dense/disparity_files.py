"""The self-calibration for users: a table of the disparity of the cameras over their images, and a picture of it."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.engines.dense.calibrate import SelfCalibration
from pyptv.core.files.atomic import write_atomic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

logger = logging.getLogger(__name__)

TABLE, PICTURE = "self_calibration.csv", "self_calibration.png"
_TILES = 8
_FEWEST = 3
_COLUMNS = "camera,x,y,matches,before_x,before_y,after_x,after_y\n"


def write_disparity(results: Path, disparity: SelfCalibration, size: tuple[int, int]) -> None:
    """Write the table, and the picture if matplotlib is installed.

    Args:
        results: the folder ``res/``.
        disparity: to be written.
        size: width and height of an image [px].
    """
    lines = [
        f"{camera},{x:.1f},{y:.1f},{n},{before[0]:.4f},{before[1]:.4f},{after[0]:.4f},{after[1]:.4f}\n"
        for camera, x, y, n, before, after in _tiles(disparity, size)
    ]
    write_atomic(results / TABLE, (_COLUMNS + "".join(lines)).encode("ascii"))
    try:
        picture = _picture(disparity, size)
    except ImportError:
        logger.debug("No picture of the self-calibration: matplotlib is not installed")
        (results / PICTURE).unlink(missing_ok=True)  # an old picture would show another one
        return
    write_atomic(results / PICTURE, picture)


def _tiles(disparity: SelfCalibration, size: tuple[int, int]) -> Iterator[tuple[int, float, float, int, Floats, Floats]]:
    """For each camera and tile of its image: middle [px], matches, median shift before and after the correction [px]."""
    edge = np.array(size) / _TILES
    for number, camera in enumerate(disparity.cameras):
        places, before = disparity.places[number], disparity.shifts[number]
        after = before - camera.evaluate(places)
        tile = np.clip((places / edge).astype(np.int64), 0, _TILES - 1)
        for row in range(_TILES):
            for column in range(_TILES):
                inside = (tile == (column, row)).all(axis=1)
                if inside.sum() >= _FEWEST:
                    x, y = (column + 0.5) * edge[0], (row + 0.5) * edge[1]
                    median = np.median(before[inside], axis=0), np.median(after[inside], axis=0)
                    yield number + 1, float(x), float(y), int(inside.sum()), *median


def _picture(disparity: SelfCalibration, size: tuple[int, int]) -> bytes:
    """A PNG: for each camera the disparity before and after, as arrows with a common scale."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # an extra
    from matplotlib.figure import Figure

    tiles = list(_tiles(disparity, size))
    n_cams = len(disparity.cameras)
    longest = max((float(np.hypot(*before)) for *_, before, _ in tiles), default=1.0) or 1.0
    figure = Figure(figsize=(3 * n_cams, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, n_cams, squeeze=False)
    for number, camera in enumerate(disparity.cameras):
        own = [tile for tile in tiles if tile[0] == number + 1]
        for row, (word, rms) in enumerate((("before", camera.rms_before), ("after", camera.rms_after))):
            panel = axes[row, number]
            if own:
                x, y = [tile[1] for tile in own], [tile[2] for tile in own]
                shift = np.array([tile[4 + row] for tile in own])
                panel.quiver(x, y, shift[:, 0], shift[:, 1], angles="xy", scale_units="xy", scale=longest / (size[0] / _TILES))
            panel.set(xlim=(0, size[0]), ylim=(size[1], 0), aspect="equal", xticks=[], yticks=[])
            panel.set_title(f"camera {number + 1} {word}: rms {rms:.2f} px", fontsize=8)
    figure.suptitle(f"Self-calibration: median disparity by tile, longest arrow {longest:.2f} px", fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()
