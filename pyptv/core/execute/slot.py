"""One worker as its parent knows it: its line, its process, its task, and whether it makes progress."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from pyptv.core.base.events import Event, TaskDone, TaskFailed
from pyptv.core.execute.line import ParentLine
from pyptv.core.execute.progress import Row
from pyptv.core.stages.tasks import Task

_FLOOR, _MULTIPLE = 300.0, 20.0
"""A worker makes no progress if it stays at one part of a frame for so many seconds, and so many times the slowest so far."""

_START = 600.0
"""The same for one that has not begun a frame: it may have kernels to compile."""


def patience(timeout: float | None, slowest: float, *, begun: bool) -> float:
    """How long [s] a worker may make no progress.

    Args:
        timeout: as the user has set it; 0: no limit; None: from the slowest part of a frame so far.
        slowest: how long [s] that took.
        begun: the worker has begun a frame.
    """
    if timeout == 0:
        return math.inf
    limit = max(_FLOOR, _MULTIPLE * slowest) if timeout is None else timeout
    return limit if begun else max(limit, _START)


class Process(Protocol):
    """A worker's process, as far as its slot has to do with it."""

    def terminate(self) -> None:
        """Kill it."""

    def cause(self) -> str:
        """What it died of."""


P = TypeVar("P", bound=Process)


class Slot(Generic[P]):
    """A worker that has come in."""

    def __init__(self, number: int, line: ParentLine, process: P, row: Row) -> None:
        self.number = number
        self.line = line
        self.process = process
        self.task: Task | None = None
        self.quiet = 0.0
        """For how long [s] it has shown no progress."""
        self.slowest = 0.0
        """The longest time [s] that it has stayed at one part of a frame."""
        self.begun = False
        """It has begun a frame, at some time."""
        self.verdict: str | None = None
        """Why it was killed by its parent."""
        self._row = row
        self._beat = 0.0
        row.begin()
        line.send(number)

    def submit(self, task: Task) -> None:
        """Hand a task to the worker, which is idle. A stopped worker does not take it; the parent does not wait for that."""
        self.task, self.quiet = task, 0.0
        self._row.begin()
        self.line.send(task)

    def receive(self) -> Iterator[Event]:
        """What the worker has reported since the last time."""
        for batch in self.line.receive():
            for event in batch:
                if isinstance(event, TaskDone | TaskFailed):
                    self.task, self.begun = None, True
                yield event

    def note_progress(self, elapsed: float) -> None:
        """Look at what the worker does, ``elapsed`` seconds after the last look."""
        self.line.flush()
        standing = self._row.read()
        self.begun |= standing.frame is not None
        self.slowest = max(self.slowest, standing.slowest)
        if self.task is None or standing.beat != self._beat:
            self._beat, self.quiet = standing.beat, 0.0
        else:
            self.quiet += elapsed

    def kill(self, verdict: str | None = None) -> None:
        """Kill the worker; that it is gone is seen on its line."""
        self.verdict, self.quiet = verdict, 0.0
        self.process.terminate()

    def place(self) -> tuple[int | None, str]:
        """Frame, and what the worker does to it, or did when it died."""
        standing = self._row.read()
        return standing.frame, standing.doing

    def cause(self) -> str:
        """What the worker died of."""
        return self.verdict or self.process.cause()
