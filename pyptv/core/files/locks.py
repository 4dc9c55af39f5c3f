"""Locks that are released when their process ends, however it ends."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import IO
from weakref import WeakSet

import portalocker

from pyptv.core.base.regular_files import open_regular

_PAUSE = 0.05

_held: WeakSet[IO[bytes]] = WeakSet()
"""The locked files of this process."""

_held_folders: WeakSet[FolderLock] = WeakSet()


class HeldError(Exception):
    """Another process holds the lock."""


def lock(path: Path, patience: float = 0.0) -> tuple[IO[bytes], bool]:
    """Lock a file, which is created if it does not exist.

    Args:
        path: the file.
        patience: how long [s] to wait for another process that holds the lock.

    Returns:
        The open file, which holds the lock until it is closed, and whether it is actually locked: some file systems have no
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


class FolderLock:
    """A lock on a folder itself, without a file in it. Held until it is closed; some systems have no such locks."""

    def __init__(self, folder: Path) -> None:
        """Lock a folder.

        Raises:
            HeldError: another process holds it.
        """
        self._descriptor: int | None = None
        try:
            import fcntl  # not on Windows

            self._descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise HeldError(str(folder)) from error
        except (ImportError, OSError):
            self.close()
        else:
            _held_folders.add(self)

    def close(self) -> None:
        """Release the folder."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def leave_to_parent() -> None:
    """Close this forked process's copies of its parent's locks, which must end with the parent."""
    for file in list(_held):
        file.close()
    for folder in list(_held_folders):
        folder.close()
    _held.clear()
    _held_folders.clear()
