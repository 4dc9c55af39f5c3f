"""Parameters and calibrations as optv's objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from optv.calibration import Calibration as OptvCalibration
from optv.parameters import ControlParams, TargetParams, TrackingParams, VolumeParams

from pyptv.core.experiment.calibration import Calibration
from pyptv.core.experiment.parameters.schema import MAX_CAMERAS, Parameters


def optv_objects(
    parameters: Parameters, calibrations: Sequence[Calibration]
) -> tuple[ControlParams, VolumeParams, TrackingParams, TargetParams, list[OptvCalibration]]:
    """Optv's parameter objects and calibrations of an experiment."""
    return (
        control_params(parameters, parameters.num_cams),
        volume_params(parameters),
        tracking_params(parameters),
        target_params(parameters),
        [optv_calibration(calibration) for calibration in calibrations],
    )


def control_params(parameters: Parameters, num_cams: int) -> ControlParams:
    """Sensor and layers, for ``num_cams`` cameras."""
    ptv = parameters.ptv
    control = ControlParams(num_cams)
    control.set_image_size((ptv.imx, ptv.imy))
    control.set_pixel_size((ptv.pix_x, ptv.pix_y))
    control.set_hp_flag(ptv.high_pass)
    control.set_allCam_flag(ptv.all_cameras)
    control.set_tiff_flag(True)
    control.set_chfield(ptv.chfield)
    layers = control.get_multimedia_params()
    layers.set_n1(ptv.mmp_n1)
    layers.set_layers([ptv.mmp_n2], [ptv.mmp_d])
    layers.set_n3(ptv.mmp_n3)
    return control


def volume_params(parameters: Parameters) -> VolumeParams:
    """The measuring volume and the limits of correspondence."""
    criteria = parameters.criteria
    volume = VolumeParams()
    for name in ("X_lay", "Zmin_lay", "Zmax_lay"):
        getattr(volume, f"set_{name}")(list(getattr(criteria, name)))
    for name in ("eps0", "cn", "cnx", "cny", "csumg", "corrmin"):
        getattr(volume, f"set_{name}")(getattr(criteria, name))
    return volume


def target_params(parameters: Parameters) -> TargetParams:
    """The limits of detection."""
    limits = parameters.targ_rec
    detection = TargetParams(parameters.num_cams)
    thresholds = [*limits.gvthres, *[limits.gvthres[-1]] * MAX_CAMERAS][:MAX_CAMERAS]
    detection.set_grey_thresholds(thresholds)
    detection.set_pixel_count_bounds((limits.nnmin, limits.nnmax))
    detection.set_xsize_bounds((limits.nxmin, limits.nxmax))
    detection.set_ysize_bounds((limits.nymin, limits.nymax))
    detection.set_min_sum_grey(limits.sumg_min)
    detection.set_max_discontinuity(limits.disco)
    return detection


def tracking_params(parameters: Parameters) -> TrackingParams:
    """The limits of tracking."""
    track = parameters.track
    limits = TrackingParams()
    for name in ("dvxmin", "dvxmax", "dvymin", "dvymax", "dvzmin", "dvzmax", "dacc"):
        getattr(limits, f"set_{name}")(getattr(track, name))
    limits.set_dangle(track.angle)
    limits.set_add(track.add)
    return limits


def optv_calibration(calibration: Calibration) -> OptvCalibration:
    """A calibration as optv's object."""
    camera = OptvCalibration()
    camera.set_pos(np.array(calibration.position))
    camera.set_angles(np.array(calibration.angles))
    camera.set_primary_point(np.array([*calibration.principal_point, calibration.principal_distance]))
    camera.set_radial_distortion(np.array(calibration.radial_distortion))
    camera.set_decentering(np.array(calibration.decentering))
    camera.set_affine_trans(np.array(calibration.affine))
    camera.set_glass_vec(np.array(calibration.glass))
    return camera
