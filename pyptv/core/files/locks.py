"""Locks that end with the process that holds them, however that ends."""

from __future__ import annotations

import errno
import time
from pathlib import Path
from typing import IO

from pyptv.core.base.regular_files import open_regular

_PAUSE = 0.05


class HeldError(Exception):
    """Another process holds the lock."""


def lock(path: Path, patience: float = 0.0) -> tuple[IO[bytes], bool]:
    """Lock a file, which is made if need be.

    Args:
        path: the file.
        patience: how long [s] to wait for another process that holds the lock.

    Returns:
        The open file, which holds the lock until it is closed, and whether it is really locked: some platforms and file
        systems have no such locks.

    Raises:
        HeldError: another process holds it.
        OSError: the file cannot be opened.
    """
    file = open_regular(path, create=True)
    try:
        import fcntl  # not on Windows
    except ImportError:
        return file, False
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                return file, False
            if time.monotonic() >= deadline:
                file.close()
                raise HeldError(str(path)) from error
            time.sleep(_PAUSE)
        else:
            return file, True
