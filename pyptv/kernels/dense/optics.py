"""Cameras with a correction on top of the calibration: projections, their derivatives, rays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.geometry import FLATTENING_STEP, pixel_to_flat, project_closely, ray
from pyptv.kernels.jit import entry, leaf, piece, routine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CORRECTION_SIZE = 19
"""A row of numbers: 1 where there is a correction (else 0), width and height of the image [px], six coefficients of the shift in
x and six in y [px] of 1, a, b, a^2, a b, b^2, and smallest x and y, largest x and y [px] within which it varies.

a = x / width - 1/2, b = y / height - 1/2: :mod:`pyptv.core.engines.disparity` fits them.
"""
_X_TERMS, _Y_TERMS, _BOX = 3, 9, 15


@leaf
def _polynomial(correction: Floats, first: int, a: float, b: float) -> float:
    """Six terms of a correction, from a place on."""
    k = first
    slopes = correction[k + 1] * a + correction[k + 2] * b
    value: float = correction[k] + slopes + correction[k + 3] * a * a + correction[k + 4] * a * b + correction[k + 5] * b * b
    return value


@leaf
def shift(correction: Floats, u: float, v: float) -> tuple[float, float]:
    """By how much a place that the calibration projects to is corrected [px]."""
    a = min(max(u, correction[_BOX]), correction[_BOX + 2]) / correction[1] - 0.5
    b = min(max(v, correction[_BOX + 1]), correction[_BOX + 3]) / correction[2] - 0.5
    return _polynomial(correction, _X_TERMS, a, b), _polynomial(correction, _Y_TERMS, a, b)


@routine
def seen(camera: Floats, optics: Floats, correction: Floats, x: float, y: float, z: float) -> tuple[float, float]:
    """Where a camera sees a point (mm): (x, y), px."""
    u, v = project_closely(camera, optics, x, y, z)
    if correction[0] != 0.0:
        du, dv = shift(correction, u, v)
        return u + du, v + dv
    return u, v


@entry("float64[:, :, ::1](float64[:, ::1], float64[:, ::1], float64[::1], float64[:, ::1])")
def project(positions: Floats, cameras: Floats, optics: Floats, corrections: Floats) -> Floats:
    """The projections (n, n_cams, 2) [px] of positions (n, 3) [mm]."""
    n, n_cams = len(positions), len(cameras)
    out = np.empty((n, n_cams, 2))
    for p in range(n):
        for c in range(n_cams):
            x, y, z = positions[p, 0], positions[p, 1], positions[p, 2]
            out[p, c, 0], out[p, c, 1] = seen(cameras[c], optics, corrections[c], x, y, z)
    return out


@entry("float32[:, :, :, ::1](float64[:, ::1], float64[:, :, ::1], float64[:, ::1], float64[::1], float64[:, ::1], float64)")
def derivatives(
    positions: Floats, projections: Floats, cameras: Floats, optics: Floats, corrections: Floats, step: float
) -> NDArray[np.float32]:
    """Derivatives of the projections (n, n_cams, 2) by x, y, z: (n, n_cams, 2, 3) [px/mm].

    By differences over ``step`` mm, about a pixel: what that is off by, a thousandth or so, only makes shaking converge as much
    more slowly.
    """
    n, n_cams = len(positions), len(cameras)
    out = np.empty((n, n_cams, 2, 3), np.float32)
    for p in range(n):
        for c in range(n_cams):
            for k in range(3):
                x = positions[p, 0] + (step if k == 0 else 0.0)
                y = positions[p, 1] + (step if k == 1 else 0.0)
                z = positions[p, 2] + (step if k == 2 else 0.0)
                u, v = seen(cameras[c], optics, corrections[c], x, y, z)
                out[p, c, 0, k] = (u - projections[p, c, 0]) / step
                out[p, c, 1, k] = (v - projections[p, c, 1]) / step
    return out


@piece
def ray_of(camera: Floats, optics: Floats, correction: Floats, u: float, v: float, out: Floats) -> None:
    """The ray of a place [px] into ``out`` (6,): a point [mm] and the unit direction."""
    if correction[0] != 0.0:
        du, dv = shift(correction, u, v)
        du, dv = shift(correction, u - du, v - dv)  # it is given at the place before the correction
        u, v = u - du, v - dv
    flat_x, flat_y = pixel_to_flat(camera, optics, u, v, FLATTENING_STEP)
    out[0], out[1], out[2], out[3], out[4], out[5] = ray(camera, optics, flat_x, flat_y)


@entry("float64[:, ::1](float64[:, ::1], int64[::1], float64[:, ::1], float64[::1], float64[:, ::1])")
def rays(places: Floats, starts: NDArray[np.int64], cameras: Floats, optics: Floats, corrections: Floats) -> Floats:
    """The rays (n, 6) of places (n, >= 2) [px]: a point [mm] and the unit direction.

    Those of camera c are rows ``starts[c]`` to ``starts[c + 1]``.
    """
    out = np.empty((len(places), 6))
    for c in range(len(cameras)):
        camera, correction = cameras[c], corrections[c]
        for i in range(starts[c], starts[c + 1]):
            ray_of(camera, optics, correction, places[i, 0], places[i, 1], out[i])
    return out
