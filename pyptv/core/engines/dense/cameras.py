"""The cameras of an experiment as the kernels take them, with corrections of the calibration."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.engines.disparity import CameraDisparity
from pyptv.core.experiment.calibration import Calibration
from pyptv.core.experiment.parameters.schema import Parameters
from pyptv.kernels.dense import optics, sightlines
from pyptv.kernels.geometry import camera_rows, optics_row

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Image = NDArray[np.float32]

_DEPTH_MARGIN = 0.5
"""[mm] So far outside of the volume's limits of z a particle may be."""
_SPACINGS = (32.0, 16.0, 8.0, 4.0)
_STRAIGHT = 0.02
"""[px] A table of what other cameras see of a camera's rays is so exact between its places."""


@dataclass(frozen=True)
class Cameras:
    """Cameras, sensor, layers and volume; arrays as :mod:`pyptv.kernels.dense` takes them."""

    rows: Floats
    """(n_cams, CAMERA_SIZE)."""
    optics: Floats
    """(OPTICS_SIZE,)."""
    layers: Floats
    """(6,) [mm]: two x, then the lower and the upper limit of z at these."""
    corrections: Floats
    """(n_cams, CORRECTION_SIZE)."""
    size: tuple[int, int]
    """Width and height of an image [px]."""
    step: float
    """What about a pixel covers in the middle of the volume [mm]: for derivatives."""
    _tables: dict[tuple[int, ...], tuple[Image, float]] = field(init=False, repr=False, compare=False, default_factory=dict)
    """Of :meth:`sightlines`, made when they are asked for."""

    @staticmethod
    def of(parameters: Parameters, calibrations: Sequence[Calibration]) -> Cameras:
        """The cameras of an experiment, uncorrected."""
        criteria = parameters.criteria
        rows, row = camera_rows(parameters, calibrations), optics_row(parameters)
        layers = np.array([*criteria.X_lay, *criteria.Zmin_lay, *criteria.Zmax_lay], np.float64)
        if layers[0] == layers[1]:  # limits that do not depend on x
            layers[1] += 1.0
            layers[3], layers[5] = layers[2], layers[4]
        size = (parameters.ptv.imx, parameters.ptv.imy)
        cameras = Cameras(rows, row, layers, np.zeros((len(rows), optics.CORRECTION_SIZE)), size, 1.0)
        return replace(cameras, step=cameras._pixel_in_space())

    def corrected(self, disparities: Sequence[CameraDisparity]) -> Cameras:
        """The same with corrections, one for each camera."""
        corrections = np.zeros_like(self.corrections)
        for row, disparity in zip(corrections, disparities, strict=True):
            row[:3] = 1.0, *disparity.size
            row[3:15] = disparity.coefficients.ravel()
            row[15:] = disparity.box
        return replace(self, corrections=corrections)

    @property
    def n_cams(self) -> int:
        """Number of cameras."""
        return len(self.rows)

    def project(self, positions: Floats) -> Floats:
        """Where the cameras see positions (n, 3) [mm], corrections included: (n, n_cams, 2) [px]."""
        return optics.project(np.ascontiguousarray(positions, np.float64), self.rows, self.optics, self.corrections)

    def project_uncorrected(self, positions: Floats) -> Floats:
        """The same by the calibration alone: what belongs into ``_targets`` files that agree with the ``.ori`` files."""
        none = np.zeros_like(self.corrections)
        return optics.project(np.ascontiguousarray(positions, np.float64), self.rows, self.optics, none)

    def derivatives(self, positions: Floats, projections: Floats) -> NDArray[np.float32]:
        """Derivatives of the projections of positions (n, 3) by these, (n, n_cams, 2, 3) [px/mm]."""
        positions, projections = (np.ascontiguousarray(values, np.float64) for values in (positions, projections))
        return optics.derivatives(positions, projections, self.rows, self.optics, self.corrections, self.step)

    def rays(self, places: Floats, starts: NDArray[np.int64]) -> Floats:
        """Rays (n, 6) of places (n, >= 2) [px]; those of camera c are rows ``starts[c]`` to ``starts[c + 1]``."""
        return optics.rays(places, starts, self.rows, self.optics, self.corrections)

    def sightlines(self, order: tuple[int, ...]) -> tuple[Image, float]:
        """What the others see of the rays of the first of these cameras: (rows, columns, fields), and the spacing [px].

        See :mod:`pyptv.kernels.dense.sightlines`. The spacing is the largest at which the table is exact between its places.
        """
        if order not in self._tables:
            table = self._table(order, _SPACINGS[0])
            for spacing, finer in itertools.pairwise(_SPACINGS):
                coarse, table = table, self._table(order, finer)
                if _is_exact(coarse, table, sightlines.fields_of_lines(self.n_cams)):
                    self._tables[order] = coarse, spacing
                    break
            else:
                self._tables[order] = table, _SPACINGS[-1]
        return self._tables[order]

    def _table(self, order: tuple[int, ...], spacing: float) -> Image:
        (width, height), n_fields = self.size, sightlines.fields(self.n_cams)
        return sightlines.sightlines(
            np.array(order), width, height, spacing, self.rows, self.optics, self.corrections, self.layers, n_fields
        )

    def inside(self, positions: Floats) -> NDArray[np.bool_]:
        """Which positions (n, 3) [mm] are within the limits of z, and numbers at all."""
        x0, x1, low0, low1, high0, high1 = self.layers
        share = (positions[:, 0] - x0) / (x1 - x0)
        low, high = low0 + share * (low1 - low0), high0 + share * (high1 - high0)
        z = positions[:, 2]
        within: NDArray[np.bool_] = (z > low - _DEPTH_MARGIN) & (z < high + _DEPTH_MARGIN)
        return within & np.isfinite(positions).all(axis=1)

    def _pixel_in_space(self) -> float:
        middle = np.array([[self.layers[:2].mean(), 0.0, self.layers[2:].mean()]])
        around = np.repeat(middle, 3, axis=0) + 1e-1 * np.eye(3)
        moved = (self.project(around) - self.project(middle)) / 1e-1
        lengths = np.sqrt((moved**2).sum(axis=(0, 2)) / 2)  # px/mm; two of three axes are across the view
        return float(np.clip(1.0 / np.nanmedian(lengths), 1e-6, 1e3)) if np.isfinite(lengths).any() else 1.0


def _is_exact(coarse: Image, fine: Image, n_fields: int) -> bool:
    """Whether a table gives what one of half its spacing has in the middle of four places."""
    middle = 0.25 * (coarse[:-1, :-1] + coarse[1:, :-1] + coarse[:-1, 1:] + coarse[1:, 1:])
    rows, columns = (min(a, b) for a, b in zip(middle.shape[:2], fine[1::2, 1::2].shape[:2], strict=True))
    off = np.abs(middle[:rows, :columns, :n_fields] - fine[1::2, 1::2][:rows, :columns, :n_fields])
    return not bool((off > _STRAIGHT).any())
