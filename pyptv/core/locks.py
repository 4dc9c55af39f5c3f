"""Locks that end with the process that holds them, however that ends."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import IO

from pyptv.core.regular_files import open_regular


class HeldError(Exception):
    """Another process holds the lock."""


def lock(path: Path) -> tuple[IO[bytes], bool]:
    """Lock a file, which is made if need be.

    Returns:
        The open file, which holds the lock until it is closed, and whether it is really locked: some platforms and file
        systems have no such locks.

    Raises:
        HeldError: another process holds it.
        OSError: the file cannot be opened.
    """
    file = open_regular(path, create=True)
    try:
        import fcntl  # noqa: PLC0415 -- not on Windows

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        return file, False
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            file.close()
            raise HeldError(str(path)) from error
        return file, False
    return file, True
