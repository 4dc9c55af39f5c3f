"""The parameters of a synthetic experiment, chosen as an experienced user would for its flow and its images."""

from __future__ import annotations

import math
from typing import Any

from pyptv.core.experiment.parameters.attrdict import AttrDict
from pyptv.core.experiment.parameters.checks import build_parameters
from pyptv.core.experiment.parameters.schema import Parameters
from pyptv.synthetic.flow import Extremes
from pyptv.synthetic.optics import GLASS_THICKNESS, INDEX_AIR, INDEX_GLASS, INDEX_WATER, pixel_size
from pyptv.synthetic.particles import VOLUME
from pyptv.synthetic.settings import Settings

MASK_PATTERN = "img/mask%d.tif"
_EPIPOLAR_PX = 0.8
"""Width of the epipolar band for an exact calibration [px]: several times the noise of a target's position."""
_POSITION_NOISE_PX = 0.4
"""Upper estimate of the error of a position in depth, in pixels: widens the limits of the tracker."""


def parameter_tree(settings: Settings, motion: Extremes) -> dict[str, Any]:
    """The parameters with the names of the YAML dialect; plain numbers, texts and lists."""
    cameras = range(1, settings.n_cameras + 1)
    return {
        "num_cams": settings.n_cameras,
        "plugins": {"selected_sequence": "default", "selected_tracking": "default"},
        "ptv": _control(settings),
        "sequence": {
            "base_name": image_patterns(settings),
            "first": settings.first_frame,
            "last": settings.last_frame,
        },
        "criteria": _criteria(settings),
        "targ_rec": _detection(settings),
        "track": _tracking(settings, motion),
        "pft_version": {"Existing_Target": int(not settings.images)},
        "masking": {"mask_flag": settings.mask, "mask_base_name": MASK_PATTERN if settings.mask else ""},
        "cal_ori": {
            "img_cal_name": [calibration_name(camera) for camera in cameras],
            "img_ori": [f"{calibration_name(camera)}.ori" for camera in cameras],
        },
    }


def checked_parameters(tree: dict[str, Any]) -> Parameters:
    """The tree as :class:`Parameters`, checked like those of any experiment."""
    return build_parameters(AttrDict(tree), lambda section, key: f"synthetic experiment, {section}.{key}")


def image_patterns(settings: Settings) -> list[str]:
    """The image name of each camera, with %d for the frame number; one for all four with a splitter.

    PyPTV 0.4.3 needs a name for each camera even with a splitter: the name is repeated.
    """
    if settings.splitter:
        return ["img/views.%d.tif"] * settings.n_cameras
    return [f"img/cam{camera + 1}.%d.tif" for camera in range(settings.n_cameras)]


def calibration_name(camera: int) -> str:
    """The calibration image of a camera, counted from 1. Only its .ori and .addpar exist."""
    return f"cal/cam{camera}.tif"


def _control(settings: Settings) -> dict[str, Any]:
    width, height = settings.image_size
    pixel = pixel_size(settings.image_size)
    return {
        "img_name": [pattern.replace("%d", str(settings.first_frame)) for pattern in image_patterns(settings)],
        "img_cal": [calibration_name(camera) for camera in range(1, settings.n_cameras + 1)],
        "hp_flag": True,
        "allcam_flag": False,
        "tiff_flag": True,
        "imx": width,
        "imy": height,
        "pix_x": pixel,
        "pix_y": pixel,
        "chfield": 0,
        "mmp_n1": INDEX_AIR,
        "mmp_n2": INDEX_GLASS,
        "mmp_n3": INDEX_WATER,
        "mmp_d": GLASS_THICKNESS,
        "splitter": settings.splitter,
        "negative": settings.negative,
    }


def _criteria(settings: Settings) -> dict[str, Any]:
    x, _, z = (side / 2 for side in VOLUME)
    margin = 0.5 + depth_error(settings)
    band = _EPIPOLAR_PX + 2 * settings.calibration_error_px
    return {
        "X_lay": [-x - margin, x + margin],
        "Zmin_lay": [-z - margin] * 2,
        "Zmax_lay": [z + margin] * 2,
        "cnx": 0.02,
        "cny": 0.02,
        "cn": 0.02,
        "csumg": 0.02,
        "corrmin": 33.0,
        "eps0": round(band * pixel_size(settings.image_size), 6),
    }


def _detection(settings: Settings) -> dict[str, Any]:
    area = math.pi * (4 * settings.sigma) ** 2
    noise = math.hypot(settings.noise, settings.read_noise)
    # far above the noise; if that would lose half of the particles, only as far as needed
    certain = 5 * noise if 5 * noise < settings.intensity / 2 else 3 * noise
    return {
        "gvthres": [min(255, max(4, math.ceil(certain)))] * 4,
        "disco": max(5, math.ceil(certain)),  # small: two touching spots are separated
        "nnmin": 3,
        "nnmax": math.ceil(20 * area),
        "nxmin": 2,
        "nxmax": math.ceil(40 * settings.sigma),
        "nymin": 2,
        "nymax": math.ceil(40 * settings.sigma),
        "sumg_min": 40,
        "cr_sz": 2,
    }


def _tracking(settings: Settings, motion: Extremes) -> dict[str, Any]:
    error = depth_error(settings)
    limits = [round(1.1 * float(speed) + error, 3) for speed in motion.velocity]
    return {
        "dvxmin": -limits[0],
        "dvxmax": limits[0],
        "dvymin": -limits[1],
        "dvymax": limits[1],
        "dvzmin": -limits[2],
        "dvzmax": limits[2],
        "angle": 100.0,
        "dacc": round(1.1 * motion.acceleration + 2.5 * error, 3),
        "flagNewParticles": True,
    }


def pixel_in_space(settings: Settings) -> float:
    """The approximate size of a pixel in the middle of the measuring volume [mm], for choosing limits."""
    return 7.9 * pixel_size(settings.image_size)


def depth_error(settings: Settings) -> float:
    """An upper estimate of the error of a measured position, mostly in depth [mm]."""
    return (_POSITION_NOISE_PX + settings.calibration_error_px) * 3 * pixel_in_space(settings)
