"""Camera calibrations: the ``.ori`` and ``.addpar`` files, read and checked in Python.

Format (liboptv, ``calibration.c``): ``.ori`` holds x0 y0 z0 [mm]; omega phi kappa [rad]; a 3 x 3 rotation matrix, which is
not used (it follows from the angles); xh yh [mm]; cc [mm]; the glass vector [mm]. ``.addpar`` holds k1 k2 k3 p1 p2 scx she.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyptv.core.base.errors import FormatError
from pyptv.core.base.regular_files import is_there, open_regular
from pyptv.core.base.similar import similar_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Vector = tuple[float, float, float]

_ORI_NAMES = (
    *("x0", "y0", "z0", "omega", "phi", "kappa"),
    *(f"rotation matrix {row},{column}" for row in (1, 2, 3) for column in (1, 2, 3)),
    *("xh", "yh", "cc", "glass x", "glass y", "glass z"),
)
_ADDPAR_NAMES = ("k1", "k2", "k3", "p1", "p2", "scx", "she")
_MAX_BYTES = 100_000
_LARGEST = 1e12


@dataclass(frozen=True)
class Calibration:
    """One camera: position, orientation, lens, and glass."""

    position: Vector
    """Projection centre x0, y0, z0 [mm]."""
    angles: Vector
    """omega, phi, kappa [rad]."""
    principal_point: tuple[float, float]
    """xh, yh [mm on the sensor]."""
    principal_distance: float
    """cc [mm]."""
    glass: Vector
    """From the origin to the glass, along its normal [mm]."""
    radial_distortion: Vector = (0.0, 0.0, 0.0)
    """k1, k2, k3 (Brown)."""
    decentering: tuple[float, float] = (0.0, 0.0)
    """p1, p2 (Brown)."""
    affine: tuple[float, float] = (1.0, 0.0)
    """scx, she: scale in x and shear."""


def rotation_matrix(angles: Vector) -> NDArray[np.float64]:
    """Rotation (3, 3) of omega, phi, kappa [rad]: R_x(omega) R_y(phi) R_z(kappa), as in liboptv's ``calibration.c``.

    Its columns are the camera's axes in space.
    """
    import numpy as np  # not needed for --help

    (so, co), (sp, cp), (sk, ck) = ((math.sin(angle), math.cos(angle)) for angle in angles)
    return np.array(
        [
            [cp * ck, -cp * sk, sp],
            [co * sk + so * sp * ck, co * ck - so * sp * sk, -so * cp],
            [so * sk - co * sp * ck, so * ck + co * sp * sk, co * cp],
        ]
    )


def calibration_files(folder: Path, calibration_image: str) -> tuple[Path, Path]:
    """The ``.ori`` and ``.addpar`` files beside a calibration image; upper and lower case may differ, as on Windows."""
    return _as_it_is_there(folder / f"{calibration_image}.ori"), _as_it_is_there(folder / f"{calibration_image}.addpar")


def _as_it_is_there(path: Path) -> Path:
    if is_there(path):
        return path
    same = [name for name in _names_beside(path) if name.lower() == path.name.lower()]
    return path.with_name(same[0]) if len(same) == 1 else path


def _names_beside(path: Path) -> list[str]:
    try:
        return os.listdir(path.parent)
    except OSError:
        return []


def read_calibration(ori: Path, addpar: Path) -> Calibration:
    """Read one camera's calibration.

    Raises:
        FormatError: a file is missing, short, not numbers, not finite or not plausible; with file, value, expectation.
    """
    v = _read_numbers(ori, _ORI_NAMES)
    k1, k2, k3, p1, p2, scx, she = _read_numbers(addpar, _ADDPAR_NAMES)
    if v[17] == 0:
        raise FormatError(f"{ori}: found principal distance cc 0, expected the distance of lens and sensor in mm")
    if v[18] == v[19] == v[20] == 0:
        raise FormatError(f"{ori}: found glass vector 0 0 0, expected the vector from the origin to the glass in mm")
    if scx == 0:
        raise FormatError(f"{addpar}: found scx 0, expected a scale near 1")
    return Calibration(
        position=(v[0], v[1], v[2]),
        angles=(v[3], v[4], v[5]),
        principal_point=(v[15], v[16]),
        principal_distance=v[17],
        glass=(v[18], v[19], v[20]),
        radial_distortion=(k1, k2, k3),
        decentering=(p1, p2),
        affine=(scx, she),
    )


def calibration_text(calibration: Calibration) -> tuple[str, str]:
    """The texts of ``.ori`` and ``.addpar``, with all digits: both are read back to the same numbers."""
    blocks = [
        [calibration.position, calibration.angles],
        [tuple(row) for row in rotation_matrix(calibration.angles)],
        [calibration.principal_point, (calibration.principal_distance,)],
        [calibration.glass],
    ]
    ori = "\n".join("".join(" ".join(f"{float(v)!r}" for v in row) + "\n" for row in block) for block in blocks)
    values = (*calibration.radial_distortion, *calibration.decentering, *calibration.affine)
    return ori, " ".join(f"{v!r}" for v in values) + "\n"


def _read_numbers(path: Path, names: tuple[str, ...]) -> list[float]:
    try:
        with open_regular(path) as file:
            data = file.read(_MAX_BYTES)
    except OSError as error:
        beside = _names_beside(path) if isinstance(error, FileNotFoundError) else []
        same_kind = [name for name in beside if name.lower().endswith(path.suffix)]
        there = similar_text(path.name, same_kind, same_numbers=True)
        raise FormatError(f"{path}: calibration cannot be read: {error.strerror}{there}") from error
    words = data.split()
    if len(words) < len(names):
        raise FormatError(
            f"{path}: found {len(words)} values, expected {len(names)}: value {len(words) + 1}, {names[len(words)]}, is missing"
        )
    values = []
    for name, word in zip(names, words, strict=False):
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or abs(value) > _LARGEST:
            raise FormatError(f"{path}: {name}: found {word[:40].decode('latin-1')!a}, expected a finite number")
        values.append(value)
    return values
