"""The scratch folder of a run: where the tracker's C code works."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
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


def scratch_folder(place: Path | None = None) -> Path:
    """A new folder with a short ASCII path, as the tracker requires; folders left by killed runs are removed.

    Args:
        place: the parent folder; None: a temporary one.

    Raises:
        ProcessingError: no folder is suitable.
    """
    if place is not None and not _is_short(str(place.absolute())):
        raise ProcessingError(
            f"--scratch: found {place.absolute()}, expected a path of ASCII characters, at most {_LONGEST} of them"
        )
    tried = []
    for base in _bases() if place is None else [place.absolute()]:
        try:
            return _new_folder(base)
        except OSError as error:
            tried.append(f"{base}: {error.strerror or error}")
    raise ProcessingError(
        f"No scratch folder for the tracker ({'; '.join(tried)}): it needs a temporary folder with a short ASCII path that "
        "can be written: set TMPDIR to one"
    )


def remove_scratch(folder: Path | None) -> None:
    """Remove a scratch folder of this process; None: it has none."""
    if folder is not None:
        _remove(folder, _held.pop(folder, None))


def _remove(folder: Path, file: IO[bytes] | None) -> None:
    """Remove a folder and its lock, which is held until then; some platforms remove a file only once it is closed."""
    shutil.rmtree(folder, ignore_errors=True)
    if file is not None:
        file.close()
        shutil.rmtree(folder, ignore_errors=True)


def _new_folder(base: Path) -> Path:
    """A new locked folder in ``base``."""
    for left in _left_behind(base):
        _remove_if_left(left)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        # before it is locked, another run may mistake it for that of a dead run, and remove it
        with suppress(HeldError, FileNotFoundError):
            file, _ = lock(folder / _LOCK)
            if (folder / _LOCK).exists():
                _held[folder] = file
                return folder
            file.close()


def _left_behind(base: Path) -> list[Path]:
    """This user's scratch folders in ``base``. Those of other users are neither read nor removed."""
    found = []
    with suppress(OSError), os.scandir(base) as entries:
        for entry in entries:
            with suppress(OSError):  # removed in the meantime
                if entry.name.startswith(_PREFIX) and entry.is_dir(follow_symlinks=False) and _is_mine(entry):
                    found.append(Path(entry.path))
    return found


def _is_mine(entry: os.DirEntry[str]) -> bool:
    return not hasattr(os, "getuid") or entry.stat(follow_symlinks=False).st_uid == os.getuid()


def _remove_if_left(folder: Path) -> None:
    """Remove a folder whose run is dead: its lock has been released."""
    try:
        if not (folder / _LOCK).is_file():
            return
        file, locked = lock(folder / _LOCK)
    except (HeldError, OSError):
        return
    if locked:
        _remove(folder, file)
    file.close()


def _bases() -> Iterator[Path]:
    """Possible parent folders: the temporary folder, or another usual one."""
    places = ["/tmp", "/var/tmp", "/dev/shm"]  # noqa: S108 -- mkdtemp makes it private
    with suppress(OSError):  # no folder is writable
        temporary = tempfile.gettempdir()
        named = [os.environ.get(name) for name in ("SLURM_TMPDIR", "TMPDIR", "TEMP", "TMP")]
        if temporary != str(Path.cwd()) or temporary in named:  # Python's last resort: not used unless it was requested
            places.insert(0, temporary)
    if job := os.environ.get("SLURM_TMPDIR"):  # only for this job, on the node's local disk
        places.insert(0, job)
    for place in dict.fromkeys(places):
        if _is_short(place):
            yield Path(place)


def _is_short(place: str) -> bool:
    return place.isascii() and len(place) < _LONGEST
