"""One run: check -> sequence and tracking -> report. The one loop over what happens is here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from pyptv.core.app.backward import BackwardPass
from pyptv.core.app.dense import dense_job, done_ahead, is_dense, prepare_kernels
from pyptv.core.app.match_again import with_targets
from pyptv.core.app.parts import Parts, note_end, note_start, options_of_check, part_of, tracks_ahead
from pyptv.core.app.plans import Runner, make_plan, runner_of
from pyptv.core.app.plugins import PluginRun
from pyptv.core.app.preflight import Findings, check_run, frames_outside, prepare_job
from pyptv.core.app.renewal import Renewal
from pyptv.core.app.watch import wait_for_first
from pyptv.core.base.errors import InvalidExperimentError, ProcessingError
from pyptv.core.base.events import Event, FrameDone, FrameFailed, WorkerDied
from pyptv.core.base.frames import FrameRange, check_range, describe
from pyptv.core.base.options import MOST_PROCESSES, Options
from pyptv.core.base.streams import IN_TABLE
from pyptv.core.engines.choice import Engines, choose
from pyptv.core.execute.cluster.connect import open_client
from pyptv.core.experiment.folder import Experiment, load_experiment
from pyptv.core.experiment.passes import forward_pass
from pyptv.core.files.scratch import remove_scratch
from pyptv.core.files.store import Store
from pyptv.core.history.journal import Journal
from pyptv.core.history.parts import Part
from pyptv.core.history.resume import begin
from pyptv.core.record.dense import DenseRecord
from pyptv.core.record.log import log_event, log_summary, log_time
from pyptv.core.record.measures import Columns
from pyptv.core.record.progress import Meter
from pyptv.core.record.result import RunResult, result_of
from pyptv.core.record.run_report import FILE_NAME, Request, RunReport
from pyptv.core.record.tally import Tally
from pyptv.core.record.watcher import Watcher
from pyptv.core.schedule.plan import AnyPlan, Plan
from pyptv.core.schedule.tracker_runs import SeamCounts
from pyptv.core.stages.tasks import Job, Past

logger = logging.getLogger(__name__)


def run(
    experiment: Experiment, frames: FrameRange, options: Options, watcher: Watcher | None = None, request: Request | None = None
) -> Tally:
    """Process a frame range, and write ``res/run_report.json`` whatever the end is, once the first frame may be begun.

    Returns:
        What was done; with ``on_error="abort"`` its ``failed`` names the frame that ended the run.

    Raises:
        ProcessingError: nothing could be processed: the experiment, a file, or the machine is to blame.
    """
    skipping = options.on_error == "skip"
    whole, part = frames, part_of(options, frames)
    frames = whole if part is None else part.frames
    record = RunReport(request or Request(str(experiment.folder)), experiment, frames, options)
    first = wait_for_first(experiment, frames, options) if options.watch else None
    looked_at = frames if first is None else (first, first)
    findings = check_run(experiment, looked_at, options_of_check(options, part), options.shared)
    report_findings(findings)
    _note_code_of_others(record, findings)
    dense = dense_job(experiment, whole, options) if is_dense(experiment, options) else None
    if options.tracking == "both":
        experiment = forward_pass(experiment)
    store = Store(experiment)
    with ExitStack() as stack:
        client = stack.enter_context(open_client(options))
        if client is not None:
            options = replace(options, n_processes=min(max(1, sum(client.nthreads().values())), MOST_PROCESSES))
        engines = choose(options, whole) if dense is None else prepare_kernels()
        stack.callback(store.close)  # first: a signal's handler may raise once the frames are claimed
        store.open(frames, among_many=part is not None, unfinished=findings.unfinished)
        by_plugin = {spec.kind for spec in findings.plugins}
        tracking = tracks_ahead(part, engines.begun, tracks=options.tracks)
        job = prepare_job(
            *(experiment, findings.images),
            stop_at_failure=not skipping,
            engine=engines.begun,
            tracking=tracking,
            scratch=options.scratch,
        )
        job = replace(job, hooks=findings.hooks, plugins=findings.plugins, part="" if part is None else part.name)
        stack.callback(remove_scratch, job.scratch)
        processes = options.processes and "sequence" not in by_plugin
        job = replace(job, processes=processes, tracks=tracking and "tracking" not in by_plugin, dense=dense)
        job = replace(job, claim=store.claim_file, refreshes=client is not None)
        with _clear_errors(experiment):
            job, journal = begin(job, store, frames, options, part)
            parts = None
            if options.finish and journal is not None:
                done = journal.has if dense is None else partial(done_ahead, store)
                parts = Parts(store, done, frames, only_tracked=options.mode == "tracking")
                parts.describe(frames)
                job = replace(job, absent=parts.why)
            this = _Run(
                *(job, store, frames, options),
                engines=engines,
                client=client,
                watcher=watcher,
                record=record,
                journal=journal,
                part=part,
                parts=parts,
            )
            outside = findings.outside if first is None else frames_outside(experiment, frames)
            if options.clean and outside:
                for frame in outside:
                    store.forget(frame)
                    store.tables.forget(frame)
                logger.info("Removed the results of %d frames outside the range: %s", len(outside), describe(outside))
        with this.reported(), _clear_errors(experiment):
            return this.go()


def _note_code_of_others(record: RunReport, findings: Findings) -> None:
    """Hooks and plugins: the log and the run report name them."""
    record.hooks = tuple(map(str, findings.hooks))
    for spec in findings.hooks:
        logger.info("Hook %s: %s", spec, spec.origin)
    for plugin in findings.plugins:
        logger.info("%s plugin %s: %s", plugin.kind.capitalize(), plugin.name, plugin.origin)
    record.plugins = {plugin.kind: plugin.name for plugin in findings.plugins}


@contextmanager
def _clear_errors(experiment: Experiment) -> Iterator[None]:
    """An error of the system names the file, or at least the folder."""
    try:
        yield
    except OSError as error:
        raise ProcessingError(f"{error.filename or experiment.results}: {error.strerror or error}") from error


def report_findings(findings: Findings) -> None:
    """Log the hints; raise the problems, if there are any."""
    for hint in findings.hints:
        logger.warning("%s", hint)
    if findings.problems:
        raise InvalidExperimentError(*findings.problems)


class _Run:
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
            self._record.path.unlink(missing_ok=True)  # from here on it would not describe what is there
        if self._watcher is not None:
            self._watcher.begin(self._meter)
        if self._plugins.sequence(self._journal):
            self._journal = None  # what it has noted of these frames is not true any more
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
        if self._parts is not None and not self._tally.failed:
            self._parts.remove()
        return self._tally

    def _track_backward(self) -> None:
        self._meter.track_again()
        second = BackwardPass(
            *(self._job, self._frames, self._options, self._ids), engines=self._engines, seams=self._seams, client=self._client
        )
        self._follow(second.runner, second.plan, lambda event: second.pass_on(event, self._tally, self._take, self._count))

    def _follow(self, runner: Runner, plan: AnyPlan, take: Callable[[Event], None]) -> None:
        """Have a plan done, and take what it reports."""
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
        """Around a run: whatever ends it, the log gets its summary and ``res/`` its report."""
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
                    self._watcher.finish(tree)  # may call a function of the user
            finally:
                log_summary(self._tally, self._seams, self._dense)
                if self._tally.failed and not self._tally.skipping:
                    self._tell_of_old_results()
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
        """What an earlier run has noted of a frame."""
        return self._journal.past(frame) if self._journal is not None else None

    # -- the end -------------------------------------------------------------------------------------------------------

    def _tell_of_old_results(self) -> None:
        """After a run that ended early: frames that it did not reach may hold results of another run."""
        missed = [self._frames[0] + index for index, finished in enumerate(self._finished) if not finished]
        old = [frame for frame in missed if self._job.experiment.result_path("rt_is", frame).exists()]
        if old:
            logger.warning("Frames %s were not reached: they still hold the results of an earlier run", describe(old))

    def _write_interim(self) -> None:
        """While frames still come: the run report that an interruption at this moment would leave."""
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


def prepare(
    exp_path: str | Path, first: int | None, last: int | None, options: Options | None = None
) -> tuple[Experiment, FrameRange]:
    """An experiment and the frames to process; None for a frame means the parameters' own.

    Raises:
        ValueError: frames in the wrong order.
        InvalidExperimentError: the experiment, with all problems that can be known: where a calibration is missing, images are
            looked for all the same.
    """
    options = options or Options()
    matches = options.mode == "match"
    experiment = load_experiment(exp_path, complete=False, output=options.output, match_again=matches)
    sequence = experiment.parameters.sequence
    frames = (sequence.first if first is None else first, sequence.last if last is None else last)
    check_range(*frames)
    if matches:
        experiment = with_targets(experiment)
        logger.info("Targets: those stored in %s", experiment.existing_targets_folder(0))
    if experiment.problems:
        report_findings(check_run(experiment, frames, options))
    return experiment, frames


def process(experiment: Experiment, frames: FrameRange, options: Options, watcher: Watcher | None, request: Request) -> RunResult:
    """:func:`run`, with the time it took in the log, and an error for what ended it at a frame."""
    start = time.perf_counter()
    tally = run(experiment, frames, options, watcher, request)
    seconds = time.perf_counter() - start
    log_time(tally, seconds, request.kind)
    if tally.failed and not tally.skipping:
        raise ProcessingError(next(iter(tally.failed.values())).reason)
    return result_of(tally, frames, seconds, experiment.results, experiment.results / FILE_NAME)
