"""Tasks on the workers of a Dask scheduler: one at a time for each of their threads.

The runner, not the scheduler, assigns tasks to workers: a tracker run continues where its state is in memory. Workers
may join and leave. The scheduler only transports tasks and events, for some seconds of work at a time.
"""

from __future__ import annotations

import logging
import pickle
import queue
import secrets
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

from pyptv import __version__
from pyptv.core.base.errors import ProcessingError
from pyptv.core.base.events import Event, FrameDone, PassDone, StepDone, WorkerDied
from pyptv.core.execute.cluster import node
from pyptv.core.schedule.plan import AnyPlan
from pyptv.core.stages.tasks import FramesTask, Job, PublishTask, Task, TrackTask, table_name

logger = logging.getLogger(__name__)

_WAIT = 0.5
_LOOK = 1.0
"""Seconds between two checks of the available workers."""
_PATIENCE = 30.0
"""Seconds within which the scheduler must answer."""
_GATHER = 10.0
_STILL = 60.0
"""Seconds without any worker after which the warning is repeated."""
_CLOCKS = 5.0
"""Maximum difference of clocks [s] without a warning."""


@dataclass
class _Slot:
    """A thread of a Dask worker."""

    number: int
    address: str
    index: int
    task: Task | None = None
    future: Any = None


class ClusterRunner:
    """Does the tasks on the workers of a scheduler."""

    def __init__(self, job: Job, client: Any, home: Path, frame_timeout: float | None = None) -> None:
        """``home``: a folder on the shared disk, to check whether workers have it."""
        self._job = pickle.dumps(job)
        self._client = client
        self._timeout = frame_timeout
        self._run = secrets.token_hex(8)
        asked = {"needs_kernels": job.engine == "compiled", "dense": job.dense is not None}
        self._question = node.Question(home / f"probe-{self._run}", secrets.token_hex(16), **asked)
        self._slots: dict[int, _Slot] = {}
        self._threads: dict[str, int] = {}
        """Address -> threads of the available workers."""
        self._probes: dict[str, Any] = {}
        self._refused: dict[str, str] = {}
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._looked = self._said = 0.0

    def events(self, plan: AnyPlan) -> Generator[Event, None, None]:
        """The events of all tasks of a plan, as they arrive; the plan must process each before the next is requested."""
        self._said = time.monotonic()
        self._question.file.write_text(self._question.secret, encoding="ascii")
        try:
            while not plan.finished:
                yield from self._look_for_workers()
                self._assign_tasks(plan)
                yield from self._wait()
        finally:
            self._close()

    # -- workers ------------------------------------------------------------------------------------------------------

    def _look_for_workers(self) -> Iterator[Event]:
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return
        self._looked = now
        self._threads = {address: int(worker["nthreads"]) for address, worker in self._identity()["workers"].items()}
        for address in self._threads:
            if address not in self._probes and address not in self._refused:
                self._probe(address)
        for slot in list(self._slots.values()):
            if slot.address not in self._threads:
                yield from self._handle_loss(slot)
        for address in [address for address in self._probes if address not in self._threads]:
            del self._probes[address]
        if self._slots:
            self._said = now
        elif self._threads and self._threads.keys() <= self._refused.keys():
            raise ProcessingError("No Dask worker can do the work: " + "; ".join(sorted(set(self._refused.values()))[:5]))
        elif now - self._said > _STILL:
            self._said = now
            logger.warning("Waiting for Dask workers: the scheduler has none that can do the work")

    def _identity(self) -> Any:
        """The scheduler's information about its workers."""
        try:
            if self._client.status != "running":
                raise ConnectionError(f"the connection is {self._client.status}")
            return self._client.sync(self._client.scheduler.identity, n_workers=-1, callback_timeout=_PATIENCE)
        except Exception as error:  # Dask raises various errors
            raise ProcessingError(
                f"The Dask scheduler was lost ({error or type(error).__name__}). Finished frames are kept: "
                "run the same command with --resume and another scheduler"
            ) from error

    def _probe(self, address: str) -> None:
        self._probes[address] = self._submit(f"probe-{self._run}-{address}", address, node.look, self._question)

    def _admit(self, address: str, future: Any) -> None:
        """Accept or refuse a worker that has answered."""
        answer, problem = None, ""
        if future.status == "error":
            problem = f"it has no pyptv-batch {__version__}, or that does not work there ({future.exception()!r:.200})"
        elif future.status == "finished":
            answer = future.result(timeout=_GATHER)
            problem = self._problem(answer)
        else:
            return
        if problem:
            where = f"{address} on {answer.host}" if answer is not None else address
            self._refused[address] = problem
            logger.warning("Dask worker %s is not used: %s", where, problem)
            return
        if answer is not None and abs(answer.time - time.time()) > _CLOCKS:
            logger.warning(
                "The clock of %s differs from this one by %.0f s: results do not depend on it, but the times of files do",
                *(answer.host, answer.time - time.time()),
            )
        for index in range(self._threads.get(address, 0)):
            number = next(number for number in count(1) if number not in self._slots)
            self._slots[number] = _Slot(number, address, index)

    def _problem(self, answer: node.Answer) -> str:
        """Why a worker cannot be used."""
        for name, theirs, ours in (
            ("pyptv-batch", answer.version, __version__),
            ("optv", answer.optv, version("optv")),
        ):
            if theirs != ours:
                return f"it has {name} {theirs}, this is {name} {ours}: install the same version on all nodes"
        if answer.problem:
            return answer.problem
        if self._question.dense and answer.numerics != node.dense_versions():
            return f"it has {answer.numerics}, this is {node.dense_versions()}: install the same versions on all nodes"
        written = self._question.file.with_name(f"{self._question.file.name}-{self._question.secret}")
        if not written.exists():
            return f"a file that it writes to {written.parent} is not visible here: it has another disk at that path"
        return ""

    def _handle_loss(self, slot: _Slot) -> Iterator[Event]:
        del self._slots[slot.number]
        if slot.task is None:
            return
        with suppress(Exception):  # the scheduler may be ending as well
            slot.future.cancel()
        logger.warning("Dask worker %s is lost: its task is assigned again", slot.address)
        yield WorkerDied(slot.task.id, f"lost with its Dask worker {slot.address}", None, lost=True)

    # -- tasks --------------------------------------------------------------------------------------------------------

    def _assign_tasks(self, plan: AnyPlan) -> None:
        idle = [slot for slot in self._slots.values() if slot.task is None]
        for position, slot in enumerate(idle):
            task = plan.next_task(len(idle) - position, slot.number)
            if task is not None:
                slot.task = task
                key = f"{_name(task)}-{task.id}-{self._run}"
                slot.future = self._submit(key, slot.address, node.do, self._job, self._run, slot.index, task, self._timeout)

    def _submit(self, key: str, address: str, function: Any, *arguments: Any) -> Any:
        future = self._client.submit(function, *arguments, key=key, workers=[address], pure=False, retries=0)
        future.add_done_callback(self._done.put)
        return future

    def _wait(self) -> Iterator[Event]:
        """Wait for events, and yield them."""
        with suppress(queue.Empty):
            yield from self._finished(self._done.get(timeout=_WAIT))
            while True:
                yield from self._finished(self._done.get_nowait())

    def _finished(self, future: Any) -> Iterator[Event]:
        address = next((address for address, probe in self._probes.items() if probe is future), None)
        if address is not None:
            self._admit(address, future)
            return
        slot = next((slot for slot in self._slots.values() if slot.future is future), None)
        if slot is None or slot.task is None:
            return
        task = slot.task
        if future.status == "finished":
            try:
                events = future.result(timeout=_GATHER)
            except Exception as error:  # its worker is lost
                logger.debug("The result of task %d is not available: %r", task.id, error)
                events = [WorkerDied(task.id, f"lost with its Dask worker {slot.address}", None, lost=True)]
        elif future.status == "error":
            events = [WorkerDied(task.id, f"failed in Dask ({future.exception()!r:.200})", None)]
        else:
            self._looked = 0.0  # its worker or the scheduler is lost: check now
            return
        slot.task = slot.future = None
        future.release()
        for event in events:
            yield _signed(event, slot.number)

    def _close(self) -> None:
        """Free the workers at once."""
        if self._client.status == "running":
            with suppress(Exception):  # they may be ending as well
                self._client.cancel([slot.future for slot in self._slots.values() if slot.future is not None], force=True)
            with suppress(Exception):
                used = [address for address in {slot.address for slot in self._slots.values()} if address in self._threads]
                if used:
                    self._client.run(node.stop, self._run, workers=used, on_error="ignore")
        self._slots.clear()
        for file in self._question.file.parent.glob(f"{self._question.file.name}*"):
            file.unlink(missing_ok=True)


def _name(task: Task) -> str:
    """The name of a task on the dashboard."""
    if isinstance(task, FramesTask):
        return f"frames-{task.first}-{task.last}"
    if isinstance(task, TrackTask):
        return f"track-{task.first}-{task.last}"
    if isinstance(task, PublishTask):
        return f"publish-{task.steps[0].frame}-{task.steps[-1].frame}"
    return f"{table_name(task.kind, task.number)}-{task.first}-{task.last}"


def _signed(event: Event, number: int) -> Event:
    """The event with the number of the thread that did the work."""
    return replace(event, worker=number) if isinstance(event, FrameDone | StepDone | PassDone) else event
