"""``--mode match``: which stored targets are matched."""

from __future__ import annotations

from dataclasses import replace

from pyptv.core.experiment.folder import Experiment
from pyptv.core.files.store import Store
from pyptv.core.history.resume import last_inputs


def with_targets(experiment: Experiment) -> Experiment:
    """An experiment that is to be matched again, with the folder of its targets chosen.

    An output folder whose targets were found in the experiment's images has its own targets, and these are used. An output folder
    whose targets are copies of the experiment's is ignored: the experiment's targets are used again, which may have changed.
    """
    if experiment.output is None:
        return experiment
    inputs = last_inputs(Store(experiment)).get("frames")
    before = inputs.get("targets") if isinstance(inputs, dict) else None
    folders = {experiment.targets_folder(camera) for camera in range(experiment.num_cams)}
    there = any(name.endswith("_targets") for folder in folders for name in experiment.listing.names(folder))
    if there and before != "beside the images":
        return replace(experiment, stored_targets="in the output")
    return experiment
