"""The table ``res/self_calibration.csv`` of a run of the method ``dense``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from pyptv.core.base.regular_files import read_regular

TABLE = "self_calibration.csv"
_MOST_BYTES = 1_000_000
_HEAD = "camera,x,y,matches,before_x,before_y,after_x,after_y"


class Tile(NamedTuple):
    """A tile of a camera's image, and the median disparity there [px], before the correction and after it."""

    camera: int
    """Counted from 1."""
    x: float
    """Middle of the tile [px]."""
    y: float
    matches: int
    before_x: float
    before_y: float
    after_x: float
    after_y: float


def read_tiles(results: Path, n_cams: int) -> tuple[list[Tile], str]:
    """The tiles of a table, or its problem.

    Args:
        results: the folder ``res/``.
        n_cams: cameras of the run.
    """
    try:
        lines = read_regular(results / TABLE, _MOST_BYTES).decode("ascii").splitlines()
    except OSError as error:
        return [], f"{TABLE}: {error.strerror or error}"
    except UnicodeDecodeError:
        return [], f"{TABLE}: found bytes that are not text"
    if not lines or lines[0] != _HEAD:
        return [], f"{TABLE}: found {lines[0][:80] if lines else 'nothing'!r} in its first line, expected {_HEAD}"
    tiles = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            camera, x, y, matches, *shifts = line.split(",")
            tile = Tile(int(camera), float(x), float(y), int(matches), *map(float, shifts))
        except (ValueError, TypeError):
            return [], f"{TABLE}, line {number}: found {line[:80]!r}, expected eight numbers"
        if not (1 <= tile.camera <= n_cams and all(map(math.isfinite, tile))):
            return [], f"{TABLE}, line {number}: found {line[:80]!r}, expected finite numbers of camera 1 to {n_cams}"
        tiles.append(tile)
    return tiles, ""
