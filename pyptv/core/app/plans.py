"""The plan of a run, and the runner that executes it, as the options require."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from pyptv.core.app.dense import dense_plan
from pyptv.core.app.parts import Parts, share_of
from pyptv.core.app.watch import Arrivals
from pyptv.core.base.frames import FrameRange
from pyptv.core.base.options import Options
from pyptv.core.engines.choice import Engines
from pyptv.core.execute.cluster.runner import ClusterRunner
from pyptv.core.execute.runners import Runner as LocalRunner
from pyptv.core.execute.runners import make_runner
from pyptv.core.files.store import Store
from pyptv.core.history.parts import Part
from pyptv.core.schedule.dense import DensePlan
from pyptv.core.schedule.plan import Plan
from pyptv.core.schedule.sequence import SequencePlan, run_chunks
from pyptv.core.schedule.tracking import TrackingPlan
from pyptv.core.stages.tasks import FramesKind, Job, Past

logger = logging.getLogger(__name__)

Runner = LocalRunner | ClusterRunner

SECONDS_A_TASK = 2.0
"""For tasks on a cluster, where each costs the scheduler some milliseconds."""

_MOST_SHOWN = 12


def runner_of(job: Job, options: Options, store: Store, client: Any) -> Runner:
    """The runner: the workers of a Dask scheduler if there is a client, otherwise this machine."""
    if client is not None:
        return ClusterRunner(job, client, store.home, options.frame_timeout)
    return make_runner(job, options.n_processes, options.start_method, options.frame_timeout)


def make_plan(
    job: Job,
    store: Store,
    frames: FrameRange,
    options: Options,
    *,
    engines: Engines,
    ids: Iterator[int],
    past: Callable[[int], Past | None],
    part: Part | None = None,
    parts: Parts | None = None,
) -> Plan | DensePlan:
    """The plan of a run.

    Args:
        job: of the run.
        store: where its files are.
        frames: first and last.
        options: of the run.
        engines: of each step.
        ids: numbers for tasks.
        past: the journal entries of an earlier run for a frame.
        part: the part of a job array that the run processes.
        parts: those that the run combines.
    """
    if job.dense is not None:
        return dense_plan(frames, store, options, job.dense)
    in_pieces = options.on_cluster or options.watch  # task size follows the measured time
    sequence = SequencePlan(
        *(_chunks(frames, options, parts, in_pieces=in_pieces), ids, store, _kind(job, parts)),
        engines=engines,
        past=past,
        shown=options.n_processes > 1 and not in_pieces,
        seconds=SECONDS_A_TASK if in_pieces else None,
        expects=options.watch,
    )
    tracking = None
    if job.tracks:
        speculate = options.n_processes > 1 and not options.serial_tracking
        early = speculate or options.watch
        tracking = TrackingPlan(*(frames, ids, store, engines), speculate=speculate, early=early, share=share_of(part))
    feed = Arrivals(job.experiment, frames, options.until_idle) if options.watch else None
    return Plan(job, store, sequence=sequence, tracking=tracking, feed=feed)


def _kind(job: Job, parts: Parts | None) -> FramesKind:
    if not job.processes:
        return "check"
    return "process" if parts is None else "keep"


def _chunks(frames: FrameRange, options: Options, parts: Parts | None, *, in_pieces: bool) -> list[FrameRange]:
    chunks = [frames] if in_pieces else run_chunks(frames, options.n_processes)
    if parts is not None:
        chunks = parts.in_order(chunks)
    if options.n_processes > 1 and len(chunks) > 1:
        more = f" and {len(chunks) - _MOST_SHOWN} more" if len(chunks) > _MOST_SHOWN else ""
        logger.info("Frame chunks: %s%s", chunks[:_MOST_SHOWN], more)
    return chunks
