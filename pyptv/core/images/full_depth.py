"""Grey values with all the bits that are stored: what the dense method fits particles to.

The standard method works with 8 bits, as PyPTV does. Here a stored value becomes a float32 grey value of the same scale: 255 is
the largest value that the images' depth can hold, whatever the depth.
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
"""From here on a pixel is saturated: 10 bits at the upper end of 16 reach 0.99905 of white, and no more."""


@dataclass(frozen=True)
class Views:
    """What the cameras saw in a frame."""

    values: Image
    """(n_cams, height, width) grey values, 0 to 255 at any depth; less where a background image was subtracted."""
    saturated: NDArray[np.uint8]
    """(n_cams, height, width) 1 where a pixel was saturated: its value says only "at least"."""

    @staticmethod
    def of(values: NDArray[Any]) -> Views:
        """Of grey values 0 to 255."""
        grey = np.ascontiguousarray(values, np.float32)
        return Views(grey, (grey >= _SATURATED).astype(np.uint8))


def read_frame(
    experiment: Experiment, settings: ImageSettings, frame: int, masks: NDArray[np.float32] | None = None
) -> tuple[Views, list[ImageStamp]]:
    """What all cameras saw in a frame, negative, split and without the background image where that is asked for.

    Args:
        experiment: names the files.
        settings: how its images are read.
        frame: the number.
        masks: of :func:`read_masks`.

    Raises:
        FrameError: names the frame, the camera or file, and what is wrong.
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
    # where dark particles are on a bright ground, what is saturated is the ground's brightest, and it is the particles' zero
    saturated = (values >= _SATURATED).astype(np.uint8)
    if masks is not None:
        values -= masks
    return Views(values, saturated), stamps


def read_masks(experiment: Experiment, settings: ImageSettings) -> NDArray[np.float32] | None:
    """The background images, (n_cams, height, width), in the same grey values; None where none are asked for."""
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
    """Grey values (height, width), 0 to 255, of pixels as they are stored.

    Args:
        pixels: (height, width) or (height, width, channels).
        stored: how they are stored.
        depth: bits that grey values have, at least 8; None: those of the type.

    Raises:
        FrameError: values that have no grey value.
    """
    if pixels.ndim == 3 or pixels.dtype == np.bool_:
        return to_eight_bit(pixels, None if stored.scaled else depth).astype(np.float32)  # the decoder has no more of colours
    if pixels.dtype.kind == "f":
        to_eight_bit(pixels)  # raises where they are not between 0 and 1
        return np.asarray(pixels * np.float32(WHITE), np.float32)
    bits = effective_depth(pixels, None if stored.scaled else depth)
    grey: Image = (pixels if pixels.dtype.kind == "u" else np.maximum(pixels, 0)).astype(np.float32)
    grey *= np.float32(WHITE / (2**bits - 1))
    return grey
