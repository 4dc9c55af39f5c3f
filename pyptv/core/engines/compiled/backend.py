"""The frame step with compiled kernels: optv's results, faster, and without its limits on targets and candidates.

Targets of a camera are (n, 8) float64 here, the columns of ``_targets``, with x, y [px] in full precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.base.errors import FrameError
from pyptv.core.engines.compiled.text import as_columns, render_columns
from pyptv.core.engines.matches import ADVICE_TOO_MANY, NO_PARTICLE, Matches, checked_image
from pyptv.core.engines.optv.backend import sensor_limits
from pyptv.core.experiment.calibration import Calibration
from pyptv.core.experiment.parameters.schema import (
    HIGH_PASS_SPAN,
    MAX_CAMERAS,
    CriteriaParameters,
    DetectionParameters,
    Parameters,
)
from pyptv.core.files.formats import PARTICLES, TARGETS
from pyptv.kernels.geometry import camera_rows, optics_row
from pyptv.kernels.images.detection import detect, order_by_y
from pyptv.kernels.images.high_pass import high_pass
from pyptv.kernels.matching.candidates import COMBINATION, MOST, MOST_TRIED, TooManyError, TooMuchWorkError
from pyptv.kernels.matching.correspondence import match
from pyptv.kernels.matching.single_camera import single_camera

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.engines.matches import Image
    from pyptv.core.files.formats import Rows

    Columns = NDArray[np.float64]

_PNR, _X, _TNR = 0, 1, 7
_BLANK = 2
_MEASURES = slice(_X, _TNR)
"""x, y, n, nx, ny, sumg."""


@dataclass(frozen=True)
class CompiledMatches(Matches):
    """:class:`Matches` whose particles and targets are columns of numbers."""

    def files(self) -> dict[str, bytes]:
        """Short name -> bytes of the frame's result files; ``rt_is`` last."""
        targets = {f"targets{camera + 1}": render_columns(TARGETS, found) for camera, found in enumerate(self.targets)}
        return targets | {"rt_is": render_columns(PARTICLES, self.particles)}


class CompiledFrameBackend:
    """The steps of a frame. Targets are sorted by y and numbered from 0."""

    def __init__(self, parameters: Parameters, calibrations: Sequence[Calibration]) -> None:
        self.num_cams = parameters.num_cams
        self._shape = (parameters.ptv.imy, parameters.ptv.imx)
        self._cameras = camera_rows(parameters, calibrations)
        self._optics = optics_row(parameters)
        self._criteria = _criteria_row(parameters.criteria)
        self._sensors = sensor_limits(parameters, calibrations[: parameters.num_cams])
        self._field = parameters.ptv.chfield
        self._kinds = parameters.num_cams - 1
        if parameters.ptv.all_cameras:
            self._kinds = int(parameters.num_cams >= 3)  # with two cameras optv matches nothing in this case
        self._limits = [_detection_limits(parameters.targ_rec, camera) for camera in range(parameters.num_cams)]

    def high_pass(self, image: Image) -> Image:
        """The high-pass filtered image, (imy, imx) uint8 like ``image``; any memory layout is accepted."""
        filtered: Image = high_pass(checked_image(image, self._shape), HIGH_PASS_SPAN)
        return _one_field(filtered, self._field) if self._field else filtered

    def overflow_risk(self, filtered: Image, camera: int) -> None:
        """None: there is no buffer that an image could overflow."""

    def detect(self, filtered: Image, camera: int) -> Columns:
        """The targets in a high-pass filtered image."""
        return detect(np.ascontiguousarray(filtered), self._limits[camera])

    def load_targets(self, rows: Rows, source: str | Path = "targets") -> Columns:  # noqa: ARG002 -- no limit here
        """Targets read from a file as detection would give them, without a particle."""
        targets = as_columns(rows)
        targets = targets[order_by_y(targets)]
        targets[:, _PNR] = np.arange(len(targets))
        targets[:, _TNR] = NO_PARTICLE
        return targets

    def target_rows(self, targets: Columns) -> Rows:
        """Targets as rows of ``_targets`` (n,)."""
        rows = np.empty(len(targets), TARGETS.dtype)
        for index, name in enumerate(TARGETS.columns):
            rows[name] = targets[:, index]
        return rows

    def match(self, targets: list[Columns]) -> CompiledMatches:
        """Stereo-correspondence and 3-D positions of the targets of one frame, one array per camera; they are not changed.

        Raises:
            FrameError: more candidate correspondences than should be held in memory, or than can be tried in some seconds.
        """
        base = np.cumsum([0, *map(len, targets)])
        measures = np.ascontiguousarray(np.concatenate(targets)[:, _MEASURES])
        if self.num_cams == 1:
            numbers, positions = single_camera(self._cameras[0], self._optics, self._criteria, measures)
            pointers, totals = numbers[:, np.newaxis], np.array([0, len(numbers)])
        else:
            try:
                pointers, positions, totals = match(
                    self._cameras, self._optics, self._criteria, self._sensors, self._kinds, base, measures
                )
            except TooMuchWorkError as error:
                raise FrameError(
                    f"more than {MOST_TRIED // COMBINATION // 10**6} million combinations of targets to try, among which "
                    f"no choice is a measurement: {ADVICE_TOO_MANY}"
                ) from error
            except TooManyError as error:
                raise FrameError(
                    f"more than {MOST // 10**6} million candidate correspondences, among which no choice is a measurement: "
                    f"{ADVICE_TOO_MANY}"
                ) from error
        return CompiledMatches(
            particles=_particles(positions, pointers),
            targets=[_pointing_back(found, pointers[:, camera]) for camera, found in enumerate(targets)],
            counts=tuple(np.diff(totals).tolist()),
        )


def _one_field(image: Image, field: int) -> Image:
    """The lines of one field of an interlaced image in its upper half, as in optv's filter: 1 odd lines, 2 even ones.

    The lower half is all 2, which is below any usual threshold. With an odd number of lines the middle one keeps its
    left half, as in optv.
    """
    half = image.shape[0] // 2
    lines = image.copy()
    lines[:half] = image[field % 2 :: 2][:half]
    lines.reshape(-1)[image.size // 2 :] = _BLANK
    return lines


def _pointing_back(targets: Columns, pointers: NDArray[np.int64]) -> Columns:
    """Targets whose ``tnr`` is the row of their particle, or -1."""
    targets = targets.copy()
    targets[:, _TNR] = NO_PARTICLE
    rows = np.flatnonzero(pointers >= 0)
    targets[pointers[rows], _TNR] = rows
    return targets


def _particles(positions: NDArray[np.float64], pointers: NDArray[np.int64]) -> Columns:
    """The columns of ``rt_is``, (n, 8)."""
    missing = np.full((len(positions), MAX_CAMERAS - pointers.shape[1]), NO_PARTICLE)
    return np.column_stack([np.arange(1, len(positions) + 1), positions, pointers, missing])


def _criteria_row(criteria: CriteriaParameters) -> NDArray[np.float64]:
    limits = (*criteria.X_lay, *criteria.Zmin_lay, *criteria.Zmax_lay)
    ratios = (criteria.cn, criteria.cnx, criteria.cny, criteria.csumg)
    return np.array([*limits, criteria.eps0, *ratios, criteria.corrmin])


def _detection_limits(limits: DetectionParameters, camera: int) -> NDArray[np.int64]:
    """The kernel's limits: threshold, discontinuity, then the limits of n, nx, ny, and the minimum sum of grey values."""
    threshold = limits.gvthres[min(camera, len(limits.gvthres) - 1)]
    sizes = (limits.nnmin, limits.nnmax, limits.nxmin, limits.nxmax, limits.nymin, limits.nymax)
    return np.array([threshold, limits.disco, *sizes, limits.sumg_min])
