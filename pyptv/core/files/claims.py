"""The frames claimed by each run of an experiment: runs over separate ranges may work at the same time.

``res/.pyptv/runs`` contains a file for each run, ``FIRST-LAST-NAME``, locked by the run until it ends. The
folder's own lock is held only while a run checks the others.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pyptv.core.base.frames import FrameRange
from pyptv.core.files.locks import FolderLock, HeldError, lock

_NAME = re.compile(r"(\d{1,19})-(\d{1,19})-\w+")
_PATIENCE = 3.0
"""Seconds to wait for an overlapping run: workers whose parent was killed may live until they notice."""

_PAUSE = 0.1
_MANY = 40
"""Factor by which a run waits longer if it is one of many."""


class ClaimedError(Exception):
    """Another run works on some of the frames; the message states which."""


@dataclass
class Claim:
    """A range of frames that this process works on."""

    path: Path
    alone: bool
    """Whether no other run works on the experiment."""
    _file: IO[bytes]
    _folders: list[FolderLock] = field(default_factory=list)

    @property
    def others(self) -> bool:
        """Whether another run of the experiment is active now."""
        return any(True for _ in _living(self.path.parent, but=self.path))

    def add_folders(self, folders: Iterable[Path]) -> None:
        """Claim the folders of the targets, which another experiment may use as well, by any path or link.

        Raises:
            ClaimedError: a run of another experiment works in one of them.
        """
        for folder in {folder.resolve(): folder for folder in folders}.values():
            try:
                self._folders.append(FolderLock(folder))
            except HeldError:
                if not self.others:  # otherwise a run of this experiment holds it
                    raise ClaimedError(f"the _targets files in {folder}: a run of another experiment that shares it") from None

    @property
    def name(self) -> str:
        """The unique name of the run."""
        return self.path.name

    def release(self) -> None:
        """Release the frames."""
        for folder in self._folders:
            folder.close()
        self._file.close()
        self.path.unlink(missing_ok=True)


def locked(home: Path, patience: float = _PATIENCE) -> IO[bytes]:
    """The lock under which a run checks the others, as a context.

    Raises:
        ClaimedError: another run holds it too long.
    """
    try:
        return lock(home / "lock", patience)[0]
    except HeldError:
        raise ClaimedError("this experiment") from None


def claim_frames(home: Path, frames: FrameRange, *, among_many: bool = False) -> Claim:
    """Claim a range of frames.

    Args:
        home: ``res/.pyptv``.
        frames: first and last.
        among_many: a thousand others may start at this moment, each on its own machine: only overlapping ones are
            checked, the run never counts as alone, and it waits longer for its turn.

    Raises:
        ClaimedError: another run works on some of them.
        OSError: the folder cannot be written.
    """
    folder = home / "runs"
    folder.mkdir(exist_ok=True)
    deadline = time.monotonic() + _PATIENCE
    while True:
        with locked(home, _MANY * _PATIENCE if among_many else _PATIENCE):
            others = list(_living(folder, frames if among_many else None))
            overlapping = [other for other in others if other[0] <= frames[1] and frames[0] <= other[1]]
            if not overlapping:
                path = folder / f"{frames[0]}-{frames[1]}-{os.getpid()}x{secrets.token_hex(4)}"
                file, _ = lock(path)
                return Claim(path, not others and not among_many, file)
        if time.monotonic() >= deadline:
            raise ClaimedError(f"frames {overlapping[0][0]} to {overlapping[0][1]}")
        time.sleep(_PAUSE)


def _living(folder: Path, frames: FrameRange | None = None, but: Path | None = None) -> Iterator[FrameRange]:
    """The ranges of active runs that overlap ``frames``; the files of dead runs are removed."""
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match is None or path == but:
            continue
        if frames is not None and not (int(match[1]) <= frames[1] and frames[0] <= int(match[2])):
            continue
        try:
            file, locked = lock(path)
        except HeldError:
            yield int(match[1]), int(match[2])
        else:
            file.close()
            if locked:
                path.unlink(missing_ok=True)
