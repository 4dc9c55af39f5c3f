"""The cameras: two in front of a water tank and two behind it, as in the lid-driven cavity of OpenPTV's test_cavity."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.experiment.calibration import Calibration, Vector
from pyptv.core.experiment.parameters.schema import Parameters
from pyptv.synthetic.particles import VOLUME

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Project = Callable[[Array, Parameters, Sequence[Calibration]], Array]
    """``pyptv.core.engines.optv.backend.project``: (n, 3) mm -> (n_cameras, n, 2) px."""

SENSOR = (15.36, 12.288)
"""Width and height of the sensor [mm]: 1280 x 1024 pixels of 12 micrometres."""
INDEX_AIR, INDEX_GLASS, INDEX_WATER = 1.0, 1.46, 1.33
GLASS_THICKNESS = 6.0
"""[mm]"""
_GLASS_DISTANCE = 125.0
"""From the middle of the tank to the inner face of the glass [mm]."""
_PRINCIPAL_DISTANCE = 70.0
"""[mm]"""
_POSITIONS: tuple[Vector, ...] = (
    (85.0, 15.0, -570.0),
    (-120.0, 25.0, -575.0),
    (-160.0, 85.0, 575.0),
    (170.0, 75.0, 570.0),
)
"""Projection centres [mm]. No camera faces another: two opposite views of a particle would give the same ray."""


def pixel_size(image_size: tuple[int, int]) -> float:
    """The size of square pixels [mm] with which an image of (width, height) px covers the sensor."""
    return max(SENSOR[0] / image_size[0], SENSOR[1] / image_size[1])


def true_calibrations(n_cameras: int, spread: float = 1.0) -> list[Calibration]:
    """Cameras whose axes meet in the middle of the measuring volume, refraction included.

    Args:
        n_cameras: 1 to 4.
        spread: distance from the tank's axis relative to test_cavity, at the same distance from its middle.
    """
    return [_aimed(_spread(position, spread)) for position in _POSITIONS[:n_cameras]]


def disturbed(
    calibrations: Sequence[Calibration], error_px: float, rng: np.random.Generator, parameters: Parameters, project: Project
) -> list[Calibration]:
    """The calibrations with random errors of position and angles.

    Each camera's error is scaled such that the projections of points all over the measuring volume move by ``error_px``
    (root mean square of the distance in px).
    """
    points = rng.uniform(-0.5, 0.5, (1000, 3)) * VOLUME
    exact = project(points, parameters, calibrations)
    result = list(calibrations)
    for camera, calibration in enumerate(calibrations):
        shift = rng.standard_normal(3) * 0.1  # mm; about one pixel, like the rotation
        turn = rng.standard_normal(3) * 2e-4  # rad
        scale = 1.0
        for _ in range(4):  # nearly linear: the first pass scales, the others refine
            result[camera] = _moved(calibration, scale * shift, scale * turn)
            moved = project(points, parameters, result)[camera]
            found = math.sqrt(float(((moved - exact[camera]) ** 2).sum(axis=1).mean()))
            scale *= error_px / found
        result[camera] = _moved(calibration, scale * shift, scale * turn)
    return result


def _spread(position: Vector, spread: float) -> Vector:
    if spread == 1.0:
        return position
    x, y, z = position
    return spread * x, spread * y, math.copysign(math.sqrt(z * z + (1 - spread * spread) * (x * x + y * y)), z)


def _aimed(position: Vector) -> Calibration:
    """A camera at ``position`` that sees the origin in the middle of its image, y upwards."""
    side = math.copysign(1.0, position[2])
    lateral = np.array([position[0], position[1], 0.0])
    distance = float(np.linalg.norm(lateral))
    sine = _incidence_sine(distance, abs(position[2]))
    backward = lateral / distance * sine + np.array([0.0, 0.0, side * math.sqrt(1 - sine**2)])
    right = np.cross([0.0, 1.0, 0.0], backward)
    right /= np.linalg.norm(right)
    matrix = np.column_stack([right, np.cross(backward, right), backward])
    phi = math.asin(matrix[0, 2])
    omega = math.atan2(-matrix[1, 2], matrix[2, 2])
    kappa = math.atan2(-matrix[0, 1], matrix[0, 0])
    return Calibration(
        position=position,
        angles=(omega, phi, kappa),
        principal_point=(0.0, 0.0),
        principal_distance=_PRINCIPAL_DISTANCE,
        glass=(0.0, 0.0, side * _GLASS_DISTANCE),
    )


def _incidence_sine(lateral: float, height: float) -> float:
    """Sine of the angle in air of the ray from the origin to a camera: Snell's law, solved by bisection."""
    layers = (
        (height - _GLASS_DISTANCE - GLASS_THICKNESS, INDEX_AIR),
        (GLASS_THICKNESS, INDEX_GLASS),
        (_GLASS_DISTANCE, INDEX_WATER),
    )
    low, high = 0.0, 1.0
    for _ in range(60):
        sine = (low + high) / 2
        reached = sum(depth * sine / math.sqrt(index**2 - sine**2) for depth, index in layers)
        low, high = (sine, high) if reached < lateral else (low, sine)
    return low


def _moved(calibration: Calibration, shift: Array, turn: Array) -> Calibration:
    """The camera moved by ``shift`` [mm] and turned by ``turn`` [rad]."""
    x, y, z = (float(a + b) for a, b in zip(calibration.position, shift, strict=True))
    omega, phi, kappa = (float(a + b) for a, b in zip(calibration.angles, turn, strict=True))
    return replace(calibration, position=(x, y, z), angles=(omega, phi, kappa))
