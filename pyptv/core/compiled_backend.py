"""The frame step with compiled kernels: optv's results, faster, and without its limits on targets and candidates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.calibration import Calibration
from pyptv.core.formats import PARTICLES, TARGET_COLUMNS, TARGETS
from pyptv.core.optv_backend import NO_PARTICLE, FrameBackend, Matches
from pyptv.core.parameters import CriteriaParameters, Parameters
from pyptv.kernels.correspondence import match, single_camera
from pyptv.kernels.geometry import camera_rows, optics_row
from pyptv.kernels.ordering import descending

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.formats import Rows
    from pyptv.core.optv_backend import Image

_TRIPLET = 3
_MEASURES = ("x", "y", "n", "nx", "ny", "sumg")


class CompiledFrameBackend(FrameBackend):
    """The steps of a frame. Targets are (n,) rows of ``_targets``, sorted by y, numbered from 0."""

    def __init__(self, parameters: Parameters, calibrations: Sequence[Calibration]) -> None:
        super().__init__(parameters, calibrations)
        self._cameras = camera_rows(parameters, calibrations)
        self._optics = optics_row(parameters)
        self._criteria = _criteria_row(parameters.criteria)
        self._kinds = self.num_cams - 1
        if self._all_cameras:
            self._kinds = int(self.num_cams >= _TRIPLET)  # with two cameras optv then matches nothing

    def detect(self, filtered: Image, camera: int) -> Rows:
        """The targets in a high-pass filtered image, sorted by y.

        Raises:
            FrameError: more targets than detection has room for.
        """
        found = super().detect(filtered, camera)
        tuples = [(t.pnr(), *t.pos(), *t.count_pixels(), t.sum_grey_value(), NO_PARTICLE) for t in found]
        return np.array(tuples, TARGETS.dtype)

    def load_targets(self, rows: Rows, source: str | Path = "targets") -> Rows:  # noqa: ARG002 -- here no number is too large
        """Targets read from a file as detection would give them: sorted by y, numbered, and without a particle."""
        targets = rows[descending(-rows["y"])]
        targets["pnr"] = np.arange(len(targets))
        targets["tnr"] = NO_PARTICLE
        return targets

    def match(self, targets: list[Rows]) -> Matches:
        """Stereo-correspondence and 3-D positions of the targets of one frame, one array a camera; they are not changed."""
        base = np.cumsum([0, *map(len, targets)])
        measures = np.empty((base[-1], len(_MEASURES)))
        for found, begin in zip(targets, base.tolist(), strict=False):
            for column, name in enumerate(_MEASURES):
                measures[begin : begin + len(found), column] = found[name]
        if self.num_cams == 1:
            numbers, positions = single_camera(self._cameras[0], self._optics, self._criteria, measures)
            pointers, totals = numbers[:, np.newaxis], np.array([0, len(numbers)])
        else:
            pointers, positions, totals = match(self._cameras, self._optics, self._criteria, self._kinds, base, measures)
        return Matches(
            particles=_particle_rows(positions, pointers),
            targets=[_pointing_back(found, pointers[:, camera]) for camera, found in enumerate(targets)],
            counts=tuple(np.diff(totals).tolist()),
        )


def _pointing_back(targets: Rows, pointers: NDArray[np.int64]) -> Rows:
    """Targets whose ``tnr`` is the row of the particle that points at them, or -1."""
    targets = targets.copy()
    targets["tnr"] = NO_PARTICLE
    rows = np.flatnonzero(pointers >= 0)
    targets["tnr"][pointers[rows]] = rows
    return targets


def _particle_rows(positions: NDArray[np.float64], pointers: NDArray[np.int64]) -> Rows:
    rows = np.empty(len(positions), PARTICLES.dtype)
    rows["number"] = np.arange(1, len(positions) + 1)
    for axis, name in enumerate("xyz"):
        rows[name] = positions[:, axis]
    for camera, name in enumerate(TARGET_COLUMNS):
        rows[name] = pointers[:, camera] if camera < pointers.shape[1] else -1
    return rows


def _criteria_row(criteria: CriteriaParameters) -> NDArray[np.float64]:
    limits = (*criteria.X_lay, *criteria.Zmin_lay, *criteria.Zmax_lay)
    ratios = (criteria.cn, criteria.cnx, criteria.cny, criteria.csumg)
    return np.array([*limits, criteria.eps0, *ratios, criteria.corrmin])
