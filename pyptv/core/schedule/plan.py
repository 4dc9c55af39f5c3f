"""The plan of a run: from its events to the tasks of its workers.

A :class:`Plan` receives events and returns tasks; it does not know how and where they run. Tracking is a chain, and
the longer half of most runs: with several workers, one begins tracking as soon as frames are ready. The
others do the sequence step and join in the tracking when all its frames are assigned.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Protocol

from pyptv.core.base.errors import WorkersDieError
from pyptv.core.base.events import Event, FrameDone, FrameFailed, LinksJoined, Note, StepDone, WorkerDied
from pyptv.core.base.frames import FrameRange
from pyptv.core.files.store import Store
from pyptv.core.schedule.sequence import SequencePlan
from pyptv.core.schedule.tracking import TrackingPlan
from pyptv.core.stages.tasks import Job, Task

_MOST_IDLE_DEATHS = 3
"""Number of workers that may die in succession before they begin a frame, until the run ends."""


class Feed(Protocol):
    """The source of frames that do not exist yet when a run begins."""

    over: bool
    """No more frames will arrive."""

    @property
    def end(self) -> int:
        """The last frame that has arrived."""

    def poll(self) -> list[int]:
        """Frames that have arrived since the last call."""

    def failed(self, frame: int) -> bool:
        """Whether a frame that could not be processed will be offered again."""

    def outdated(self, done: FrameDone) -> bool:
        """Whether a processed frame will be offered again, because its images have changed."""


class AnyPlan(Protocol):
    """Gives tasks to a runner, and receives their events."""

    @property
    def finished(self) -> bool:
        """All is done."""

    @property
    def waits(self) -> bool:
        """Frames wait for the kernels to be compiled."""

    def next_task(self, idle: int = 1, worker: int = 1) -> Task | None:
        """A task for a worker; None if it has to wait."""

    def record(self, event: Event) -> Iterator[Event]:
        """Process an event; yields the events to be reported."""


class Phases:
    """Plans that the same workers execute in succession; a plan that stops at a failure is the last."""

    def __init__(self, *plans: Plan) -> None:
        self._plans = deque(plans)

    @property
    def finished(self) -> bool:
        """Every plan is finished, or the run stops at a failure."""
        return self._now().finished

    @property
    def waits(self) -> bool:
        """Frames of the current plan wait for the kernels to be compiled."""
        return self._now().waits

    def next_task(self, idle: int = 1, worker: int = 1) -> Task | None:
        """A task of the first plan that is not finished."""
        return self._now().next_task(idle, worker)

    def record(self, event: Event) -> Iterator[Event]:
        """Let the current plan process an event."""
        yield from self._plans[0].record(event)

    def _now(self) -> Plan:
        while len(self._plans) > 1 and self._plans[0].finished and not self._plans[0].stopped:
            self._plans.popleft()
        return self._plans[0]


class Plan:
    """The whole run: the sequence step, then tracking, on any number of workers."""

    def __init__(
        self,
        job: Job,
        store: Store,
        *,
        sequence: SequencePlan,
        tracking: TrackingPlan | None = None,
        feed: Feed | None = None,
    ) -> None:
        """``feed``: the source of the sequence step's frames, if not all exist yet."""
        self._feed = feed
        self.left: list[Event] = []
        """Events to be reported once the plan is finished."""
        self.sequence = sequence
        self.tracking = tracking
        self._job = job
        self._store = store
        self._stopped = False
        self._idle_deaths = 0

    @property
    def stopped(self) -> bool:
        """The run stops at a failure."""
        return self._stopped

    @property
    def finished(self) -> bool:
        """Nothing is left to be done, or the run stops at a failure."""
        return self._stopped or (self.sequence.finished and (self.tracking is None or self.tracking.finished))

    @property
    def chunks(self) -> list[FrameRange]:
        """The frame ranges of the sequence step."""
        return self.sequence.chunks

    @property
    def failed_chunks(self) -> int:
        """Chunks in which a frame failed."""
        return self.sequence.failed_chunks

    @property
    def waits(self) -> bool:
        """Frames wait for the kernels to be compiled."""
        return self.sequence.waits

    def next_task(self, idle: int = 1, worker: int = 1) -> Task | None:
        """A task for one of ``idle`` workers without work; None if it has to wait."""
        if self._stopped:
            return None
        self._take_arrivals()
        if self._still_checking:
            return self.sequence.next_task()
        task: Task | None = self.tracking.early_task(worker) if self.tracking is not None else None
        if task is None:
            task = self.sequence.next_task()
        if task is None and self.tracking is not None:
            task = self.tracking.next_task(worker, idle)
        return task

    def record(self, event: Event) -> Iterator[Event]:
        """Process an event; yields the events to be reported: frames done, final steps, failures, log records."""
        if isinstance(event, Note):
            yield event
        if isinstance(event, WorkerDied) and not event.lost:
            self._count_idle_deaths(event)
        if self._comes_again(event):
            return
        task = getattr(event, "task", None)
        if isinstance(event, FrameDone | FrameFailed | LinksJoined) or (task is not None and self.sequence.owns(task)):
            for report in self.sequence.record(event):
                yield from self._note(report)
                yield from self._pass_on(report)
        elif self.tracking is not None and isinstance(event, StepDone) and event.kept:
            yield from self.tracking.recall(event)
        elif self.tracking is not None and (isinstance(event, StepDone) or (task is not None and self.tracking.owns(task))):
            for report in self.tracking.record(event, stop_at_failure=self._job.stop_at_failure):
                yield from self._note(report)

    def _take_arrivals(self) -> None:
        if self._feed is None or not self.sequence.expects:
            return
        self.sequence.offer(self._feed.poll())
        if self._feed.over:
            self.sequence.expects = False
            if self.tracking is not None:
                self.left += self.tracking.end_at(self._feed.end)

    def _comes_again(self, event: Event) -> bool:
        """Whether a frame was processed too early and will be offered again."""
        if self._feed is None or not self.sequence.expects:
            return False
        too_early = isinstance(event, FrameDone) and self._feed.outdated(event)
        if isinstance(event, FrameFailed) and event.step == "sequence":
            too_early = self._feed.failed(event.frame)
        if too_early and isinstance(event, FrameDone | FrameFailed):
            self.sequence.retract(event.frame)
        return too_early

    def _note(self, report: Event) -> Iterator[Event]:
        if isinstance(report, FrameFailed):
            if self._job.stop_at_failure:
                self._stopped = True  # nothing replaces the frame's old links: they are kept
            elif report.step == "tracking":
                self._store.drop_links(report.frame)
        yield report

    def _pass_on(self, report: Event) -> Iterator[Event]:
        """Pass on frames that the sequence step has finished to tracking."""
        if self.tracking is not None and isinstance(report, FrameDone):
            yield from self.tracking.frame_ready(report.frame, particles=report.particles > 0, kept=report.kept)
        elif self.tracking is not None and isinstance(report, FrameFailed):
            yield from self.tracking.frame_failed(report.frame)

    @property
    def _still_checking(self) -> bool:
        """Whether old results are being checked. All are, before the first link is replaced: a refusing run changes no file."""
        return self.sequence.kind == "check" and self._job.stop_at_failure and not self.sequence.finished

    def _count_idle_deaths(self, event: WorkerDied) -> None:
        self._idle_deaths = self._idle_deaths + 1 if event.frame is None else 0
        if self._idle_deaths >= _MOST_IDLE_DEATHS:
            raise WorkersDieError(self._idle_deaths, event.cause)
