"""The stage that links frames: a tracker run, piece by piece, published or written to a stage folder.

A worker keeps its last run in memory, so that the next piece continues without reading anything again. If
another worker does the next piece, it continues from the state that was saved at the end of the last one.
"""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from pyptv.core.base.errors import ProcessingError
from pyptv.core.base.events import Event, StepDone, StepNumbers, TaskDone
from pyptv.core.base.regular_files import read_regular
from pyptv.core.engines.shape import Tracker, make_tracker
from pyptv.core.files.atomic import frame_digest, write_atomic
from pyptv.core.files.formats import count_links
from pyptv.core.files.store import Store
from pyptv.core.stages.proof import EQUAL_FRAMES, known, same_state, state_tag
from pyptv.core.stages.tasks import Announce, Job, TrackTask


class LostStateError(Exception):
    """The state that a task continues from is neither in memory nor on disk, or does not match the existing frames."""


class TrackingRun:
    """A tracker run in this process, after the step of frame :attr:`at`."""

    def __init__(self, job: Job, task: TrackTask, store: Store, announce: Announce) -> None:
        self.run = task.run
        self.at = task.first - 1
        self._store = store
        self._announce = announce
        self._knows_frames = job.processes
        self._part = job.part
        self._fed = task.first - 1
        self._inputs: dict[int, dict[str, bytes]] = {}
        self._recent: deque[StepDone] = deque(maxlen=EQUAL_FRAMES)
        self._scratch = None if job.scratch is None else job.scratch / f"run-{task.run}-{next(_serial)}"
        self.tracker: Tracker = make_tracker(task.engine, job.experiment, task.first, self._scratch)

    def go_on(self, task: TrackTask, saved: Path) -> None:
        """Load the state after the frame before a task.

        Raises:
            LostStateError: it cannot be loaded.
        """
        frame = task.first - 1
        self._fed = max(frame - 1, task.stretch) - 1
        try:
            self._feed(frame + 2)
            self.tracker.go_on(frame, read_regular(saved))
        except (OSError, ValueError, ProcessingError) as error:
            raise LostStateError(f"{saved}: {error}") from error
        self._inputs = {number: files for number, files in self._inputs.items() if number > frame}
        self.at = frame

    def steps(self, task: TrackTask) -> Iterator[StepDone]:
        """The frames of a task; it ends early where its state equals that of the run that it meets."""
        if task.end is not None:
            self.tracker.end_at(task.end)
        for frame in range(task.first, task.last + 1):
            start = time.perf_counter()
            try:
                self._feed(
                    frame + self.tracker.LOOK_AHEAD if task.end is None else min(frame + self.tracker.LOOK_AHEAD, task.end)
                )
                self._announce(frame, "tracking")
                numbers = self._step(frame, task.end)
                step = self._store_frame(frame, numbers, task, start)
            except ProcessingError as error:
                raise ProcessingError(f"frame {self._store.experiment.true_frame(frame)}: {error}") from error
            self.at = frame
            self._recent.append(step)
            yield step
            if same_state({done.frame: known(done) for done in self._recent}, task.meets, frame):
                return

    def save(self, task: TrackTask) -> str | None:
        """Save the state for another worker or a later run; returns the file, None if the state is not available."""
        data = self.tracker.save()
        if data is None:
            return None
        tag = state_tag({step.frame: known(step) for step in self._recent}, task.stretch, self.at) or "unproven"
        if task.stage is None:
            return str(self._store.save_state(task.stretch, self.at, tag, data))
        path = task.stage.parent / f"state-{self.at}-{tag}" if task.keeps else task.stage / f"state-{self.at}"
        write_atomic(path, data)
        if task.saved is not None and task.saved.parent == path.parent and task.saved != path:
            task.saved.unlink(missing_ok=True)
        return str(path)

    def close(self) -> None:
        """Release the tracker's resources."""
        self.tracker.close()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _step(self, frame: int, end: int | None) -> StepNumbers | None:
        if frame != end:
            return self.tracker.step()
        self.tracker.finish()
        return None

    def _feed(self, until: int) -> None:
        while self._fed < until:
            frame = self._fed + 1
            self._announce(frame, "reading the sequence step's results")
            self._inputs[frame] = self._store.sequence_input(frame)
            self.tracker.feed(frame, self._inputs[frame])
            self._fed = frame

    def _store_frame(self, frame: int, numbers: StepNumbers | None, task: TrackTask, start: float) -> StepDone:
        """Publish the tracker's results of a frame, or write them to the stage folder."""
        self._announce(frame, "storing the links")
        written = self.tracker.take(frame)
        pristine = self._inputs.pop(frame)
        self._store.put_tracked(task.stage, frame, pristine, written)
        return StepDone(
            run=task.run,
            frame=frame,
            digest=frame_digest(written),
            **_settled(numbers, written["ptv_is"])._asdict(),
            stretch=task.stretch,
            last=task.end,
            seconds=time.perf_counter() - start,
            state=self.tracker.state() if task.compares or frame in task.meets else "",
            published=task.stage is None,
            sequence="" if self._knows_frames else frame_digest(pristine),
            part=self._part if task.keeps else "",
        )


class Tracking:
    """The tracker runs of a worker, which keeps one at a time in memory."""

    def __init__(self, job: Job, store: Store, announce: Announce) -> None:
        self._job = job
        self._store = store
        self._announce = announce
        self._live: TrackingRun | None = None

    def events(self, task: TrackTask) -> Iterator[Event]:
        """Do a task. A lost state ends it before its first frame."""
        try:
            run = self._run_for(task)
        except LostStateError as lost:
            self.close()
            yield TaskDone(task.id, lost=str(lost))
            return
        try:
            yield from run.steps(task)
            saved = run.save(task)
        except BaseException:
            self.close()
            raise
        if run.at == task.end:
            self.close()
        yield TaskDone(task.id, interrupted=run.at < task.last, saved=saved)

    def _run_for(self, task: TrackTask) -> TrackingRun:
        live = self._live
        if live is not None and (live.run, live.at) == (task.run, task.first - 1) and not task.begins:
            return live
        self.close()
        run = TrackingRun(self._job, task, self._store, self._announce)
        self._live = run
        if not task.begins:
            if task.saved is None:
                raise LostStateError("the process that had it has ended")
            run.go_on(task, task.saved)
        return run

    def close(self) -> None:
        """Release the run in memory."""
        live, self._live = self._live, None
        if live is not None:
            with suppress(OSError):
                live.close()


_serial = count()


def _settled(said: StepNumbers | None, table: bytes) -> StepNumbers:
    """A step's numbers with the links and losses of its ``ptv_is``; None: the last frame, where nothing is lost.

    The tracker itself also counts links that a cheaper one replaced.
    """
    particles, links = count_links(table)
    return StepNumbers(particles, 0, 0, 0, 0) if said is None else said._replace(links=links, lost=particles - links)
