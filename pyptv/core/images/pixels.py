"""Images: reading with Pillow, conversion to 8-bit grey like PyPTV, negative, mask, split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pyptv.core.base.errors import FrameError
from pyptv.core.experiment.folder import ImageSettings
from pyptv.core.experiment.parameters.schema import SPLITTER_ORDER
from pyptv.core.images.image_files import Stored, open_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.base.events import ImageStamp

    Image = NDArray[np.uint8]

Kind = TypeVar("Kind", bound=np.generic)

_LUMA = np.array([0.2125, 0.7154, 0.0721])  # Rec. 709, the weights of scikit-image's rgb2gray, which PyPTV calls
_EIGHT_BIT, _SIXTEEN_BIT = 8, 16


def read_image(
    path: Path, size: tuple[int, int], page: int | None = None, *, only_page: bool = False
) -> tuple[NDArray[Any], Stored, ImageStamp]:
    """The stored pixels of an image file, (height, width) or (height, width, channels).

    Args:
        path: the file; its content determines the format, not its name.
        size: expected (width, height) [px]; checked before anything is decoded.
        page: of a file with several pages, counted from 1.
        only_page: a file with a single page is used for every ``page``.

    Returns:
        The pixels, in a type that fits the stored values (int16 for signed 16 bit, and so on); how they
        are stored; and the file's stamp.

    Raises:
        FrameError: with the file and the problem.
    """
    with open_image(path, size, page, only_page=only_page) as opened:
        pixels, stored = np.asarray(opened.image), opened.stored
        if pixels.dtype == np.int32 and stored.bits == _SIXTEEN_BIT:  # Pillow's type for some 16-bit files
            pixels = pixels.astype(np.int16 if stored.signed else np.uint16)
        elif pixels.dtype == np.int32 and not stored.signed:
            pixels = pixels.view(np.uint32)
        return pixels, stored, opened.stamp


def to_eight_bit(pixels: NDArray[Any], depth: int | None = None) -> Image:
    """Grey values as uint8, (height, width).

    Colours become luma. Deeper values become ``value >> (depth - 8)``, as in PyPTV if ``depth`` is that of the
    type: 16 bits, 15 with a sign; values below 0 become 0. PyPTV also considers the maximum of each image,
    which makes a dark frame of a 16-bit sequence 256 times too bright; here one depth applies to a whole experiment
    (:mod:`pyptv.core.images.grey_values`).

    Args:
        pixels: as stored.
        depth: bits of the grey values, at least 8; None: those of the type.

    Raises:
        FrameError: values that cannot be converted to 8 bits.
    """
    if pixels.ndim == 3:
        pixels = _luma(pixels)
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind == "f":
        return _from_float(pixels)
    bits = effective_depth(pixels, depth)
    if pixels.dtype.kind == "i":
        pixels = np.maximum(pixels, 0)
    return (pixels >> (bits - _EIGHT_BIT)).astype(np.uint8)


def effective_depth(pixels: NDArray[Any], depth: int | None) -> int:
    """Bits of whole-number grey values: ``depth``, at most those of the type.

    Raises:
        FrameError: a value has more.
    """
    natural = natural_depth(pixels.dtype)
    if depth is not None and depth < natural:
        highest = int(pixels.max(initial=0))
        if highest >> depth:
            raise FrameError(
                f"found a value of {highest}, expected at most {2**depth - 1}, because the images are taken as {depth}-bit ones: "
                "say how many bits their grey values have (--bit-depth, bit_depth of section ptv)"
            )
    return min(depth or natural, natural)


def natural_depth(dtype: np.dtype[Any]) -> int:
    """Bits of a grey value that uses a whole-number type completely: 16 for uint16, 15 for int16."""
    return 8 * dtype.itemsize - (dtype.kind == "i")


def read_views(path: Path, settings: ImageSettings, which: int = 0) -> tuple[list[Image], ImageStamp]:
    """The views in an image file, each (height, width) uint8, contiguous; and the file's stamp.

    Args:
        path: the file.
        settings: of the experiment.
        which: number of the file within its frame.
    """
    pixels, stored, stamp = read_image(path, settings.file_size, settings.grey.page)
    image = _grey(path, pixels, stored, settings.grey.of_image(which))
    if settings.negative:
        image = 255 - image
    return (split(image, settings.order) if settings.split else [image]), stamp


def read_mask(path: Path, settings: ImageSettings, camera: int = 0) -> NDArray[np.int16]:
    """The background image of a camera (0-based), (height, width) int16, ready to be subtracted."""
    pixels, stored, _ = read_image(path, (settings.width, settings.height), settings.grey.page, only_page=True)
    return _grey(path, pixels, stored, settings.grey.of_mask(camera)).astype(np.int16)


def _grey(path: Path, pixels: NDArray[Any], stored: Stored, depth: int | None) -> Image:
    if stored.colours and stored.deep and depth is not None and depth < _SIXTEEN_BIT:
        raise FrameError(
            f"{path}: found 16-bit colours, expected grey or 8-bit colours where images are taken as {depth}-bit ones"
        )
    try:
        return to_eight_bit(pixels, None if stored.scaled else depth)
    except FrameError as error:
        raise FrameError(f"{path}: {error}") from error


def subtract_mask(image: Image, mask: NDArray[np.int16]) -> Image:
    """``image - mask``, clipped to 0..255."""
    difference: Image = np.clip(image - mask, 0, 255).astype(np.uint8)
    return difference


def split(image: NDArray[Kind], order: Sequence[int] = SPLITTER_ORDER) -> list[NDArray[Kind]]:
    """The four views of a split image, in camera order.

    Args:
        image: (height, width), uint8 or another type.
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
