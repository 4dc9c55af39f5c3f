"""``--mode match``: which stored targets a frame is made from."""

from __future__ import annotations

from dataclasses import replace

from pyptv.core.experiment.folder import Experiment
from pyptv.core.files.store import Store
from pyptv.core.history.resume import last_inputs


def with_targets(experiment: Experiment) -> Experiment:
    """An experiment that is to be matched again, with the place of the targets decided.

    An output folder that was filled from its experiment's images has targets of its own, and these count. One that was filled by
    matching the experiment's targets has copies: the experiment's count again, which may have changed since.
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
