"""All trajectories of an experiment at once, with velocity and acceleration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pyptv.core.experiment.folder import Experiment, load_experiment
from pyptv.trajectories.arrays import Trajectories
from pyptv.trajectories.fit import Fit
from pyptv.trajectories.links import linked_frames, tracked_frames
from pyptv.trajectories.stream import check_arguments

DEFAULT_WINDOW = 5
DEFAULT_ORDER = 2


def read_trajectories(
    experiment: str | Path | Experiment,
    first: int | None = None,
    last: int | None = None,
    *,
    min_length: int = 1,
    frame_rate: float | None = None,
    window: int = DEFAULT_WINDOW,
    order: int = DEFAULT_ORDER,
) -> Trajectories:
    """The trajectories of a tracked experiment.

    Takes about 150 bytes of memory per row while it works; the result has 88.

    Args:
        experiment: the experiment folder, a YAML parameter file in it, or what ``load_experiment`` returned.
        first: first frame number; default: the first one with a ``ptv_is`` file.
        last: last frame number; default: the last one with a ``ptv_is`` file. A trajectory that exceeds the range is
            cut; frames without a file, inside the range, end all trajectories.
        min_length: minimum number of frames. 1 also gives the particles without any link. Does not change ids.
        frame_rate: frames per second, for velocities in mm/s; default: ``sequence.frame_rate`` of the parameters; mm/frame
            if that is not known.
        window: odd number of frames in the fit of a polynomial to each stretch of a trajectory (Savitzky-Golay).
            Velocity and acceleration are NaN in trajectories that are shorter.
        order: of the polynomial, at least 2 and less than ``window``.

    Raises:
        ValueError: a bad argument.
        ProcessingError: no ``ptv_is`` file in the range, or scipy is not installed; an ``InvalidExperimentError`` if
            the experiment is not valid, a ``FormatError`` if a ``ptv_is`` file is damaged.
    """
    check_arguments(first, last, min_length)
    fit = Fit(window, order, frame_rate)
    if not isinstance(experiment, Experiment):
        experiment = load_experiment(experiment)
    if frame_rate is None and (stored := experiment.parameters.sequence.frame_rate):
        fit = replace(fit, frame_rate=stored)
    frames = list(linked_frames(experiment, tracked_frames(experiment, first, last)))
    identity = np.concatenate([frame.identity for frame in frames])
    kept = np.bincount(identity)[identity] >= min_length
    rows = np.flatnonzero(kept)[np.argsort(identity[kept], kind="stable")]  # keeps the order of frames within a trajectory
    counts = [len(frame.identity) for frame in frames]
    number = np.repeat(np.array([frame.number for frame in frames], dtype=np.int64), counts)[rows]
    position = np.concatenate([frame.position for frame in frames])[rows]
    del frames
    identity = identity[rows]
    velocity, acceleration = fit.derivatives(identity, position)
    return Trajectories(identity, number, position, velocity, acceleration, fit.frame_rate, window, order)
