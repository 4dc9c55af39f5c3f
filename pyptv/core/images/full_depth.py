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
    stamps, n_images = [], experiment.images_per_frame
    width, height = settings.file_size
    images = np.empty((n_images, height, width), np.float32)
    for which in range(n_images):
        try:
            path, depth = experiment.image_path(which, frame), settings.grey.of_image(which)
            stamps.append(_read(path, settings, depth, images[which]))
        except FrameError as error:
            raise FrameError(f"frame {frame}, camera {which + 1}: {error}") from error
    if settings.negative:
        np.subtract(np.float32(WHITE), images, out=images)
    values = np.stack([view for image in images for view in split(image, settings.order)]) if settings.split else images
    # with dark particles on a bright background, saturated pixels are the brightest background: zero after inversion
    saturated = (values >= _SATURATED).view(np.uint8)
    if masks is not None:
        values -= masks
    return Views(values, saturated), stamps


def read_masks(experiment: Experiment, settings: ImageSettings) -> NDArray[np.float32] | None:
    """The background images, (n_cams, height, width), in the same grey values; None if there are none."""
    if not experiment.parameters.masking.enabled:
        return None
    masks = np.empty((experiment.num_cams, settings.height, settings.width), np.float32)
    for camera, mask in enumerate(masks):
        _read(experiment.mask_path(camera), settings, settings.grey.of_mask(camera), mask, is_mask=True)
    return masks


def _read(path: Path, settings: ImageSettings, depth: int | None, out: Image, *, is_mask: bool = False) -> ImageStamp:
    """Read an image into ``out`` (height, width)."""
    height, width = out.shape
    pixels, stored, stamp = read_image(path, (width, height), settings.grey.page, only_page=is_mask)
    try:
        to_grey(pixels, stored, depth, out)
    except FrameError as error:
        raise FrameError(f"{path}: {error}") from error
    return stamp


def to_grey(pixels: NDArray[Any], stored: Stored, depth: int | None, out: Image) -> None:
    """Grey values, 0 to 255, of stored pixels.

    Args:
        pixels: (height, width) or (height, width, channels).
        stored: how they are stored.
        depth: bits of the grey values, at least 8; None: those of the type.
        out: (height, width) receives them.

    Raises:
        FrameError: values that cannot be converted.
    """
    if pixels.ndim == 3 or pixels.dtype == np.bool_:
        out[:] = to_eight_bit(pixels, None if stored.scaled else depth)  # decoders keep 8 bits of colours
        return
    if pixels.dtype.kind == "f":
        to_eight_bit(pixels)  # raises where they are not between 0 and 1
        factor = np.float32(WHITE)
    else:
        factor = np.float32(WHITE / (2 ** effective_depth(pixels, None if stored.scaled else depth) - 1))
        pixels = pixels if pixels.dtype.kind == "u" else np.maximum(pixels, 0)
    np.multiply(pixels, factor, out=out, dtype=np.float32, casting="same_kind")
