"""One run: check -> sequence and tracking -> report."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from pyptv.core.app.dense import dense_job, done_ahead, is_dense, prepare_kernels
from pyptv.core.app.loop import RunLoop
from pyptv.core.app.match_again import with_targets
from pyptv.core.app.parts import Parts, options_of_check, part_of, tracks_ahead
from pyptv.core.app.preflight import Findings, check_run, frames_outside, prepare_job
from pyptv.core.app.watch import wait_for_first
from pyptv.core.base.errors import InvalidExperimentError, ProcessingError
from pyptv.core.base.frames import FrameRange, check_range, describe
from pyptv.core.base.options import MOST_PROCESSES, Options
from pyptv.core.engines.choice import Engines, choose
from pyptv.core.execute.cluster.connect import open_client
from pyptv.core.experiment.folder import Experiment, load_experiment
from pyptv.core.experiment.passes import forward_pass
from pyptv.core.files.scratch import remove_scratch
from pyptv.core.files.store import Store
from pyptv.core.history.journal import Journal
from pyptv.core.history.parts import Part
from pyptv.core.history.resume import begin
from pyptv.core.record.log import log_time
from pyptv.core.record.result import RunResult, result_of
from pyptv.core.record.run_report import FILE_NAME, Request, RunReport
from pyptv.core.record.tally import Tally
from pyptv.core.record.watcher import Watcher
from pyptv.core.stages.tasks import DenseJob, Job

logger = logging.getLogger(__name__)


def run(
    experiment: Experiment, frames: FrameRange, options: Options, watcher: Watcher | None = None, request: Request | None = None
) -> Tally:
    """Process a frame range, and write ``res/run_report.json`` however the run ends, once it may start the first frame.

    Returns:
        The tally; with ``on_error="abort"`` its ``failed`` contains the frame that ended the run.

    Raises:
        ProcessingError: nothing could be processed, because of the experiment, a file, or the machine.
    """
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
        stack.callback(store.close)  # first: a signal handler may raise once the frames are claimed
        store.open(frames, among_many=part is not None, unfinished=findings.unfinished)
        job = _job(experiment, findings, options, engines=engines, part=part, dense=dense)
        stack.callback(remove_scratch, job.scratch)
        job = replace(job, claim=store.claim_file, refreshes=client is not None)
        with _clear_errors(experiment):
            job, journal = begin(job, store, frames, options, part)
            parts = _parts(store, journal, frames, options, dense=dense)
            job = job if parts is None else replace(job, absent=parts.why)
            loop = RunLoop(
                *(job, store, frames, options),
                engines=engines,
                client=client,
                watcher=watcher,
                record=record,
                journal=journal,
                part=part,
                parts=parts,
            )
            if options.clean:
                _clean(store, findings.outside if first is None else frames_outside(experiment, frames))
        with loop.reported(), _clear_errors(experiment):
            return loop.go()


def _job(
    experiment: Experiment, findings: Findings, options: Options, *, engines: Engines, part: Part | None, dense: DenseJob | None
) -> Job:
    """The job of a run, for the workers."""
    by_plugin = {spec.kind for spec in findings.plugins}
    tracking = tracks_ahead(part, engines.begun, tracks=options.tracks)
    job = prepare_job(
        *(experiment, findings.images),
        stop_at_failure=options.on_error != "skip",
        engine=engines.begun,
        tracking=tracking,
        scratch=options.scratch,
    )
    return replace(
        job,
        hooks=findings.hooks,
        plugins=findings.plugins,
        part="" if part is None else part.name,
        processes=options.processes and "sequence" not in by_plugin,
        tracks=tracking and "tracking" not in by_plugin,
        dense=dense,
    )


def _parts(
    store: Store, journal: Journal | None, frames: FrameRange, options: Options, *, dense: DenseJob | None
) -> Parts | None:
    """The parts of a job array that a run with ``--finish`` combines; None for any other run."""
    if not options.finish or journal is None:
        return None
    done = journal.has if dense is None else partial(done_ahead, store)
    parts = Parts(store, done, frames, only_tracked=options.mode == "tracking")
    parts.describe(frames)
    return parts


def _clean(store: Store, outside: Sequence[int]) -> None:
    """Remove the results of frames outside the range."""
    for frame in outside:
        store.forget(frame)
        store.tables.forget(frame)
    if outside:
        logger.info("Removed the results of %d frames outside the range: %s", len(outside), describe(outside))


def _note_code_of_others(record: RunReport, findings: Findings) -> None:
    """Name hooks and plugins in the log and in the run report."""
    record.hooks = tuple(map(str, findings.hooks))
    for spec in findings.hooks:
        logger.info("Hook %s: %s", spec, spec.origin)
    for plugin in findings.plugins:
        logger.info("%s plugin %s: %s", plugin.kind.capitalize(), plugin.name, plugin.origin)
    record.plugins = {plugin.kind: plugin.name for plugin in findings.plugins}


@contextmanager
def _clear_errors(experiment: Experiment) -> Iterator[None]:
    """Make an error of the system name the file, or at least the folder."""
    try:
        yield
    except OSError as error:
        raise ProcessingError(f"{error.filename or experiment.results}: {error.strerror or error}") from error


def report_findings(findings: Findings) -> None:
    """Log the hints; raise the problems, if any."""
    for hint in findings.hints:
        logger.warning("%s", hint)
    if findings.problems:
        raise InvalidExperimentError(*findings.problems)


def prepare(
    exp_path: str | Path, first: int | None, last: int | None, options: Options | None = None
) -> tuple[Experiment, FrameRange]:
    """An experiment and the frames to process; None for a frame means that of the parameters.

    Raises:
        ValueError: frames in the wrong order.
        InvalidExperimentError: the experiment, with all problems that can be detected: even if a calibration is missing,
            images are checked.
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
    """:func:`run`, with its duration in the log, and an error if it ended at a frame."""
    start = time.perf_counter()
    tally = run(experiment, frames, options, watcher, request)
    seconds = time.perf_counter() - start
    log_time(tally, seconds, request.kind)
    if tally.failed and not tally.skipping:
        raise ProcessingError(next(iter(tally.failed.values())).reason)
    return result_of(tally, frames, seconds, experiment.results, experiment.results / FILE_NAME)
