"""Locks that end with the process that holds them, however that ends."""

from __future__ import annotations

import time
from pathlib import Path
from typing import IO
from weakref import WeakSet

import portalocker

from pyptv.core.base.regular_files import open_regular

_PAUSE = 0.05

_held: WeakSet[IO[bytes]] = WeakSet()
"""The locked files of this process."""


class HeldError(Exception):
    """Another process holds the lock."""


def lock(path: Path, patience: float = 0.0) -> tuple[IO[bytes], bool]:
    """Lock a file, which is made if need be.

    Args:
        path: the file.
        patience: how long [s] to wait for another process that holds the lock.

    Returns:
        The open file, which holds the lock until it is closed, and whether it is really locked: some file systems have no
        locks.

    Raises:
        HeldError: another process holds it.
        OSError: the file cannot be opened.
    """
    file = open_regular(path, create=True)
    deadline = time.monotonic() + patience
    while True:
        try:
            portalocker.lock(file, portalocker.LOCK_EX | portalocker.LOCK_NB)
        except portalocker.AlreadyLocked as error:
            if time.monotonic() >= deadline:
                file.close()
                raise HeldError(str(path)) from error
            time.sleep(_PAUSE)
        except portalocker.LockException:
            return file, False
        else:
            _held.add(file)
            return file, True


def leave_to_parent() -> None:
    """Close this process's copies of the locks that it was forked with: they are its parent's, and must end with it."""
    for file in list(_held):
        file.close()
    _held.clear()
