"""Image files: opened safely with Pillow, their size known before anything is decoded."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import Image as Pillow
from PIL import (
    TiffImagePlugin,  # noqa: F401 -- registers TIFF: else Pillow imports all its plugins to find it
    UnidentifiedImageError,
)

from pyptv.core.base.errors import FrameError, ImageError
from pyptv.core.base.events import ImageStamp
from pyptv.core.base.regular_files import NotRegularError, open_regular
from pyptv.core.images import jpeg, tiff
from pyptv.core.images.tiff import several_pages, wrong_size

# Formats of measuring cameras, without those that Pillow passes to another program (EPS) or a service.
FORMATS = ("TIFF", "PNG", "BMP", "JPEG", "PPM", "GIF", "JPEG2000", "WEBP")
_BLOCK = 2**20
_COLOUR_MODES = ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV")
_STORED_VALUES = (".tif", ".tiff", ".btf", ".tf8", ".ptif", ".ptiff", ".stk", ".lsm")
"""Endings for which PyPTV 0.4.3 reads TIFF files with tifffile, as stored; it reads others with Pillow."""

_MAX_CHANNELS = 4
_SLACK_BYTES = 64 * 2**20
_EIGHT_BIT, _SIXTEEN_BIT = 8, 16
_FULL_PPM = 65_535
_FIRST_BYTES = 16


@dataclass(frozen=True)
class Stored:
    """How the values of an image file are stored."""

    bits: int = 8
    """Of a value."""
    signed: bool = False
    scaled: bool = False
    """The file states which value is white, and the decoder has scaled it to 16 bits."""
    colours: bool = False
    """Several channels; if they have 16 bits, the decoder keeps the upper 8."""
    notes: tuple[str, ...] = ()
    """Notes for the user, reported once, on how such files are read."""

    @property
    def deep(self) -> bool:
        """Whether the number of bits of a grey value must be given or determined."""
        return self.bits > _EIGHT_BIT and not self.scaled


@dataclass(frozen=True)
class OpenImage:
    """An image file whose header has been read."""

    image: Pillow.Image
    stored: Stored
    stamp: ImageStamp


@contextmanager
def open_image(
    path: Path, size: tuple[int, int], page: int | None = None, *, only_page: bool = False, pixels: bool = True
) -> Iterator[OpenImage]:
    """Open an image; all errors, also in the block that uses it, become a :class:`FrameError` with the file.

    Args:
        path: the file; its content determines the format. Its name determines how PyPTV reads a TIFF file: see
            ``docs/file_formats.md``.
        size: expected (width, height) [px].
        page: of a file with several pages, counted from 1. None: a file with several images of that size is refused.
        only_page: a file with a single page is used for every ``page``.
        pixels: False: nothing will be decoded, so only the header is read.
    """
    choice = _Choice(size, page, only_page, pixels, as_stored=path.suffix.lower() in _STORED_VALUES)
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            # for damaged files only exceptions matter, not Pillow's warnings
            with warnings.catch_warnings(action="ignore"), _opened(file, choice) as (image, stored):
                image.info.pop("transparency", None)  # of a palette: Pillow would warn about its loss
                grey_or_rgb = image.convert("RGB") if pixels and image.mode in _COLOUR_MODES else image
                checksum = _checksum(path) if pixels else 0
                yield OpenImage(grey_or_rgb, stored, (status.st_size, status.st_mtime_ns, checksum))
    except FileNotFoundError as error:
        raise FrameError(f"{path}: image does not exist") from error
    except NotRegularError as error:
        raise FrameError(f"{path}: {error.strerror}") from error
    except ImageError as error:
        raise FrameError(f"{path}: {error}") from error
    except UnidentifiedImageError as error:
        what = "is empty" if status.st_size == 0 else f"is cut, damaged, or not an image ({', '.join(FORMATS)})"
        raise FrameError(f"{path}: the file {what}") from error
    except Exception as error:  # Pillow's decoders raise many types of errors on damaged files
        raise FrameError(f"{path}: image cannot be decoded ({error}): the file is cut or damaged") from error


def _checksum(path: Path) -> int:
    """CRC-32 of a whole file."""
    checksum = 0
    with open_regular(path) as file:
        while block := file.read(_BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum


def image_kind(path: Path, size: tuple[int, int], page: int | None = None, *, only_page: bool = False) -> Stored:
    """How the values of an image are stored, after a check of its size; nothing is decoded."""
    with open_image(path, size, page, only_page=only_page, pixels=False) as opened:
        return opened.stored


@dataclass(frozen=True)
class _Choice:
    """The requested part of a file: see :func:`open_image`."""

    size: tuple[int, int]
    page: int | None
    only_page: bool
    pixels: bool
    as_stored: bool
    """A TIFF file is read like tifffile does."""


@contextmanager
def _opened(file: IO[bytes], choice: _Choice) -> Iterator[tuple[Pillow.Image, Stored]]:
    prefix = file.read(_FIRST_BYTES)
    if prefix[:4] in tiff.PREFIXES:
        page = _tiff_page(file, choice)
        try:
            opened = _pillow_image(page.file, ("TIFF",))
        except UnidentifiedImageError as error:
            raise ImageError(f"found a TIFF image of {page.samples} x {page.bits} bits of a kind that is not read") from error
        with opened as image:
            if image.size[0] * image.size[1] > (Pillow.MAX_IMAGE_PIXELS or 0):
                # in memory, so that Pillow's size limit does not apply to an image of the expected size
                image.im = Pillow.new(image.mode, getattr(image, "_tile_size", image.size)).im
            yield image, _stored_in_tiff(page, as_stored=choice.as_stored)
        return
    width, height = choice.size
    length, most = os.fstat(file.fileno()).st_size, 2 * _MAX_CHANNELS * width * height + _SLACK_BYTES
    if length > most:
        raise ImageError(f"found {length} bytes, expected at most {most} for an image of {width} x {height} px")
    file.seek(0)
    with _pillow_image(jpeg.without_metadata(file.read()) if prefix.startswith(jpeg.PREFIX) else file, FORMATS[1:]) as image:
        _check_size(image, choice)
        stored = _stored(image)
        _turn_to(image, choice)
        _check_size(image, choice)  # of the selected picture
        yield image, stored


def _check_size(image: Pillow.Image, choice: _Choice) -> None:
    if image.size != choice.size:
        raise ImageError(wrong_size(image.size, choice.size))


def _pillow_image(source: IO[bytes], formats: tuple[str, ...]) -> Pillow.Image:
    """``PIL.Image.open`` without its size limit: the caller compares the size with the parameters.

    Pillow's own limit is a global setting of the whole program, which must not be changed here.
    """
    source.seek(0)
    prefix = source.read(_FIRST_BYTES)
    for name in formats:
        for load_plugins in (Pillow.preinit, Pillow.init):  # a few, then all
            if name not in Pillow.OPEN:
                load_plugins()
        factory, accept = Pillow.OPEN[name]
        if accept is None or accept(prefix) is True:
            source.seek(0)
            try:
                return factory(source, "")
            except (SyntaxError, IndexError, TypeError, struct.error):  # raised by plugins for a file of another format
                continue
    raise UnidentifiedImageError


def _tiff_page(file: IO[bytes], choice: _Choice) -> tiff.TiffPage:
    how = {"as_stored": choice.as_stored, "pixels": choice.pixels}
    try:
        return tiff.read_page(file, choice.size, choice.page, **how)
    except EOFError as error:
        found = error.args[0]
        if choice.only_page and found == 1:
            return tiff.read_page(file, choice.size, 1, **how)
        raise ImageError(_no_such_page(found, choice.page)) from error


def _turn_to(image: Pillow.Image, choice: _Choice) -> None:
    """Select a picture of an animation."""
    if choice.page == 1 or (choice.only_page and not _animated(image)):
        return
    if choice.page is None:
        if _animated(image):
            raise ImageError(several_pages(image.size))
        return
    try:
        image.seek(choice.page - 1)
    except EOFError as error:
        raise ImageError(_no_such_page(getattr(image, "n_frames", 1), choice.page)) from error


def _animated(image: Pillow.Image) -> bool:
    return bool(getattr(image, "is_animated", False))


def _no_such_page(found: int, page: int | None) -> str:
    return f"found {found} page{'s' * (found != 1)}, expected page {page} (--page, page of section ptv)"


def _stored_in_tiff(page: tiff.TiffPage, *, as_stored: bool) -> Stored:
    if page.signed and page.bits <= _EIGHT_BIT:
        raise ImageError(f"found signed values of {page.bits} bits, expected unsigned ones")
    notes = []
    if page.white_is_zero and (as_stored or page.bits > _EIGHT_BIT):
        notes.append("TIFF images in which 0 is white: the stored values are taken, as PyPTV does (negative inverts them)")
    elif page.white_is_zero:
        notes.append("TIFF images in which 0 is white: inverted, as PyPTV does where names do not end in .tif")
    if page.palette and as_stored:
        notes.append("TIFF images with a palette: its colours are left out, as PyPTV does where names end in .tif")
    if page.signed:
        notes.append("signed values: what is below 0 becomes 0, as in PyPTV")
    if page.orientation > 1 and as_stored:
        notes.append(f"TIFF images with the orientation {page.orientation}: not turned, as PyPTV does where names end in .tif")
    bits = _EIGHT_BIT if page.floating else page.bits
    return Stored(bits, page.signed, colours=page.samples > 2, notes=tuple(notes))


def _stored(image: Pillow.Image) -> Stored:
    """For all formats except TIFF."""
    colours = image.mode not in ("L", "LA", "1") and not image.mode.startswith(("I", "F"))
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else None
    if image.format == "PPM":
        # (raw mode, largest value), or only the raw mode: then the largest value of its bytes
        largest = arguments[-1] if isinstance(arguments, tuple) and isinstance(arguments[-1], int) else _FULL_PPM
        deep = image.mode.startswith("I") or (colours and isinstance(arguments, tuple) and largest > 255)
        return Stored(_SIXTEEN_BIT if deep else _EIGHT_BIT, scaled=largest != _FULL_PPM, colours=colours)
    if image.mode.startswith("I"):
        return Stored(_SIXTEEN_BIT, scaled=image.format == "JPEG2000")
    deep = image.format == "PNG" and "16" in str(arguments)
    return Stored(_SIXTEEN_BIT if deep else _EIGHT_BIT, colours=colours)
