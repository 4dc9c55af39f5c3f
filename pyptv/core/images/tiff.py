"""One page of a TIFF file, as a separate small file: only the tags that decoding needs, each with a plausible size.

A TIFF file consists of linked offsets. A few bytes can claim ten thousand tags of a megabyte each, strips that overlap, or
endless directories, and Pillow and libtiff read what is claimed. So the directory is read here first, within limits
that follow from the size of the image, and the decoder receives a file that contains only one page.

Source of the format: TIFF revision 6.0 (Adobe, 1992), and the BigTIFF design of libtiff.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO

from PIL.TiffImagePlugin import COMPRESSION_INFO

from pyptv.core.base.errors import ImageError
from pyptv.core.images.tiff_directory import Directory, TiffReader

PREFIXES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES = 273, 274, 277, 278, 279
_PLANAR, _COLOUR_MAP, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 284, 320, 322, 323, 324, 325
_SAMPLE_FORMAT = 339
_DECODING = (
    *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, 266, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _PLANAR),
    *(292, 293, 317, _COLOUR_MAP, _TILE_WIDTH, _TILE_HEIGHT, 332, 338, _SAMPLE_FORMAT, 347, 529, 530, 531, 532),
)
"""Tags that determine the pixels.

266 fill order, 292 and 293 fax, 317 predictor, 332 inks, 338 opacity, 347 JPEG tables, 529 to 532 YCbCr.
"""

_MAX_SAMPLES = 6
_MIN_TILE = 8
_SLACK = 2**20
_PAGES_LOOKED_AT = 16
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _PALETTE, _YCBCR = 0, 1, 3, 6
_RAW, _OLD_JPEG = 1, 6
_TURNED = (5, 6, 7, 8)
_SIGNED, _FLOATING = 2, 3
_ONE_PLANE_A_CHANNEL = 2


@dataclass(frozen=True)
class TiffPage:
    """A page, ready to be decoded, with the information in its tags."""

    file: IO[bytes]
    """A TIFF file in memory that contains only this page."""
    bits: int
    """Bits of a stored value."""
    signed: bool
    floating: bool
    samples: int
    """Channels."""
    white_is_zero: bool
    palette: bool
    """The stored values are palette indices that differ from the grey values."""
    orientation: int
    """1: the first row is the top one, and so on; 1 to 8."""


def read_page(file: IO[bytes], size: tuple[int, int], page: int | None, *, as_stored: bool, pixels: bool = True) -> TiffPage:
    """Read one page of a TIFF file.

    Args:
        file: open for reading.
        size: expected (width, height) [px] of the image.
        page: counted from 1; None: the only one.
        as_stored: use the stored values as grey values, regardless of the photometric interpretation, and the rows
            in their stored order, like tifffile, which PyPTV uses for names ending in .tif.
        pixels: False: the new file contains no pixels, only their description.

    Raises:
        ImageError: with the problem.
        EOFError: there is no such page; its argument is the number of pages.
    """
    reader = TiffReader(file)
    number = page or 1
    directory = reader.directory(number)
    if page is None and _has_another(reader, directory, size):
        raise ImageError(several_pages(size))
    return _Page(reader, directory, size, as_stored=as_stored).cleaned(pixels=pixels)


def _has_another(reader: TiffReader, directory: Directory, size: tuple[int, int]) -> bool:
    """Whether a later page is an image of that size, and not a thumbnail; only the first few pages are examined."""
    for following in islice(reader.following(directory), _PAGES_LOOKED_AT):
        try:
            found = tuple(reader.integer(following, tag, 0) for tag in (_WIDTH, _HEIGHT))
        except ImageError:
            return False
        if found in (size, size[::-1]):
            return True
    return False


def several_pages(size: tuple[int, int]) -> str:
    """The message for a file with several images if no page was chosen."""
    advice = "say which with --page 1, --page 2, ... (page of section ptv)"
    return f"found several pages of {size[0]} x {size[1]} px, expected one: {advice}"


def wrong_size(found: tuple[int, int], expected: tuple[int, int]) -> str:
    """The message for an image of another (width, height) [px] than in the parameters."""
    return f"found an image of {found[0]} x {found[1]} px, expected {expected[0]} x {expected[1]} (imx, imy of section ptv)"


class _Page:
    """A page of a TIFF file whose directory has been read."""

    def __init__(self, reader: TiffReader, directory: Directory, size: tuple[int, int], *, as_stored: bool) -> None:
        self._reader = reader
        self._directory = directory
        self._as_stored = as_stored
        self._width, self._height = self._integer(_WIDTH, 0), self._integer(_HEIGHT, 0)
        self._bits, self._samples = self._integer(_BITS, 1), self._integer(_SAMPLES, 1)
        self._compression, self._photometric = self._integer(_COMPRESSION, _RAW), self._integer(_PHOTOMETRIC, 0)
        self._orientation = self._integer(_ORIENTATION, 1)
        self._check(size)

    def cleaned(self, *, pixels: bool) -> TiffPage:
        """The page alone."""
        sample_format = self._integer(_SAMPLE_FORMAT, 1)
        return TiffPage(
            file=self._file(*self._places(), pixels=pixels),
            bits=self._bits,
            signed=sample_format == _SIGNED,
            floating=sample_format == _FLOATING,
            samples=self._samples,
            white_is_zero=self._photometric == _WHITE_IS_ZERO,
            palette=self._photometric == _PALETTE and not self._is_ramp(),
            orientation=self._orientation,
        )

    def _integer(self, number: int, default: int) -> int:
        return self._reader.integer(self._directory, number, default)

    def _check(self, size: tuple[int, int]) -> None:
        turned = not self._as_stored and self._orientation in _TURNED
        found = (self._height, self._width) if turned else (self._width, self._height)
        if found != size:
            raise ImageError(wrong_size(found, size))
        if self._compression == _OLD_JPEG or self._compression not in COMPRESSION_INFO:
            raise ImageError(f"found the TIFF compression {self._compression}, which is not read")
        if not 1 <= self._samples <= _MAX_SAMPLES or not 1 <= self._bits <= 64:
            raise ImageError(f"found {self._samples} channels of {self._bits} bits, which is not read: the file may be damaged")

    def _is_ramp(self) -> bool:
        """Whether the palette maps each value to the same grey value."""
        colours = self._reader.integers(self._directory, _COLOUR_MAP)
        n = 1 << min(self._bits, 16)
        ramp = [value * 255 // (n - 1) for value in range(n)]
        return len(colours) == 3 * n and all([c >> 8 for c in colours[i * n : (i + 1) * n]] == ramp for i in range(3))

    def _places(self) -> tuple[tuple[int, int], list[int], list[int]]:
        """The tags with the places of the strips or tiles; offset and size of each."""
        tiled = _TILE_OFFSETS in self._directory.tags
        planes = self._samples if self._integer(_PLANAR, 1) == _ONE_PLANE_A_CHANNEL else 1
        inner = self._samples // planes
        raw = list(self._tile_bytes(inner) if tiled else self._strip_bytes(inner)) * planes
        tags = (_TILE_OFFSETS, _TILE_BYTES) if tiled else (_STRIP_OFFSETS, _STRIP_BYTES)
        most = 16 * (len(raw) + 1)
        offsets = list(self._reader.integers(self._directory, tags[0], most))[: len(raw)]
        if len(offsets) < len(raw):
            raise ImageError(f"found {len(offsets)} strips or tiles, expected {len(raw)}: the file is cut or damaged")
        if self._compression == _RAW and self._photometric != _YCBCR:
            sizes = raw
        else:
            sizes = list(self._reader.integers(self._directory, tags[1], most))[: len(raw)]
            if len(sizes) < len(raw):
                raise ImageError(f"found the lengths of {len(sizes)} strips or tiles, expected {len(raw)}: the file is damaged")
        if sum(sizes) > 2 * sum(raw) + 1024 * len(raw) + _SLACK:
            raise ImageError("the compressed image is larger than it would be without compression: the file is damaged")
        return tags, offsets, sizes

    def _strip_bytes(self, samples: int) -> Iterator[int]:
        rows = min(self._integer(_ROWS_PER_STRIP, self._height), self._height)
        if rows < 1:
            raise ImageError("found strips of 0 rows: the file is damaged")
        a_row = -(-self._width * self._bits * samples // 8)
        for top in range(0, self._height, rows):
            yield min(rows, self._height - top) * a_row

    def _tile_bytes(self, samples: int) -> Iterator[int]:
        width, height = self._integer(_TILE_WIDTH, 0), self._integer(_TILE_HEIGHT, 0)
        if min(width, height) < _MIN_TILE or width * height > 4 * self._width * self._height + _SLACK:
            raise ImageError(f"found tiles of {width} x {height} px: the file is damaged")
        n = math.ceil(self._width / width) * math.ceil(self._height / height)
        yield from [height * -(-width * self._bits * samples // 8)] * n

    def _file(self, tags: tuple[int, int], offsets: list[int], sizes: list[int], *, pixels: bool) -> IO[bytes]:
        """A TIFF file with this page: the header, the directory, long values, then the strips in their order in the file."""
        reader = self._reader
        first, end = min(offsets), max(offset + size for offset, size in zip(offsets, sizes, strict=True))
        if end - first > 2 * sum(sizes) + _SLACK:
            raise ImageError("the strips of the image are scattered over the file: it is damaged, or of a kind that is not read")
        numbers = {*self._directory.tags, _PHOTOMETRIC}.intersection(_DECODING)
        values = {number: value for number in numbers if (value := self._kept(number)) is not None}
        values |= {tags[0]: self._table(offsets), tags[1]: self._table(sizes)}
        start = len(self._header(values))  # independent of the offsets
        values[tags[0]] = self._table([offset - first + start for offset in offsets])
        page = io.BytesIO()
        page.write(self._header(values))
        if pixels:
            page.write(reader.read(first, end - first))
        reader.check_end(end)
        page.seek(0)
        return page

    def _table(self, numbers: list[int]) -> tuple[int, int, bytes]:
        form = f"{self._reader.order}{len(numbers)}{self._reader.offset_form}"
        return self._reader.offset_kind, len(numbers), struct.pack(form, *numbers)

    def _kept(self, number: int) -> tuple[int, int, bytes] | None:
        """(type, count, bytes) of a tag for the new file, None to leave it out."""
        plain = self._as_stored and self._samples == 1 and self._photometric in (_WHITE_IS_ZERO, _PALETTE)
        if number == _PHOTOMETRIC:
            value = _BLACK_IS_ZERO if plain else self._photometric
            return 3, 1, struct.pack(self._reader.order + "H", value & 0xFFFF)
        if (plain and number == _COLOUR_MAP) or (self._as_stored and number == _ORIENTATION):
            return None
        tag = self._directory.tags[number]
        return tag.kind, tag.count, self._reader.value(number, tag)

    def _header(self, values: dict[int, tuple[int, int, bytes]]) -> bytes:
        """Header, directory and long values of a file with these tags: number -> (type, count, bytes)."""
        order, form, big = self._reader.order, self._reader.offset_form, self._reader.big
        entry, room, start = (20, 8, 16) if big else (12, 4, 8)
        head = self._reader.prefix + (struct.pack(order + "HHQ", 8, 0, start) if big else struct.pack(order + "I", start))
        directory = struct.pack(order + ("Q" if big else "H"), len(values))
        position = start + len(directory) + entry * len(values) + room
        tail = b""
        for number, (kind, count, data) in sorted(values.items()):
            directory += struct.pack(f"{order}HH{form}", number, kind, count)
            if len(data) <= room:
                directory += data.ljust(room, b"\0")
            else:
                directory += struct.pack(order + form, position + len(tail))
                tail += data + bytes(-len(data) % 8)
        return head + directory + bytes(room) + tail
