"""Execution of a task: the loop over its frames, shared by all runners."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from pyptv.core.base.errors import FormatError, FrameError, LimitError, ProcessingError, TaintedHeapError
from pyptv.core.base.events import NO_RUN, Event, FrameDone, FrameFailed, StepDone, TaskDone, TaskFailed
from pyptv.core.base.options import Engine
from pyptv.core.engines.optv.c_library import keep_freed_memory
from pyptv.core.execute.earlier import Earlier
from pyptv.core.files.atomic import digest, frame_digest
from pyptv.core.files.store import Store
from pyptv.core.history.journal import Writer
from pyptv.core.stages.check import check_results
from pyptv.core.stages.frames import FramePipeline
from pyptv.core.stages.join import Joiner
from pyptv.core.stages.tasks import Announce, DenseTask, FramesTask, Job, Past, PublishTask, Task, TrackTask
from pyptv.core.stages.track import Tracking

if TYPE_CHECKING:
    from pyptv.core.stages.dense.work import DenseWork

logger = logging.getLogger(__name__)


class Worker:
    """Does tasks, one after the other, and reports each frame as it is done."""

    def __init__(self, job: Job, announce: Announce) -> None:
        self._job = job
        self._announce = announce
        self._store = Store(job.experiment)
        self._pipeline: FramePipeline | None = None
        self._engine: Engine | None = None
        self._joiner: Joiner | None = None
        self._tracking = Tracking(job, self._store, announce)
        self._journal = Writer(job.journal, job.serial, job.fingerprints) if job.journal is not None else None
        self._earlier = Earlier(job, self._store)
        self._dense: DenseWork | None = None
        keep_freed_memory()

    def events(self, task: Task) -> Iterator[Event]:
        """Do a task. The last event is :class:`TaskDone` or :class:`TaskFailed`; errors of this program are not raised."""
        try:
            if self._job.refreshes:
                self._store.refresh()
            if isinstance(task, TrackTask):
                for event in self._tracking.events(task):
                    if isinstance(event, StepDone) and (event.published or event.part):
                        self._note(event)
                    yield event
            elif isinstance(task, PublishTask):
                yield from self._publish(task)
            elif isinstance(task, DenseTask):
                yield from self._dense_frames(task)
            else:
                yield from self._frames(task)
        except ProcessingError as error:
            yield TaskFailed(task.id, str(error))
        except OSError as error:
            yield TaskFailed(task.id, f"{error.filename or 'a result file'}: {error.strerror or error}")

    def close(self) -> None:
        """Release what is kept between tasks."""
        self._tracking.close()
        if self._journal is not None:
            self._journal.close()

    def _note(self, done: FrameDone | StepDone) -> None:
        if self._journal is not None:
            self._journal.note(done)

    def _dense_frames(self, task: DenseTask) -> Iterator[Event]:
        if self._dense is None:
            from pyptv.core.stages.dense.work import DenseWork  # loads numba

            self._dense = DenseWork(self._job, self._store, self._announce)
        for event in self._dense.events(task):
            if isinstance(event, FrameDone | StepDone) and not event.kept:
                self._note(event)
            yield event

    def _publish(self, task: PublishTask) -> Iterator[Event]:
        for step in task.steps:
            self._announce(step.frame, "publishing the links")
            self._store.publish_tracked(task.stage, step.frame)
            done = replace(step, published=True, part="")
            self._note(done)
            yield done
        yield TaskDone(task.id)

    def _frames(self, task: FramesTask) -> Iterator[Event]:
        for frame in range(task.first, task.last + 1):
            try:
                yield from self._frame(task, frame)
            except FrameError as error:
                if task.kind == "process":
                    self._store.forget(frame)
                yield FrameFailed(frame, str(error), limit=isinstance(error, LimitError))
                tainted = isinstance(error, TaintedHeapError)
                if self._job.stop_at_failure or tainted:
                    yield TaskDone(task.id, interrupted=frame < task.last, taint=tainted)
                    return
            except FormatError as error:
                yield FrameFailed(frame, f"frame {self._job.experiment.true_frame(frame)}: {error}", step="tracking")
                if self._job.stop_at_failure:
                    yield TaskDone(task.id, interrupted=frame < task.last)
                    return
        yield TaskDone(task.id)

    def _join(self, frame: int) -> Iterator[Event]:
        """Combine the links of the two passes over a frame."""
        if self._joiner is None:
            self._joiner = Joiner(replace(self._job.experiment, links=None))
        self._announce(frame, "combining the links of both passes")
        yield replace(self._joiner.frame(self._job.experiment.true_frame(frame)), frame=frame)

    def _frame(self, task: FramesTask, frame: int) -> Iterator[Event]:
        """A frame, and its links if an earlier run has made them or there is nothing to link."""
        if task.kind == "join":
            yield from self._join(frame)
            return
        done: FrameDone | None = None
        step: StepDone | None = None
        if task.kind == "check":
            done = self._check(frame, task.past.get(frame))
        if (past := task.past.get(frame)) is not None:
            self._announce(frame, "checking the results of an earlier run")
            done, step = self._earlier.look(frame, past, done)
        if done is None and task.kind == "keep":
            raise FrameError(self._job.absent.reason(frame) if self._job.absent is not None else f"frame {frame}: not done")
        if done is None:
            done = self._process(frame, task.engine, write=task.kind == "process")
            if task.kind == "process":
                self._note(done)
        if step is not None:
            yield step  # first: tracking may begin once the frame is known to be done
        yield done
        if step is None and self._job.tracks and done.particles == 0 and task.kind != "probe":
            empty = StepDone(run=NO_RUN, frame=frame, digest=self._store.publish_empty(frame), stretch=frame, published=True)
            self._note(empty)
            yield empty

    def _process(self, frame: int, engine: Engine, *, write: bool) -> FrameDone:
        """Do the sequence step of a frame and publish its files."""
        if self._pipeline is None or self._engine != engine:
            self._pipeline = FramePipeline(
                *(self._job.experiment, self._job.images, self._announce, engine, self._job.hooks), inputs=self._store.inputs
            )
            self._engine = engine
        result = self._pipeline.process(frame)
        start = time.perf_counter()
        files = result.files()
        if write:
            self._announce(frame, "writing results")
            self._store.publish_sequence(frame, files)
        return FrameDone(
            frame=frame,
            targets=tuple(len(rows) for rows in result.matches.targets),
            counts=result.matches.counts,
            particles=len(result.matches.particles),
            digest=frame_digest(files),
            particles_digest=digest(files["rt_is"]),
            size=sum(map(len, files.values())),
            images=result.images,
            neighbours=result.neighbours,
            seconds=result.seconds | {"write": time.perf_counter() - start},
        )

    def _check(self, frame: int, past: Past | None) -> FrameDone:
        """Read the existing results of a frame, and check them as required by the tracker's C code."""
        self._announce(frame, "checking the sequence step's results")
        start = time.perf_counter()
        try:
            files = self._store.sequence_input(frame)
        except ProcessingError as error:
            raise FormatError(str(error)) from error
        self._earlier.refuse_mixture(frame, past, files)
        return check_results(self._job, frame, files, start)
