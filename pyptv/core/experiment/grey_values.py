"""How the grey values of images are meant: whether 16-bit files hold 8-bit values, decided once for a run."""

from __future__ import annotations

import logging
from dataclasses import replace

from pyptv.core.base.errors import FrameError
from pyptv.core.base.frames import FrameRange
from pyptv.core.experiment.folder import Experiment, ImageSettings
from pyptv.core.experiment.image_files import image_kind

logger = logging.getLogger(__name__)

_SAMPLES = 5
_EIGHT_BIT = 256
_LOW_SIXTEEN_BIT = 0x4000


def image_settings(experiment: Experiment, frames: FrameRange) -> ImageSettings:
    """How to read the images; whether 16-bit files hold 8-bit values is decided here, once, from a few of them."""
    ptv = experiment.parameters.ptv
    settings = ImageSettings(ptv.imx, ptv.imy, ptv.negative, ptv.splitter, order=ptv.splitter_order)
    if experiment.parameters.pft_version.existing_target:
        return settings
    files = range(experiment.images_per_frame)
    return replace(settings, eight_bit_values=tuple(_eight_bit_values(experiment, which, frames, settings) for which in files))


def _eight_bit_values(experiment: Experiment, which: int, frames: FrameRange, settings: ImageSettings) -> bool:
    """Whether 16-bit images of a camera hold 8-bit values; says so, and warns of few grey values."""
    first, last = frames
    path = experiment.image_path(which, first)
    try:
        if not image_kind(path, settings.file_size).startswith("I"):
            return False
        from pyptv.core.experiment.images import highest_value  # numpy, only for 16-bit images

        chosen = sorted({first + round(i * (last - first) / (_SAMPLES - 1)) for i in range(_SAMPLES)})
        highest = max(highest_value(experiment.image_path(which, frame)) for frame in chosen)
    except FrameError:
        return False  # reported where it belongs to: by the checks, or with the frame
    where = f"camera {which + 1} ({path.name}, ...): 16-bit images whose highest value is {highest}"
    if 0 < highest < _EIGHT_BIT:
        logger.warning("%s: taken as 8-bit values", where)
        return True
    if highest < _LOW_SIXTEEN_BIT:
        logger.warning("%s: only %d grey values are left in 8 bit", where, highest // _EIGHT_BIT + 1)
    return False
