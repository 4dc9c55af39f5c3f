"""Parameter files as text from any editor: UTF-8 or UTF-16, with or without a byte order mark."""

from __future__ import annotations

import codecs
from pathlib import Path

from pyptv.core.base.errors import FormatError
from pyptv.core.base.regular_files import open_regular
from pyptv.core.base.similar import similar_text
from pyptv.core.experiment.listing import FolderListing

_MAX_BYTES = 1_000_000
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path) -> str:
    """The text of a parameter file.

    Raises:
        FormatError: missing (with similar files), too large, or not text (with the line).
    """
    try:
        with open_regular(path) as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise FormatError(
            f"Required file not found: {path}{similar_text(path.name, FolderListing().names(path.parent))}"
        ) from error
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise FormatError(f"{path}: found more than {_MAX_BYTES} bytes, expected a small text file")
    encoding = _encoding(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise FormatError(
            f"{path}, line {line}: found the byte 0x{data[error.start]:02x}, expected text in {encoding[:6].upper().strip('-')}"
        ) from error


def _encoding(data: bytes) -> str:
    """The encoding by the byte order mark; without one, text in which every second byte is zero is UTF-16."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    if len(data) > 1 and not any(data[1:1000:2]):
        return "utf-16-le"
    if len(data) > 1 and not any(data[0:1000:2]):
        return "utf-16-be"
    return "utf-8"
