"""The geometry of the kernels with entrances from Python, which the kernels themselves have not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

from pyptv.kernels import geometry
from pyptv.kernels.geometry import camera_rows, optics_row

__all__ = ["camera_rows", "optics_row", "pixel_to_flat", "project_closely", "project_flat", "project_pixel", "ray", "triangulate"]


def _entrance(function: Callable[..., Any]) -> Callable[..., Any]:
    def entrance(*arguments: Any) -> Any:
        return function(*arguments)

    compiled: Callable[..., Any] = numba.njit(entrance)
    return compiled


_pixel_to_flat = _entrance(geometry.pixel_to_flat)
project_closely = _entrance(geometry.project_closely)
project_flat = _entrance(geometry.project_flat)
project_pixel = _entrance(geometry.project_pixel)
ray = _entrance(geometry.ray)
triangulate = _entrance(geometry.triangulate)


def pixel_to_flat(camera: Any, optics: Any, px: float, py: float) -> tuple[float, float]:
    """As correspondence wants it."""
    flat: tuple[float, float] = _pixel_to_flat(camera, optics, px, py, geometry.FLATTENING_STEP)
    return flat
