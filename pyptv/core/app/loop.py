"""The loop over the events of a run: the only one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

from pyptv.core.app.backward import BackwardPass
from pyptv.core.app.parts import Parts, note_end, note_start
from pyptv.core.app.plans import Runner, make_plan, runner_of
from pyptv.core.app.plugins import PluginRun
from pyptv.core.app.renewal import Renewal
from pyptv.core.base.events import Event, FrameDone, FrameFailed, WorkerDied
from pyptv.core.base.frames import FrameRange, describe
from pyptv.core.base.options import Options
from pyptv.core.base.streams import IN_TABLE
from pyptv.core.engines.choice import Engines
from pyptv.core.files.store import Store
from pyptv.core.history.journal import Journal
from pyptv.core.history.parts import Part
from pyptv.core.record.dense import DenseRecord
from pyptv.core.record.log import log_event, log_summary
from pyptv.core.record.measures import Columns
from pyptv.core.record.progress import Meter
from pyptv.core.record.run_report import RunReport
from pyptv.core.record.tally import Tally
from pyptv.core.record.watcher import Watcher
from pyptv.core.schedule.plan import AnyPlan, Plan
from pyptv.core.schedule.tracker_runs import SeamCounts
from pyptv.core.stages.tasks import Job, Past

logger = logging.getLogger(__name__)


class RunLoop:
    """The parts of one run, and the loop over its events."""

    def __init__(
        self,
        job: Job,
        store: Store,
        frames: FrameRange,
        options: Options,
        *,
        engines: Engines,
        client: Any,
        watcher: Watcher | None,
        record: RunReport,
        journal: Journal | None,
        part: Part | None = None,
        parts: Parts | None = None,
    ) -> None:
        self._job = job
        self._store = store
        self._frames = frames
        self._options = options
        self._engines = engines
        self._watcher = watcher
        self._record = record
        page_of = str(job.experiment.output or record.request.experiment) if options.report else None
        self._renewal = Renewal(self._write_interim, page_of) if options.watch else None
        self._part = part
        self._parts = parts
        self._tally = Tally(Columns(frames, job.experiment.num_cams), skipping=not job.stop_at_failure, engine=job.engine)
        self._meter = Meter(frames, options if part is None else replace(options, tracking="forward"), job.engine)
        self._finished = bytearray(frames[1] - frames[0] + 1)
        """1 for each frame that is done or has failed."""
        self._client = client
        self._runner = runner_of(job, options, store, client)
        self._ids = count(1)
        self._journal = journal
        self._plugins = PluginRun(job, store, frames, options.frame_timeout)
        self._dense = DenseRecord(job.dense, frames) if job.dense is not None else None
        self._plan = make_plan(
            *(job, store, frames, options), engines=engines, ids=self._ids, past=self._past, part=part, parts=parts
        )

    def go(self) -> Tally:
        """Run the plan to its end."""
        if self._part is not None:
            note_start(self._part, self._store)
        else:
            self._record.path.unlink(missing_ok=True)  # from here on it would not describe the results
        if self._watcher is not None:
            self._watcher.begin(self._meter)
        if self._plugins.sequence(self._journal):
            self._journal = None  # its entries of these frames are no longer valid
        self._follow(self._runner, self._plan, self._take)
        if self._plugins.has("tracking") and not self._tally.failed:
            for step in self._plugins.tracking():
                self._take(step)
        if self._options.tracking == "both" and self._part is None and (self._tally.skipping or not self._tally.failed):
            self._track_backward()
        for event in self._plan.left if isinstance(self._plan, Plan) else ():
            self._take(event)
        if self._options.resume or (self._part is not None and self._tally.kept):
            logger.info("Resumed: %d frames and the links of %d were kept", self._tally.kept, self._tally.kept_steps)
        self._tidy()
        return self._tally

    def _tidy(self) -> None:
        """Remove files that only a resumed run needs."""
        if self._parts is not None and not self._tally.failed:
            self._parts.remove()
        if self._options.processes and (self._tally.skipping or not self._tally.failed):
            self._store.inputs.forget(self._frames)

    def _track_backward(self) -> None:
        self._meter.track_again()
        second = BackwardPass(
            *(self._job, self._frames, self._options, self._ids), engines=self._engines, seams=self._seams, client=self._client
        )
        self._follow(second.runner, second.plan, lambda event: second.pass_on(event, self._tally, self._take, self._count))

    def _follow(self, runner: Runner, plan: AnyPlan, take: Callable[[Event], None]) -> None:
        """Execute a plan, and take its events."""
        # closing: whatever ends this loop ends the workers at once, not when the traceback is dropped
        with closing(runner.events(plan)) as events:
            for event in events:
                self._record.times.record(event)
                if self._dense is not None:
                    self._dense.record(event)
                self._store.cut_short |= isinstance(event, WorkerDied)
                for reported in plan.record(event):
                    take(reported)

    @contextmanager
    def reported(self) -> Iterator[None]:
        """Around a run: however it ends, the summary is logged and the report is written to ``res/``."""
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            if self._renewal is not None:
                self._renewal.close()
            self._store.cut_short |= error is not None or (bool(self._tally.failed) and not self._tally.skipping)
            self._tally.engine = self._engines.taken
            self._tally.chunks = len(self._plan.chunks)
            self._tally.failed_chunks = self._plan.failed_chunks
            tree = self._record.as_tree(self._tally, self._seams, self._tally.engine, error, self._dense)
            try:
                if self._watcher is not None:
                    self._watcher.finish(tree)  # may call a user's function
            finally:
                log_summary(self._tally, self._seams, self._dense)
                if self._tally.failed and not self._tally.skipping:
                    self._warn_of_old_results()
                if self._part is not None:
                    note_end(self._part, self._store, self._tally, error)
                else:
                    self._write_report(tree)

    def _take(self, event: Event) -> None:
        if isinstance(event, FrameDone | FrameFailed):
            self._finished[event.frame - self._frames[0]] = 1
        self._tally.record(event)
        log_event(event, skipping=self._tally.skipping)
        if self._renewal is not None and isinstance(event, FrameDone):
            self._renewal.look()
        self._count(event)

    def _count(self, event: Event) -> None:
        if self._meter.record(event) and self._watcher is not None:
            self._watcher.advance()

    def _past(self, frame: int) -> Past | None:
        """The journal entries of an earlier run for a frame."""
        return self._journal.past(frame) if self._journal is not None else None

    # -- the end -------------------------------------------------------------------------------------------------------

    def _warn_of_old_results(self) -> None:
        """After a run that ended early: frames that it did not reach may have results of another run."""
        missed = [self._frames[0] + index for index, finished in enumerate(self._finished) if not finished]
        old = [frame for frame in missed if self._job.experiment.result_path("rt_is", frame).exists()]
        if old:
            logger.warning("Frames %s were not reached: they still have the results of an earlier run", describe(old))

    def _write_interim(self) -> None:
        """While frames still arrive: write the run report that an interruption at this moment would leave."""
        self._record.write(self._record.as_tree(self._tally, self._seams, self._engines.taken, KeyboardInterrupt()))

    def _write_report(self, tree: dict[str, Any]) -> None:
        try:
            self._record.write(tree)
        except OSError as problem:
            logger.warning("%s: the run report cannot be written: %s", self._record.path, problem.strerror or problem)
        else:
            logger.info("Run report: %s", self._record.path, extra=IN_TABLE)
            if self._watcher is not None:
                self._watcher.wrote(self._record.path)

    @property
    def _seams(self) -> SeamCounts | None:
        """None where there cannot be any."""
        several = self._options.n_processes > 1 or self._parts is not None
        tracking = self._plan.tracking if isinstance(self._plan, Plan) else None
        return tracking.seams if tracking is not None and several else None
