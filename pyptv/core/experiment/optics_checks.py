"""Checks that light from the measuring volume reaches the cameras: Snell's law at the corners of their fields of view.

Light can be totally reflected only if a camera is in the optically denser medium; then optv's results are not
numbers, and a NaN ray counts as close to every target.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.experiment.calibration import Calibration, rotation_matrix
from pyptv.core.experiment.parameters.schema import ControlParameters, CriteriaParameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_NEARLY = 0.99
"""Share of the critical angle's sine that counts as reached: lens distortion is ignored here."""


def total_reflection(ptv: ControlParameters, criteria: CriteriaParameters, calibrations: Sequence[Calibration]) -> str | None:
    """The problem if a camera cannot see the corners of the volume that the cameras look at; None if all can."""
    thinnest = min(ptv.mmp_n2, ptv.mmp_n3)
    if ptv.mmp_n1 <= thinnest:
        return None
    limit = thinnest / ptv.mmp_n1
    rays = [_corner_rays(ptv, calibration) for calibration in calibrations]
    sines = [_sines(directions, of) for directions, of in zip(rays, calibrations, strict=True)]
    points = [np.empty((0, 3))]
    for directions, seen, of in zip(rays, sines, calibrations, strict=True):
        if seen.max() < _NEARLY * limit:
            points.append(_crossings(directions, ptv, criteria, of))
    volume = np.concatenate(points)
    for camera, calibration in enumerate(calibrations):
        sine = max(sines[camera].max(), _sines(volume - calibration.position, calibration).max(initial=0.0))
        if not sine < _NEARLY * limit:
            angle, critical = math.degrees(math.asin(min(1.0, sine))), math.degrees(math.asin(limit))
            return (
                f"found the refractive indices {ptv.mmp_n1:g} before the glass, {ptv.mmp_n2:g} in it, {ptv.mmp_n3:g} behind it: "
                f"camera {camera + 1} looks through the glass at up to {angle:.0f} degrees, and light from there is totally "
                f"reflected beyond {critical:.0f} degrees; expected indices (and Z limits) that let every camera see the volume"
            )
    return None


def _corner_rays(ptv: ControlParameters, calibration: Calibration) -> Array:
    """Directions (4, 3) of the rays of the image corners, in the medium of the camera."""
    x, y = ptv.imx * ptv.pix_x / 2, ptv.imy * ptv.pix_y / 2
    corners = np.array([(sx * x, sy * y) for sx in (-1, 1) for sy in (-1, 1)]) - calibration.principal_point
    local = np.column_stack([corners, np.full(len(corners), -calibration.principal_distance)])
    directions: Array = local @ rotation_matrix(calibration.angles).T
    return directions


def _sines(directions: Array, calibration: Calibration) -> Array:
    """Sines (n,) of the angles between directions (n, 3) and the normal of a camera's glass."""
    normal = np.array(calibration.glass) / np.linalg.norm(calibration.glass)
    length = np.linalg.norm(directions, axis=1)
    across = np.linalg.norm(np.cross(directions, normal), axis=1)
    sines: Array = np.divide(across, length, out=np.zeros_like(across), where=length > 0)
    return sines


def _crossings(directions: Array, ptv: ControlParameters, criteria: CriteriaParameters, calibration: Calibration) -> Array:
    """Intersections of rays (n, 3) of a camera with the Z limits, including refraction at the glass: (2 n, 3) [mm]."""
    distance = float(np.linalg.norm(calibration.glass))
    normal = np.array(calibration.glass) / distance
    height = float(normal @ calibration.position) - distance
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    along = unit @ normal
    on_glass = calibration.position - unit * (height / along)[:, np.newaxis]
    ratio = ptv.mmp_n1 / ptv.mmp_n3
    across = ratio * (unit - along[:, np.newaxis] * normal)
    behind = across + (np.sign(along) * np.sqrt(1 - np.sum(across**2, axis=1)))[:, np.newaxis] * normal
    limits = np.array([min(criteria.Zmin_lay), max(criteria.Zmax_lay)])
    with np.errstate(divide="ignore", invalid="ignore"):
        way = (limits[:, np.newaxis] - on_glass[:, 2]) / behind[:, 2]
        points: Array = (on_glass + way[:, :, np.newaxis] * behind).reshape(-1, 3)
    return points[np.isfinite(points).all(axis=1)]
