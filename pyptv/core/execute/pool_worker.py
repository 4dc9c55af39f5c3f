"""The code that runs inside a worker process before, around and during its tasks."""

from __future__ import annotations

import ctypes
import gc
import logging
import logging.handlers
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from pyptv.core.base.events import Event, FrameDone, Note, PassDone, StepDone, TaskFailed
from pyptv.core.base.machine import use_one_thread
from pyptv.core.execute.line import Address, WorkerLine
from pyptv.core.execute.progress import Board, Row
from pyptv.core.files.locks import leave_to_parent
from pyptv.core.stages.tasks import Job, Task
from pyptv.kernels import cache

if TYPE_CHECKING:
    from pyptv.core.execute.worker import Worker

_LOOK_FOR_PARENT = 0.5
_PR_SET_PDEATHSIG = 1

_MOST_EVENTS = 64
_AT_MOST_EVERY = 0.05
"""Maximum number of events in a message, and seconds until it is sent: a message costs the parent more than its events."""


class _Closable(Protocol):
    def close(self) -> None:
        """Close it."""


_kept: list[_Closable] = []
"""The parent's ends of all connections, so that a forked worker can close its copies."""


def keep_from_children(end: _Closable) -> None:
    """Register an end of a connection that a forked worker must close."""
    _kept.append(end)


def release(end: _Closable) -> None:
    """Close such an end in the parent."""
    _kept.remove(end)
    end.close()


def load_kernels(job: Job) -> None:
    """Load the compiled kernels that a job needs, in a process that will become a worker or be forked into workers."""
    if job.engine == "compiled":
        standard = (*(cache.FOR_SEQUENCE if job.processes else ()), *(cache.FOR_TRACKING if job.tracks else ()))
        cache.load(standard if job.dense is None else cache.FOR_DENSE)
        if cache.ready(cache.FOR_TEXT):
            cache.load(cache.FOR_TEXT)


def start(job: Job, address: Address, board: Board) -> NoReturn:
    """Make this process a worker, and do tasks until there are no more. It does not return to the pool."""
    for end in _kept:
        end.close()
    _kept.clear()
    leave_to_parent()
    serve(job, address, board.row)


def serve(job: Job, address: Address, row_of: Callable[[int], Row]) -> NoReturn:
    """Connect to the parent, and do tasks until there are no more; ``row_of(number)`` is the row for its activity."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())  # blocked during the start
    use_one_thread()
    if job.engine == "compiled":
        cache.import_numba_alone()
    gc.freeze()  # inherited objects are no garbage; scanning them would copy the memory that forked workers share
    try:
        _end_with_parent()
        line = WorkerLine(address)
        number = line.receive()
        _Loop(job, line, row_of(number), number).run()
    except (OSError, RuntimeError):
        os._exit(1)  # the parent has ended or given this worker up, or no thread can be started
    sys.exit(0)


class _Loop:
    """The main loop of a worker: a task, its events, the next task."""

    def __init__(self, job: Job, line: WorkerLine, row: Row, number: int) -> None:
        self._job = job
        self._line = line
        self._row = row
        self._number = number
        self._outbox = _Outbox(line.send)
        self._worker: Worker | None = None
        _send_logs(self._outbox)

    def run(self) -> None:
        """Do tasks until the parent sends None.

        Raises:
            OSError: the parent has ended.
        """
        while (task := self._line.receive()) is not None:
            self._row.begin()
            self._do(task)
            self._outbox.flush()
        if self._worker is not None:
            self._worker.close()

    def _do(self, task: Task) -> None:
        """Do a task, and send its events to the parent."""
        try:
            if self._worker is None:
                from pyptv.core.execute.worker import Worker  # imports optv, after the number of threads is set

                self._worker = Worker(self._job, self._announce)
            for event in self._worker.events(task):
                self._outbox.put(self._signed(event))
        except ConnectionError:
            raise
        except Exception as error:  # the parent must receive every error
            logging.getLogger(__name__).debug("Task %s failed", task, exc_info=True)
            self._outbox.put(TaskFailed(task.id, f"{type(error).__name__}: {error}", self._row.frame))

    def _signed(self, event: Event) -> Event:
        if isinstance(event, FrameDone | StepDone | PassDone):
            return replace(event, worker=self._number)
        if isinstance(event, TaskFailed) and event.frame is None:
            return replace(event, frame=self._row.frame)
        return event

    def _announce(self, frame: int, doing: str) -> None:
        self._row.announce(frame, doing)
        self._outbox.flush_old(slow=self._row.pace > _AT_MOST_EVERY)


class _Outbox:
    """Events on their way to the parent, in the order in which they happened."""

    def __init__(self, send: Callable[[list[Event]], None]) -> None:
        self._send = send
        self._waiting: list[Event] = []
        self._flushed = time.monotonic()
        self._lock = threading.RLock()

    def put(self, event: Event) -> None:
        """Add an event."""
        with self._lock:
            self._waiting.append(event)
            if len(self._waiting) >= _MOST_EVENTS:
                self.flush()
            else:
                self.flush_old()

    def flush_old(self, *, slow: bool = False) -> None:
        """Send the events if they have waited long enough, or if the next part of the work may be ``slow``."""
        if self._waiting and (slow or time.monotonic() - self._flushed >= _AT_MOST_EVERY):
            self.flush()

    def flush(self) -> None:
        """Send everything.

        Raises:
            OSError: the parent has ended.
        """
        with self._lock:
            batch, self._waiting = self._waiting, []
            self._flushed = time.monotonic()
            if batch:
                self._send(batch)


class _OutboxHandler(logging.Handler):
    """Sends log records to the parent."""

    def __init__(self, outbox: _Outbox) -> None:
        super().__init__()
        self._outbox = outbox

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record as text: its arguments may not be picklable."""
        with suppress(OSError):
            message = record.getMessage()
            if record.exc_info:
                message += "\n" + logging.Formatter().formatException(record.exc_info)
            self._outbox.put(Note(record.name, record.levelno, message))


def _send_logs(outbox: _Outbox) -> None:
    root = logging.getLogger()
    root.handlers[:] = []  # a forked worker has the parent's
    package = logging.getLogger("pyptv")
    package.handlers[:] = [_OutboxHandler(outbox)]
    package.propagate = False
    package.setLevel(logging.DEBUG)


def _end_with_parent() -> None:
    """End this worker with the run, however that ends: on Linux even if the worker is stopped."""
    parent, started_by = multiprocessing.parent_process(), os.getppid()
    if sys.platform == "linux":
        _c_library().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != started_by:  # the parent died before that
            os._exit(1)
    threading.Thread(target=_look_for, args=(parent, started_by), daemon=True).start()


def _look_for(parent: Any, started_by: int) -> None:
    while os.getppid() == started_by and (parent is None or parent.is_alive()):
        time.sleep(_LOOK_FOR_PARENT)
    os._exit(1)


def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None)
