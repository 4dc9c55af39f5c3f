"""One worker on the parent's side: its connection, its process, its task, and its progress."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from pyptv.core.base.events import Event, TaskDone, TaskFailed
from pyptv.core.execute.line import ParentLine
from pyptv.core.execute.progress import Row
from pyptv.core.stages.tasks import Task

_FLOOR, _MULTIPLE = 300.0, 20.0
"""A worker makes no progress if a part of a frame takes this many seconds, and this multiple of the slowest part so far."""

_START = 600.0
"""The same for a worker that has not begun a frame: it may have to compile kernels."""


def patience(timeout: float | None, slowest: float, *, begun: bool) -> float:
    """The time [s] that a worker may take without progress.

    Args:
        timeout: set by the user; 0: no limit; None: from the slowest part of a frame so far.
        slowest: time [s] of that part.
        begun: the worker has begun a frame.
    """
    if timeout == 0:
        return math.inf
    limit = max(_FLOOR, _MULTIPLE * slowest) if timeout is None else timeout
    return limit if begun else max(limit, _START)


class Process(Protocol):
    """A worker's process, as its slot uses it."""

    def terminate(self) -> None:
        """Kill it."""

    def cause(self) -> str:
        """Why the process died."""


P = TypeVar("P", bound=Process)


class Slot(Generic[P]):
    """A connected worker."""

    def __init__(self, number: int, line: ParentLine, process: P, row: Row) -> None:
        self.number = number
        self.line = line
        self.process = process
        self.task: Task | None = None
        self.quiet = 0.0
        """Time [s] without progress."""
        self.slowest = 0.0
        """Maximum time [s] of one part of a frame."""
        self.begun = False
        """It has begun at least one frame."""
        self.verdict: str | None = None
        """Why the parent killed it."""
        self._row = row
        self._beat = 0.0
        row.begin()
        line.send(number)

    def submit(self, task: Task) -> None:
        """Send a task to the worker, which is idle. A stopped worker does not receive it; the parent does not wait."""
        self.task, self.quiet = task, 0.0
        self._row.begin()
        self.line.send(task)

    def receive(self) -> Iterator[Event]:
        """Events that the worker has sent since the last call."""
        for batch in self.line.receive():
            for event in batch:
                if isinstance(event, TaskDone | TaskFailed):
                    self.task, self.begun = None, True
                yield event

    def note_progress(self, elapsed: float) -> None:
        """Check the worker's progress, ``elapsed`` seconds after the last check."""
        self.line.flush()
        standing = self._row.read()
        self.begun |= standing.frame is not None
        self.slowest = max(self.slowest, standing.slowest)
        if self.task is None or standing.beat != self._beat:
            self._beat, self.quiet = standing.beat, 0.0
        else:
            self.quiet += elapsed

    def kill(self, verdict: str | None = None) -> None:
        """Kill the worker; its end is detected on its connection."""
        self.verdict, self.quiet = verdict, 0.0
        self.process.terminate()

    def place(self) -> tuple[int | None, str]:
        """The frame, and the part of the work that the worker does, or did when it died."""
        standing = self._row.read()
        return standing.frame, standing.doing

    def cause(self) -> str:
        """Why the worker died."""
        return self.verdict or self.process.cause()
