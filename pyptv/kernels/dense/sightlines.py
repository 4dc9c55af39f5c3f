"""How the other cameras see the rays of a camera's peaks within the volume: a table over its image, interpolated.

Tracing each peak's ray through air, glass and water would take most of a search. Over an image its projections change smoothly,
and so does where the others see the rays of two peaks meet that pass each other at a distance.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyptv.kernels.dense.lines import PIECES, limit
from pyptv.kernels.dense.optics import ray_of, seen
from pyptv.kernels.jit import entry, inner, piece, routine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Image = NDArray[np.float32]

_POINTS = 2 * (PIECES + 1)
_MIDDLE = PIECES // 2 * 2
"""Where the line's middle piece begins."""
_STEP = 1e-3
"""Of the ray's length in the volume, for derivatives."""


class Sight(NamedTuple):
    """What the other cameras see of one ray."""

    flat: Floats
    """All of it."""
    lines: Floats
    """(n_cams - 1, PIECES + 1, 2) [px] in the second, third, fourth camera, from the lower to the upper limit of z."""
    aside: Floats
    """(n_cams - 2, 2) how far beside that [px] a pair meets in the third and fourth, for each px that the second peak is beside
    its line, on the side of (dy, -dx)."""


def fields_of_lines(n_cams: int) -> int:
    """Numbers of a place of the table that are projections."""
    return (n_cams - 1) * _POINTS


def fields(n_cams: int) -> int:
    """Numbers of a place of the table."""
    return fields_of_lines(n_cams) + (n_cams - 2) * 2


@inner
def make_sight(n_cams: int) -> Sight:
    """Room for one ray."""
    on_lines = (n_cams - 1) * _POINTS
    flat = np.zeros(on_lines + (n_cams - 2) * 2)
    return Sight(flat, flat[:on_lines].reshape((n_cams - 1, PIECES + 1, 2)), flat[on_lines:].reshape((n_cams - 2, 2)))


@piece
def look(table: Image, spacing: float, u: float, v: float, flat: Floats) -> None:
    """Interpolate the table (rows, columns, fields) at a place of the base camera's image [px], into :attr:`Sight.flat`."""
    column, row = min(max(int(u / spacing), 0), table.shape[1] - 2), min(max(int(v / spacing), 0), table.shape[0] - 2)
    a, b = u / spacing - column, v / spacing - row
    first, second, third, fourth = table[row, column], table[row, column + 1], table[row + 1, column], table[row + 1, column + 1]
    w1, w2, w3, w4 = (1.0 - a) * (1.0 - b), a * (1.0 - b), (1.0 - a) * b, a * b
    for k in range(len(flat)):
        flat[k] = w1 * first[k] + w2 * second[k] + w3 * third[k] + w4 * fourth[k]


@routine
def _slopes(camera: Floats, optics: Floats, correction: Floats, point: Floats, step: float, out: Floats) -> None:
    """Derivatives (2, 3) [px/mm] of a point's projection."""
    u, v = seen(camera, optics, correction, point[0], point[1], point[2])
    for k in range(3):
        x, y, z = point[0], point[1], point[2]
        x, y, z = x + (step if k == 0 else 0.0), y + (step if k == 1 else 0.0), z + (step if k == 2 else 0.0)
        a, b = seen(camera, optics, correction, x, y, z)
        out[0, k], out[1, k] = (a - u) / step, (b - v) / step


@piece
def _aside(slopes: Floats, piece_: Image, direction: Floats, aside: Image) -> None:
    """How a pair meets beside the base ray: half of the way across the plane that it spans with the second camera.

    Args:
        slopes: (n_cams - 1, 2, 3) [px/mm] of the second, third and fourth camera where the ray is in the middle of the volume.
        piece_: (4,) beginning and end of the piece of the line in the second camera there [px].
        direction: (3,) of the ray.
        aside: receives the numbers of :attr:`Sight.aside`.
    """
    j, d = slopes[0], direction
    # no motion along the second camera's ray is seen there; across the plane of both is perpendicular to both
    x, y, z = j[0, 1] * j[1, 2] - j[0, 2] * j[1, 1], j[0, 2] * j[1, 0] - j[0, 0] * j[1, 2], j[0, 0] * j[1, 1] - j[0, 1] * j[1, 0]
    nx, ny, nz = d[1] * z - d[2] * y, d[2] * x - d[0] * z, d[0] * y - d[1] * x
    along_x, along_y = piece_[2] - piece_[0], piece_[3] - piece_[1]
    moved_x, moved_y = j[0, 0] * nx + j[0, 1] * ny + j[0, 2] * nz, j[1, 0] * nx + j[1, 1] * ny + j[1, 2] * nz
    off = (moved_x * along_y - moved_y * along_x) / math.sqrt(along_x * along_x + along_y * along_y)
    for b in range(1, len(slopes)):
        for axis in range(2):
            moved = slopes[b, axis, 0] * nx + slopes[b, axis, 1] * ny + slopes[b, axis, 2] * nz
            shift = 0.5 * moved / off
            aside[2 * (b - 1) + axis] = shift if abs(shift) < 2.0 else 0.0  # cameras that look along each other's rays


@entry(
    "float32[:, :, ::1](int64[::1], float64, float64, float64,"
    "float64[:, ::1], float64[::1], float64[:, ::1], float64[::1], int64)"
)
def sightlines(
    order: Ints,
    width: float,
    height: float,
    spacing: float,
    cameras: Floats,
    optics: Floats,
    corrections: Floats,
    layers: Floats,
    n_fields: int,
) -> Image:
    """The table of a base camera (rows, columns, fields): see :class:`Sight`.

    Args:
        order: (n_cams,) of the cameras: base, second, third, fourth.
        width: of the images [px].
        height: of the images [px].
        spacing: of the table's places, from the image's upper left corner on [px].
        cameras: (n_cams, CAMERA_SIZE).
        optics: (OPTICS_SIZE,).
        corrections: (n_cams, CORRECTION_SIZE).
        layers: (6,) [mm] two x, then the lower and the upper limit of z at these.
        n_fields: :func:`fields`.
    """
    n_cams, on_lines = len(order), (len(order) - 1) * _POINTS
    out = np.zeros((int(height / spacing) + 2, int(width / spacing) + 2, n_fields), np.float32)
    slopes, ray, middle = np.zeros((n_cams - 1, 2, 3)), np.zeros(6), np.zeros(3)
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            ray_of(cameras[order[0]], optics, corrections[order[0]], column * spacing, row * spacing, ray)
            x, y, z, dx, dy, dz = ray[0], ray[1], ray[2], ray[3], ray[4], ray[5]
            z0, z1 = limit(layers[2], layers[3], layers, x, z, dx, dz), limit(layers[4], layers[5], layers, x, z, dx, dz)
            place = out[row, column]
            t = (0.5 * (z0 + z1) - z) / dz
            middle[0], middle[1], middle[2] = x + t * dx, y + t * dy, z + t * dz
            for b in range(n_cams - 1):
                c = order[b + 1]
                for k in range(PIECES + 1):
                    t = (z0 + (z1 - z0) * k / PIECES - z) / dz
                    u, v = seen(cameras[c], optics, corrections[c], x + t * dx, y + t * dy, z + t * dz)
                    place[b * _POINTS + 2 * k], place[b * _POINTS + 2 * k + 1] = u, v
                _slopes(cameras[c], optics, corrections[c], middle, _STEP * abs(z1 - z0) + 1e-6, slopes[b])
            _aside(slopes, place[_MIDDLE : _MIDDLE + 4], ray[3:], place[on_lines:])
    return out
