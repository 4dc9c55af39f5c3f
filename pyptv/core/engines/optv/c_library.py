"""The C library of this process: the output of C code, and its memory."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

_SMALL_SIZES = range(72, 137, 16)
_BLOCKS = 32
_MOST_ROUNDS = 50
_MALLOCS_OWN = 16
"""Bytes at the start of a freed block that malloc uses."""


def keep_freed_memory() -> None:
    """Make glibc keep memory that optv frees: correspondence allocates and frees about 29 MB per frame (Linux only)."""
    if sys.platform == "linux":
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(mmap_threshold, 64 * 2**20)
            mallopt(trim_threshold, 128 * 2**20)


def zero_small_blocks() -> None:
    """Leave zeroed blocks for the next small allocations of C, in particular for a tracker's run structure.

    optv widens the y limits of the measuring volume from the previous content of its new run structure (88 to 104 bytes).
    In a fresh process this is zero, which is the reference; in a used process it can be anything:
    with NaN the tracker adds no particle at all.

    glibc allocates from a cache of 7 blocks that it refills from longer lists, so the blocks zeroed last need not be the ones
    allocated next: it takes a few rounds until all are zero.
    """
    for size in _SMALL_SIZES:
        zeros = bytes(size - _MALLOCS_OWN)
        for _ in range(_MOST_ROUNDS):
            blocks = [_C_LIBRARY.malloc(size) for _ in range(_BLOCKS)]
            clean = all(ctypes.string_at(block + _MALLOCS_OWN, len(zeros)) == zeros for block in blocks)
            for block in blocks:
                ctypes.memset(block, 0, size)
            for block in blocks:
                _C_LIBRARY.free(block)
            if clean:
                break


@contextmanager
def captured_output() -> Iterator[Callable[[], str]]:
    """Capture output of C to file descriptor 1. Yields a function that returns it after the block."""
    text = ""
    with _unnamed_file() as file:
        _flush()
        kept = os.dup(1)
        os.dup2(file.fileno(), 1)
        try:
            yield lambda: text
        finally:
            _flush()
            os.dup2(kept, 1)
            os.close(kept)
            file.seek(0)
            text = file.read().decode("ascii", "replace")


def _unnamed_file() -> IO[bytes]:
    """A file in memory where available, because there may be no temporary folder."""
    if hasattr(os, "memfd_create"):
        with suppress(OSError):  # some sandboxes forbid it
            return open(os.memfd_create("output of C"), "w+b")
    return tempfile.TemporaryFile()


def _flush() -> None:
    if sys.stdout is not None:  # a process may have none
        sys.stdout.flush()
    _C_LIBRARY.fflush(None)


def _c_library() -> Any:
    library = ctypes.CDLL(None) if os.name == "posix" else ctypes.CDLL("ucrtbase")
    library.malloc.argtypes, library.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    library.free.argtypes, library.free.restype = [ctypes.c_void_p], None
    library.fflush.argtypes = [ctypes.c_void_p]
    return library


_C_LIBRARY = _c_library()
