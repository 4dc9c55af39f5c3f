"""Going on where another run stopped: what of its work still counts."""

from __future__ import annotations

import logging
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pyptv import __version__
from pyptv.core.base.errors import InvalidExperimentError
from pyptv.core.base.events import FrameDone
from pyptv.core.base.frames import FrameRange
from pyptv.core.base.options import Options
from pyptv.core.files.store import Store
from pyptv.core.history.journal import Past, differences, read_journal
from pyptv.core.stages.tasks import Job

logger = logging.getLogger(__name__)

JOURNAL = "journal.jsonl"
_MOST_NAMED = 3


def kept_past(job: Job, store: Store, frames: FrameRange, inputs: dict[str, Any], options: Options) -> tuple[Past, Past]:
    """What earlier runs have done that still counts.

    Returns:
        What stays in the journal, for later runs; and what this run need not do again (nothing without ``resume``).

    Raises:
        InvalidExperimentError: what the frames to be kept were made from has changed; says what.
    """
    past = read_journal(store.home / JOURNAL)
    if past.inputs is None:
        if options.resume:
            logger.info("Nothing to resume: no run was recorded here")
        return Past(), Past()
    changed = differences(past.inputs, inputs)
    if changed and options.resume:
        raise InvalidExperimentError(
            f"Cannot resume, the inputs have changed since: {'; '.join(changed)}. "
            "Run without --resume to process all frames again"
        )
    others = _outside(past, frames, options)
    if not options.resume:
        return (Past() if changed else others), Past()
    done = _still_whole(past, job, store, frames, options)
    return Past(past.inputs, others.frames | done.frames, others.steps | done.steps), done


def _outside(past: Past, frames: FrameRange, options: Options) -> Past:
    """What a run does not do again: frames outside its range, and the sequence step where it only tracks."""
    first, last = frames
    tracking_only = options.mode == "tracking"
    return Past(
        past.inputs,
        {n: frame for n, frame in past.frames.items() if tracking_only or not first <= n <= last},
        {n: step for n, step in past.steps.items() if not first <= n <= last},
    )


def _still_whole(past: Past, job: Job, store: Store, frames: FrameRange, options: Options) -> Past:
    """The frames of a range whose files are there as they were written, and whose images are the same.

    With ``--mode tracking`` the sequence step's results are checked in any case, so that only links are kept.
    """
    first, last = frames
    done = Past(past.inputs)
    if options.mode != "tracking":
        in_range = {n: frame for n, frame in past.frames.items() if first <= n <= last}
        _refuse_changed_images(job, in_range)
        done.frames = {n: frame for n, frame in in_range.items() if store.sequence_digest(n) == frame.digest}
    if options.mode != "sequence":
        may_stay = [step for n, step in past.steps.items() if first <= n <= last]
        may_stay = [step for step in may_stay if options.mode == "tracking" or step.frame in done.frames]
        done.steps = {step.frame: step for step in may_stay if store.tracked_digest(step.frame) == step.digest}
    if options.mode == "tracking":
        logger.info("Resuming: %d frames are tracked already and kept", len(done.steps))
    else:
        logger.info("Resuming: %d frames are done already and kept, %d of them are tracked", len(done.frames), len(done.steps))
    return done


def _refuse_changed_images(job: Job, frames: dict[int, FrameDone]) -> None:
    changed = []
    for number, frame in frames.items():
        paths = [job.experiment.image_path(which, number) for which in range(len(frame.images))]
        changed += [str(path) for path, was in zip(paths, frame.images, strict=True) if was != _stamp(path)]
    if changed:
        more = f" and {len(changed) - _MOST_NAMED} more" if len(changed) > _MOST_NAMED else ""
        raise InvalidExperimentError(
            f"Cannot resume, {len(changed)} images have changed since they were processed: "
            f"{', '.join(changed[:_MOST_NAMED])}{more}. Run without --resume to process all frames again"
        )


def run_inputs(job: Job) -> dict[str, Any]:
    """Everything but the images that results depend on: what ``--resume`` compares."""
    parameters = job.experiment.parameters.as_tree()
    for key in ("first", "last"):
        del parameters["sequence"][key]
    masks = (
        [job.experiment.mask_path(c) for c in range(job.experiment.num_cams)]
        if job.images and parameters["masking"]["mask_flag"]
        else []
    )
    calibrations = {f"camera {n}": asdict(calibration) for n, calibration in enumerate(job.experiment.calibrations, start=1)}
    inputs = {
        "versions": {"pyptv-batch": __version__, **{name: version(name) for name in ("optv", "numpy", "Pillow")}},
        "parameters": parameters,
        "calibrations": calibrations,
        "masks": {path.name: _stamp(path) for path in masks},
        "grey values": asdict(job.images.grey),
    }
    plain: dict[str, Any] = _as_json(inputs)
    return plain


def _as_json(tree: Any) -> Any:
    """Tuples as lists, as they come back from a file."""
    if isinstance(tree, dict):
        return {key: _as_json(value) for key, value in tree.items()}
    return [_as_json(value) for value in tree] if isinstance(tree, list | tuple) else tree


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
