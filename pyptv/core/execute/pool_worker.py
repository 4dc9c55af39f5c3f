"""The far side of a worker process: what runs in it before, around and during its tasks."""

from __future__ import annotations

import gc
import logging
import logging.handlers
import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from pyptv.core.base.events import Note, TaskFailed
from pyptv.core.stages.tasks import Job, Task

if TYPE_CHECKING:
    from pyptv.core.execute.worker import Worker

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS")
_LOOK_FOR_PARENT = 0.5

_kept: list[Any] = []
"""The parent's ends of all workers' lines, so that a forked worker can close its copies."""

_line: Connection | None = None
_job: Job | None = None
_worker: Worker | None = None


def keep_from_children(line: Any) -> None:
    """Name an end of a line that a forked worker must not keep open."""
    _kept[:] = [kept for kept in _kept if not kept.closed]
    _kept.append(line)


def start(job: Job, line: Connection, first: Any) -> None:
    """Make this process a worker: called once in it, before its first task.

    A pool starts a new process where one has died. Here the parent replaces the whole pool instead, so a second process
    of one pool (``first``, a semaphore of 1, is taken) goes at once.
    """
    global _line, _job
    if not first.acquire(block=False):
        os._exit(0)
    for kept in _kept:
        kept.close()
    _kept.clear()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})  # blocked while it was made
    for name in _ONE_THREAD:
        os.environ[name] = "1"
    _line, _job = line, job
    gc.freeze()  # what it was forked with is no garbage; to look through it would copy the memory that all workers share
    _send_logs(line)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


def run(task: Task) -> None:
    """Do a task; everything that is known of it goes over the line."""
    global _worker  # noqa: PLW0603
    line, job = _line, _job
    if line is None or job is None:
        raise RuntimeError("the worker was not started")
    try:
        if _worker is None:
            from pyptv.core.execute.worker import Worker  # imports optv, after the number of threads is set

            _worker = Worker(job, lambda frame, what: line.send((frame, what)))
        for event in _worker.events(task):
            line.send(event)
    except BrokenPipeError:
        os._exit(0)  # the parent has given this worker up
    except Exception as error:  # whatever it is, the parent must know
        logging.getLogger(__name__).debug("Task %s failed", task, exc_info=True)
        line.send(TaskFailed(task.id, f"{type(error).__name__}: {error}"))


class _LineHandler(logging.Handler):
    """Sends log records to the parent."""

    def __init__(self, line: Connection) -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, as text: what it was made of may not be picklable."""
        with suppress(OSError):
            message = record.getMessage()
            if record.exc_info:
                message += "\n" + logging.Formatter().formatException(record.exc_info)
            self._line.send(Note(record.name, record.levelno, message))


def _send_logs(line: Connection) -> None:
    root = logging.getLogger()
    root.handlers[:] = []  # a forked worker has the parent's
    package = logging.getLogger("pyptv")
    package.handlers[:] = [_LineHandler(line)]
    package.propagate = False
    package.setLevel(logging.DEBUG)


def _end_with_parent(parent: int) -> None:
    """No worker outlives the run, however that ends."""
    process = multiprocessing.parent_process()
    while os.getppid() == parent and (process is None or process.is_alive()):
        time.sleep(_LOOK_FOR_PARENT)
    os._exit(1)
