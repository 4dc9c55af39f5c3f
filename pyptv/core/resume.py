"""Going on where another run stopped: what of its work still counts."""

from __future__ import annotations

import logging
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pyptv import __version__
from pyptv.core.errors import InvalidExperimentError
from pyptv.core.frames import FrameRange
from pyptv.core.journal import Past, differences, read_journal
from pyptv.core.options import Options
from pyptv.core.store import Store
from pyptv.core.tasks import Job

logger = logging.getLogger(__name__)

JOURNAL = "journal.jsonl"


def kept_past(job: Job, store: Store, frames: FrameRange, inputs: dict[str, Any], options: Options) -> Past:
    """What earlier runs have done that still counts: for this run with ``resume``, for later ones in any case.

    Raises:
        InvalidExperimentError: what the frames to be kept were made from has changed; says what.
    """
    past = read_journal(store.home / JOURNAL)
    if past.inputs is None:
        if options.resume:
            logger.info("Nothing to resume: no run was recorded here")
        return Past()
    changed = differences(past.inputs, inputs)
    if not options.resume:
        return Past() if changed else _without_this_run(past, frames, options)
    if changed:
        raise InvalidExperimentError(
            "Cannot resume, the inputs have changed since (run without --resume to process all frames again):", *changed
        )
    return _still_whole(past, job, store, frames, options)


def _without_this_run(past: Past, frames: FrameRange, options: Options) -> Past:
    first, last = frames
    redone = options.mode != "tracking"
    others = {n: frame for n, frame in past.frames.items() if not (redone and first <= n <= last)}
    steps = {n: step for n, step in past.steps.items() if not first <= n <= last}
    return Past(past.inputs, others, steps)


def _still_whole(past: Past, job: Job, store: Store, frames: FrameRange, options: Options) -> Past:
    """The frames whose files are there as they were written, and whose images are the same."""
    kept = Past(past.inputs)
    experiment = job.experiment
    changed = []
    for number, frame in past.frames.items():
        paths = [experiment.image_path(which, number) for which in range(len(frame.images))]
        stamps = tuple(_stamp(path) for path in paths)
        changed += [str(path) for path, was, now in zip(paths, frame.images, stamps, strict=True) if was != now]
        if store.sequence_digest(number) == frame.digest:
            kept.frames[number] = frame
            step = past.steps.get(number)
            if step is not None and store.tracked_digest(number) == step.digest:
                kept.steps[number] = step
    if changed:
        shown = ", ".join(changed[:3])
        raise InvalidExperimentError(
            f"Cannot resume, {len(changed)} images have changed since they were processed: {shown}"
            f"{' ...' if len(changed) > 3 else ''}. Run without --resume to process all frames again"  # noqa: PLR2004
        )
    first, last = frames
    in_range = sum(first <= number <= last for number in kept.frames)
    tracked = sum(first <= number <= last for number in kept.steps) if options.mode != "sequence" else 0
    logger.info("Resuming: %d frames are done already and kept, %d of them are tracked", in_range, tracked)
    return kept


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
        "16-bit images hold 8-bit values": job.images.eight_bit_values,
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
