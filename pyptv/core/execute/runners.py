"""Who does the tasks: this process, or a pool of workers. Both turn a plan into an iterator of events.

A worker process may die at any time (optv is C). The standard pool then waits for ever, and where the worker was killed while
idle, its queue's lock dies with it. So each worker is a pool of its own, watched by this process; a worker that died is
replaced together with its pool, and the plan is told which task and frame it took with it.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
import warnings
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

from pyptv.core.base.events import Event, FrameDone, StepDone, TaskDone, TaskFailed, WorkerDied
from pyptv.core.execute import pool_worker
from pyptv.core.schedule.plan import Plan
from pyptv.core.stages.tasks import Job, Task, silent
from pyptv.kernels import cache

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from multiprocessing.process import BaseProcess

logger = logging.getLogger(__name__)

_WAIT = 0.5
"""Longest time [s] between two looks at the plan."""

_GRACE = 0.5
"""Time [s] that a worker gets to end before it is killed."""


class InProcessRunner:
    """Does the tasks in this process, one after the other. A crash of optv takes the process with it."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def events(self, plan: Plan) -> Generator[Event, None, None]:
        """The events of all tasks of a plan, which must be told of each before the next is asked for."""
        from pyptv.core.execute.worker import Worker  # imports optv

        with closing(Worker(self._job, silent)) as worker:
            while not plan.finished and (task := plan.next_task()) is not None:
                yield from worker.events(task)


class PoolRunner:
    """Does the tasks on ``n`` worker processes."""

    def __init__(self, job: Job, n: int, start_method: str | None = None) -> None:
        self._job = job
        self._context = multiprocessing.get_context(start_method)
        self._slots: list[_Slot] = []
        self._n = n

    def events(self, plan: Plan) -> Generator[Event, None, None]:
        """The events of all tasks of a plan, as they come; the plan must be told of each before the next is asked for."""
        try:
            self._load_what_is_shared()
            self._slots += [_Slot(self._context, self._job, number) for number in range(1, self._n + 1)]
            while not plan.finished:
                self._hand_out(plan)
                for slot in self._ready():
                    yield from self._drain(slot)
        finally:
            self.close()

    def _load_what_is_shared(self) -> None:
        """Load the kernels once, before workers are forked: they have them then, and all use the same memory."""
        if self._job.engine == "compiled" and self._n > 1 and self._context.get_start_method() == "fork":
            cache.load()

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        slots, self._slots = self._slots, []
        for slot in slots:
            slot.retire()
        for slot in slots:
            slot.join()

    def _hand_out(self, plan: Plan) -> None:
        idle = [slot for slot in self._slots if slot.task is None]
        for number, slot in enumerate(idle):
            task = plan.next_task(len(idle) - number, slot.number)
            if task is not None:
                slot.submit(task)

    def _ready(self) -> list[_Slot]:
        """Slots that have something to say, or have died."""
        by_handle: dict[Any, _Slot] = {}
        for slot in self._slots:
            by_handle[slot.line] = slot
            by_handle[slot.sentinel] = slot
        ready = connection.wait(list(by_handle), timeout=_WAIT)
        return list({id(by_handle[handle]): by_handle[handle] for handle in ready}.values())

    def _drain(self, slot: _Slot) -> Iterator[Event]:
        """What a worker has said; its death, where it is dead. A worker that is no more is replaced."""
        alive = slot.process.exitcode is None
        for event in slot.hear():
            yield event
            if isinstance(event, TaskDone) and event.taint:
                self._replace(slot)
                return
        if not alive:
            task = slot.task
            cause, frame, doing = slot.cause(), slot.frame, slot.doing
            self._replace(slot)
            if task is not None:
                yield WorkerDied(task.id, cause, frame, doing)
            else:
                logger.warning("An idle worker was %s: replaced", cause)

    def _replace(self, slot: _Slot) -> None:
        slot.end()
        self._slots[self._slots.index(slot)] = _Slot(self._context, self._job, slot.number)


@contextmanager
def _quiet_start() -> Iterator[None]:
    """Around the start of a process.

    A signal for the whole group must not meet a half-made worker, which has this process's handlers: it is born, as the
    pool's threads are, with these signals blocked, and lets SIGTERM in once it is ready. Python >= 3.12 warns of a fork in a
    process with threads; the worker uses none of this process's locks.
    """
    signals = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals) if hasattr(signal, "pthread_sigmask") else None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
            yield
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Slot:
    """One worker process: a pool of one, a line to it, and what is known of it."""

    def __init__(self, context: BaseContext, job: Job, number: int) -> None:
        self.number = number
        self.line, self._far_end = context.Pipe(duplex=True)
        self.task: Task | None = None
        self.frame: int | None = None
        self.doing = "starting"
        self._farewell: threading.Thread | None = None
        pool_worker.keep_from_children(self.line)
        with _quiet_start():
            self._pool = context.Pool(1, pool_worker.start, (job, self._far_end, context.Semaphore(1)))
        self.process: BaseProcess = self._pool._pool[0]  # type: ignore[attr-defined]  # noqa: SLF001 -- its sentinel and exit code
        self.sentinel = self.process.sentinel

    def submit(self, task: Task) -> None:
        """Hand a task to the worker."""
        self.task, self.frame, self.doing = task, None, "starting"
        self._pool.apply_async(pool_worker.run, (task,))

    def hear(self) -> Iterator[Event]:
        """What the worker has said since the last time."""
        try:
            while self.line.poll():
                said = self.line.recv()
                if isinstance(said, tuple):
                    self.frame, self.doing = said
                    continue
                if isinstance(said, FrameDone | StepDone):
                    said = replace(said, worker=self.number)
                elif isinstance(said, TaskDone | TaskFailed):
                    self.task = None
                    if isinstance(said, TaskFailed):
                        said = TaskFailed(said.task, said.reason, self.frame)
                yield said
        except (OSError, EOFError):
            return

    def cause(self) -> str:
        """What the worker died of."""
        code = self.process.exitcode or 0
        if code >= 0:
            return f"ended with exit status {code}"
        with suppress(ValueError):
            return f"killed by signal {-code} ({signal.Signals(-code).name})"
        return f"killed by signal {-code}"

    def retire(self) -> None:
        """Let an idle worker go home; end any other."""
        if self.task is not None or self.process.exitcode is not None:
            self.end()
            return
        self._pool.close()
        self._farewell = threading.Thread(target=self._pool.join, daemon=True)
        self._farewell.start()

    def end(self) -> None:
        """End the worker and its pool. The pool may be broken for good, so nothing here waits for it.

        ``terminate`` may wait for ever for a lock that a killed worker held: it does so in a thread that nobody waits for.
        By then it has taken the pool out of the interpreter's exit work, which would wait as well.
        """
        threading.Thread(target=self._pool.terminate, daemon=True).start()
        with suppress(OSError, ValueError):
            self.process.terminate()
        self.line.close()
        self._far_end.close()

    def join(self) -> None:
        """Wait a moment for the worker to be gone, then kill it."""
        if self._farewell is not None:
            self._farewell.join(_GRACE)
            if self._farewell.is_alive():
                self.end()
            self.line.close()
            self._far_end.close()
        with suppress(OSError, ValueError, AssertionError):
            self.process.join(_GRACE)
            if self.process.exitcode is None:
                self.process.kill()
                self.process.join(_GRACE)
