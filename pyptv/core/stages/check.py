"""Existing results of the sequence step, read and checked as the tracker requires."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from pyptv.core.base.events import FrameDone
from pyptv.core.files.atomic import digest, frame_digest
from pyptv.core.files.formats import MAX_ROWS, PARTICLES, TARGET_COLUMNS, TARGETS, announced, check_frame
from pyptv.core.stages.tasks import Job


def check_results(job: Job, frame: int, files: Mapping[str, bytes], start: float) -> FrameDone:
    """The contents of the files of a frame, as the sequence step would report them.

    Args:
        job: of the run.
        frame: its number.
        files: short name -> bytes.
        start: when the work at the frame began (``time.perf_counter``).

    Raises:
        FormatError: a file in another format, or rows that refer to rows that do not exist.
    """
    paths = job.experiment.sequence_files(frame)
    cameras = [name for name in files if name != "rt_is"]
    particles = PARTICLES.parse(files["rt_is"], paths["rt_is"])
    n_targets = tuple(announced(files[name]) or 0 for name in cameras)
    if len(particles):  # without them the frame is not tracked, and PyPTV may have left anything in its _targets
        targets = [TARGETS.parse(files[name], paths[name]) for name in cameras]
        sources = [str(paths["rt_is"]), *(str(paths[name]) for name in cameras)]
        limited = job.engine == "optv" and job.dense is None
        check_frame(particles, targets, sources, most=MAX_ROWS if limited else None)
    views = sum((particles[column] >= 0).astype(int) for column in TARGET_COLUMNS[: len(cameras)])
    counts = tuple(int(np.sum(views == n)) for n in range(len(cameras), min(len(cameras), 2) - 1, -1))
    return FrameDone(
        frame=frame,
        targets=n_targets,
        counts=counts,
        particles=len(particles),
        digest=frame_digest(files),
        particles_digest=digest(files["rt_is"]),
        size=sum(map(len, files.values())),
        seconds={"read": time.perf_counter() - start},
    )
