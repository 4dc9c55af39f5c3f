"""Time decoders of grey TIFF images against Pillow, in turn, on images of an experiment written anew with each compression.

    python -m venv other && other/bin/pip install numpy pillow imagecodecs opencv-python-headless pylibtiff tifffile
    other/bin/python tests/benchmarks/decoders.py IMAGE ...

CPU time of an image, file in memory where the decoder can read one (Pillow, OpenCV, imagecodecs); medians. Every decoder must
give Pillow's pixels. ``direct`` is imagecodecs' decoder of one strip after the other, the shortest way that there is.
"""

from __future__ import annotations

import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import tifffile
from libtiff import TIFF
from PIL import Image

ROUNDS = 7
COMPRESSIONS = {"LZW": "tiff_lzw", "PackBits": "packbits", "Deflate": "tiff_adobe_deflate", "none": None}
STRIP = {"LZW": imagecodecs.lzw_decode, "PackBits": imagecodecs.packbits_decode, "Deflate": imagecodecs.zlibng_decode}


def pillow(data: bytes, _path: Path) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def opencv(data: bytes, _path: Path) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def codecs(data: bytes, _path: Path) -> np.ndarray:
    return imagecodecs.tiff_decode(data)


def pylibtiff(_data: bytes, path: Path) -> np.ndarray:
    file = TIFF.open(str(path))
    try:
        return file.read_image()
    finally:
        file.close()


def direct(data: bytes, _path: Path) -> np.ndarray:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        offsets, counts, shape, kind = page.dataoffsets, page.databytecounts, page.shape, page.compression.name
    name = {"LZW": "LZW", "PACKBITS": "PackBits", "ADOBE_DEFLATE": "Deflate"}.get(kind)
    parts = (data[offset : offset + count] for offset, count in zip(offsets, counts, strict=True))
    whole = b"".join(parts if name is None else (bytes(STRIP[name](part)) for part in parts))
    return np.frombuffer(whole, np.uint8).reshape(shape)


DECODERS: dict[str, Callable[[bytes, Path], np.ndarray]] = {
    "Pillow": pillow,
    "imagecodecs": codecs,
    "direct": direct,
    "OpenCV": opencv,
    "pylibtiff": pylibtiff,
}


def main() -> None:
    """Print a row for each compression: milliseconds of an image."""
    print(f"{'':<10}" + "".join(f"{name:>13}" for name in DECODERS))
    with tempfile.TemporaryDirectory() as folder:
        for name, compression in COMPRESSIONS.items():
            files = []
            for number, source in enumerate(map(Path, sys.argv[1:])):
                with Image.open(source) as image:
                    path = Path(folder) / f"{name}{number}.tif"
                    image.convert("L").save(path, format="TIFF", compression=compression)
                files.append((path.read_bytes(), path))
            times: dict[str, list[float]] = {decoder: [] for decoder in DECODERS}
            for turn in range(ROUNDS + 1):
                for decoder, decode in DECODERS.items():
                    start = time.process_time()
                    images = [decode(*file) for file in files]
                    if turn:  # the first one loads libraries
                        times[decoder].append((time.process_time() - start) / len(files) * 1000)
                    assert all(np.array_equal(image, pillow(*file)) for image, file in zip(images, files, strict=True)), decoder
            print(f"{name:<10}" + "".join(f"{statistics.median(found):>13.2f}" for found in times.values()), flush=True)


if __name__ == "__main__":
    main()
