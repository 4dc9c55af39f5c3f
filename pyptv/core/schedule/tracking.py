"""The tracking step's tasks: tracker runs on the unbroken stretches of frames, and their seams."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from pyptv.core.base.events import Event, FrameFailed, StepDone, TaskDone, TaskFailed, WorkerDied
from pyptv.core.base.frames import FrameRange
from pyptv.core.files.store import Store
from pyptv.core.schedule.seams import SeamCounts, Stretch
from pyptv.core.schedule.sequence import MOST_DEATHS
from pyptv.core.stages.tasks import Frontier, Message, Stop, TrackingTask

logger = logging.getLogger(__name__)


class TrackingPlan:
    """The tracking step: the unbroken stretches of frames, and the tracker runs on them."""

    def __init__(self, frames: FrameRange, ids: Iterator[int], store: Store, *, speculate: bool, early: bool = False) -> None:
        """``speculate``: runs may start where the truth has not come to; ``early``: one may start during the sequence step."""
        self.seams = SeamCounts()
        self._first, self._last = frames
        self._ids = ids
        self._store = store
        self._speculate = speculate
        self._early = early
        self._status: dict[int, bool] = {}
        self._scanned = self._first
        self._known: dict[int, StepDone] = {}
        self._recalled: dict[int, StepDone] = {}
        """Not told of yet."""
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

    def newly_recalled(self) -> list[StepDone]:
        """Of the frames that an earlier run has tracked, those that have turned out to count in this one since the last call."""
        recalled, self._recalled = self._recalled, {}
        return list(recalled.values())

    def early_task(self) -> TrackingTask | None:
        """The true run, while the sequence step is still going on: one at a time."""
        if not self._early or self._runs or self._scanned > self._last:
            return None
        return self._first_start(self._stretches, 1, speculate=False)

    def next_task(self, idle: int) -> TrackingTask | None:
        """A tracker run worth starting on a worker that has nothing else to do.

        The only run of a stretch waits until all its frames are there: else it might catch up with the sequence step, and end.
        """
        stretches = self._stretches if self._speculate else [stretch for stretch in self._stretches if stretch.end is not None]
        return self._first_start(stretches, idle, speculate=self._speculate)

    def _first_start(self, stretches: list[Stretch], idle: int, *, speculate: bool) -> TrackingTask | None:
        for stretch in stretches:
            start = stretch.wanted(idle, self._last, speculate=speculate)
            if start is not None:
                run = next(self._ids)
                stretch.started(run, start.first)
                self._runs[run] = stretch
                stage = self._stage(run)
                return TrackingTask(run, start.first, stretch.first, stretch.frontier, stretch.end, self._last, stage)
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
            yield from self._died(event, stop_at_failure=stop_at_failure)
        elif isinstance(event, TaskFailed):
            frame = event.frame if event.frame is not None else self._runs[event.task].true_until + 1
            yield from self._fail(event.task, frame, event.reason, stop_at_failure=stop_at_failure)
        elif isinstance(event, TaskDone):
            if event.interrupted and self._runs[event.task].leads(event.task):
                self._early = False  # tracking is faster than the sequence step: it waits until that is done
            self._end_run(event.task)
        self._tell()

    def _publish(self, stretch: Stretch, event: StepDone) -> Iterator[StepDone]:
        for step in stretch.add(event):
            self._store.publish_tracking(self._stage(step.run), step.frame)
            yield replace(step, stretch=stretch.first)
        if stretch.done and stretch in self._stretches:
            self._stretches.remove(stretch)

    def _died(self, death: WorkerDied, *, stop_at_failure: bool) -> Iterator[Event]:
        if death.frame is None:
            logger.warning("Worker %s before it began to track: replaced", death.cause)
            self._end_run(death.task)
            return
        self._deaths[death.frame] += 1
        reason = f"frame {death.frame}: worker {death.cause} while {death.doing}"
        if self._deaths[death.frame] < MOST_DEATHS:
            logger.warning("%s: tracked again", reason)
            self._end_run(death.task)
        else:
            yield from self._fail(death.task, death.frame, reason, stop_at_failure=stop_at_failure)

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
        self._recall(self._open, frame)

    def _recall(self, stretch: Stretch, frame: int) -> None:
        if frame in self._known and stretch.recall(self._known[frame]):
            self._recalled[frame] = self._known[frame]

    def _close(self, end: int) -> None:
        stretch, self._open = self._open, None
        if stretch is None:
            return
        stretch.close(end)
        for frame in range(stretch.true_until + 1, end + 1):
            self._recall(stretch, frame)
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
