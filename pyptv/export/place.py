"""Exports are complete or absent: written under a temporary name, then moved into place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pyptv.core.base.errors import ProcessingError


@contextmanager
def placed(target: Path, entries: tuple[str, ...] = ()) -> Iterator[Path]:
    """A path to write to, which replaces ``target`` when the block succeeds, and is removed when it fails.

    Args:
        target: the file or folder to write. An existing one is replaced; a link is not followed.
        entries: patterns of the folder's entries; empty: it is a file. A folder at ``target`` that contains anything
            other is not replaced.

    Raises:
        ProcessingError: the output cannot be written, or something is in the way.
    """
    beside = target.with_name(f".{target.name}.{os.getpid()}.pyptv-tmp")
    try:
        check_way(target, entries)
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove(beside)
        yield beside
        _swap(beside, target)
    except (ProcessingError, MemoryError):
        raise
    except Exception as error:  # each library has its own errors for a full disk
        reason = error.strerror if isinstance(error, OSError) else None
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ProcessingError(f"{target}: cannot be written: {reason or first_line}") from error
    finally:
        with suppress(OSError):
            _remove(beside)


def check_way(target: Path, entries: tuple[str, ...]) -> None:
    """Raise ``ProcessingError`` if something at ``target`` must not be replaced; see :func:`placed`."""
    if not target.name:
        raise ProcessingError(f"{target}: is not a valid name for an export")
    if not entries and target.is_dir():
        raise ProcessingError(f"{target}: is a folder: name the file to write")
    if not entries or not (target.exists() or target.is_symlink()):
        return
    if target.is_symlink() or not target.is_dir():
        raise ProcessingError(f"{target}: is not a folder, and this export is one: name a new folder")
    there = list(target.iterdir())
    known = any(entry.match(entries[0]) for entry in there)
    strange = [entry.name for entry in there if not known or not any(entry.match(pattern) for pattern in entries)]
    if strange:
        raise ProcessingError(
            f"{target}: is not replaced: it contains {strange[0]!a}, which is not part of an export. Name a new folder"
        )


def _swap(new: Path, target: Path) -> None:
    """Move a file or folder into place; an existing folder is moved aside first, because a folder cannot replace another."""
    if not target.is_dir():
        new.replace(target)
        return
    aside = new.with_name(f"{new.name}-old")
    target.replace(aside)
    try:
        new.replace(target)
    except OSError:
        aside.replace(target)
        raise
    shutil.rmtree(aside)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
