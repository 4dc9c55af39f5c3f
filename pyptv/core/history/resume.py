"""Resuming: the inputs that results depend on, and which results of an earlier run are still valid."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pyptv.core.base.errors import InvalidExperimentError
from pyptv.core.base.frames import LARGEST_FRAME, FrameRange
from pyptv.core.base.options import Options
from pyptv.core.base.regular_files import read_regular
from pyptv.core.files.atomic import digest
from pyptv.core.files.store import Store
from pyptv.core.history.journal import Journal, differences, gather, start
from pyptv.core.history.parts import JOURNAL, Part, folders
from pyptv.core.stages.tasks import DenseJob, Job

logger = logging.getLogger(__name__)

RESULTS = 1
"""Raised whenever this program gives other results from the same inputs. The versions of this program, NumPy and Pillow are not
included: their operations here (elementary arithmetic, decoding of image files) have exact results."""

DENSE_RESULTS = 2
"""Likewise, for the dense method."""

FOLDER = "journal"
_MOST_CHANGES = 10


def begin(job: Job, store: Store, frames: FrameRange, options: Options, part: Part | None = None) -> tuple[Job, Journal | None]:
    """Start the journal of a run, and look up the results of earlier runs.

    A part of a job array has its own journal, and reads the main one and those of other parts that share frames with
    it. The run that combines the parts first merges their journals into the main one.

    Returns:
        The job, with the place for its own records; and the earlier journal, None if it is not needed.

    Raises:
        InvalidExperimentError: inputs of the frames to be kept have changed; the message lists the changes.
    """
    trees = stage_inputs(job)
    fingerprints = {stage: fingerprint(tree) for stage, tree in trees.items()}
    folder, others = _folders(store, frames, options, part)
    journal = None
    of_parts = part is not None or options.finish
    if options.resume or of_parts or options.mode == "tracking":
        # frames that are only tracked may come from any program and any inputs
        wanted = {"frames": None if options.mode == "tracking" else fingerprints["frames"], "track": fingerprints["track"]}
        journal = Journal(folder, frames, wanted, others, guesses=of_parts)
        if of_parts:
            _warn_of_changes(journal, trees, options)
        elif options.resume and not job.experiment.goes_backward:  # the forward pass has reported it
            _say_what_changed(journal, trees, options)
    does = {"frames": options.processes, "track": job.tracks}
    inputs = {stage: (fingerprints[stage], tree) for stage, tree in trees.items() if does[stage]}
    serial = start(folder, inputs, others, tidy=part is not None or store.alone)
    return replace(job, journal=folder, serial=serial, fingerprints=fingerprints), journal


def _folders(store: Store, frames: FrameRange, options: Options, part: Part | None) -> tuple[Path, list[Path]]:
    """The journal folder of a run, and further journal folders that it reads."""
    main = store.home / FOLDER
    of_parts = [folder / JOURNAL for folder in folders(store.parts, frames)]
    if part is not None:
        own = store.parts / part.name / JOURNAL
        own.mkdir(parents=True, exist_ok=True)
        return own, [main, *(folder for folder in of_parts if folder != own)]
    if options.finish:
        gather(main, of_parts)
        return main, []
    return main, of_parts


def _warn_of_changes(journal: Journal, trees: Mapping[str, Any], options: Options) -> None:
    """A part whose inputs have changed is processed again; the run that combines the parts treats it as missing."""
    if journal.other_frames and options.mode != "tracking":
        changed = differences(journal.inputs.get("frames"), trees["frames"])
        what = f": {'; '.join(changed[:_MOST_CHANGES])}" if changed else " (in between, the inputs were the present ones)"
        logger.warning("%d frames were made from other inputs and are ignored%s", journal.other_frames, what)


def _say_what_changed(journal: Journal, trees: Mapping[str, Any], options: Options) -> None:
    if not journal.inputs:
        logger.info("Nothing to resume: no run was recorded here")
        return
    changed = differences(journal.inputs.get("frames"), trees["frames"])
    if changed and options.processes and not journal.any_frame():
        raise InvalidExperimentError(
            f"Cannot resume, the inputs have changed since: {'; '.join(changed)}. "
            "Run without --resume to process all frames again"
        )
    if options.tracks and (changed := differences(journal.inputs.get("track"), trees["track"])):
        logger.info("Tracking starts again, its inputs have changed since: %s", "; ".join(changed))


def last_inputs(store: Store) -> dict[str, Any]:
    """Stage -> the inputs recorded by the last run, or part, of an experiment that recorded them."""
    of_parts = [folder / JOURNAL for folder in folders(store.parts, (0, LARGEST_FRAME))]
    return Journal(store.home / FOLDER, (0, 0), {"frames": None, "track": None}, of_parts).inputs


def fingerprint(tree: Any) -> str:
    """A fingerprint of a tree of inputs."""
    return digest(json.dumps(tree, sort_keys=True).encode())


def stage_inputs(job: Job) -> dict[str, Any]:
    """Stage -> the inputs that its results depend on, except the images and earlier stages."""
    experiment = job.experiment
    parameters = experiment.parameters.as_tree()
    for section, key in (
        *(("sequence", key) for key in ("first", "last", "frame_rate")),
        *(("ptv", key) for key in ("bit_depth", "page", "method")),
    ):
        parameters[section].pop(key, None)  # their effect is contained in "grey values" and in "dense"
    parameters.pop("dense")
    versions = {"results": RESULTS, "optv": version("optv")}
    calibrations = {f"camera {n}": asdict(calibration) for n, calibration in enumerate(experiment.calibrations, start=1)}
    track = parameters.pop("track")
    masks = {}
    if parameters["masking"]["mask_flag"] and not experiment.parameters.pft_version.existing_target:
        masks = {path.name: _contents(path) for path in map(experiment.mask_path, range(experiment.num_cams))}
    frames: dict[str, Any] = {
        "versions": versions,
        "parameters": parameters,
        "calibrations": calibrations,
        "masks": masks,
        "grey values": asdict(job.images.grey),
    }
    if experiment.stored_targets is not None:
        frames["targets"] = experiment.stored_targets
        del parameters["targ_rec"]  # nothing is detected
    for number, spec in enumerate(job.hooks, start=1):  # the path of the file does not matter
        frames[f"hook {number}"] = asdict(replace(spec, file=""))
    by_plugin = {spec.kind: asdict(replace(spec, file="")) for spec in job.plugins}
    if "sequence" in by_plugin:
        frames["plugin"] = by_plugin["sequence"]
    geometry = {section: parameters[section] for section in ("ptv", "criteria")}
    tracking: dict[str, Any] = {"versions": versions, "parameters": {"track": track} | geometry, "calibrations": calibrations}
    if "tracking" in by_plugin:
        tracking["plugin"] = by_plugin["tracking"]
    if job.dense is not None:
        return _dense_inputs(job.dense, frames, tracking)
    return {"frames": _as_json(frames), "track": _as_json(tracking)}


def _dense_inputs(dense: DenseJob, frames: dict[str, Any], tracking: dict[str, Any]) -> dict[str, Any]:
    """The same for the dense method, which detects nothing and has its own settings.

    Its kernels use floating-point arithmetic: the code that numba generates may change with its version.
    """
    parameters = {section: values for section, values in frames["parameters"].items() if section != "targ_rec"}
    versions = {"dense results": DENSE_RESULTS, "numba": version("numba"), "numpy": version("numpy")}
    settings = {"self_calibration": dense.self_calibration, "passes": dense.passes}
    return {
        "frames": _as_json(frames | {"versions": versions, "parameters": parameters, "dense": settings}),
        "track": _as_json(tracking | {"versions": versions, "dense": {"min_track": dense.min_track}}),
    }


def _contents(path: Path) -> str | None:
    try:
        return digest(read_regular(path))
    except OSError:
        return None


def _as_json(tree: Any) -> Any:
    """Tuples as lists, as they are read back from a file."""
    if isinstance(tree, dict):
        return {key: _as_json(value) for key, value in tree.items()}
    return [_as_json(value) for value in tree] if isinstance(tree, list | tuple) else tree
