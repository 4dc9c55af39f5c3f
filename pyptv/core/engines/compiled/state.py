"""The compiled tracker's state on disk: the changes by steps to its four frames, relative to their files.

A state is a line of JSON with a few sizes, then for each frame: links of the particles, particles of the targets, position and
targets of each added particle, all as little-endian 64-bit numbers. Positions of all other particles and
the targets themselves are in the frames' files, so they are not stored again; nor are the cells, whose order has no
effect.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.kernels.tracking.frames import NO_NEXT, NONE, Frame, sort_into_cells

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_HEADER = 1000
_N_FRAMES = 4
_MOST_PRIORITIES = 10
_ANY = 2**31
"""The backward links of the first of the four frames are never used."""


def fingerprint(frames: Iterable[Frame], n_read: Iterable[int]) -> str:
    """One fingerprint of some frames after the steps; ``n_read`` of their particles came from their files."""
    whole = hashlib.sha256()
    for part in _parts(frames, n_read):
        whole.update(part)
        whole.update(b"|")
    return whole.hexdigest()[:32]


def pack(frames: Iterable[Frame], n_read: Iterable[int]) -> bytes:
    """A state as bytes."""
    frames, n_read = list(frames), list(n_read)
    body = b"".join(_parts(frames, n_read))
    sizes = [[int(frame.size[0]), read, len(frame.particle)] for frame, read in zip(frames, n_read, strict=True)]
    header = {"sizes": sizes, "sum": hashlib.sha256(body).hexdigest()}
    return json.dumps(header).encode() + b"\n" + body


def unpack(data: bytes, frames: Sequence[Frame]) -> None:
    """Apply a state to frames that are as in their files.

    Raises:
        ValueError: it is damaged, or belongs to other frames.
    """
    line, _, body = data.partition(b"\n")
    if len(line) > _MOST_HEADER:
        raise ValueError("its first line is too long")
    header: Any = json.loads(line)
    if not isinstance(header, dict) or hashlib.sha256(body).hexdigest() != header.get("sum"):
        raise ValueError("its bytes do not match their fingerprint")
    sizes = header.get("sizes")
    if not isinstance(sizes, list) or len(sizes) != len(frames) or len(frames) != _N_FRAMES:
        raise ValueError(f"found the sizes {str(sizes)[:80]}, expected those of {_N_FRAMES} frames")
    numbers = _Numbers(body)
    for frame, size in zip(frames, sizes, strict=True):
        _fill(frame, size, numbers)
    numbers.expect_end()
    _check_links(frames)


def _parts(frames: Iterable[Frame], n_read: Iterable[int]) -> Iterator[bytes]:
    for frame, read in zip(frames, n_read, strict=True):
        n = int(frame.size[0])
        arrays: tuple[NDArray[Any], ...] = (
            frame.link[:n],
            frame.particle,
            frame.position[read:n],
            frame.target[read:n],
        )
        yield from (array.tobytes() for array in arrays)


class _Numbers:
    """Reads arrays from bytes in succession."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
        """The next numbers, as an array of a shape; raises ValueError if there are too few."""
        count = int(np.prod(shape))
        if self._at + 8 * count > len(self._data):
            raise ValueError("it ends too early")
        array: NDArray[Any] = np.frombuffer(self._data, dtype, count, self._at).reshape(shape)
        self._at += 8 * count
        return array

    def expect_end(self) -> None:
        """Raise ``ValueError`` unless all numbers have been taken."""
        if self._at != len(self._data):
            raise ValueError("it has data after its end")


def _fill(frame: Frame, size: object, numbers: _Numbers) -> None:
    if not (isinstance(size, list) and len(size) == 3 and all(type(n) is int for n in size)):
        raise ValueError(f"found the sizes {str(size)[:80]}, expected three whole numbers")
    n, read, n_targets = size
    if read != int(frame.size[0]) or n_targets != len(frame.particle) or not read <= n <= len(frame.position):
        raise ValueError(f"it is of a frame with {read} particles and {n_targets} targets, not of this one")
    n_cams = frame.target.shape[1]
    frame.link[:n] = numbers.take((n, 3), np.int64)
    particle = numbers.take((n_targets,), np.int64)
    _check_range(particle[particle != frame.particle], NONE, n)  # the others are as in the file
    frame.particle[:] = particle
    frame.position[read:n] = numbers.take((n - read, 3), np.float64)
    frame.target[read:n] = numbers.take((n - read, n_cams), np.int64)
    frame.size[0] = n
    for camera in range(n_cams):
        _check_range(frame.target[read:n, camera], NONE, int(frame.first[camera + 1] - frame.first[camera]))
    sort_into_cells(frame)


def _check_links(frames: Sequence[Frame]) -> None:
    """Check that links refer to existing rows: compiled code follows them unchecked."""
    counts = [int(frame.size[0]) for frame in frames]
    for index, (frame, n) in enumerate(zip(frames, counts, strict=True)):
        _check_range(frame.link[:n, 0], NONE, counts[index - 1] if index > 0 else _ANY)
        _check_range(frame.link[:n, 1], NO_NEXT, counts[index + 1] if index + 1 < len(frames) else NO_NEXT + 1)
        _check_range(frame.link[:n, 2], 0, _MOST_PRIORITIES)


def _check_range(values: NDArray[np.int64], low: int, bound: int) -> None:
    if values.size and not (low <= values.min() and values.max() < max(bound, low + 1)):
        raise ValueError(f"found rows {values.min()} to {values.max()}, expected {low} to {bound - 1}")
