"""Damaged and hostile image files, made from a number: the same number, the same bytes.

Used by ``tests/test_images.py``, a few hundred of them, and by ``tests/benchmarks/fuzz_images.py`` for as many as wanted.
"""

from __future__ import annotations

import io
import random
import struct
from functools import cache

import numpy as np
from PIL import Image, TiffImagePlugin

WIDTH, HEIGHT = 64, 56
_EXTREME = (0, 1, 2, 3, 7, 8, 16, 255, 256, 4096, 32767, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_LARGEST = 1_000_000


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@cache
def whole_files() -> dict[str, bytes]:
    """Good files of every format, depth and compression that is read, by name."""
    rng = np.random.default_rng(5)
    grey = rng.integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
    plain, deep = Image.fromarray(grey), Image.fromarray(grey.astype(np.uint16) * 257)
    colours = Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8))
    palette = plain.convert("P")
    exif = Image.Exif()
    exif[0x010E] = "a description"
    exif.get_ifd(0x8769)[0x9003] = "2026:01:01 00:00:00"
    files = {
        "tiff": _saved(plain, "TIFF"),
        "tiff-deep": _saved(deep, "TIFF"),
        "tiff-float": _saved(Image.fromarray((grey / 255).astype(np.float32)), "TIFF"),
        "tiff-palette": _saved(palette, "TIFF"),
        "tiff-colours": _saved(colours, "TIFF"),
        "tiff-cmyk": _saved(colours.convert("CMYK"), "TIFF"),
        "tiff-bits": _saved(plain.convert("1"), "TIFF", compression="group4"),
        "tiff-big": _saved(deep, "TIFF", big_tiff=True),
        "tiff-pages": _saved(plain, "TIFF", save_all=True, append_images=[plain, deep]),
        "tiff-strips": _saved(deep, "TIFF", compression="tiff_lzw", tiffinfo={278: 1}),
        "tiff-described": _saved(plain, "TIFF", tiffinfo={270: "a description", 274: 3, 306: "2026:01:01 00:00:00"}),
        "png": _saved(plain, "PNG"),
        "png-deep": _saved(deep, "PNG"),
        "png-palette": _saved(palette, "PNG", transparency=0),
        "png-pictures": _saved(plain, "PNG", save_all=True, append_images=[deep.convert("L")]),
        "bmp": _saved(plain, "BMP"),
        "bmp-colours": _saved(colours, "BMP"),
        "jpeg": _saved(plain, "JPEG", exif=exif),
        "jpeg-progressive": _saved(colours, "JPEG", progressive=True),
        "jpeg-cmyk": _saved(colours.convert("CMYK"), "JPEG"),
        "gif": _saved(plain, "GIF"),
        "gif-pictures": _saved(plain, "GIF", save_all=True, append_images=[Image.fromarray(255 - grey)]),
        "pgm": _saved(plain, "PPM"),
        "pgm-deep": _saved(deep, "PPM"),
        "ppm": _saved(colours, "PPM"),
        "pgm-text": b"P2 %d %d 4095\n" % (WIDTH, HEIGHT) + b" ".join(b"%d" % (16 * value) for value in grey.reshape(-1).tolist()),
        "jp2": _saved(plain, "JPEG2000"),
        "webp": _saved(colours, "WEBP"),
    }
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        files[f"tiff-{compression}"] = _saved(plain, "TIFF", compression=compression)
    files["tiff-tiles"] = _tiled(grey)
    return files


def _tiled(grey: np.ndarray) -> bytes:
    """Tiles of 16 x 16 px, which Pillow does not write."""
    tiles = [grey[y : y + 16, x : x + 16] for y in range(0, HEIGHT, 16) for x in range(0, WIDTH, 16)]
    data = b"".join(np.pad(tile, ((0, 16 - tile.shape[0]), (0, 16 - tile.shape[1]))).tobytes() for tile in tiles)
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in {256: WIDTH, 257: HEIGHT, 258: 8, 259: 1, 262: 1, 277: 1, 322: 16, 323: 16}.items():
        directory[tag] = value
    for pass_ in (0, 1):
        directory[325] = tuple([256] * len(tiles))
        directory[324] = tuple(pass_ * 2000 + 256 * i for i in range(len(tiles)))
    head = io.BytesIO()
    directory.save(head)
    return head.getvalue().ljust(2000, b"\0") + data


def damaged_file(number: int) -> tuple[str, bytes]:
    """The name of the file that was damaged, and what became of it."""
    rng = random.Random(number)
    name = rng.choice(sorted(whole_files()))
    data = bytearray(whole_files()[name])
    ways = [_flip, _flip, _cut, _number, _number, _repeat]
    if name.startswith("tiff"):
        ways += [_tag] * 6 + [_many_tags]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice(ways)(data, rng)
    return name, bytes(data[:_LARGEST])


def _flip(data: bytearray, rng: random.Random) -> None:
    reach = rng.choice((32, 200, len(data)))
    for _ in range(rng.choice((1, 2, 8))):
        if data:
            data[rng.randrange(min(reach, len(data)))] = rng.randrange(256)


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _number(data: bytearray, rng: random.Random) -> None:
    """A number of the header becomes an extreme one."""
    form = rng.choice(("<H", ">H", "<I", ">I"))
    size = struct.calcsize(form)
    if len(data) > size:
        place = rng.randrange(min(rng.choice((64, 400, len(data))), len(data) - size))
        data[place : place + size] = struct.pack(form, rng.choice(_EXTREME) % 256**size)


def _repeat(data: bytearray, rng: random.Random) -> None:
    """A piece of the file many times over, up to a megabyte."""
    if data:
        start = rng.randrange(len(data))
        piece = bytes(data[start : start + rng.choice((1, 20, 500, 5000))])
        data[start:start] = piece * (rng.choice((2, 50, _LARGEST)) // len(piece))


def _tag(data: bytearray, rng: random.Random) -> None:
    """An entry of a TIFF directory gets another number, type, count or value."""
    for offset, count in _directories(data)[:3]:
        entry = offset + 2 + 12 * rng.randrange(max(1, count))
        where, form, values = rng.choice(
            (
                (0, "H", (256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 320, 322, 324, 325, 330, 339, 34665, 700)),
                (2, "H", tuple(range(19))),
                (4, "I", _EXTREME),
                (8, "I", (*_EXTREME, len(data) - 1, 4, 8, offset)),
            )
        )
        order = "<" if data[:2] == b"II" else ">"
        packed = struct.pack(order + form, rng.choice(values))
        if entry + 12 <= len(data):
            data[entry + where : entry + where + len(packed)] = packed


def _many_tags(data: bytearray, rng: random.Random) -> None:
    """A directory of thousands of tags, each of which claims the whole file."""
    if data[:2] != b"II" or len(data) > _LARGEST // 10:
        return
    n = rng.choice((500, 5000, 65535))
    length = len(data) + 2 + 12 * n
    count = rng.choice((length // 8, length, 2**31))
    kind = rng.choice((1, 2, 3, 5, 7, 12))
    known = bytes(data[_directories(data)[0][0] + 2 :][: 12 * _directories(data)[0][1]]) if _directories(data) else b""
    tags = b"".join(struct.pack("<HHII", (1000 + i) % 65536, kind, count, 0) for i in range(n - len(known) // 12))
    data[4:8] = struct.pack("<I", len(data))
    data += struct.pack("<H", min(65535, (len(known) + len(tags)) // 12)) + known + tags


def _directories(data: bytearray) -> list[tuple[int, int]]:
    """Offset and number of entries of the directories of a classic TIFF file, as far as they make sense."""
    order, found = "<" if data[:2] == b"II" else ">", []
    place = 4
    while len(found) < 5 and place + 4 <= len(data):
        (offset,) = struct.unpack_from(order + "I", data, place)
        if not 8 <= offset <= len(data) - 2:
            break
        (count,) = struct.unpack_from(order + "H", data, offset)
        found.append((offset, count))
        place = offset + 2 + 12 * count
    return found
