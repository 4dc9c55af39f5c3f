"""One run of the tracker over a range of frames, a frame at a time: from the pristine sequence results into a stage folder."""

from __future__ import annotations

import time
from collections.abc import Iterator

from pyptv.core.base.errors import ProcessingError
from pyptv.core.base.events import StepDone, StepNumbers
from pyptv.core.engines.shape import Tracker, make_tracker
from pyptv.core.experiment.parameters import MAX_CAMERAS
from pyptv.core.files.store import Store
from pyptv.core.stages.tasks import Announce, Control, Frontier, Job, Stop, TrackingTask
from pyptv.core.stages.unused_columns import UnusedColumns


class TrackingRun:
    """Tracks from ``task.first`` on; :meth:`steps` yields each frame as it becomes final."""

    def __init__(self, job: Job, task: TrackingTask, control: Control, announce: Announce) -> None:
        self._task = task
        self._control = control
        self._announce = announce
        self._store = Store(job.experiment)
        self._frontier, self._end = task.frontier, task.end
        self._stopped = False
        task.stage.mkdir(parents=True, exist_ok=True)
        last = task.limit if task.end is None else task.end
        scratch = None if job.scratch is None else job.scratch / f"r{task.id}"
        self._tracker: Tracker = make_tracker(job.engine, job.experiment, last - task.first + 1, scratch)
        self._inputs: dict[int, dict[str, bytes]] = {}
        self._unused = UnusedColumns(self._store, task.stretch) if job.experiment.num_cams < MAX_CAMERAS else None
        self._fed = task.first - 1
        self.complete = False
        """Whether the run came to the end of its stretch."""

    def steps(self) -> Iterator[StepDone]:
        """Track; ends at the end of the stretch, when told to stop, or where no more frames are ready."""
        try:
            frame = self._task.first
            while self._may_go_on(frame):
                start = time.perf_counter()
                self._feed(min(frame + self._tracker.LOOK_AHEAD, self._frontier))
                self._announce(frame, "tracking")
                try:
                    yield self._take(frame, self._step(frame), start)
                except ProcessingError as error:
                    raise ProcessingError(f"frame {frame}: {error}") from error
                if frame == self._end:
                    self.complete = True
                    return
                frame += 1
        finally:
            self._tracker.close()

    def _step(self, frame: int) -> StepNumbers | None:
        if frame != self._end:
            return self._tracker.step()
        self._tracker.finish()
        return None

    def _may_go_on(self, frame: int) -> bool:
        for message in self._control.messages():
            if isinstance(message, Stop) and message.task == self._task.id:
                self._stopped = True
            elif isinstance(message, Frontier) and message.task == self._task.id:
                self._frontier = message.frontier
                if message.end is not None and message.end != self._end:
                    self._end = message.end
                    self._tracker.end_at(message.end - self._task.first + 1)
        ready = self._end is not None or frame + self._tracker.LOOK_AHEAD <= self._frontier
        return ready and not self._stopped

    def _feed(self, until: int) -> None:
        while self._fed < until:
            frame = self._fed + 1
            self._announce(frame, "reading the sequence step's results")
            self._inputs[frame] = self._store.sequence_input(frame)
            try:
                self._tracker.feed(frame - self._task.first + 1, self._inputs[frame])
            except ProcessingError as error:
                raise ProcessingError(f"frame {frame}: {error}") from error
            self._fed = frame

    def _take(self, frame: int, numbers: StepNumbers | None, start: float) -> StepDone:
        """Put what the tracker made of a frame into the stage."""
        self._announce(frame, "storing the links")
        written = self._tracker.take(frame - self._task.first + 1)
        pristine = self._inputs.pop(frame)
        if self._unused is not None:
            written["rt_is"] = self._unused.settle(frame, pristine["rt_is"], written["rt_is"])
        fingerprint = self._store.stage_tracking(self._task.stage, frame, pristine, written)
        return StepDone(
            run=self._task.id,
            frame=frame,
            digest=fingerprint,
            **_settled(numbers, written["ptv_is"])._asdict(),
            last=self._end,
            seconds=time.perf_counter() - start,
        )


def _settled(said: StepNumbers | None, table: bytes) -> StepNumbers:
    """A step's numbers with the links and losses that its ``ptv_is`` holds; None: the last frame, where nothing is lost.

    The tracker itself counts every claim of a particle, those that a cheaper one replaced included.
    """
    n_particles, *rows = table.splitlines()
    particles, links = int(n_particles), sum(map(_is_linked, rows))
    return StepNumbers(particles, 0, 0, 0, 0) if said is None else said._replace(links=links, lost=particles - links)


def _is_linked(row: bytes) -> bool:
    return not row.split(maxsplit=2)[1].startswith(b"-")
