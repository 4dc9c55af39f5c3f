"""The scratch folder of a run: where the tracker's C code works."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

from pyptv.core.base.errors import ProcessingError
from pyptv.core.files.locks import HeldError, lock

_PREFIX = "pyptv-run-"
_LONGEST = 150
_LOCK = "lock"

_held: dict[Path, IO[bytes]] = {}
"""The locks of this process's scratch folders."""


def scratch_folder() -> Path:
    """A new folder with a short ASCII path, as the tracker needs it; those that killed runs have left are removed.

    Raises:
        ProcessingError: there is no place for one.
    """
    base = _base()
    for left in base.glob(f"{_PREFIX}*"):
        _remove_if_left(left)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        # before it is locked another run may take it for a dead one's, and remove it
        with suppress(HeldError, FileNotFoundError):
            file, _ = lock(folder / _LOCK)
            if (folder / _LOCK).exists():
                _held[folder] = file
                return folder
            file.close()


def remove_scratch(folder: Path) -> None:
    """Remove a scratch folder of this process."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder in _held:
        _held.pop(folder).close()


def _remove_if_left(folder: Path) -> None:
    """Remove a folder whose run is dead: one that is locked by nobody, and was by somebody."""
    if folder.is_symlink() or not (folder / _LOCK).is_file():
        return
    try:
        file, locked = lock(folder / _LOCK)
    except (HeldError, OSError):
        return
    if locked:
        shutil.rmtree(folder, ignore_errors=True)
    file.close()


def _base() -> Path:
    for base in dict.fromkeys([tempfile.gettempdir(), "/tmp", "/var/tmp"]):  # noqa: S108 -- mkdtemp makes it private
        if base.isascii() and len(base) < _LONGEST and os.access(base, os.W_OK):
            return Path(base)
    raise ProcessingError(
        f"{tempfile.gettempdir()}: the tracker needs a temporary folder with a short ASCII path: set TMPDIR to one"
    )
