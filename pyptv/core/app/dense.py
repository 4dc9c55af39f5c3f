"""The dense method in a run: whether it is requested, its requirements, its job and its plan."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

from pyptv.core.base.errors import InvalidExperimentError
from pyptv.core.base.frames import FrameRange, chunk_ranges
from pyptv.core.base.options import DENSE_NEEDS_ALL, Options
from pyptv.core.base.regular_files import is_there
from pyptv.core.engines.choice import Engines, compile_now
from pyptv.core.experiment.folder import Experiment
from pyptv.core.files.store import Store
from pyptv.core.schedule.dense import LINKS_ALONE, SINGLE_FRAMES, DensePlan, DenseStep, steps_over_time
from pyptv.core.stages.tasks import DenseJob, table_name
from pyptv.kernels import cache

_SAMPLE = 5
"""Number of frames that the self-calibration uses."""
_LONGEST_CHUNK = 8
"""A frame takes seconds: short chunks let the last ones end at about the same time."""
_ROUNDS = 4


def is_dense(experiment: Experiment, options: Options) -> bool:
    """Whether a run uses the dense method."""
    return (options.method or experiment.parameters.ptv.method) == "dense"


def dense_problems(experiment: Experiment, options: Options, *, code_of_others: bool) -> list[str]:
    """Why the dense method cannot be used; compiles nothing.

    Args:
        experiment: that is to be processed.
        options: of the run.
        code_of_others: whether it has hooks or plugins, in its options or parameters.
    """
    source, problems = experiment.source, []
    if options.mode != "tracking" and experiment.parameters.pft_version.existing_target:
        problems.append(
            f"{source}: found Existing_Target, expected images: the dense method finds particles in the images themselves"
        )
    if options.mode != "tracking" and experiment.num_cams < 2:
        problems.append(f"{source}: found 1 camera, expected 2 to 4: the dense method measures positions from several views")
    if options.mode == "match":
        problems.append("--mode match: found with --method dense, which takes no stored targets: leave one of them out")
    if options.tracking == "both":
        problems.append("--tracking both: found with --method dense, which links both ways anyway: leave it out")
    if code_of_others:
        problems.append("hooks and plugins: found with --method dense, which has no place for them: leave them out (--hook none)")
    if options.watch:
        problems.append(f"--watch: found with the method dense: {DENSE_NEEDS_ALL}")
    if options.engine == "optv":
        problems.append("--engine optv: found with --method dense, which has compiled kernels only: leave it out")
    if not cache.installed():
        problems.append('--method dense needs numba: pip install "pyptv-batch[fast]"')
    return problems


def prepare_kernels() -> Engines:
    """Compile the kernels if necessary; returns the engine that uses them.

    Raises:
        InvalidExperimentError: they are not available here.
    """
    try:
        compile_now(cache.FOR_DENSE)
    except cache.KernelsUnavailableError as error:
        raise InvalidExperimentError(f"--method dense: {error}") from error
    return Engines("compiled")


def dense_job(experiment: Experiment, frames: FrameRange, options: Options) -> DenseJob:
    """The job of a run over ``frames``, or of one of its parts, for the workers."""
    parameters = experiment.parameters.dense
    calibrates = parameters.self_calibration if options.self_calibration is None else options.self_calibration
    return DenseJob(
        frames=frames,
        sample=self_calibration_sample(experiment, frames) if options.mode != "tracking" else (),
        self_calibration=calibrates,
        passes=parameters.passes if options.mode == "both" else 1,
        min_track=parameters.min_track if options.min_track is None else options.min_track,
        resume=options.resume or options.part is not None or options.finish,
        only_found=options.finish and options.mode != "tracking",
    )


def dense_plan(frames: FrameRange, store: Store, options: Options, dense: DenseJob) -> DensePlan:
    """The plan of a run over ``frames``, or of the part of them that a job of an array processes."""
    n_frames = frames[1] - frames[0] + 1
    length = max(1, min(_LONGEST_CHUNK, n_frames // (_ROUNDS * options.n_processes)))
    chunks = chunk_ranges(*frames, -(-n_frames // length))
    steps: dict[str, Callable[[int], list[DenseStep]]] = {
        "both": partial(steps_over_time, min_track=dense.min_track),
        "sequence": lambda _: SINGLE_FRAMES,
        "tracking": lambda _: LINKS_ALONE,
    }
    begins, ends = frames[0] == dense.frames[0], frames[1] == dense.frames[1]
    return DensePlan(
        *(frames, chunks, count(1), store, steps[options.mode]),
        stop_at_failure=options.on_error != "skip",
        begins=begins,
        ends=ends,
    )


def done_ahead(store: Store, frame: int) -> bool:
    """Whether a part of a job array has found a frame's particles; a worker checks whether it did so from the same inputs."""
    return store.tables.header(table_name("find", 1), frame) is not None


def self_calibration_sample(experiment: Experiment, frames: FrameRange) -> tuple[int, ...]:
    """Frames spread over the experiment, not over the range, so that ranges processed one by one get the same correction.

    If the parameters name frames that do not exist, frames of the range are used.
    """
    sequence = experiment.parameters.sequence
    for first, last in ((sequence.first, sequence.last), frames):
        n = last - first + 1
        picked = (
            sorted({first + (2 * k + 1) * n // (2 * _SAMPLE) for k in range(_SAMPLE)}) if n > _SAMPLE else range(first, last + 1)
        )
        there = [frame for frame in picked if all(map(is_there, _images(experiment, frame)))]
        if there:
            return tuple(there)
    return (frames[0],)


def _images(experiment: Experiment, frame: int) -> list[Path]:
    return [experiment.image_path(which, frame) for which in range(experiment.images_per_frame)]
