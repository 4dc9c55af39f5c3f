"""One run: check -> sequence and tracking -> report. The one loop over what happens is here."""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Iterable
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from pyptv.core.errors import InvalidExperimentError, ProcessingError
from pyptv.core.experiment import Experiment, load_experiment
from pyptv.core.frames import FrameRange, check_range, chunk_ranges, contiguous, describe
from pyptv.core.journal import Journal
from pyptv.core.options import Options
from pyptv.core.plan import Plan
from pyptv.core.preflight import Findings, check_experiment, frames_outside, prepare_job
from pyptv.core.report import Report
from pyptv.core.results import Event, FrameDone, FrameFailed, Note, StepDone
from pyptv.core.resume import JOURNAL, kept_past, run_inputs
from pyptv.core.runners import InProcessRunner, PoolRunner
from pyptv.core.scratch import remove_scratch
from pyptv.core.sequence_plan import SequencePlan
from pyptv.core.store import Store
from pyptv.core.tasks import Job, SequenceKind
from pyptv.core.tracking_plan import TrackingPlan

logger = logging.getLogger(__name__)

_KINDS = ("quadruplets", "triplets", "pairs")
_SHORT_CHUNK = 32
_MOST_ROUNDS = 50
"""Chunks of at most 32 frames, or 50 for each process: so that the last ones end at about the same time."""

_MOST_SHOWN = 12


class Watcher(Protocol):
    """Follows a run: a progress bar, say."""

    def expect(self, frames: int, steps: int) -> None:
        """So many frames will go through so many steps."""

    def watch(self, event: Event) -> None:
        """This has happened."""


class _Nobody:
    """Follows nothing."""

    def expect(self, frames: int, steps: int) -> None:
        """Nothing is made of it."""

    def watch(self, event: Event) -> None:
        """Nothing is made of it."""


def run(experiment: Experiment, frames: FrameRange, options: Options, watcher: Watcher | None = None) -> Report:
    """Process a frame range.

    Returns:
        What was done; with ``on_error="abort"`` its ``failed`` names the frame that ended the run.

    Raises:
        ProcessingError: nothing could be processed: the experiment, a file, or the machine is to blame.
    """
    skipping = options.on_error == "skip"
    report_findings(check_experiment(experiment, frames, mode=options.mode, skip_missing=skipping, clean=options.clean))
    store = Store(experiment)
    with ExitStack() as stack:
        store.open()
        stack.callback(store.close)
        if options.clean and (outside := frames_outside(experiment, frames)):
            for frame in outside:
                store.forget(frame)
            logger.info("Removed the results of %d frames outside the range: %s", len(outside), describe(outside))
        job = prepare_job(experiment, *frames, stop_at_failure=not skipping)
        stack.callback(remove_scratch, job.scratch)
        try:
            return _Run(job, store, frames, options, watcher or _Nobody()).go()
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

    def __init__(self, job: Job, store: Store, frames: FrameRange, options: Options, watcher: Watcher) -> None:
        self._job = job
        self._store = store
        self._frames = frames
        self._options = options
        self._watcher = watcher
        self._report = Report(skipping=not job.stop_at_failure)
        self._finished: set[int] = set()
        self._inputs = run_inputs(job)
        self._past, self._done = kept_past(job, store, frames, self._inputs, options)
        self._plan = self._make_plan()

    def go(self) -> Report:
        """Run the plan to its end."""
        journal = Journal(self._store.home / JOURNAL, self._inputs, self._past)
        self._watcher.expect(self._frames[1] - self._frames[0] + 1, self._options.steps)
        try:
            for kept in self._in_range(self._done.frames):
                self._report.kept += 1
                self._take_all(self._plan.recall(kept), None)
            if self._plan.tracking is not None:
                for step in self._plan.tracking.recalled:
                    self._report.record(step)
                    self._watcher.watch(step)
            # closing: whatever ends this loop ends the workers at once, not when somebody drops the traceback
            with closing(self._runner().events(self._plan)) as events:
                for event in events:
                    self._take_all(self._plan.record(event), journal)
        finally:
            journal.close()
        self._report.chunks = len(self._plan.sequence.chunks)
        self._report.failed_chunks = self._plan.sequence.failed_chunks
        self._summarise()
        return self._report

    def _take_all(self, reports: Iterable[Event], journal: Journal | None) -> None:
        for event in reports:
            if journal is not None and not (isinstance(event, FrameDone) and self._options.mode == "tracking"):
                journal.record(event)  # a frame that was only checked was made by another run, from who knows what
            if isinstance(event, FrameDone | FrameFailed):
                self._finished.add(event.frame)
            self._report.record(event)
            _log(event, skipping=self._report.skipping)
            self._watcher.watch(event)

    def _runner(self) -> InProcessRunner | PoolRunner:
        if multiprocessing.current_process().daemon:
            logger.warning("This is a daemonic process, which may not have workers: a crash of optv would end it")
            return InProcessRunner(self._job)
        return PoolRunner(self._job, self._options.n_processes, self._options.start_method)

    def _make_plan(self) -> Plan:
        options = self._options
        kind: SequenceKind = "check" if options.mode == "tracking" else "process"
        todo = set(range(self._frames[0], self._frames[1] + 1)) - self._done.frames.keys()
        ids = count(1)
        pieces = contiguous(todo)
        chunks = [chunk for piece in pieces for chunk in self._chunks(piece)] if options.n_processes > 1 else pieces
        if options.n_processes > 1:
            more = f" and {len(chunks) - _MOST_SHOWN} more" if len(chunks) > _MOST_SHOWN else ""
            logger.info("Frame chunks: %s%s", chunks[:_MOST_SHOWN], more)
        sequence = SequencePlan(chunks, ids, self._store, kind)
        tracking = None
        if options.mode != "sequence":
            speculate = options.n_processes > 1 and not options.serial_tracking
            tracking = TrackingPlan(self._frames, ids, self._store, speculate=speculate, early=options.n_processes > 1)
            tracking.recall(self._in_range(self._done.steps))
        return Plan(self._job, self._store, sequence=sequence, tracking=tracking)

    def _chunks(self, piece: FrameRange) -> list[FrameRange]:
        n_frames, n = piece[1] - piece[0] + 1, self._options.n_processes
        longest = max(_SHORT_CHUNK, n_frames // (n * _MOST_ROUNDS))
        return chunk_ranges(*piece, min(n_frames, n * -(-n_frames // (n * longest))))

    def _in_range(self, events: dict[int, Any]) -> list[Any]:
        first, last = self._frames
        return [events[number] for number in sorted(events) if first <= number <= last]

    # -- the end -------------------------------------------------------------------------------------------------------

    def _tell_of_old_results(self) -> None:
        """After a run that ended early: frames that it has not come to may hold results of another one."""
        missed = set(range(self._frames[0], self._frames[1] + 1)) - self._finished
        old = [frame for frame in missed if self._job.experiment.result_path("rt_is", frame).exists()]
        if old:
            logger.warning("Frames %s were not reached: they still hold the results of an earlier run", describe(old))

    def _summarise(self) -> None:
        for line in self._report.lines():
            logger.info("%s", line)
        if self._plan.tracking is not None and self._options.n_processes > 1:
            logger.info("Seams: %s", self._plan.tracking.seams)
        if self._report.failed and self._report.skipping:
            logger.warning("%d frames failed and were left out: %s", len(self._report.failed), describe(self._report.failed))
            for reason in self._report.failed.values():
                logger.warning("  %s", reason)
        elif self._report.failed:
            self._tell_of_old_results()


def _log(event: Event, *, skipping: bool) -> None:
    if isinstance(event, FrameDone):
        kinds = ", ".join(f"{name} {n}" for name, n in zip(_KINDS[-len(event.counts) :], event.counts, strict=False))
        logger.debug("Frame %d: targets %s, %s, particles %d", event.frame, list(event.targets), kinds, event.particles)
    elif isinstance(event, StepDone):
        logger.debug(
            "Step %d: current %d, next %d, links %d, lost %d, added %d",
            *(event.frame, event.current, event.next, event.links, event.lost, event.added),
        )
    elif isinstance(event, FrameFailed):
        logger.log(logging.WARNING if skipping else logging.DEBUG, "Failed: %s", event.reason)  # or raised, at the end
    elif isinstance(event, Note):
        logging.getLogger(event.logger).log(event.level, "%s", event.message)


def prepare(exp_path: str | Path, first: int | None, last: int | None) -> tuple[Experiment, FrameRange]:
    """An experiment and the frames to process; None for a frame means the parameters' own.

    Raises:
        ValueError: frames in the wrong order.
        InvalidExperimentError: the experiment.
    """
    experiment = load_experiment(exp_path)
    sequence = experiment.parameters.sequence
    frames = (sequence.first if first is None else first, sequence.last if last is None else last)
    check_range(*frames)
    return experiment, frames


def process(experiment: Experiment, frames: FrameRange, options: Options, watcher: Watcher | None, *, kind: str) -> Report:
    """:func:`run`, with the time it took in the log, and an error for what ended it at a frame."""
    start = time.perf_counter()
    report = run(experiment, frames, options, watcher)
    seconds = time.perf_counter() - start
    if kind == "batch":
        logger.info("Total processing time: %.2f seconds", seconds)
    else:
        logger.info("Parallel processing completed:")
        logger.info("  Total chunks: %d", report.chunks)
        logger.info("  Successful: %d", report.chunks - report.failed_chunks)
        logger.info("  Failed: %d", report.failed_chunks)
        logger.info("  Total processing time: %.2f seconds", seconds)
    if report.failed and not report.skipping:
        raise ProcessingError(next(iter(report.failed.values())))
    return report
