"""From the arguments of the two entry points to a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyptv.core.base.errors import InvalidExperimentError, ProcessingError
from pyptv.core.base.events import FrameFailed, TaskFailed
from pyptv.core.base.frames import check_range, frame_number
from pyptv.core.base.machine import usable_cpus
from pyptv.core.base.options import Options, check_processes, make_options, path_argument, whole_number
from pyptv.core.base.streams import IN_TABLE

if TYPE_CHECKING:
    from pyptv.core.record.result import RunResult
    from pyptv.core.record.watcher import Watcher

logger = logging.getLogger(__name__)

BATCH, PARALLEL_BATCH = "batch", "parallel batch"
"""One worker process, or the requested number."""


def run_batch(
    exp_path: str | Path,
    first: Any,
    last: Any,
    *,
    repetitions: Any = 1,
    kind: str = BATCH,
    watch: Watcher | None = None,
    argv: Sequence[str] | None = None,
    options: Options | None = None,
) -> RunResult:
    """Check the arguments, process the frames ``repetitions`` times, and return the last result.

    Args:
        exp_path: folder or YAML file.
        first: number, numeric text, or None for the parameters' own.
        last: likewise.
        repetitions: at least 1.
        kind: :data:`BATCH` or :data:`PARALLEL_BATCH`: its name in the log and the run report.
        watch: observer of the run; None: log lines only.
        argv: the words of the command line; None: called from Python.
        options: of the run; None: the defaults.

    Raises:
        ValueError: a bad argument.
        ProcessingError: the experiment is not valid, or a frame failed (and ``on_error`` is "abort").
    """
    options = options or Options()
    times = whole_number(repetitions, "Repetitions")
    if times < 1:
        raise ValueError(f"Repetitions must be >= 1, got {times}")
    numbers = [
        None if frame is None else frame_number(whole_number(frame, name), name)
        for frame, name in ((first, "First frame"), (last, "Last frame"))
    ]
    if numbers[0] is not None and numbers[1] is not None:
        check_range(numbers[0], numbers[1])
    exp_path = path_argument(exp_path, "exp_path")

    from pyptv.core.app import whole_tracks  # bad arguments are reported without loading the core
    from pyptv.core.app.run import prepare, process  # bad arguments are reported without loading the core
    from pyptv.core.record.run_report import Request  # bad arguments are reported without loading the core

    if options.report:
        _require_report()
    if options.postprocess is not None:
        whole_tracks.require(options)
    request = Request(str(exp_path), kind, tuple(argv) if argv is not None else None)
    experiment, frames = prepare(exp_path, numbers[0], numbers[1], options)
    logger.info("Starting %s processing in directory: %s", kind, experiment.folder)
    logger.info("Parameters: %s", experiment.source)
    if experiment.output is not None:
        logger.info("Results go to: %s", experiment.results)
    logger.info("Frame range: %d to %d", *frames)
    if kind == BATCH:
        logger.info("Repetitions: %d", times)
    else:
        logger.info("Number of processes: %d", options.n_processes)
    html = _HtmlReport(experiment.output or exp_path, watch) if options.report else None
    with html or nullcontext():
        for repetition in range(1, times + 1):
            if times > 1:
                logger.info("Starting repetition %d of %d", repetition, times)
            result = process(experiment, frames, options, watch, request)
        if options.postprocess is not None:
            whole_tracks.write_trajectories(experiment, frames, options, watch)
    return replace(result, html_report=html.path) if html is not None else result


def _require_report() -> None:
    """Report a missing extra before the run, not after it."""
    from pyptv.report import require  # only for --report

    try:
        require()
    except ProcessingError as error:
        raise InvalidExperimentError(f"--report: {error}") from error


class _HtmlReport:
    """Around a run: make ``res/report.html`` after it, even if it failed. A failure to make it does not fail the run."""

    def __init__(self, exp_path: str | Path, watch: Watcher | None) -> None:
        self._exp_path = exp_path
        self._watch = watch
        self.path: Path | None = None
        """Path of the report, once it is made."""

    def __enter__(self) -> None:
        """The run begins."""

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        """The run has ended."""
        failed = isinstance(error, ProcessingError) and not isinstance(error, InvalidExperimentError)  # otherwise nothing was run
        if error is None or failed:
            self._write()

    def _write(self) -> None:
        from pyptv.report import write_report  # only for --report

        try:
            self.path = write_report(self._exp_path)
        except Exception as error:  # the results matter more: a report must not fail the run
            reason = error if isinstance(error, ProcessingError) else f"{type(error).__name__}: {error}"
            logger.warning("No HTML report: %s", reason)
            return
        logger.info("HTML report: %s", self.path, extra=IN_TABLE)
        if self._watch is not None:
            self._watch.wrote(self.path)


def parallel_options(chosen: Mapping[str, Any], n_processes: Any) -> Options:
    """The options of a run on several processes, which shares tracking out unless ``chosen`` says otherwise.

    Args:
        chosen: fields of :class:`pyptv.core.base.options.Options`.
        n_processes: None: the CPUs that this process may use.

    Raises:
        ValueError: a wrong value.
    """
    return make_options({"serial_tracking": False, **chosen, "n_processes": process_count(n_processes)})


def process_count(asked: Any) -> int:
    """How many worker processes to use; None: the CPUs that this process may use.

    Raises:
        ValueError: not a number, or below 1.
    """
    available = usable_cpus()
    if asked is None:
        logger.info("Using default number of processes: %d (CPU count)", available)
        return available
    n = whole_number(asked, "Number of processes")
    check_processes(n)
    if n > available:
        logger.warning("Requested %d processes, but only %d CPUs are available: more will not be faster", n, available)
    return n


def run_sequence_chunk(
    exp_path: str | Path, first: int, last: int, *, bit_depth: int | str | None = None, page: int | None = None
) -> tuple[int, int]:
    """Run the sequence step of the frames ``first..last`` in this process.

    Args:
        exp_path: folder or YAML file.
        first: first frame.
        last: last frame, included.
        bit_depth: of :class:`pyptv.core.base.options.Options`.
        page: likewise.

    Returns:
        ``(first, last)``.

    Raises:
        ValueError: frames in the wrong order.
        ProcessingError: the experiment is not valid, or a frame failed.
    """
    first, last = (
        frame_number(whole_number(frame, name), name) for frame, name in ((first, "First frame"), (last, "Last frame"))
    )
    check_range(first, last)
    exp_path = path_argument(exp_path, "exp_path")
    from pyptv.core.app.preflight import prepare_job, shared_images
    from pyptv.core.execute.worker import Worker  # imports optv
    from pyptv.core.experiment.folder import load_experiment
    from pyptv.core.images.grey_values import decide
    from pyptv.core.stages.tasks import FramesTask, silent

    Options(bit_depth=bit_depth, page=page)  # checks them
    experiment = load_experiment(exp_path)
    decision = decide(experiment, bit_depth, page)
    if problems := [*decision.problems, *shared_images(experiment, (first, last))]:
        raise InvalidExperimentError(*problems)
    job = prepare_job(experiment, decision.settings)
    job.experiment.results.mkdir(exist_ok=True)
    with closing(Worker(job, silent)) as worker:
        for event in worker.events(FramesTask(0, first, last)):
            if isinstance(event, FrameFailed | TaskFailed):
                raise ProcessingError(event.reason)
    return first, last
