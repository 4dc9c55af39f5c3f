"""A frame by ``optv``: detection, correspondence and positions, with guards; projection and its inverse.

optv has few checks: most of the guards here prevent a crash, a corrupted heap or silently lost data that was reproduced
with optv 0.3.2 (``docs/reliability.md`` lists them). On valid input none of them changes a byte of a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from optv.calibration import Calibration as OptvCalibration
from optv.correspondences import MatchedCoords, correspondences
from optv.image_processing import preprocess_image
from optv.imgcoord import image_coordinates
from optv.orientation import point_positions
from optv.parameters import ControlParams
from optv.segmentation import target_recognition
from optv.tracking_framebuf import TargetArray
from optv.transforms import convert_arr_metric_to_pixel, convert_arr_pixel_to_metric, correct_arr_brown_affine

from pyptv.core.base.errors import LimitError, TaintedHeapError
from pyptv.core.engines.matches import ADVICE_TOO_MANY, NO_PARTICLE, Matches, checked_image, particle_rows
from pyptv.core.engines.optv.c_library import captured_output
from pyptv.core.engines.optv.objects import control_params, optv_calibration, target_params, volume_params
from pyptv.core.experiment.calibration import Calibration
from pyptv.core.experiment.parameters.schema import HIGH_PASS_SPAN, MAX_CAMERAS, Parameters
from pyptv.core.files.formats import MAX_ROWS, TARGETS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.engines.matches import Image
    from pyptv.core.files.formats import Rows

_DETECTION_BUFFER = 20_480
"""Size of the target buffer of target_recognition, which is not checked for overflow."""

_BLOB_QUEUE = 2_048
"""Size of the pixel queue for a blob, which is not checked either."""

NO_FILTER = 0


class OptvFrameBackend:
    """optv's objects for one experiment, and the steps of a frame with them."""

    def __init__(self, parameters: Parameters, calibrations: Sequence[Calibration]) -> None:
        self.num_cams = parameters.num_cams
        self._control = control_params(parameters, self.num_cams)
        self._matching_control = self._control
        if self.num_cams == 3:
            self._matching_control = control_params(parameters, MAX_CAMERAS)
            self._matching_control.set_allCam_flag(False)
        self._volume = volume_params(parameters)
        self._detection = target_params(parameters)
        self._calibrations = [optv_calibration(calibration) for calibration in calibrations]
        self._shape = (parameters.ptv.imy, parameters.ptv.imx)
        self._thresholds = parameters.targ_rec.gvthres
        self._nnmin = max(1, parameters.targ_rec.nnmin)
        self._all_cameras = parameters.ptv.all_cameras
        self._unused = _unused_coordinate(self._control, self._calibrations[0])

    def high_pass(self, image: Image) -> Image:
        """The high-pass filtered image, (imy, imx) uint8 like ``image``; any memory layout is accepted."""
        filtered: Image = preprocess_image(checked_image(image, self._shape), NO_FILTER, self._control, HIGH_PASS_SPAN)
        return filtered

    def overflow_risk(self, filtered: Image, camera: int) -> str | None:
        """Why detection in this image *may* overflow a buffer of optv, or None if it cannot.

        Both bounds are conservative: most of the reported images are harmless. A caller must pass such an image to
        :meth:`detect` only in a process that may die.
        """
        bright = int(np.count_nonzero(filtered > self._thresholds[camera]))
        if bright // self._nnmin > _DETECTION_BUFFER:
            return f"{bright} px above the threshold could be more than {_DETECTION_BUFFER} targets"
        if bright > _BLOB_QUEUE:
            return f"{bright} px above the threshold could be one blob that overflows optv's queue of {_BLOB_QUEUE}"
        return None

    def detect(self, filtered: Image, camera: int) -> TargetArray:
        """The targets in a high-pass filtered image, sorted by y.

        Raises:
            FrameError: more targets than the tracker and the formats hold.
        """
        targets = target_recognition(np.ascontiguousarray(filtered), self._detection, camera, self._control)
        if len(targets) > MAX_ROWS:
            kind = TaintedHeapError if len(targets) > _DETECTION_BUFFER else LimitError
            raise kind(
                f"found {len(targets)} targets, optv holds at most {MAX_ROWS}: "
                "raise gvthres, nnmin or sumg_min in section targ_rec, or use --engine compiled"
            )
        if _is_invented(targets):
            return TargetArray(0)
        if len(targets) > 0:  # sort_y of no targets crashes
            targets.sort_y()
        return targets

    def load_targets(self, rows: Rows, source: str | Path = "targets") -> TargetArray:
        """Targets read from a file as detection would give them: sorted by y, numbered, and without a particle.

        PyPTV keeps the ``tnr`` of the file if correspondence does not set it; such a value of an earlier run refers
        to a wrong particle, or to none, which crashes the tracker.

        Raises:
            FrameError: more targets than optv's buffers hold.
        """
        if len(rows) > MAX_ROWS:
            raise LimitError(f"{source}: found {len(rows)} targets, optv holds at most {MAX_ROWS}: use --engine compiled")
        targets = self.targets_from(rows)
        for target in targets:
            target.set_tnr(NO_PARTICLE)
        if len(targets) > 0:
            targets.sort_y()
        return targets

    @staticmethod
    def targets_from(rows: Rows) -> TargetArray:
        """Unchanged rows of ``_targets`` as optv's targets."""
        targets = TargetArray(len(rows))
        for index, (pnr, x, y, n, nx, ny, sumg, tnr) in enumerate(rows.tolist()):
            target = targets[index]
            target.set_pnr(pnr)
            target.set_pos((x, y))
            target.set_pixel_counts(n, nx, ny)
            target.set_sum_grey_value(sumg)
            target.set_tnr(tnr)
        return targets

    def target_rows(self, targets: TargetArray) -> Rows:
        """Targets as rows of ``_targets`` (n,)."""
        return np.array(self.rows_of(targets), TARGETS.dtype)

    @staticmethod
    def rows_of(targets: TargetArray) -> list[tuple[float, ...]]:
        """The same as tuples."""
        return [(t.pnr(), *t.pos(), *t.count_pixels(), t.sum_grey_value(), t.tnr()) for t in targets]

    def match(self, targets: list[TargetArray]) -> Matches:
        """Stereo-correspondence and 3-D positions of the targets of one frame, one array per camera.

        Raises:
            FrameError: a buffer of optv overflowed, so its result is incomplete.
        """
        flat = [MatchedCoords(found, self._control, cal) for found, cal in zip(targets, self._calibrations, strict=True)]
        groups = self._correspondences(targets, flat)
        pointers = np.concatenate(groups, axis=1)
        if pointers.shape[1] > MAX_ROWS:
            raise LimitError(
                f"found {pointers.shape[1]} particles, optv's tracker holds at most {MAX_ROWS}: use --engine compiled"
            )
        positions = self._positions(flat, pointers)
        return Matches(
            particles=particle_rows(positions, pointers),
            targets=[self.rows_of(found) for found in targets],
            counts=tuple(group.shape[1] for group in groups),
        )

    def _correspondences(self, targets: list[TargetArray], flat: list[MatchedCoords]) -> list[NDArray[np.intp]]:
        """Per kind of correspondence (all cameras, one less, ..., pairs) the targets' numbers, (n_cams, n) each.

        Three cameras are passed to optv as four, of which the last has no targets: with three its candidate buffer is smaller
        than the limit that it checks, and overflows. The result is the same (tested), and the overflow is reported.
        """
        calibrations = self._calibrations
        if self.num_cams == 3:
            nothing = TargetArray(0)
            targets = [*targets, nothing]
            calibrations = [*calibrations, calibrations[-1]]
            flat = [*flat, MatchedCoords(nothing, self._matching_control, calibrations[-1])]
        with captured_output() as printed:
            _, groups, _ = correspondences(targets, flat, calibrations, self._volume, self._matching_control)
        _refuse_overflow(printed())
        if self.num_cams != 3:
            return list(groups)
        triplets, pairs = (group[:3] for group in groups[1:])
        if self._all_cameras:
            for camera, numbers in enumerate(pairs):
                for number in numbers[numbers >= 0].tolist():
                    targets[camera][number].set_tnr(NO_PARTICLE)
            pairs = pairs[:, :0]
        return [triplets, pairs]

    def _positions(self, flat: list[MatchedCoords], pointers: NDArray[np.intp]) -> NDArray[np.float64]:
        """Positions (n, 3) [mm] of the particles with the targets ``pointers`` (n_cams, n)."""
        points = np.full((pointers.shape[1], self.num_cams, 2), self._unused)
        for camera, coordinates in enumerate(flat):
            xy, numbers = coordinates.as_arrays()
            by_number = np.empty_like(xy)
            by_number[numbers] = xy
            seen = pointers[camera] >= 0
            points[seen, camera] = by_number[pointers[camera][seen]]
        positions: NDArray[np.float64] = point_positions(points, self._control, self._calibrations, self._volume)[0]
        return positions


_known_calibration = lru_cache(maxsize=64)(optv_calibration)
"""For those who only read it."""


def project(points: NDArray[np.float64], parameters: Parameters, calibrations: Sequence[Calibration]) -> NDArray[np.float64]:
    """Project points into the images.

    Args:
        points: (n, 3) float64, mm.
        parameters: sensor and layers.
        calibrations: one per camera.

    Returns:
        (n_cameras, n, 2) float64, px: x to the right, y down.
    """
    control = control_params(parameters, len(calibrations))
    points = np.ascontiguousarray(points, dtype=np.float64)
    pixels = np.empty((len(calibrations), len(points), 2))
    for camera, calibration in enumerate(calibrations):
        metric = image_coordinates(points, _known_calibration(calibration), control.get_multimedia_params())
        pixels[camera] = convert_arr_metric_to_pixel(metric, control)
    return pixels


def triangulate(pixels: NDArray[np.float64], parameters: Parameters, calibrations: Sequence[Calibration]) -> NDArray[np.float64]:
    """The points nearest to the rays of image positions, as in the sequence step.

    Args:
        pixels: (n_cameras, n, 2) float64, px; NaN if a camera does not see the point.
        parameters: sensor and layers.
        calibrations: one per camera.

    Returns:
        (n, 3) float64, mm; NaN if fewer than two cameras see it.
    """
    control, cameras = control_params(parameters, len(calibrations)), [optv_calibration(one) for one in calibrations]
    flat = np.full((pixels.shape[1], len(calibrations), 2), _unused_coordinate(control, cameras[0]))
    seen = np.asarray(np.isfinite(pixels).all(axis=2))
    for number, camera in enumerate(cameras):
        points = np.flatnonzero(seen[number])
        targets = TargetArray(len(points))
        for index, place in enumerate(pixels[number, points].tolist()):
            targets[index].set_pnr(index)
            targets[index].set_pos(place)
        if len(points):
            xy, numbers = MatchedCoords(targets, control, camera).as_arrays()
            flat[points[numbers], number] = xy
    positions: NDArray[np.float64] = point_positions(flat, control, cameras, volume_params(parameters))[0]
    positions[np.count_nonzero(seen, axis=0) < 2] = np.nan
    return positions


def image_corners(parameters: Parameters, calibrations: Sequence[Calibration]) -> NDArray[np.float64]:
    """Flat coordinates of the images' corners: (n_cameras, 4, 2), mm; upper left, upper right, lower left, lower right."""
    ptv = parameters.ptv
    pixels = np.array([(0, 0), (ptv.imx, 0), (0, ptv.imy), (ptv.imx, ptv.imy)], np.float64)
    return _flat_corners(convert_arr_pixel_to_metric(pixels, control_params(parameters, len(calibrations))), calibrations)


def sensor_limits(parameters: Parameters, calibrations: Sequence[Calibration]) -> NDArray[np.float64]:
    """Flat coordinates of the sensors' lower left and upper right corners: (n_cameras, 4), mm; x, y, x, y."""
    ptv = parameters.ptv
    corner = np.array([ptv.imx * ptv.pix_x / 2, ptv.imy * ptv.pix_y / 2])
    return _flat_corners(np.stack([-corner, corner]), calibrations).reshape(-1, 4)


def _flat_corners(places: NDArray[np.float64], calibrations: Sequence[Calibration]) -> NDArray[np.float64]:
    """The flat coordinates of corners in optv, which it computes differently from those of targets.

    The principal point is subtracted before the distortion is corrected, and the correction gives another result if it converges
    slowly or not at all.

    Args:
        places: (n, 2) on the sensor, mm from its middle, y up.
        calibrations: one per camera.

    Returns:
        (n_cameras, n, 2).
    """
    moved = [np.ascontiguousarray(places - calibration.principal_point) for calibration in calibrations]
    return np.array([correct_arr_brown_affine(xy, optv_calibration(of)) for xy, of in zip(moved, calibrations, strict=True)])


def _refuse_overflow(printed: str) -> None:
    if "verflow" in printed or "More candidates than" in printed:
        said = " ".join(dict.fromkeys(line.strip() for line in printed.splitlines()))
        raise LimitError(
            f"too many candidate correspondences for optv ({said}), some of them would be lost: "
            f"use --engine compiled, or {ADVICE_TOO_MANY}"
        )


def _is_invented(targets: TargetArray) -> bool:
    """Whether this is optv's result for an image without targets: a single one at (1, 1) of one pixel with grey value 1."""
    if len(targets) != 1:
        return False
    only = targets[0]
    return bool(only.pos() == (1.0, 1.0) and only.count_pixels() == (1, 1, 1) and only.sum_grey_value() == 1)


def _unused_coordinate(control: ControlParams, calibration: OptvCalibration) -> float:
    """The value with which optv marks an unseen target: computed, because no Python name contains it."""
    none = MatchedCoords(TargetArray(0), control, calibration)
    return float(none.get_by_pnrs(np.array([-1], dtype=np.intp))[0, 0])
