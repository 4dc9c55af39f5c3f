"""The tracking step's tasks: pieces of tracker runs on the unbroken stretches of frames, and their seams."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pyptv.core.base.events import NO_RUN, Event, FrameFailed, StepDone, TaskDone, TaskFailed, WorkerDied
from pyptv.core.base.frames import FrameRange
from pyptv.core.engines.choice import Engines
from pyptv.core.files.store import Store
from pyptv.core.schedule.seams import Stretch
from pyptv.core.schedule.sequence import MOST_DEATHS
from pyptv.core.schedule.stretches import WHOLE, Share, Stretches
from pyptv.core.schedule.tracker_runs import Piece, SeamCounts
from pyptv.core.stages.tasks import PublishTask, TrackTask

logger = logging.getLogger(__name__)

_PUBLISHED_AT_ONCE = 64


class TrackingPlan:
    """The tracking step: the unbroken stretches of frames, and the tracker runs on them."""

    def __init__(
        self,
        frames: FrameRange,
        ids: Iterator[int],
        store: Store,
        engines: Engines,
        *,
        speculate: bool,
        early: bool = False,
        share: Share = WHOLE,
        seams: SeamCounts | None = None,
    ) -> None:
        """``speculate``: runs may start beyond the frames that are proven; ``early``: one may start during the sequence step."""
        self.seams = seams or SeamCounts()
        self._ids = ids
        self._store = store
        self._engines = engines
        self._speculate = speculate
        self._early = early
        self._share = share
        self._stretches = Stretches(frames, ids, store, engines, share=share, seams=self.seams, tidy=self._tidy)
        self._tasks: dict[int, tuple[TrackTask | PublishTask, Stretch]] = {}
        self._in_publication: set[int] = set()
        """Staged frames that are being published."""
        self._stages: set[int] = set()
        """Runs that have a stage folder."""
        self._deaths: Counter[int] = Counter()
        self._in_vain = 0
        """Number of idle workers when there was last no task for one of them."""
        self._holders: set[int | None] = set()
        """Workers that had the state of a run in memory then: there may be a task for these."""

    @property
    def finished(self) -> bool:
        """Every frame is linked, or cannot be."""
        return self._stretches.all_seen and not self._stretches.there

    def early_task(self, worker: int) -> TrackTask | PublishTask | None:
        """A task with priority over the sequence step: publishing, and the true run, one piece at a time."""
        if publish := self._publish_task():
            return publish
        if not self._early or self._tasks or self._stretches.all_seen:
            return None
        return self._piece(worker, 1, speculate=False)

    def next_task(self, worker: int, idle: int) -> TrackTask | PublishTask | None:
        """A task for a worker without other work."""
        if publish := self._publish_task():
            return publish
        if idle < self._in_vain and worker not in self._holders:
            self._in_vain = idle  # if there was no task with more idle workers, there is none with fewer
            return None
        piece = self._piece(worker, idle, speculate=self._speculate)
        self._in_vain = idle if piece is None else 0
        if piece is None:
            self._holders = set().union(*(stretch.runs.holders for stretch in self._stretches.there))
        return piece

    def owns(self, task: int) -> bool:
        """Whether a task is one of this step."""
        return task in self._tasks

    def frame_ready(self, frame: int, *, particles: bool, kept: bool = False) -> Iterator[StepDone]:
        """The sequence step of a frame is done; ``kept``: its files are unchanged since an earlier run."""
        self._in_vain = 0
        yield from self._stretches.mark(frame, usable=particles, kept=kept)

    def frame_failed(self, frame: int) -> Iterator[StepDone]:
        """A frame has no results: a stretch ends before it."""
        self._in_vain = 0
        yield from self._stretches.mark(frame, usable=False, kept=False)

    def recall(self, step: StepDone) -> Iterator[StepDone]:
        """Links made and published by an earlier run; yields those that are found valid.

        Links made ahead by parts of a job array are not published yet; they are yielded once they are.
        """
        yield from self._stretches.recall(step)

    def end_at(self, frame: int) -> Iterator[StepDone]:
        """No frame follows this one."""
        self._in_vain = 0
        yield from self._stretches.end_at(frame)

    def record(self, event: Event, *, stop_at_failure: bool) -> Iterator[Event]:
        """Process an event of this step; yields the frames that it completes, and failures."""
        self._in_vain = 0
        if isinstance(event, StepDone):
            yield from self._add(event)
            return
        task_id = getattr(event, "task", None)
        task, stretch = self._tasks.pop(task_id if isinstance(task_id, int) else -1)
        if isinstance(event, WorkerDied):
            yield from self._died(task, stretch, event, stop_at_failure=stop_at_failure)
        elif isinstance(event, TaskFailed):
            frame = event.frame if event.frame is not None else stretch.truth.until + 1
            yield from self._fail(task, stretch, frame, event.reason, stop_at_failure=stop_at_failure)
        elif isinstance(event, TaskDone) and isinstance(task, TrackTask):
            if event.lost:
                logger.debug("Tracker run %d: its state is not available: %s", task.run, event.lost)
                stretch.runs.died(task.run, lost=True)
            else:
                stretch.runs.ended(task.run, saved=event.saved)
        self._tidy(stretch)

    # -- tasks ---------------------------------------------------------------------------------------------------------

    def _publish_task(self) -> PublishTask | None:
        for stretch in self._stretches.there:
            if steps := stretch.right.take(_PUBLISHED_AT_ONCE):
                task = PublishTask(next(self._ids), self._stage_of(steps[0].run), tuple(steps))
                self._in_publication.update(step.frame for step in steps)
                self._tasks[task.id] = task, stretch
                return task
        return None

    def _stage_of(self, run: int) -> Path:
        return self._stretches.stage_of(run) or self._store.stage_of(run)

    def _piece(self, worker: int, idle: int, *, speculate: bool) -> TrackTask | None:
        engine = self._engines.for_tracking()
        for stretch in self._stretches.there:
            stretch.change_engine(engine)
        held = [stretch for stretch in self._stretches.there if stretch.holds(worker)]
        for stretch in held or self._stretches.there:
            if not (self._speculate or self._early) and stretch.end is None and not stretch.truth.paused:
                continue  # the only run waits for all frames, so that there is only one run
            self._take_up(stretch)
            piece = stretch.wanted(worker, idle, self._ids, speculate=speculate)
            if piece is not None:
                return self._task_for(piece, stretch, worker)
        return None

    def _take_up(self, stretch: Stretch) -> None:
        """Continue from a state that an earlier run saved."""
        if stretch.broken or stretch.truth.is_recalling or stretch.truth.until < stretch.first:
            return
        if stretch.guess:
            saved = {(stretch.first, *state): path for state, path in self._store.part_states(self._share.part).items()}
        else:
            saved = self._store.states()
        stretch.go_on_from(next(self._ids), {state: str(path) for state, path in saved.items()})

    def _task_for(self, piece: Piece, stretch: Stretch, worker: int) -> TrackTask:
        stage = None if piece.true else self._stage_of(piece.run)
        if stretch.guess:
            stage = self._store.part_stage(self._share.part)
        if stage is not None:
            stage.mkdir(parents=True, exist_ok=True)
            if stage == self._store.stage_of(piece.run):
                self._stages.add(piece.run)
        task = TrackTask(
            id=next(self._ids),
            run=piece.run,
            first=piece.first,
            last=piece.last,
            stretch=stretch.first,
            end=stretch.end,
            begins=piece.begins,
            saved=Path(piece.saved) if piece.saved is not None else None,
            stage=stage,
            meets=piece.meets,
            compares=stage is not None,
            engine=stretch.engine,
            keeps=stretch.guess,
        )
        for other in self._stretches.there:
            if other is not stretch:
                other.runs.forget_worker(worker)
        stretch.runs.started(piece.run, task.id, worker)
        self._tasks[task.id] = task, stretch
        return task

    # -- events --------------------------------------------------------------------------------------------------------

    def _add(self, step: StepDone) -> Iterator[StepDone]:
        if step.run == NO_RUN:
            yield step
            return
        if step.published and step.frame in self._in_publication:
            self._in_publication.discard(step.frame)
            yield step
            return
        for stretch in self._stretches.there:
            if stretch.first == step.stretch:
                yield from stretch.add(step)
                if stretch.settled:
                    self._tidy(stretch)
                return

    def _died(
        self, task: TrackTask | PublishTask, stretch: Stretch, death: WorkerDied, *, stop_at_failure: bool
    ) -> Iterator[Event]:
        if isinstance(task, PublishTask):
            left = [step for step in task.steps if step.frame in self._in_publication]
            self._in_publication.difference_update(step.frame for step in left)
            stretch.right.give_back(left)
            return
        stretch.runs.died(task.run)
        if death.lost:
            return
        if death.frame is None:
            logger.warning("Worker %s before it began to track: replaced", death.cause)
            return
        self._deaths[death.frame] += 1
        reason = f"frame {self._store.experiment.true_frame(death.frame)}: worker {death.cause} while {death.doing}"
        if self._deaths[death.frame] < MOST_DEATHS:
            logger.warning("%s: tracked again", reason)
        else:
            yield from self._fail(task, stretch, death.frame, reason, stop_at_failure=stop_at_failure)

    def _fail(
        self, task: TrackTask | PublishTask, stretch: Stretch, frame: int, reason: str, *, stop_at_failure: bool
    ) -> Iterator[Event]:
        """A run cannot continue at a frame. A guess is dropped; for a true run the frame fails."""
        leading = isinstance(task, PublishTask) or stretch.leads(task.run)
        if isinstance(task, TrackTask):
            stretch.runs.died(task.run, lost=True)
        if stretch.guess:
            logger.warning("Not tracked ahead from frame %d on (%s): --finish does it", stretch.first, reason)
            stretch.give_up()
            return
        if not leading:
            return
        yield FrameFailed(frame, reason, step="tracking")
        if not stop_at_failure:
            self._stretches.split(stretch, frame)

    def _tidy(self, stretch: Stretch) -> None:
        """Remove what is no longer needed."""
        there = self._stretches.there
        for run in self._stages.difference(*(s.needed for s in there), self._used()):
            self._stages.discard(run)
            shutil.rmtree(self._store.stage_of(run), ignore_errors=True)
        if stretch.settled and not any(owner is stretch for _, owner in self._tasks.values()) and stretch in there:
            there.remove(stretch)

    def _used(self) -> Iterator[int]:
        """Runs whose stage folders are used by tasks."""
        for task, _ in self._tasks.values():
            yield task.run if isinstance(task, TrackTask) else task.steps[0].run
