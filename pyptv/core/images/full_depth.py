"""Grey values with all stored bits, for the dense method.

The standard method uses 8 bits, like PyPTV. Here a stored value becomes a float32 grey value on the same scale: 255 is
the maximum value of the images' bit depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.core.base.errors import FrameError
from pyptv.core.experiment.folder import Experiment, ImageSettings
from pyptv.core.images.image_files import Stored
from pyptv.core.images.pixels import effective_depth, read_image, split, to_eight_bit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.base.events import ImageStamp

    Image = NDArray[np.float32]

WHITE = 255.0
"""The grey value of the largest stored value."""
_SATURATED = 0.999 * WHITE
"""A pixel is saturated from here on: 10 bits at the upper end of 16 reach only 0.99905 of white."""


@dataclass(frozen=True)
class Views:
    """The images of all cameras in a frame."""

    values: Image
    """(n_cams, height, width) grey values, 0 to 255 at any depth; lower after subtraction of a background image."""
    saturated: NDArray[np.uint8]
    """(n_cams, height, width) 1 where a pixel was saturated: its value is only a lower bound."""

    @staticmethod
    def of(values: NDArray[Any]) -> Views:
        """From grey values 0 to 255."""
        grey = np.ascontiguousarray(values, np.float32)
        return Views(grey, (grey >= _SATURATED).astype(np.uint8))


def read_frame(
    experiment: Experiment, settings: ImageSettings, frame: int, masks: NDArray[np.float32] | None = None
) -> tuple[Views, list[ImageStamp]]:
    """The images of all cameras in a frame, after negative, splitting and background subtraction as in the parameters.

    Args:
        experiment: with the file names.
        settings: how its images are read.
        frame: the number.
        masks: of :func:`read_masks`.

    Raises:
        FrameError: with the frame, the camera or file, and the problem.
    """
    views: list[Image] = []
    stamps = []
    for which in range(experiment.images_per_frame):
        try:
            image, stamp = _read(experiment.image_path(which, frame), settings, settings.grey.of_image(which))
        except FrameError as error:
            raise FrameError(f"frame {frame}, camera {which + 1}: {error}") from error
        stamps.append(stamp)
        image = WHITE - image if settings.negative else image
        views += split(image, settings.order) if settings.split else [image]
    values = np.stack(views)
    # with dark particles on a bright background, saturated pixels are the brightest background: zero after inversion
    saturated = (values >= _SATURATED).astype(np.uint8)
    if masks is not None:
        values -= masks
    return Views(values, saturated), stamps


def read_masks(experiment: Experiment, settings: ImageSettings) -> NDArray[np.float32] | None:
    """The background images, (n_cams, height, width), in the same grey values; None if there are none."""
    if not experiment.parameters.masking.enabled:
        return None
    size = (settings.width, settings.height)
    masks = [
        _read(experiment.mask_path(camera), settings, settings.grey.of_mask(camera), size)[0]
        for camera in range(experiment.num_cams)
    ]
    return np.stack(masks)


def _read(
    path: Path, settings: ImageSettings, depth: int | None, mask_size: tuple[int, int] | None = None
) -> tuple[Image, ImageStamp]:
    pixels, stored, stamp = read_image(path, mask_size or settings.file_size, settings.grey.page, only_page=mask_size is not None)
    try:
        return to_grey(pixels, stored, depth), stamp
    except FrameError as error:
        raise FrameError(f"{path}: {error}") from error


def to_grey(pixels: NDArray[Any], stored: Stored, depth: int | None) -> Image:
    """Grey values (height, width), 0 to 255, of stored pixels.

    Args:
        pixels: (height, width) or (height, width, channels).
        stored: how they are stored.
        depth: bits of the grey values, at least 8; None: those of the type.

    Raises:
        FrameError: values that cannot be converted.
    """
    if pixels.ndim == 3 or pixels.dtype == np.bool_:
        return to_eight_bit(pixels, None if stored.scaled else depth).astype(np.float32)  # decoders keep 8 bits of colours
    if pixels.dtype.kind == "f":
        to_eight_bit(pixels)  # raises where they are not between 0 and 1
        return np.asarray(pixels * np.float32(WHITE), np.float32)
    bits = effective_depth(pixels, None if stored.scaled else depth)
    grey: Image = (pixels if pixels.dtype.kind == "u" else np.maximum(pixels, 0)).astype(np.float32)
    grey *= np.float32(WHITE / (2**bits - 1))
    return grey
