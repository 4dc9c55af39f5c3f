"""The activity of each worker, in memory shared with its parent: a worker that dies or stops cannot report it itself."""

from __future__ import annotations

import ctypes
import struct
import time
from multiprocessing.context import BaseContext
from typing import Any, NamedTuple

_RECORD = struct.Struct("=qdd200s")
_NOT_BEGUN = -1
_OF_LATE = 16
"""Number of parts of the work over which times are averaged."""


class Standing(NamedTuple):
    """The activity of a worker."""

    frame: int | None
    """The current frame; None: it has not begun."""
    doing: str
    """The current part of the work."""
    beat: float
    """Start of that part, by the worker's clock [s]: a worker whose beat does not change makes no progress."""
    slowest: float
    """The longest time [s] so far between two beats of a task."""


class Board:
    """The activities of all workers. Sent to each; it needs no lock, because each row has one writer at a time."""

    def __init__(self, context: BaseContext, n: int) -> None:
        self._memory: ctypes.Array[ctypes.c_char] = context.RawArray(ctypes.c_char, n * _RECORD.size)

    def row(self, number: int) -> Row:
        """The row of a worker, counted from 1."""
        return Row(self._memory, (number - 1) * _RECORD.size)


class Row:
    """The activity of one worker."""

    def __init__(self, memory: Any, start: int) -> None:
        self._memory = memory
        self._start = start
        self._beat = self._slowest = 0.0
        self.pace = 0.0
        """Recent average time [s] of a part of the work."""
        self.frame: int | None = None

    def begin(self) -> None:
        """A task is about to begin: written by the parent, which assigns it, and again by the worker, which receives it."""
        self.frame = None
        self._beat = time.monotonic()
        self._write(_NOT_BEGUN, "starting")

    def announce(self, frame: int, doing: str) -> None:
        """Called in the worker before each part of the work."""
        now = time.monotonic()
        if self.frame is not None:
            self._slowest = max(self._slowest, now - self._beat)
            self.pace += (now - self._beat - self.pace) / _OF_LATE
        self.frame, self._beat = frame, now
        self._write(frame, doing)

    def read(self) -> Standing:
        """Where the worker stands: called in the parent."""
        frame, beat, slowest, text = _RECORD.unpack_from(self._memory, self._start)
        doing = text.rstrip(b"\0").decode("utf-8", "replace")
        return Standing(None if frame == _NOT_BEGUN else frame, doing, beat, slowest)

    def _write(self, frame: int, doing: str) -> None:
        _RECORD.pack_into(self._memory, self._start, frame, self._beat, self._slowest, doing.encode("utf-8", "replace"))
