"""The code that runs on a Dask worker: a check whether it can do the work, and tasks, in separate processes."""

from __future__ import annotations

import json
import mmap
import pickle
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from pyptv import __version__
from pyptv.core.base.errors import ProcessingError
from pyptv.core.base.events import Event, TaskDone, TaskFailed, WorkerDied
from pyptv.core.base.machine import host
from pyptv.core.engines.choice import compile_now
from pyptv.core.execute.cluster.child import START
from pyptv.core.execute.line import Entrance
from pyptv.core.execute.pool import cause_of
from pyptv.core.execute.progress import Row
from pyptv.core.execute.slot import Slot, patience
from pyptv.core.files.locks import HeldError, lock
from pyptv.core.files.scratch import remove_scratch, scratch_folder
from pyptv.core.stages.tasks import Job, Task
from pyptv.kernels import cache

_LOOK = 0.5
_LOOK_FOR_OWNER = 2.0
"""Seconds between two checks whether the run is still alive."""
_BOARD = 4096
_GRACE = 5.0


@dataclass(frozen=True)
class Question:
    """The question to a worker before it receives tasks."""

    file: Path
    """A file on the shared disk; the answer is written beside it."""
    secret: str
    needs_kernels: bool
    dense: bool = False
    """The run uses the dense method."""


class Answer(NamedTuple):
    """The answer of a worker."""

    version: str
    optv: str
    host: str
    problem: str
    """Why the worker cannot do the work; empty: it can."""
    time: float
    """Time by the worker's clock [s]."""
    numerics: str = ""
    """Further versions that results of the dense method depend on: its arithmetic is as compiled by numba."""


def look(question: Question) -> Answer:
    """Whether this worker can do the work: it must see the files of the run, and the run those that it writes."""
    problem = ""
    try:
        if question.file.read_text(encoding="ascii") != question.secret:
            problem = f"{question.file} is another file there: it has another disk at that path"
        else:
            question.file.with_name(f"{question.file.name}-{question.secret}").write_text(question.secret, encoding="ascii")
    except OSError as error:
        problem = f"{error.filename}: {error.strerror}: it does not have the disk of the experiment, or may not write to it"
    if not problem and question.needs_kernels and not cache.installed():
        problem = 'it has no numba for the compiled engine (pip install "pyptv-batch[fast]", or --engine optv)'
    numerics = dense_versions() if question.dense and not problem else ""
    return Answer(__version__, version("optv"), str(host()["name"]), problem, time.time(), numerics)


def dense_versions() -> str:
    """Versions that the results of the dense method depend on."""
    return f"numba {version('numba')} and numpy {version('numpy')}"


def do(job: bytes, run: str, slot: int, task: Task, timeout: float | None) -> list[Event]:
    """Do a task in the process of a slot, which is started if necessary.

    Args:
        job: the data shared by all tasks of the run, pickled.
        run: unique name of the run.
        slot: one of the threads of this worker.
        task: the task.
        timeout: see :func:`pyptv.core.execute.slot.patience`.

    Returns:
        The events; the last one is the end of the task, or of the process.
    """
    key = run, slot
    with _lock:
        child = _children.get(key)
    if child is None:
        try:
            child = _start(pickle.loads(job))  # noqa: S301 -- from the run, as the task is
        except (ProcessingError, OSError, cache.KernelsUnavailableError) as error:
            return [TaskFailed(task.id, f"a worker on {host()['name']} cannot be started: {error}")]
        with _lock:
            _children[key] = child
    events = list(child.events(task, timeout))
    if child.ended:
        with _lock:
            _children.pop(key, None)
        child.close()
    return events


def _start(job: Job) -> _Child:
    """Start a process for a slot, and once more if it dies before it begins: something may have killed it."""
    try:
        return _Child(job)
    except ProcessingError:
        return _Child(job)


def stop(run: str) -> None:
    """End all processes of a run at once, whatever their activity."""
    with _lock:
        children = [_children.pop(key) for key in list(_children) if key[0] == run]
    for child in children:
        child.kill()


class _Child:
    """A process that does tasks, and the connection to it."""

    def __init__(self, job: Job) -> None:
        if job.engine == "compiled":
            compile_now(None if job.dense is None else cache.FOR_DENSE)
        self._scratch = scratch_folder() if job.scratch is not None else None
        self._claim = job.claim if job.claim is not None and not _is_free(job.claim) else None
        self._asked = 0.0
        self._slowest = 0.0
        self.ended = False
        self._entrance = Entrance(1)
        self._board = tempfile.NamedTemporaryFile(prefix="pyptv-board-", buffering=0)  # noqa: SIM115 -- as long as the process
        self._board.write(bytes(_BOARD))
        self._process = subprocess.Popen(  # noqa: S603 -- this interpreter, our own lines
            [sys.executable, "-c", START, json.dumps(sys.path)], stdin=subprocess.PIPE, start_new_session=True
        )
        try:
            self._slot = self._greet(replace(job, scratch=self._scratch))
        except BaseException:
            self.kill()
            self.close()
            raise

    def _greet(self, job: Job) -> Slot[_Child]:
        stdin = self._process.stdin
        if stdin is None:
            raise ProcessingError("its process has no standard input")
        with stdin, suppress(BrokenPipeError):
            pickle.dump((job, self._entrance.address, self._board.name), stdin)
        deadline = time.monotonic() + patience(None, 0.0, begun=False)
        memory = mmap.mmap(self._board.fileno(), _BOARD)
        while self._process.poll() is None and time.monotonic() < deadline:
            with selectors.DefaultSelector() as selector:
                selector.register(self._entrance, selectors.EVENT_READ)
                selector.select(_LOOK)
            line = self._entrance.accept()
            while line is not None and not line.ended and self._process.poll() is None:
                if line.greeting() == self._process.pid:
                    return Slot(1, line, self, Row(memory, 0))
                time.sleep(_LOOK / 50)
        raise ProcessingError(f"its process {self.cause()} before it began")

    def events(self, task: Task, timeout: float | None) -> Iterator[Event]:
        """Do a task."""
        slot, looked = self._slot, time.monotonic()
        slot.submit(task)
        with selectors.DefaultSelector() as selector:
            selector.register(slot.line, selectors.EVENT_READ)
            while True:
                selector.select(_LOOK)
                for event in slot.receive():
                    yield event
                    if isinstance(event, TaskDone | TaskFailed):
                        self.ended |= isinstance(event, TaskDone) and event.taint
                        return
                now = time.monotonic()
                slot.note_progress(now - looked)
                looked = now
                self._slowest = max(self._slowest, slot.slowest)
                limit = patience(timeout, self._slowest, begun=slot.begun)
                if slot.verdict is None and slot.quiet > limit:
                    slot.kill(f"made no progress for {limit:.3g} s (--frame-timeout allows more)")
                elif self._is_orphan(now):
                    slot.kill("ended, because its run has ended")
                if slot.line.ended:
                    frame, doing = slot.place()
                    self.ended = True
                    yield WorkerDied(task.id, slot.cause(), frame, doing)
                    return

    def _is_orphan(self, now: float) -> bool:
        """Whether the run has ended: its results would be ignored, and the frames may belong to another run now."""
        if self._claim is None or now - self._asked < _LOOK_FOR_OWNER:
            return False
        self._asked = now
        return _is_free(self._claim)

    def terminate(self) -> None:
        """Kill the process."""
        self.kill()

    def kill(self) -> None:
        """Kill the process without waiting."""
        with suppress(OSError):
            self._process.kill()

    def cause(self) -> str:
        """Why the process died."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        return cause_of(self._process.returncode or 0)

    def close(self) -> None:
        """Release the resources."""
        self.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        self._entrance.close()
        self._board.close()
        remove_scratch(self._scratch)


def _is_free(claim: Path) -> bool:
    """Whether no process holds the lock of a run; False if the disk has no locks."""
    if not claim.exists():
        return True
    try:
        file, locked = lock(claim)
    except (HeldError, OSError):
        return False
    file.close()
    return locked


_children: dict[tuple[str, int], Any] = {}
_lock = threading.Lock()
