"""Runners execute tasks in this process, or in a pool of workers. Both turn a plan into an iterator of events.

A worker process may die at any time (optv is C), or stop making progress (a disk that does not answer). This process waits for
neither: it reads only what has arrived, a dead worker is replaced, and the plan receives an event with the task and the
frame that were lost.
"""

from __future__ import annotations

import logging
import multiprocessing
import selectors
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING, Any

from pyptv.core.base.errors import ProcessingError, WorkersDieError
from pyptv.core.base.events import Event, TaskDone, WorkerDied
from pyptv.core.base.machine import most_open_files, open_files
from pyptv.core.execute import pool_worker
from pyptv.core.execute.line import Entrance, ParentLine
from pyptv.core.execute.pool import WorkerPool, WorkerProcess
from pyptv.core.execute.progress import Board
from pyptv.core.execute.slot import Slot, patience
from pyptv.core.execute.start_method import start_method as choose_start_method
from pyptv.core.schedule.plan import AnyPlan
from pyptv.core.stages.tasks import Job, silent

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

logger = logging.getLogger(__name__)

_WAIT = 0.5
"""Maximum time [s] between two checks of the plan, and minimum time between two checks of the workers' progress."""

_SOON = 0.01
"""The same while a worker receives a large task."""

_DEADLY = 5.0
"""Time [s] within which a killed worker ends. One that does not hangs in the operating system, and is abandoned."""

_FILES_EACH, _FILES_OTHERWISE = 3, 64
"""Open files of this process: for each worker (two for its process, one for its connection), and for everything else."""

_MOST_FAILED_STARTS = 3

_WorkerSlot = Slot[WorkerProcess]


def make_runner(job: Job, n: int, start_method: str | None = None, frame_timeout: float | None = None) -> Runner:
    """The workers of a run, or only this process if it cannot have workers.

    Args:
        job: the data shared by all tasks.
        n: number of workers.
        start_method: of multiprocessing; None: the platform's, or one that is safe in a program with threads.
        frame_timeout: seconds without progress after which a worker is replaced; 0: never; None: the default.

    Raises:
        ProcessingError: this process may not have enough open files for so many workers.
    """
    if multiprocessing.current_process().daemon:
        logger.warning("This is a daemonic process, which may not have workers: a crash of optv would end it")
        return InProcessRunner(job)
    context = multiprocessing.get_context(choose_start_method(start_method))
    try:
        context.Lock()
    except (OSError, ImportError) as error:  # no /dev/shm, as in some containers: the pool cannot be created
        logger.warning(
            "No worker processes, because there are no semaphores (%s; is /dev/shm there?): "
            "the frames are processed one after the other in this process, and a crash of optv would end it",
            error,
        )
        return InProcessRunner(job)
    return PoolRunner(job, n, context, frame_timeout)


class InProcessRunner:
    """Does the tasks in this process, one after the other. A crash of optv ends the process."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def events(self, plan: AnyPlan) -> Generator[Event, None, None]:
        """The events of all tasks of a plan, which must process each before the next is requested."""
        from pyptv.core.execute.worker import Worker  # imports optv

        with closing(Worker(self._job, silent)) as worker:
            while not plan.finished:
                if (task := plan.next_task()) is not None:
                    yield from worker.events(task)
                elif plan.waits:
                    time.sleep(_WAIT)
                else:
                    return


class PoolRunner:
    """Does the tasks on ``n`` worker processes."""

    def __init__(self, job: Job, n: int, context: BaseContext, frame_timeout: float | None = None) -> None:
        self._job = job
        self._n = n
        self._context = context
        self._timeout = frame_timeout
        self._slots: dict[int, _WorkerSlot] = {}
        """Workers by number."""
        self._unsent: list[_WorkerSlot] = []
        """Workers whose task has not been sent completely."""
        self._pool: WorkerPool | None = None
        self._slowest = 0.0
        self._looked = 0.0
        self._failed_starts = 0
        self._abandoned = 0
        self._files = n * _FILES_EACH + _FILES_OTHERWISE
        most = most_open_files()
        if most is not None and most < self._files:
            raise ProcessingError(
                f"{n} worker processes need {self._files} open files, and this process may have {most} more (ulimit -Hn): "
                f"use at most {max(0, most - _FILES_OTHERWISE) // _FILES_EACH} processes, or raise the limit"
            )

    def events(self, plan: AnyPlan) -> Generator[Event, None, None]:
        """The events of all tasks of a plan, as they arrive; the plan must process each before the next is requested."""
        with open_files(self._files), selectors.DefaultSelector() as self._selector:
            try:
                pool = self._open()
                while not plan.finished:
                    self._assign_tasks(plan)
                    yield from self._wait(pool)
            finally:
                self._close()

    # -- the workers --------------------------------------------------------------------------------------------------

    def _open(self) -> WorkerPool:
        if self._job.engine == "compiled" and self._n > 1 and self._context.get_start_method() == "fork":
            pool_worker.load_kernels(self._job)  # before workers are forked: they share the memory
        self._entrance = Entrance(self._n)
        self._register(self._entrance)
        try:
            self._board = Board(self._context, 2 * self._n)  # a new worker may connect before a dead one is noticed
            self._pool = WorkerPool(self._n, pool_worker.start, (self._job, self._entrance.address, self._board), self._context)
        except (OSError, RuntimeError) as error:
            raise ProcessingError(
                f"{self._n} worker processes cannot be started: {error} (does ulimit -u or the memory limit them?)"
            ) from error
        self._looked = time.monotonic()
        return self._pool

    def _close(self) -> None:
        """End all workers, whatever their activity."""
        for slot in self._slots.values():
            if slot.task is None:
                slot.line.send(None)
            else:
                slot.process.ask_to_end()
        if self._pool is not None:
            self._pool.shut_down()
            self._pool = None
        for key in list(self._selector.get_map().values()):
            self._disconnect(key.fileobj)
        self._slots.clear()

    def _register(self, line: Entrance | ParentLine, slot: _WorkerSlot | None = None) -> None:
        pool_worker.keep_from_children(line)
        self._selector.register(line, selectors.EVENT_READ, slot)

    def _disconnect(self, line: Any) -> None:
        self._selector.unregister(line)
        pool_worker.release(line)

    def _greet(self, line: ParentLine, pool: WorkerPool) -> None:
        """Register a new connection as a worker once it has identified itself."""
        pid = line.greeting()
        process = next((process for process in pool.crew if process.pid == pid), None) if pid is not None else None
        if process is not None:
            self._failed_starts = 0
            number = next(number for number in count(1) if number not in self._slots)
            self._slots[number] = Slot(number, line, process, self._board.row(number))
            self._selector.modify(line, selectors.EVENT_READ, self._slots[number])
        elif pid is not None or line.ended:
            self._disconnect(line)

    def _dismiss(self, slot: _WorkerSlot, pool: WorkerPool) -> None:
        """Forget a worker; the pool replaces it once its process has ended."""
        slot.process.terminate()
        self._disconnect(slot.line)
        del self._slots[slot.number]
        pool.crew.remove(slot.process)

    # -- tasks and events ---------------------------------------------------------------------------------------------

    def _assign_tasks(self, plan: AnyPlan) -> None:
        idle = [slot for slot in self._slots.values() if slot.task is None]
        starting = self._n - len(self._slots)
        for position, slot in enumerate(idle):
            task = plan.next_task(len(idle) - position + starting, slot.number)
            if task is not None:
                slot.submit(task)
                self._unsent.append(slot)

    def _wait(self, pool: WorkerPool) -> Iterator[Event]:
        """Wait for events, and yield them."""
        self._unsent = [slot for slot in self._unsent if slot.line.flush()]
        with pool.may_start():
            ready = self._selector.select(_SOON if self._unsent else _WAIT)
        for key, _ in ready:
            if isinstance(key.data, Slot):
                yield from self._receive_events(key.data, pool)
            elif isinstance(key.fileobj, ParentLine):
                self._greet(key.fileobj, pool)
            else:
                while (line := self._entrance.accept()) is not None:
                    self._register(line)
        now = time.monotonic()
        if now - self._looked >= _WAIT:
            elapsed = min(now - self._looked, 2 * _WAIT)  # this process may have been stopped, together with its workers
            self._looked = now
            yield from self._check_progress(elapsed, pool)
            self._check_starts(elapsed, pool)

    def _receive_events(self, slot: _WorkerSlot, pool: WorkerPool) -> Iterator[Event]:
        """Events that a worker has sent; its death if the connection has ended."""
        for event in slot.receive():
            yield event
            if isinstance(event, TaskDone) and event.taint:
                self._dismiss(slot, pool)
                return
        if slot.line.ended:
            yield from self._handle_loss(slot, pool)

    def _handle_loss(self, slot: _WorkerSlot, pool: WorkerPool) -> Iterator[Event]:
        """Handle the loss of a worker."""
        slot.process.join()
        slot.process.terminate()
        slot.process.join()
        frame, doing = slot.place()
        cause = slot.cause()
        self._dismiss(slot, pool)
        if slot.task is not None:
            yield WorkerDied(slot.task.id, cause, frame, doing)
        else:
            logger.warning("An idle worker was %s: replaced", cause)

    # -- stuck workers ------------------------------------------------------------------------------------------------

    def _check_progress(self, elapsed: float, pool: WorkerPool) -> Iterator[Event]:
        """Kill workers that make no progress."""
        for slot in list(self._slots.values()):
            slot.note_progress(elapsed)
            self._slowest = max(self._slowest, slot.slowest)
            limit = self._limit(begun=slot.begun)
            if slot.verdict is None and slot.quiet > limit:
                slot.kill(f"made no progress for {limit:.3g} s (--frame-timeout allows more)")
            elif slot.verdict is not None and slot.quiet > _DEADLY:
                slot.process.let_go()
                self._abandoned += 1
                yield from self._handle_loss(slot, pool)
        if self._abandoned >= self._n:
            raise ProcessingError(
                f"All {self._n} workers hang in the system, where they cannot be killed: does a disk or a file server not answer?"
            )

    def _check_starts(self, elapsed: float, pool: WorkerPool) -> None:
        """Replace processes that do not connect in time."""
        inside = {id(slot.process) for slot in self._slots.values()}
        for process in [process for process in pool.crew if id(process) not in inside]:
            if process.is_alive():
                process.quiet += elapsed
                if process.quiet > self._limit(begun=False):
                    process.terminate()
                continue
            pool.crew.remove(process)
            self._failed_starts += 1
            if process.failure is not None:
                raise ProcessingError(f"A worker {process.cause()}") from process.failure
            if self._failed_starts >= _MOST_FAILED_STARTS:
                raise WorkersDieError(self._failed_starts, process.cause())

    def _limit(self, *, begun: bool) -> float:
        return patience(self._timeout, self._slowest, begun=begun)


Runner = InProcessRunner | PoolRunner
