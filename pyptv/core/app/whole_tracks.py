"""After a run: ``--postprocess FORMAT`` writes its post-processed trajectories to ``res/export``."""

from __future__ import annotations

import logging

from pyptv.core.base.errors import InvalidExperimentError, ProcessingError
from pyptv.core.base.frames import FrameRange
from pyptv.core.base.options import Options
from pyptv.core.experiment.folder import Experiment
from pyptv.core.record.watcher import Watcher
from pyptv.export import FORMATS

logger = logging.getLogger(__name__)


def require(options: Options) -> None:
    """Report before the run whether its trajectories cannot be written.

    Raises:
        InvalidExperimentError: the run does not track, or a library is missing.
    """
    if not options.tracks:
        raise InvalidExperimentError(f"--postprocess: found --mode {options.mode}, expected a mode that tracks")
    try:
        FORMATS[str(options.postprocess)].require()
    except ProcessingError as error:
        raise InvalidExperimentError(f"--postprocess: {error}") from error


def write_trajectories(experiment: Experiment, frames: FrameRange, options: Options, watch: Watcher | None) -> None:
    """Post-process and write the trajectories of a run, and log what was done to them.

    Raises:
        ProcessingError: they cannot be written. The results of the run remain valid.
    """
    from pyptv.export.api import load, write  # numpy and scipy: only for --postprocess
    from pyptv.trajectories.postprocess import PostProcessing

    name = str(options.postprocess)
    first, last = frames
    try:
        with load(experiment, {name: None}, postprocess=PostProcessing(), first=first, last=last) as dataset:
            path = write(dataset, name)
            if dataset.processed is not None:
                logger.info("%s", dataset.processed.counts)
    except ProcessingError as error:
        raise ProcessingError(f"the results of the run are complete, but --postprocess failed: {error}") from error
    logger.info("Trajectories: %s", path)
    if watch is not None:
        watch.wrote(path)
