"""JPEG files without metadata: Pillow would read every directory that the metadata claim to have.

Source of the format: ITU-T T.81, annex B.
"""

from __future__ import annotations

import io
from typing import IO

from pyptv.core.base.errors import ImageError

PREFIX = b"\xff\xd8\xff"

_DESCRIBING = {*range(0xE1, 0xEE), 0xEF, 0xFE}
"""Markers of metadata: APP1 (Exif, XMP) to APP13 and APP15, comments. APP0 (JFIF) and APP14 (Adobe) define the colours."""
_START_OF_SCAN = 0xDA
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD8)}
_MAX_SCANS = 100
"""A progressive image has about ten. Each costs a pass over the whole image."""


def without_metadata(data: bytes) -> IO[bytes]:
    """The same image, in memory, without Exif, XMP, comments and the pages of other pictures.

    Raises:
        ImageError: no image follows, or one with too many scans.
    """
    kept = [data[:2]]
    position = 2
    while True:
        while data[position : position + 2] == b"\xff\xff":
            position += 1  # fill bytes
        marker = data[position + 1 : position + 2]
        if data[position : position + 1] != b"\xff" or not marker:
            raise ImageError("the file is cut or damaged")
        length = 0 if marker[0] in _WITHOUT_LENGTH else int.from_bytes(data[position + 2 : position + 4], "big")
        if marker[0] == _START_OF_SCAN:
            break
        if marker[0] not in _DESCRIBING:
            kept.append(data[position : position + 2 + length])
        position += 2 + length
    scans = data.count(bytes([0xFF, _START_OF_SCAN]), position)
    if scans > _MAX_SCANS:
        raise ImageError(f"found {scans} scans, expected at most {_MAX_SCANS}: the file is damaged")
    return io.BytesIO(b"".join([*kept, data[position:]]))
