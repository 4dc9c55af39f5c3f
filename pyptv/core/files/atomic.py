"""Files that are complete or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

_MARK = ".pyptv-tmp"
_TOKEN = secrets.token_hex(3)
"""A random part of names: two machines that share a disk may have processes with the same number."""


def digest(data: bytes) -> str:
    """A short fingerprint of a file's bytes (BLAKE2b, 128 bits)."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def frame_digest(files: Mapping[str, bytes]) -> str:
    """One fingerprint of all files of a frame, given by their short names."""
    return digest("\n".join(f"{name} {digest(data)}" for name, data in sorted(files.items())).encode())


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that at every moment it has either the old or the new bytes, never a part.

    An existing link is replaced, not followed. Raises ``OSError`` with the path of the file that was to be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}x{_TOKEN}{_MARK}")
    try:
        with suppress(FileNotFoundError):
            beside.unlink()
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        with open(descriptor, "wb", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
        beside.replace(path)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None
        raise


def move(source: Path, target: Path) -> None:
    """Move a complete file to its final path, also to another file system."""
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        write_atomic(target, source.read_bytes())
        source.unlink()


def unfinished(names: Iterable[str]) -> list[str]:
    """The names of files that a process is writing, or was writing when it was killed."""
    return [name for name in names if name.endswith(_MARK) and name.startswith(".")]


def remove_leftovers(folders: Iterable[Path], known: Mapping[Path, Iterable[str]] | None = None) -> int:
    """Remove the unfinished files that a killed run left in some folders; returns how many.

    Args:
        folders: of its results.
        known: folder -> its unfinished files, of folders that have been listed already.
    """
    removed = 0
    for folder in folders:
        for name in known[folder] if known is not None and folder in known else _unfinished_in(folder):
            with suppress(OSError):
                (folder / name).unlink()
                removed += 1
    return removed


def _unfinished_in(folder: Path) -> list[str]:
    with suppress(OSError), os.scandir(folder) as entries:
        return unfinished(entry.name for entry in entries)
    return []
