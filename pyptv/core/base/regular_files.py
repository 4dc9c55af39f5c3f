"""Opening external files: a pipe, a device or a folder in place of a file is refused, without waiting."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

MOST_BYTES = 2**30
"""Maximum size: larger than any parameter or result file, and small enough for memory."""


class NotRegularError(OSError):
    """The path is not a regular file; ``strerror`` states what it is."""


def open_regular(path: Path, *, create: bool = False) -> IO[bytes]:
    """Open a file for reading, or, with ``create``, also for appending; then it is created if it does not exist.

    Opening a pipe would wait for a writer, usually forever.

    Raises:
        NotRegularError: it is not a file.
        OSError: it cannot be opened.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT if create else os.O_RDONLY
    flags |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise NotRegularError(errno.EINVAL, f"found {_kind(mode)}, expected a file", str(path))
        return os.fdopen(descriptor, "ab" if create else "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most: int = MOST_BYTES) -> bytes:
    """The bytes of a file.

    Raises:
        NotRegularError: it is not a file.
        OSError: it cannot be read, or is larger than ``most``.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"found {size} bytes, expected at most {most}", str(path))
        return file.read()


def is_there(path: Path) -> bool:
    """Whether a path exists; False if its name is too long, or a parent folder may not be entered."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether a path is a folder; False in the same cases."""
    return is_there(path) and path.is_dir()


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")
