"""From space to image and back, through air, glass and water, with the same numbers as optv.

A camera is a row of numbers (:func:`camera_rows`), the sensor and the layers are another (:func:`optics_row`): all input that a
kernel needs, with values that do not depend on the point computed once. Coordinates: mm in space; "flat" coordinates are mm on
the sensor from the principal point, without distortion, y up; pixels are counted from the image's upper left corner, y down.

Collinearity and rotation are photogrammetry's standard ones (R = Rx(omega) Ry(phi) Rz(kappa)), distortion is Brown's with
a scale and a shear. The refraction follows Snell's law in the plane through the glass normal: with t1 = tan(beta1), behind a
layer of relative index a the tangent is a t1 / sqrt(1 + (1 - a^2) t1^2), which needs no trigonometric function. Where optv
iterates, its stopping rule is part of the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.experiment.calibration import rotation_matrix
from pyptv.kernels.jit import leaf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.experiment.calibration import Calibration
    from pyptv.core.experiment.parameters.schema import Parameters

    Floats = NDArray[np.float64]

_POS, _ROT, _XH, _YH, _CC = 0, 3, 12, 13, 14
_K1, _K2, _K3, _P1, _P2, _SCX, _SIN_SHE, _COS_SHE, _DISTORTED = 15, 16, 17, 18, 19, 20, 21, 22, 23
_NORMAL, _GLASS, _HEIGHT, _FOOT, _TURNED_NORMAL = 24, 27, 28, 29, 32
CAMERA_SIZE = 35
_IMX, _IMY, _PIX_X, _PIX_Y, _CHFIELD, _N1, _N2, _D, _N3 = 0, 1, 2, 3, 4, 5, 6, 7, 8
_A2, _B2, _A3, _B3, _LAYERS, _A32 = 9, 10, 11, 12, 13, 14
OPTICS_SIZE = 15

_ODD_LINES, _EVEN_LINES = 1.0, 2.0
_REFRACTION_STEP = 0.001
_REFRACTION_STEPS = 39
"""optv gives up at the 40th iteration, even if that would be accurate enough."""
FLATTENING_STEP = 1e-5
_FLATTENING_STEPS = 50


def camera_rows(parameters: Parameters, calibrations: Sequence[Calibration]) -> Floats:
    """One row of numbers per camera, (n_cams, CAMERA_SIZE), for the kernels."""
    return np.array([_camera_row(calibration) for calibration in calibrations[: parameters.num_cams]])


def optics_row(parameters: Parameters) -> Floats:
    """Sensor and layers, (OPTICS_SIZE,), for the kernels."""
    ptv = parameters.ptv
    n1, n2, n3 = ptv.mmp_n1, ptv.mmp_n2, ptv.mmp_n3
    a2, a3 = n1 / n2, n1 / n3
    layers = not n1 == n2 == n3 == 1
    return np.array(
        [
            *(ptv.imx, ptv.imy, ptv.pix_x, ptv.pix_y, ptv.chfield, n1, n2, ptv.mmp_d, n3),
            *(a2, 1 - a2 * a2, a3, 1 - a3 * a3, layers, n2 / n3),
        ],
        dtype=np.float64,
    )


def _camera_row(calibration: Calibration) -> Floats:
    position, glass = np.array(calibration.position), np.array(calibration.glass)
    rotation = rotation_matrix(calibration.angles)
    distance = math.sqrt(float(np.sum(glass * glass)))
    normal = glass / distance
    height = float(np.sum(position * normal)) - distance
    scx, she = calibration.affine
    distortion = (*calibration.radial_distortion, *calibration.decentering)
    row = np.empty(CAMERA_SIZE)
    row[_POS:_ROT] = position
    row[_ROT:_XH] = rotation.ravel()
    row[_XH:_K1] = *calibration.principal_point, calibration.principal_distance
    row[_K1:_NORMAL] = *distortion, scx, math.sin(she), math.cos(she), any(distortion)
    row[_NORMAL:_GLASS] = normal
    row[_GLASS], row[_HEIGHT] = distance, height
    row[_FOOT:_TURNED_NORMAL] = position - height * normal
    row[_TURNED_NORMAL:] = rotation.T @ normal
    return row


@leaf
def project_flat(camera: Floats, optics: Floats, x: float, y: float, z: float) -> tuple[float, float]:
    """The projection of a point (mm): flat coordinates (x, y), mm. NaN if no ray leads from it to the camera."""
    dx, dy, dz, depth, r = _from_foot(camera, x, y, z)
    factor = _radial_shift(optics, camera[_HEIGHT], depth, r) if optics[_LAYERS] != 0.0 else 1.0
    return _through(camera, dx, dy, dz, depth, factor)


@leaf
def project_closely(camera: Floats, optics: Floats, x: float, y: float, z: float) -> tuple[float, float]:
    """The same as :func:`project_pixel` in a third of its time, but not with the same last digits as optv.

    By Newton's method; optv stops where a step of its iteration is below :data:`_REFRACTION_STEP`.
    """
    dx, dy, dz, depth, r = _from_foot(camera, x, y, z)
    factor = _radial_shift_by_newton(optics, camera[_HEIGHT], depth, r) if optics[_LAYERS] != 0.0 else 1.0
    flat_x, flat_y = _through(camera, dx, dy, dz, depth, factor)
    return _flat_to_pixel(camera, optics, flat_x, flat_y)


@leaf
def _from_foot(camera: Floats, x: float, y: float, z: float) -> tuple[float, float, float, float, float]:
    """A point from the foot of a camera's perpendicular on the glass, mm; how far along the normal, and how far from it."""
    dx, dy, dz = x - camera[_FOOT], y - camera[_FOOT + 1], z - camera[_FOOT + 2]
    depth = dx * camera[_NORMAL] + dy * camera[_NORMAL + 1] + dz * camera[_NORMAL + 2]
    wx, wy, wz = dx - depth * camera[_NORMAL], dy - depth * camera[_NORMAL + 1], dz - depth * camera[_NORMAL + 2]
    return dx, dy, dz, depth, math.sqrt(wx * wx + wy * wy + wz * wz)


@leaf
def _through(camera: Floats, dx: float, dy: float, dz: float, depth: float, factor: float) -> tuple[float, float]:
    """Flat coordinates (mm) of a point given from the foot, whose distance from the normal refraction changes by a factor."""
    along = depth * (1.0 - factor) - camera[_HEIGHT]
    cx = factor * (dx * camera[_ROT] + dy * camera[_ROT + 3] + dz * camera[_ROT + 6]) + along * camera[_TURNED_NORMAL]
    cy = factor * (dx * camera[_ROT + 1] + dy * camera[_ROT + 4] + dz * camera[_ROT + 7]) + along * camera[_TURNED_NORMAL + 1]
    cz = factor * (dx * camera[_ROT + 2] + dy * camera[_ROT + 5] + dz * camera[_ROT + 8]) + along * camera[_TURNED_NORMAL + 2]
    scale = -camera[_CC] / cz
    return scale * cx, scale * cy


@leaf
def _radial_shift(optics: Floats, height: float, depth: float, r: float) -> float:
    """Radial shift of a point by refraction: rq / r, from the foot of the camera; 1 if it does not converge."""
    rq = r
    air, glass, water = (height - optics[_D]), optics[_D] * optics[_A2], depth * optics[_A3]
    inverse = 1.0 / (height - depth)
    b2, b3 = optics[_B2], optics[_B3]
    for _ in range(_REFRACTION_STEPS):
        t1 = rq * inverse
        square = t1 * t1
        step = r - t1 * (air + glass / math.sqrt(1.0 + b2 * square) - water / math.sqrt(1.0 + b3 * square))
        rq += step
        if not abs(step) > _REFRACTION_STEP:  # also stops for NaN
            return rq / r if r != 0.0 else 1.0
    return 1.0


@leaf
def _radial_shift_by_newton(optics: Floats, height: float, depth: float, r: float) -> float:
    """The same without optv's stopping rule: the tangent t1 in air at which the layers add up to r.

    It begins with small angles. Where a step is below :data:`_REFRACTION_STEP`, what is left is its square.
    """
    air, glass, water = (height - optics[_D]), optics[_D] * optics[_A2], depth * optics[_A3]
    b2, b3 = optics[_B2], optics[_B3]
    t1 = r / (air + glass - water)
    for _ in range(_REFRACTION_STEPS):
        in_glass, in_water = 1.0 / math.sqrt(1.0 + b2 * t1 * t1), 1.0 / math.sqrt(1.0 + b3 * t1 * t1)
        slope = air + glass * in_glass * in_glass * in_glass - water * in_water * in_water * in_water
        step = (r - t1 * (air + glass * in_glass - water * in_water)) / slope
        t1 += step
        if not abs(step * (height - depth)) > _REFRACTION_STEP:
            return t1 * (height - depth) / r if r != 0.0 else 1.0
    return 1.0


@leaf
def project_pixel(camera: Floats, optics: Floats, x: float, y: float, z: float) -> tuple[float, float]:
    """The projection of a point (mm) into the image, with distortion: (x, y), px."""
    flat_x, flat_y = project_flat(camera, optics, x, y, z)
    return _flat_to_pixel(camera, optics, flat_x, flat_y)


@leaf
def _flat_to_pixel(camera: Floats, optics: Floats, flat_x: float, flat_y: float) -> tuple[float, float]:
    """Pixel coordinates of flat coordinates (mm), distorted."""
    x, y = flat_x + camera[_XH], flat_y + camera[_YH]
    if camera[_DISTORTED] != 0.0:
        shift_x, shift_y = _distortion(camera, x, y)
        x += shift_x
        y += shift_y
    scx = camera[_SCX]
    return metric_to_pixel(optics, scx * x - scx * camera[_SIN_SHE] * y, scx * camera[_COS_SHE] * y)


@leaf
def metric_to_pixel(optics: Floats, x: float, y: float) -> tuple[float, float]:
    """Pixel coordinates of a position on the sensor (mm from its middle, y up)."""
    px = x / optics[_PIX_X] + optics[_IMX] / 2
    py = optics[_IMY] / 2 - y / optics[_PIX_Y]
    if optics[_CHFIELD] == _ODD_LINES:
        return px, (py - 1.0) / 2.0
    if optics[_CHFIELD] == _EVEN_LINES:
        return px, py / 2.0
    return px, py


@leaf
def pixel_to_metric(optics: Floats, px: float, py: float) -> tuple[float, float]:
    """The position on the sensor (mm from its middle, y up) of a position in the image (px)."""
    if optics[_CHFIELD] == _ODD_LINES:
        py = 2.0 * py + 1.0
    elif optics[_CHFIELD] == _EVEN_LINES:
        py = 2.0 * py
    return (px - optics[_IMX] / 2) * optics[_PIX_X], (optics[_IMY] / 2 - py) * optics[_PIX_Y]


@leaf
def _distortion(camera: Floats, x: float, y: float) -> tuple[float, float]:
    """Brown's radial and decentering shift at a position on the sensor, mm."""
    xx, yy = x * x, y * y
    r2 = xx + yy
    radial = camera[_K1] * r2 + camera[_K2] * (r2 * r2) + camera[_K3] * (r2 * r2 * r2)
    shift_x = x * radial + camera[_P1] * (r2 + 2 * xx) + 2 * camera[_P2] * x * y
    shift_y = y * radial + camera[_P2] * (r2 + 2 * yy) + 2 * camera[_P1] * x * y
    return shift_x, shift_y


@leaf
def _undistort(camera: Floats, x0: float, y0: float, smallest: float) -> tuple[float, float]:
    """The position on the sensor (mm) that Brown's distortion moves to (x0, y0), iterated to a change below ``smallest``.

    NaN if the iteration diverges.
    """
    x, y = x0, y0
    if camera[_DISTORTED] != 0.0:
        for _ in range(_FLATTENING_STEPS):
            shift_x, shift_y = _distortion(camera, x, y)
            next_x, next_y = x0 - shift_x, y0 - shift_y
            off_x, off_y = next_x - x, next_y - y
            x, y = (x + next_x) / 2, (y + next_y) / 2
            if not math.sqrt(off_x * off_x + off_y * off_y) >= smallest:
                break
    if not (math.isfinite(x) and math.isfinite(y)):  # diverging steps: in optv they end as NaN, never as infinity
        return math.nan, math.nan
    return x, y


@leaf
def pixel_to_flat(camera: Floats, optics: Floats, px: float, py: float, accuracy: float) -> tuple[float, float]:
    """Flat coordinates (x, y), mm, of a position in the image (px).

    The distortion is corrected by halving the distance to the next estimate until two estimates differ by less than ``accuracy``
    mm, at most 50 times. With ``scx`` other than 1 this is not the inverse of :func:`project_pixel`, as in optv.
    """
    sensor_x, sensor_y = pixel_to_metric(optics, px, py)
    x0, y0 = (sensor_x + sensor_y * camera[_SIN_SHE]) / camera[_SCX], sensor_y / camera[_COS_SHE]
    x, y = _undistort(camera, x0, y0, accuracy)
    return x - camera[_XH], y - camera[_YH]


@leaf
def ray(camera: Floats, optics: Floats, x: float, y: float) -> tuple[float, float, float, float, float, float]:
    """The ray of flat coordinates (mm) behind the glass: its point on the glass (x, y, z), mm, and its unit direction."""
    n0, n1, n2 = camera[_NORMAL], camera[_NORMAL + 1], camera[_NORMAL + 2]
    cc = camera[_CC]
    dx = camera[_ROT] * x + camera[_ROT + 1] * y - camera[_ROT + 2] * cc
    dy = camera[_ROT + 3] * x + camera[_ROT + 4] * y - camera[_ROT + 5] * cc
    dz = camera[_ROT + 6] * x + camera[_ROT + 7] * y - camera[_ROT + 8] * cc
    norm = math.sqrt(dx * dx + dy * dy + dz * dz)
    dx, dy, dz = dx / norm, dy / norm, dz / norm
    dot = dx * n0 + dy * n1 + dz * n2
    path = -(camera[_HEIGHT] - optics[_D]) / dot
    px, py, pz = camera[_POS] + path * dx, camera[_POS + 1] + path * dy, camera[_POS + 2] + path * dz
    dx, dy, dz = _refract(n0, n1, n2, dx, dy, dz, optics[_A2])
    path = -optics[_D] / (dx * n0 + dy * n1 + dz * n2)
    px, py, pz = px + path * dx, py + path * dy, pz + path * dz
    dx, dy, dz = _refract(n0, n1, n2, dx, dy, dz, optics[_A32])
    return px, py, pz, dx, dy, dz


@leaf
def _refract(n0: float, n1: float, n2: float, dx: float, dy: float, dz: float, relative: float) -> tuple[float, float, float]:
    """A unit direction behind a surface with that normal (against which it runs); ``relative``: index before / index behind."""
    dot = dx * n0 + dy * n1 + dz * n2
    behind = -math.sqrt(1.0 - relative * relative * (1.0 - dot * dot)) - relative * dot
    return relative * dx + behind * n0, relative * dy + behind * n1, relative * dz + behind * n2


@leaf
def triangulate(rays: Floats, n: int) -> tuple[float, float, float]:
    """The point (mm) nearest to ``n`` rays, (n, 6): the mean of the middles of the shortest segments of all pairs.

    NaN for fewer than two rays, and if two of them are parallel.
    """
    x = y = z = 0.0
    for i in range(n):
        for j in range(i + 1, n):
            mx, my, mz = _middle(rays[i], rays[j])
            x, y, z = x + mx, y + my, z + mz
    pairs = n * (n - 1) / 2
    return x / pairs, y / pairs, z / pairs


@leaf
def _middle(a: Floats, b: Floats) -> tuple[float, float, float]:
    """The middle of the shortest segment between two rays; NaN if they are parallel."""
    sx, sy, sz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    cx, cy, cz = a[4] * b[5] - a[5] * b[4], a[5] * b[3] - a[3] * b[5], a[3] * b[4] - a[4] * b[3]
    square = cx * cx + cy * cy + cz * cz
    on_a = (cx * (sy * b[5] - sz * b[4]) + cy * (sz * b[3] - sx * b[5]) + cz * (sx * b[4] - sy * b[3])) / square
    on_b = (cx * (sy * a[5] - sz * a[4]) + cy * (sz * a[3] - sx * a[5]) + cz * (sx * a[4] - sy * a[3])) / square
    return (
        (a[0] + on_a * a[3] + b[0] + on_b * b[3]) / 2,
        (a[1] + on_a * a[4] + b[1] + on_b * b[4]) / 2,
        (a[2] + on_a * a[5] + b[2] + on_b * b[5]) / 2,
    )
