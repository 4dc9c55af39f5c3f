"""The second half of ``--tracking both``: track the frames from the end, then combine the links of both passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from pyptv.core.app.plans import SECONDS_A_TASK, runner_of
from pyptv.core.base.events import Event, FrameFailed, LinksJoined, Note, StepDone
from pyptv.core.base.frames import FrameRange
from pyptv.core.base.options import Options
from pyptv.core.engines.choice import Engines
from pyptv.core.experiment.passes import backward_pass, mirrored
from pyptv.core.files.store import Store
from pyptv.core.history.resume import begin
from pyptv.core.record.tally import Tally
from pyptv.core.schedule.plan import Phases, Plan
from pyptv.core.schedule.sequence import SequencePlan, nothing, run_chunks
from pyptv.core.schedule.tracker_runs import SeamCounts
from pyptv.core.schedule.tracking import TrackingPlan
from pyptv.core.stages.tasks import Job


class BackwardPass:
    """A tracking run over the results of the forward pass, in reverse order; all its frame numbers are mirrored."""

    def __init__(
        self,
        job: Job,
        frames: FrameRange,
        options: Options,
        ids: Iterator[int],
        *,
        engines: Engines,
        seams: SeamCounts | None = None,
        client: Any = None,
    ) -> None:
        """Start the backward pass.

        Args:
            job: of the forward pass, which is complete.
            frames: of the run, in the experiment's numbers.
            options: of the run.
            ids: numbers for tasks and tracker runs, different from those of the forward pass.
            engines: of the run.
            seams: those of the forward pass, to which those of this one are added.
            client: of a Dask scheduler whose workers do it; None: this machine.
        """
        experiment = backward_pass(job.experiment)
        store, frames = Store(experiment), mirrored(frames)
        store.open_backward()
        job = replace(job, experiment=experiment, processes=False, tracks=True, engine=engines.taken)
        job, journal = begin(job, store, frames, replace(options, mode="tracking", finish=False))
        n = options.n_processes
        speculate = n > 1 and not options.serial_tracking
        tracking = TrackingPlan(frames, ids, store, engines, speculate=speculate, seams=seams)
        past = journal.past if journal is not None else nothing
        chunks, seconds = ([frames], SECONDS_A_TASK) if client is not None else (run_chunks(frames, n), None)
        checks = SequencePlan(chunks, ids, store, "check", engines=engines, past=past, shown=False, seconds=seconds)
        joins = SequencePlan(chunks, ids, store, "join", engines=engines, shown=False, seconds=seconds)
        self.plan = Phases(Plan(job, store, sequence=checks, tracking=tracking), Plan(job, store, sequence=joins))
        self.runner = runner_of(job, options, store, client)
        self._true_frame = experiment.true_frame

    def pass_on(self, event: Event, tally: Tally, take: Callable[[Event], None], count: Callable[[Event], None]) -> None:
        """Report an event with the experiment's frame number, unless the first pass has already reported the same."""
        if isinstance(event, StepDone):
            count(replace(event, frame=self._true_frame(event.frame)))
        elif isinstance(event, FrameFailed | LinksJoined):
            frame = self._true_frame(event.frame)
            if not (isinstance(event, FrameFailed) and frame in tally.failed):
                take(replace(event, frame=frame))
        elif isinstance(event, Note):
            take(event)
