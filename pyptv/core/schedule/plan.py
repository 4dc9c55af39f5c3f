"""What is to be done next: from the events of a run to the tasks of its workers.

A :class:`Plan` is asked for tasks and given events; who runs the tasks, and where, it does not know. Tracking is a chain, and
the longer half of most runs: with several workers one of them begins it as soon as there are frames to be tracked. The
others do the sequence step; when that is all handed out, they join in the tracking.
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
"""Workers that die before they have begun a frame, one after the other, before the run gives up."""


class Feed(Protocol):
    """Where frames come from that are not there yet when a run begins."""

    over: bool
    """No more will come."""

    @property
    def end(self) -> int:
        """The last frame that has come."""

    def poll(self) -> list[int]:
        """Frames that have come since the last time."""

    def failed(self, frame: int) -> bool:
        """Whether a frame that could not be processed comes again."""

    def outdated(self, done: FrameDone) -> bool:
        """Whether a frame that was processed comes again, for its images have changed since."""


class AnyPlan(Protocol):
    """What a runner asks for tasks, and tells what became of them."""

    @property
    def finished(self) -> bool:
        """Nothing is left to be done."""

    @property
    def waits(self) -> bool:
        """Frames wait for the kernels to be compiled."""

    def next_task(self, idle: int = 1, worker: int = 1) -> Task | None:
        """A task for a worker; None if it has to wait."""

    def record(self, event: Event) -> Iterator[Event]:
        """Take note of an event; yields what is to be reported."""


class Phases:
    """Plans that are done one after the other by the same workers; one that stops at a failure is the last."""

    def __init__(self, *plans: Plan) -> None:
        self._plans = deque(plans)

    @property
    def finished(self) -> bool:
        """Every plan is, or the run stops at a failure."""
        return self._now().finished

    @property
    def waits(self) -> bool:
        """Frames of that plan wait for the kernels to be compiled."""
        return self._now().waits

    def next_task(self, idle: int = 1, worker: int = 1) -> Task | None:
        """A task of the first plan that is not finished."""
        return self._now().next_task(idle, worker)

    def record(self, event: Event) -> Iterator[Event]:
        """Let that plan take note of an event."""
        yield from self._plans[0].record(event)

    def _now(self) -> Plan:
        while len(self._plans) > 1 and self._plans[0].finished and not self._plans[0].stopped:
            self._plans.popleft()
        return self._plans[0]


class Plan:
    """The whole run: the sequence step, then tracking, on as many workers as there are."""

    def __init__(
        self,
        job: Job,
        store: Store,
        *,
        sequence: SequencePlan,
        tracking: TrackingPlan | None = None,
        feed: Feed | None = None,
    ) -> None:
        """``feed``: where the sequence step's frames come from, if they are not all there."""
        self._feed = feed
        self.left: list[Event] = []
        """To be reported, once the plan is finished."""
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
        """The ranges that the sequence step is handed out in."""
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
        """A task for a worker, one of ``idle`` that have nothing to do; None if it has to wait."""
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
        """Take note of an event; yields what is to be reported: frames done, steps that are final, failures, log records."""
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
        """A frame was taken too early: it is as if it had not been."""
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
                self._stopped = True  # nothing replaces the frame's old links: they stay
            elif report.step == "tracking":
                self._store.drop_links(report.frame)
        yield report

    def _pass_on(self, report: Event) -> Iterator[Event]:
        """What the sequence step has finished is ready for tracking."""
        if self.tracking is not None and isinstance(report, FrameDone):
            yield from self.tracking.frame_ready(report.frame, particles=report.particles > 0, kept=report.kept)
        elif self.tracking is not None and isinstance(report, FrameFailed):
            yield from self.tracking.frame_failed(report.frame)

    @property
    def _still_checking(self) -> bool:
        """Old results are all checked before the first link is replaced: a run that refuses one leaves every file as it was."""
        return self.sequence.kind == "check" and self._job.stop_at_failure and not self.sequence.finished

    def _count_idle_deaths(self, event: WorkerDied) -> None:
        self._idle_deaths = self._idle_deaths + 1 if event.frame is None else 0
        if self._idle_deaths >= _MOST_IDLE_DEATHS:
            raise WorkersDieError(self._idle_deaths, event.cause)
