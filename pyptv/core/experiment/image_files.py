"""Image files: opened safely with Pillow, their size known before anything is decoded."""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from PIL import Image as Pillow
from PIL import (
    TiffImagePlugin,  # noqa: F401 -- registers TIFF: else Pillow imports all its plugins to find it
    UnidentifiedImageError,
)

from pyptv.core.base.errors import FrameError
from pyptv.core.base.events import ImageStamp
from pyptv.core.base.regular_files import NotRegularError, open_regular

# Formats of measuring cameras. Left out on purpose: those that Pillow hands to another program (EPS) or a service.
FORMATS = ("TIFF", "PNG", "BMP", "JPEG", "PPM", "GIF", "JPEG2000", "WEBP")
_BLOCK = 2**20
_COLOUR_MODES = ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV")


@contextmanager
def open_image(path: Path, size: tuple[int, int] | None = None) -> Iterator[tuple[Pillow.Image, ImageStamp]]:
    """Open an image; whatever goes wrong in the block with it, too, is a :class:`FrameError` that names the file.

    Args:
        path: the file; its content tells the format, its name need not.
        size: expected (width, height) [px].
    """
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            checksum = _checksum(file)
            # what matters of a damaged file is an exception, not what Pillow warns of
            with warnings.catch_warnings(action="ignore"), Pillow.open(file, formats=FORMATS) as image:
                if size is not None and image.size != size:
                    found, expected = (f"{width} x {height}" for width, height in (image.size, size))
                    raise FrameError(f"{path}: found an image of {found} px, expected {expected} (imx, imy of section ptv)")
                image.info.pop("transparency", None)  # of a palette: Pillow would warn that it is lost
                grey_or_rgb = image.convert("RGB") if image.mode in _COLOUR_MODES else image
                yield grey_or_rgb, (status.st_size, status.st_mtime_ns, checksum)
    except FrameError:
        raise
    except FileNotFoundError as error:
        raise FrameError(f"{path}: image does not exist") from error
    except NotRegularError as error:
        raise FrameError(f"{path}: {error.strerror}") from error
    except UnidentifiedImageError as error:
        what = "is empty" if status.st_size == 0 else f"is cut, damaged, or not an image ({', '.join(FORMATS)})"
        raise FrameError(f"{path}: the file {what}") from error
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise FrameError(f"{path}: image cannot be decoded ({error}): the file is cut or damaged") from error


def _checksum(file: IO[bytes]) -> int:
    """CRC-32 of a whole file, which is left at its start."""
    checksum = 0
    while block := file.read(_BLOCK):
        checksum = zlib.crc32(block, checksum)
    file.seek(0)
    return checksum


def image_kind(path: Path, size: tuple[int, int]) -> str:
    """Pillow's mode of an image (``L``: 8 bit, ``I;16``: 16 bit, ...), after a check of its size; nothing is decoded."""
    with open_image(path, size) as (image, _):
        return str(image.mode)
