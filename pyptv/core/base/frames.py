"""Frame ranges: pure integers, both ends included."""

from __future__ import annotations

import logging
from collections.abc import Iterable

logger = logging.getLogger(__name__)

FrameRange = tuple[int, int]
"""(first, last) frame number, both included."""


LARGEST_FRAME = 10**15
"""Larger than any number in a file name, and exact in every number type in use."""


def frame_number(number: int, name: str) -> int:
    """``number``, if it is a valid frame number; otherwise raises a ``ValueError`` with the name of the argument."""
    if abs(number) > LARGEST_FRAME:
        raise ValueError(f"{name} must be at most {LARGEST_FRAME}, got a number of {number.bit_length() * 3 // 10 + 1} digits")
    return number


def check_range(first: int, last: int) -> None:
    """Raise ``ValueError`` unless ``0 <= first <= last``."""
    if first > last:
        raise ValueError(f"First frame ({first}) must be <= last frame ({last})")
    if first < 0:
        raise ValueError(f"First frame must be >= 0, got {first}")


def chunk_ranges(first: int, last: int, n_chunks: int) -> list[FrameRange]:
    """Divide the frames ``first..last`` into contiguous ranges whose sizes differ by at most one, longer ones first.

    More chunks than frames gives one frame each, with a warning.

    >>> chunk_ranges(1000, 1009, 3)
    [(1000, 1003), (1004, 1006), (1007, 1009)]

    Raises:
        ValueError: if ``first > last`` or ``n_chunks < 1``.
    """
    check_range(first, last)
    if n_chunks < 1:
        raise ValueError(f"Number of chunks must be >= 1, got {n_chunks}")
    n_frames = last - first + 1
    if n_chunks > n_frames:
        logger.warning(
            "Number of chunks (%d) is greater than total frames (%d). Using %d chunks instead.",
            n_chunks,
            n_frames,
            n_frames,
        )
        n_chunks = n_frames
    size, longer = divmod(n_frames, n_chunks)
    ranges = []
    start = first
    for chunk in range(n_chunks):
        stop = start + size + (chunk < longer)
        ranges.append((start, stop - 1))
        start = stop
    return ranges


def contiguous(frames: Iterable[int]) -> list[FrameRange]:
    """The unbroken ranges of some frame numbers, in order.

    >>> contiguous([3, 1, 2, 7])
    [(1, 3), (7, 7)]
    """
    ranges: list[FrameRange] = []
    for frame in sorted(set(frames)):
        if ranges and frame == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], frame)
        else:
            ranges.append((frame, frame))
    return ranges


def describe(frames: Iterable[int], most: int = 8) -> str:
    """Frame numbers in short form: ``"1-3, 7"``, truncated after ``most`` ranges."""
    ranges = contiguous(frames)
    text = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges[:most])
    return text if len(ranges) <= most else f"{text} and {len(ranges) - most} more ranges"
