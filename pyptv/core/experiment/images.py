"""Images: read with Pillow, to 8 bit grey as PyPTV does it, negative, mask, split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.core.base.errors import FrameError
from pyptv.core.experiment.folder import ImageSettings
from pyptv.core.experiment.image_files import open_image
from pyptv.core.experiment.parameters import SPLITTER_ORDER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.base.events import ImageStamp

    Image = NDArray[np.uint8]

_LUMA = np.array([0.2125, 0.7154, 0.0721])  # Rec. 709, the weights of scikit-image's rgb2gray, which PyPTV calls
_EIGHT_BIT = 256


def read_image(path: Path, size: tuple[int, int] | None = None) -> tuple[NDArray[Any], ImageStamp]:
    """The pixels of an image file as they are stored, (height, width) or (height, width, channels).

    Args:
        path: the file; its content tells the format, its name need not.
        size: expected (width, height) [px]; checked before anything is decoded.

    Raises:
        FrameError: names the file and what is wrong with it.
    """
    with open_image(path, size) as (image, stamp):
        return np.asarray(image), stamp


def to_eight_bit(pixels: NDArray[Any], *, eight_bit_values: bool = False) -> Image:
    """Grey values as uint8, (height, width).

    Colours become luma; 16 bit become ``value >> 8``, or stay as they are with ``eight_bit_values`` (then all must be
    below 256). PyPTV decides that for each image by its maximum, which makes a dark frame of a 16-bit sequence 256
    times too bright; here it is decided once for a sequence (:mod:`pyptv.core.app.preflight`).

    Raises:
        FrameError: values that have no grey value in 8 bit.
    """
    if pixels.ndim == 3:
        pixels = _luma(pixels)
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind == "f":
        return _from_float(pixels)
    if pixels.size and (pixels.min() < 0 or pixels.max() > np.iinfo(np.uint16).max):
        raise FrameError(f"found values {pixels.min()} to {pixels.max()}, expected 8 or 16 bit")
    if not eight_bit_values:
        return (pixels >> 8).astype(np.uint8)
    if pixels.size and pixels.max() >= _EIGHT_BIT:
        raise FrameError(
            f"found a value of {pixels.max()} in a 16-bit sequence whose other images stay below 256: "
            "convert the images to 8 bit, so that it is clear which values are meant"
        )
    return pixels.astype(np.uint8)


def highest_value(path: Path) -> int:
    """The highest value of an image of whole numbers.

    Raises:
        FrameError: the file cannot be read.
    """
    return int(read_image(path)[0].max())


def read_views(path: Path, settings: ImageSettings, which: int = 0) -> tuple[list[Image], ImageStamp]:
    """The views in an image file, each (height, width) uint8, contiguous; and the file's stamp.

    Args:
        path: the file.
        settings: of the experiment.
        which: number of the file within its frame.
    """
    pixels, stamp = read_image(path, settings.file_size)
    take_as_is = bool(settings.eight_bit_values) and settings.eight_bit_values[which]
    try:
        image = to_eight_bit(pixels, eight_bit_values=take_as_is)
    except FrameError as error:
        raise FrameError(f"{path}: {error}") from error
    if settings.negative:
        image = 255 - image
    return (split(image, settings.order) if settings.split else [image]), stamp


def read_mask(path: Path, settings: ImageSettings) -> NDArray[np.int16]:
    """A background image, (height, width) int16, ready to be subtracted."""
    pixels, _ = read_image(path, (settings.width, settings.height))
    as_they_are = pixels.dtype.itemsize > 1 and pixels.dtype.kind in "ui" and int(pixels.max()) < _EIGHT_BIT
    return to_eight_bit(pixels, eight_bit_values=as_they_are).astype(np.int16)


def subtract_mask(image: Image, mask: NDArray[np.int16]) -> Image:
    """``image - mask``, clipped to 0..255."""
    difference: Image = np.clip(image - mask, 0, 255).astype(np.uint8)
    return difference


def split(image: Image, order: Sequence[int] = SPLITTER_ORDER) -> list[Image]:
    """The four views of a split image, in camera order.

    Args:
        image: (height, width) uint8.
        order: quadrant of each view: 0 top left, 1 top right, 2 bottom left, 3 bottom right.
    """
    height, width = (side // 2 for side in image.shape)
    top, bottom = image[:height], image[height:]
    quadrants = (top[:, :width], top[:, width:], bottom[:, :width], bottom[:, width:])
    return [np.ascontiguousarray(quadrants[which]) for which in order]


def _luma(pixels: NDArray[Any]) -> NDArray[Any]:
    """Grey from colour channels; an opacity channel is dropped."""
    channels = pixels.shape[2]
    if channels in (1, 2):
        return np.ascontiguousarray(pixels[:, :, 0])
    scale = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "ui" else 1
    # the order of operations is scikit-image's: another one rounds some ties the other way
    grey = np.multiply(pixels[:, :, :3], 1.0 / scale, dtype=np.float64) @ _LUMA
    rounded: Image = np.clip(np.rint(grey * 255), 0, 255).astype(np.uint8)
    return rounded


def _from_float(pixels: NDArray[Any]) -> Image:
    if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
        raise FrameError(f"found floating point values {pixels.min()} to {pixels.max()}, expected 0 to 1")
    image: Image = np.rint(pixels * 255.0).astype(np.uint8)
    return image
