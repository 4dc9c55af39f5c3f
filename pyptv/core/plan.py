"""What is to be done next: from the events of a run to the tasks of its workers.

A :class:`Plan` is asked for tasks and told of events; who runs the tasks, and where, it does not know. The sequence step's
tasks go first; tracking starts as soon as the frames that a run needs are done, on workers that would be idle.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from pyptv.core.errors import ProcessingError
from pyptv.core.frames import FrameRange, contiguous
from pyptv.core.results import Event, FrameDone, FrameFailed, StepDone, TaskDone, TaskFailed, WorkerDied
from pyptv.core.seams import SeamCounts, Stretch
from pyptv.core.store import Store
from pyptv.core.tasks import Frontier, Job, Message, SequenceKind, SequenceTask, Stop, Task, TrackingTask

logger = logging.getLogger(__name__)

_MOST_DEATHS = 2
"""A frame at which a worker died this often is to blame."""

_MOST_IDLE_DEATHS = 3
"""Workers that die before they have begun a frame, one after the other, before the run gives up."""


class SequencePlan:
    """The sequence step: frame ranges, handed out in order; what a dead worker left is handed out again."""

    def __init__(self, chunks: Iterable[FrameRange], ids: Iterator[int], store: Store, kind: SequenceKind) -> None:
        self.chunks = list(chunks)
        self._ids = ids
        self._store = store
        self._kind = kind
        self._waiting: deque[FrameRange] = deque(self.chunks)
        self._running: dict[int, list[int]] = {}
        """Task -> its frames that are not finished yet."""
        self._deaths: Counter[int] = Counter()
        self._open = {chunk: chunk[1] - chunk[0] + 1 for chunk in self.chunks}
        self._failed_chunks: set[FrameRange] = set()

    @property
    def finished(self) -> bool:
        """Every frame has come to an end, good or bad."""
        return not self._waiting and not self._running

    @property
    def failed_chunks(self) -> int:
        """Chunks in which a frame failed."""
        return len(self._failed_chunks)

    def next_task(self) -> SequenceTask | None:
        """The next range, if any is left."""
        if not self._waiting:
            return None
        first, last = self._waiting.popleft()
        task = SequenceTask(next(self._ids), first, last, self._kind)
        self._running[task.id] = list(range(first, last + 1))
        return task

    def record(self, event: Event) -> Iterator[Event]:
        """Take note of an event of this step; yields what is to be reported."""
        if isinstance(event, FrameDone | FrameFailed):
            yield from self._finish(event)
        elif isinstance(event, WorkerDied):
            yield from self._again(event)
        elif isinstance(event, TaskFailed):
            left = self._running.pop(event.task)
            if left:
                yield from self._finish(FrameFailed(left[0], f"frame {left[0]}: {event.reason}"))
                self._requeue(left[1:])
        elif isinstance(event, TaskDone):
            self._requeue(self._running.pop(event.task))

    def owns(self, task: int) -> bool:
        """Whether a task is one of this step."""
        return task in self._running

    def _finish(self, event: FrameDone | FrameFailed) -> Iterator[Event]:
        for left in self._running.values():
            if event.frame in left:
                left.remove(event.frame)
        yield event
        for chunk in [chunk for chunk in self._open if chunk[0] <= event.frame <= chunk[1]]:
            self._open[chunk] -= 1
            if isinstance(event, FrameFailed):
                self._failed_chunks.add(chunk)
            if self._open[chunk] == 0:
                del self._open[chunk]
                mark, word = ("✗", "Failed") if chunk in self._failed_chunks else ("✓", "Completed")
                logger.log(logging.INFO if len(self.chunks) > 1 else logging.DEBUG, "%s %s chunk: frames %d to %d", mark, word, *chunk)

    def _again(self, death: WorkerDied) -> Iterator[Event]:
        """What the dead worker had not done: the frame it was at alone, and the rest."""
        left = self._running.pop(death.task)
        if death.frame is None or death.frame not in left:
            self._requeue(left)
            return
        self._deaths[death.frame] += 1
        left.remove(death.frame)
        self._requeue(left)
        reason = f"frame {death.frame}: worker {death.cause} while {death.doing}"
        if self._deaths[death.frame] < _MOST_DEATHS:
            logger.warning("%s: the frame is tried once more, alone", reason)
            self._waiting.appendleft((death.frame, death.frame))
        else:
            self._store.forget(death.frame)
            yield from self._finish(FrameFailed(death.frame, reason))

    def _requeue(self, frames: list[int]) -> None:
        self._waiting.extendleft(reversed(contiguous(frames)))


class TrackingPlan:
    """The tracking step: the unbroken stretches of frames, and the tracker runs on them."""

    def __init__(self, frames: FrameRange, ids: Iterator[int], store: Store, *, speculate: bool) -> None:
        self.seams = SeamCounts()
        self._first, self._last = frames
        self._ids = ids
        self._store = store
        self._speculate = speculate
        self._status: dict[int, bool] = {}
        self._scanned = self._first
        self._known: dict[int, StepDone] = {}
        self._stretches: list[Stretch] = []
        self._open: Stretch | None = None
        self._runs: dict[int, Stretch] = {}
        self._deaths: Counter[int] = Counter()
        self._messages: list[Message] = []

    @property
    def finished(self) -> bool:
        """Every frame is linked, or cannot be."""
        return self._scanned > self._last and not self._stretches

    def recall(self, steps: Iterable[StepDone]) -> None:
        """Frames that an earlier, stopped run has tracked."""
        self._known = {step.frame: step for step in steps}

    def next_task(self, idle: int) -> TrackingTask | None:
        """A tracker run worth starting on a worker that has nothing else to do."""
        for stretch in self._stretches:
            start = stretch.wanted(idle, self._last, speculate=self._speculate)
            if start is not None:
                run = next(self._ids)
                stretch.started(run, start.first)
                self._runs[run] = stretch
                stage = self._stage(run)
                return TrackingTask(run, start.first, stretch.frontier, stretch.end, self._last, stage)
        return None

    def messages(self) -> list[Message]:
        """What running tasks must be told."""
        messages, self._messages = self._messages, []
        return messages

    def owns(self, task: int) -> bool:
        """Whether a task is one of this step."""
        return task in self._runs

    def frame_ready(self, frame: int, *, particles: bool) -> Iterator[StepDone]:
        """The sequence step of a frame is done; a frame without particles ends a stretch, and is done with."""
        if not particles:
            yield StepDone(run=-1, frame=frame, digest=self._store.publish_empty(frame))
        self._mark(frame, usable=particles)

    def frame_failed(self, frame: int) -> None:
        """A frame has no results: a stretch ends before it."""
        self._mark(frame, usable=False)

    def record(self, event: Event, *, stop_at_failure: bool) -> Iterator[Event]:
        """Take note of an event of this step; yields the frames that are done by it, and failures."""
        if isinstance(event, StepDone):
            if event.run not in self._runs:
                return
            yield from self._publish(self._runs[event.run], event)
        elif isinstance(event, WorkerDied):
            if event.frame is not None:
                self._deaths[event.frame] += 1
            reason = f"frame {event.frame}: worker {event.cause} while {event.doing}"
            if event.frame is not None and self._deaths[event.frame] >= _MOST_DEATHS:
                yield from self._fail(event.task, event.frame, reason, stop_at_failure=stop_at_failure)
            else:
                logger.warning("%s: tracked again", reason)
                self._end_run(event.task)
        elif isinstance(event, TaskFailed):
            frame = event.frame if event.frame is not None else self._runs[event.task].true_until + 1
            yield from self._fail(event.task, frame, event.reason, stop_at_failure=stop_at_failure)
        elif isinstance(event, TaskDone):
            self._end_run(event.task)
        self._tell()

    def _publish(self, stretch: Stretch, event: StepDone) -> Iterator[StepDone]:
        for step in stretch.add(event):
            self._store.publish_tracking(self._stage(step.run), step.frame)
            yield replace(step, stretch=stretch.first)
        if stretch.done and stretch in self._stretches:
            self._stretches.remove(stretch)

    def _fail(self, run: int, frame: int, reason: str, *, stop_at_failure: bool) -> Iterator[Event]:
        """A run cannot go on at a frame. A run that only hoped to be true is dropped, a true one fails the frame."""
        stretch = self._runs[run]
        leading = stretch.leads(run)
        self._end_run(run)
        if not leading:
            return
        yield FrameFailed(frame, reason, step="tracking")
        if not stop_at_failure:
            self._split(stretch, frame)

    def _split(self, stretch: Stretch, frame: int) -> None:
        """Go on without a frame: the stretch ends before it, another one begins after it."""
        rest = Stretch(frame + 1, self.seams)
        rest.frontier = max(stretch.frontier, frame)
        if stretch is self._open:
            self._open = rest
        elif stretch.end is not None:
            rest.close(stretch.end)
        stretch.cut(frame - 1)
        self._stretches = [s for s in [*self._stretches, rest] if not s.done and (s.end is None or s.end >= s.first)]

    def _mark(self, frame: int, *, usable: bool) -> None:
        """Frames come in any order; stretches grow in theirs."""
        self._status[frame] = usable
        while self._scanned in self._status:
            if self._status.pop(self._scanned):
                self._extend(self._scanned)
            elif self._open is not None:
                self._close(self._scanned - 1)
            self._scanned += 1
        if self._scanned > self._last and self._open is not None:
            self._close(self._last)
        self._tell()

    def _extend(self, frame: int) -> None:
        if self._open is None:
            self._open = Stretch(frame, self.seams)
            self._stretches.append(self._open)
        self._open.extend(frame)
        if frame in self._known:
            self._open.recall(self._known[frame])

    def _close(self, end: int) -> None:
        stretch, self._open = self._open, None
        if stretch is None:
            return
        stretch.close(end)
        for frame in range(stretch.true_until + 1, end + 1):
            if frame in self._known:
                stretch.recall(self._known[frame])
        self._messages += [Frontier(run, stretch.frontier, stretch.end) for run in stretch.live_runs]
        if stretch.done or end < stretch.first:
            self._stretches.remove(stretch)

    def _tell(self) -> None:
        """Tell running tasks how far they may go, and which are not needed."""
        for stretch in {id(stretch): stretch for stretch in self._runs.values()}.values():
            self._messages += [Stop(run) for run in stretch.stops()]
        if self._open is not None:
            self._messages += [Frontier(run, self._open.frontier, None) for run in self._open.live_runs]

    def _end_run(self, run: int) -> None:
        stretch = self._runs.pop(run)
        stretch.ended(run)
        if not stretch.knows(run):
            shutil.rmtree(self._stage(run), ignore_errors=True)

    def _stage(self, run: int) -> Path:
        return self._store.stages / f"run-{run}"


class Plan:
    """The whole run: the sequence step, then tracking, on as many workers as there are."""

    def __init__(self, job: Job, store: Store, *, sequence: SequencePlan, tracking: TrackingPlan | None) -> None:
        self.sequence = sequence
        self.tracking = tracking
        self._job = job
        self._store = store
        self._stopped = False
        self._idle_deaths = 0

    @property
    def finished(self) -> bool:
        """Nothing is left to be done, or the run stops at a failure."""
        return self._stopped or (self.sequence.finished and (self.tracking is None or self.tracking.finished))

    def next_task(self, idle: int = 1) -> Task | None:
        """A task for one of ``idle`` workers, None if there is none now."""
        if self._stopped:
            return None
        task: Task | None = self.sequence.next_task()
        if task is None and self.tracking is not None:
            task = self.tracking.next_task(idle)
        return task

    def messages(self) -> list[Message]:
        """What is to be told to running tasks."""
        return self.tracking.messages() if self.tracking is not None else []

    def record(self, event: Event) -> Iterator[Event]:
        """Take note of an event; yields what is to be reported: frames done, steps that are final, failures."""
        if isinstance(event, WorkerDied):
            self._count_idle_deaths(event)
        task = getattr(event, "task", None)
        if isinstance(event, FrameDone | FrameFailed) or (task is not None and self.sequence.owns(task)):
            for report in self.sequence.record(event):
                yield from self._note(report)
                yield from self._pass_on(report)
        elif self.tracking is not None and (isinstance(event, StepDone) or (task is not None and self.tracking.owns(task))):
            for report in self.tracking.record(event, stop_at_failure=self._job.stop_at_failure):
                yield from self._note(report)

    def recall(self, frame: FrameDone) -> Iterator[Event]:
        """Take over a frame that an earlier run has done."""
        yield frame
        yield from self._pass_on(frame)

    def _note(self, report: Event) -> Iterator[Event]:
        if isinstance(report, FrameFailed):
            self._stopped |= self._job.stop_at_failure
        yield report

    def _pass_on(self, report: Event) -> Iterator[Event]:
        """What the sequence step has finished is ready for tracking."""
        if self.tracking is not None and isinstance(report, FrameDone):
            yield from self.tracking.frame_ready(report.frame, particles=report.particles > 0)
        elif self.tracking is not None and isinstance(report, FrameFailed):
            self.tracking.frame_failed(report.frame)

    def _count_idle_deaths(self, event: WorkerDied) -> None:
        self._idle_deaths = self._idle_deaths + 1 if event.frame is None else 0
        if self._idle_deaths >= _MOST_IDLE_DEATHS:
            raise ProcessingError(
                f"{self._idle_deaths} workers in succession {event.cause} before they began a frame: "
                "is there enough memory, and is the calling script guarded by 'if __name__ == \"__main__\":'?"
            )
