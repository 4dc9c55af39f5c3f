"""Directories and values of TIFF files, read within limits: classic and big, in either byte order.

Source of the format: TIFF revision 6.0 (Adobe, 1992), and the BigTIFF design of libtiff.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from pyptv.core.base.errors import ImageError

INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
"""Types of whole numbers -> their codes in :mod:`struct`."""

MAX_PAGES = 10_000
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Type of a tag's value -> bytes."""

_MAX_TAGS = 1000
_MAX_TAG_BYTES = 6 * 65536
"""A palette of 16-bit values is the largest; tables of strips have their own limit."""


@dataclass(frozen=True)
class Tag:
    """An entry of a directory."""

    kind: int
    """Type of its values."""
    count: int
    """Number of its values."""
    inline: bytes
    """The value, or its offset."""


@dataclass(frozen=True)
class Directory:
    """The tags of a page, by number."""

    tags: dict[int, Tag]
    next: int
    """Offset of the next page's directory, 0 for none."""


class TiffReader:
    """Directories and values of a TIFF file, classic or big, in either byte order."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.length = os.fstat(file.fileno()).st_size
        prefix = self.read(0, 4)
        self.order = "<" if prefix[:2] == b"II" else ">"
        self.big = b"+" in prefix
        self.prefix = prefix
        self.offset_kind, self.offset_form = (16, "Q") if self.big else (4, "I")

    def read(self, offset: int, size: int) -> bytes:
        """Read ``size`` bytes; fewer are an :class:`ImageError`."""
        self.check_end(offset + size)
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) != size:
            raise ImageError("the file is cut")
        return data

    def check_end(self, end: int) -> None:
        """Check that data ending at ``end`` are inside the file."""
        if end > self.length:
            raise ImageError("the file is cut or damaged: it refers to data beyond its end")

    def unpack(self, form: str, data: bytes) -> tuple[int, ...]:
        """Whole numbers in the byte order of the file."""
        return struct.unpack(self.order + form, data)

    def directory(self, number: int) -> Directory:
        """The directory of a page, counted from 1.

        Raises:
            EOFError: there are fewer; its argument is their number.
        """
        (offset,) = self.unpack("Q", self.read(8, 8)) if self.big else self.unpack("I", self.read(4, 4))
        if number > MAX_PAGES:
            raise ImageError(f"page {number} is asked for, expected at most {MAX_PAGES}")
        seen: set[int] = set()
        for count in range(number):
            if offset == 0:
                raise EOFError(count)
            if offset in seen:
                raise ImageError("its directories form a circle: the file is damaged")
            seen.add(offset)
            directory = self._directory_at(offset)
            offset = directory.next
        return directory

    def following(self, directory: Directory) -> Iterator[Directory]:
        """The directories after one, up to the first invalid one: some programs leave arbitrary data at the end."""
        try:
            while directory.next:
                directory = self._directory_at(directory.next)
                yield directory
        except ImageError:
            return

    def _directory_at(self, offset: int) -> Directory:
        head, entry, value = (8, 20, 12) if self.big else (2, 12, 8)
        (n,) = self.unpack("Q" if self.big else "H", self.read(offset, head))
        if n > _MAX_TAGS:
            raise ImageError(f"found {n} tags in a directory, expected at most {_MAX_TAGS}: the file is damaged")
        data = self.read(offset + head, n * entry)
        tags: dict[int, Tag] = {}
        for start in range(0, n * entry, entry):
            tag, kind, count = self.unpack("HHQ" if self.big else "HHI", data[start : start + value])
            tags.setdefault(tag, Tag(kind, count, data[start + value : start + entry]))
        tail, offset_size = offset + head + n * entry, entry - value
        if tail + offset_size > self.length:
            return Directory(tags, 0)  # some programs omit the last offset
        (following,) = self.unpack(self.offset_form, self.read(tail, offset_size))
        return Directory(tags, following)

    def value(self, number: int, tag: Tag, most: int = _MAX_TAG_BYTES) -> bytes:
        """The bytes of a tag's value."""
        size = _SIZES.get(tag.kind, 0) * tag.count
        if not 0 < size <= most:
            raise ImageError(f"found {tag.count} values of type {tag.kind} in tag {number}: the file is damaged")
        if size <= len(tag.inline):
            return tag.inline[:size]
        (offset,) = self.unpack(self.offset_form, tag.inline)
        return self.read(offset, size)

    def integers(self, directory: Directory, number: int, most: int = _MAX_TAG_BYTES) -> tuple[int, ...]:
        """The whole numbers of a tag; empty if it does not exist."""
        tag = directory.tags.get(number)
        if tag is None:
            return ()
        if tag.kind not in INTEGERS:
            raise ImageError(f"found values of type {tag.kind} in tag {number}, expected whole numbers: the file is damaged")
        return self.unpack(f"{tag.count}{INTEGERS[tag.kind]}", self.value(number, tag, most))

    def integer(self, directory: Directory, number: int, default: int) -> int:
        """The first whole number of a tag."""
        return next(iter(self.integers(directory, number)), default)
