"""``--check``: everything that can be checked before a run, as a table; only a scratch folder is written."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from itertools import count

from pyptv.core.app.dense import is_dense
from pyptv.core.app.preflight import Findings, check_run, nearest, prepare_job
from pyptv.core.app.run import prepare
from pyptv.core.base.errors import InvalidExperimentError, ProcessingError
from pyptv.core.base.events import FrameDone, FrameFailed
from pyptv.core.base.frames import FrameRange
from pyptv.core.base.options import Engine, Mode, Options
from pyptv.core.engines.choice import Engines, choose
from pyptv.core.execute.runners import make_runner
from pyptv.core.experiment.folder import Experiment
from pyptv.core.files.scratch import remove_scratch
from pyptv.core.files.store import Store
from pyptv.core.record.progress import TRACKING_SECONDS_PER_PARTICLE, duration
from pyptv.core.record.tally import DONE, INVALID
from pyptv.core.schedule.plan import Plan
from pyptv.core.schedule.sequence import SequencePlan

_TRACKING_SHARE_OF_BYTES = 1.5
"""Size of the results on disk with tracking, relative to the sequence step alone."""

_STEPS: dict[Mode, str] = {"both": "sequence, tracking", "match": "sequence, from stored targets"}


@dataclass(frozen=True)
class Trial:
    """Estimates from the first frame."""

    frame: FrameDone
    engine: Engine
    sequence: float
    """Seconds of one process for the sequence step of a frame."""
    tracking: float
    """Likewise for the tracking step; 0 if there is none."""


def check_only(exp_path: str, first: int | None, last: int | None, options: Options) -> int:
    """Check an experiment, try its first frame, and print a table.

    Returns:
        The exit code: 0, or 2 where there is a problem.
    """
    try:
        experiment, frames = prepare(exp_path, first, last, options)
    except InvalidExperimentError as error:
        _print_rows([("Experiment", exp_path)])
        _print_list("Problems", list(error.problems))
        print("The run would not start.")  # noqa: T201 -- as below
        return INVALID
    findings = check_run(experiment, frames, options)
    try:
        engine: Engine = "compiled" if is_dense(experiment, options) else choose(options, frames, may_compile=False).begun
    except InvalidExperimentError as error:
        findings.problems += error.problems
    rows = _facts(experiment, frames, options.mode)
    if is_dense(experiment, options):
        rows += [("Method", "dense: neither time nor disk space can be estimated")]
    elif not findings.problems and options.processes and not any(spec.kind == "sequence" for spec in findings.plugins):
        trial = try_first_frame(experiment, frames, options, engine, findings)
        rows += _estimates(experiment, frames, options, trial, findings) if trial is not None else []
    _print_rows(rows)
    _print_list("Hints", findings.hints)
    _print_list("Problems", findings.problems)
    print("The run can start." if not findings.problems else "The run would not start.")  # noqa: T201
    return INVALID if findings.problems else DONE


def _facts(experiment: Experiment, frames: FrameRange, mode: Mode) -> list[tuple[str, str]]:
    ptv = experiment.parameters.ptv
    return [
        ("Experiment", str(experiment.folder)),
        *([("Output", str(experiment.output))] if experiment.output is not None else []),
        ("Parameters", str(experiment.source.relative_to(experiment.folder))),
        ("Frames", f"{frames[0]} to {frames[1]} ({frames[1] - frames[0] + 1})"),
        ("Steps", _STEPS.get(mode, mode)),
        ("Cameras", f"{experiment.num_cams}, {ptv.imx} x {ptv.imy} px" + (", in one split image" if ptv.splitter else "")),
    ]


def try_first_frame(
    experiment: Experiment, frames: FrameRange, options: Options, engine: Engine, findings: Findings
) -> Trial | None:
    """Process the first complete frame without writing; None if that fails, with the reason in ``findings``."""
    first = next((number for number in range(frames[0], frames[1] + 1) if number not in findings.missing), None)
    if first is None:
        return None
    try:
        frame = _process_one(experiment, first, engine, findings, tracking=options.tracks)
    except ProcessingError as error:
        # with --on-error skip the run leaves that frame out and continues
        (findings.hints if options.on_error == "skip" else findings.problems).append(str(error))
        return None
    tracking = frame.particles * TRACKING_SECONDS_PER_PARTICLE[engine] if options.mode == "both" else 0.0
    return Trial(frame, engine, sum(frame.seconds.values()), tracking)


def _estimates(
    experiment: Experiment, frames: FrameRange, options: Options, trial: Trial, findings: Findings
) -> list[tuple[str, str]]:
    """Time and disk space of the whole range, estimated from the first frame."""
    frame = trial.frame
    n, n_processes, both = frames[1] - frames[0] + 1, options.n_processes, options.mode == "both"
    seconds = n * (trial.sequence + trial.tracking) / n_processes
    workers = f"{n_processes} process{'es' if n_processes > 1 else ''}"
    size = n * frame.size * (_TRACKING_SHARE_OF_BYTES if both else 1)
    free = shutil.disk_usage(nearest(experiment.results)).free
    if size > free:
        findings.problems.append(f"{experiment.results}: {_bytes(free)} free on the disk, the results need about {_bytes(size)}")
    return [
        ("First frame", f"targets {', '.join(map(str, frame.targets))}; {frame.particles} particles"),
        ("Time", f"about {duration(seconds)} on {workers}, engine {trial.engine}"),
        ("Disk", f"about {_bytes(size)}, {_bytes(free)} free"),
    ]


def _process_one(experiment: Experiment, number: int, engine: Engine, findings: Findings, *, tracking: bool) -> FrameDone:
    job = prepare_job(experiment, findings.images, engine=engine, tracking=tracking, write=False)
    job = replace(job, hooks=findings.hooks)
    store = Store(experiment)
    sequence = SequencePlan([(number, number)], count(1), store, "probe", engines=Engines(engine))
    plan = Plan(job, store, sequence=sequence)
    try:
        for event in make_runner(job, 1).events(plan):
            for report in plan.record(event):
                if isinstance(report, FrameDone):
                    return report
                if isinstance(report, FrameFailed):
                    raise ProcessingError(report.reason)
    finally:
        remove_scratch(job.scratch)
    raise ProcessingError(f"frame {number}: not processed")


def _print_rows(rows: list[tuple[str, str]]) -> None:
    for name, value in rows:
        print(f"{name:<12} {value}")  # noqa: T201 -- the user asked for a table


def _print_list(title: str, items: list[str]) -> None:
    if items:
        print(f"{title}:")  # noqa: T201
    for item in items:
        print(f"  - {item}")  # noqa: T201


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
