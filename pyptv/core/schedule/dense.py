"""The tasks of the dense method: each step needs the previous one for some frames around its own.

The steps of a run over time: optics (once), found 1, links 1, found 2, links 2, ..., publish. A step is assigned for a range of
frames as soon as the frames that it uses have passed the previous step; later steps have priority, so that results
are early and intermediate data are still in the memory of the machine. A failed frame does not exist for later steps.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from pyptv.core.base.errors import ProcessingError, WorkersDieError
from pyptv.core.base.events import (
    Event,
    FrameDone,
    FrameFailed,
    Note,
    PassDone,
    StepDone,
    TaskDone,
    TaskFailed,
    WorkerDied,
)
from pyptv.core.base.frames import FrameRange, contiguous
from pyptv.core.files.store import Store
from pyptv.core.schedule.sequence import MOST_DEATHS
from pyptv.core.stages.tasks import OPTICS, DenseKind, DenseTask, table_name

logger = logging.getLogger(__name__)

_MOST_IDLE_DEATHS = 3
_FEWEST_PASSES = 1

LINKS_LOOK_AT = (1, 3)
"""Frames before and after a frame that its links depend on: one more than a link needs if chance links are counted."""


@dataclass(frozen=True)
class DenseStep:
    """A step, and the range of frames around its own that it uses from the previous step."""

    kind: DenseKind
    number: int = 1
    back: int = 0
    ahead: int = 0
    after_all: bool = False
    """It begins once all frames have passed the previous step."""

    @property
    def name(self) -> str:
        """Name of its tables and events."""
        return table_name(self.kind, self.number)


def steps_over_time(passes: int, min_track: int) -> list[DenseStep]:
    """The steps of a run that finds particles and links them."""
    steps = [DenseStep("find", 1), DenseStep("link", 1, *LINKS_LOOK_AT)]
    for number in range(2, passes + 1):
        steps += [DenseStep("find", number, 3, 3), DenseStep("link", number, *LINKS_LOOK_AT)]
    reach = max(min_track, 1)
    return [*steps, DenseStep("publish", passes, reach, reach)]


SINGLE_FRAMES = [DenseStep("find", 1), DenseStep("publish", 1)]
"""The steps of a run that does not link: each frame on its own."""

LINKS_ALONE = [DenseStep("take", 1), DenseStep("link", 1, *LINKS_LOOK_AT, after_all=True), DenseStep("publish", 1, 1, 1)]
"""The steps of a run that links existing particles. All are checked before the first link is replaced, so that a run that refuses
a frame leaves every file as it was."""


@dataclass
class _Progress:
    """The progress of a step."""

    step: DenseStep
    waiting: deque[FrameRange]
    ended: bytearray
    """1 for each frame that has ended."""
    left: int
    running: dict[int, set[int]] = field(default_factory=dict)
    """Task -> its frames that have not ended."""


class DensePlan:
    """The whole run of the dense method, on any number of workers."""

    def __init__(
        self,
        frames: FrameRange,
        chunks: Sequence[FrameRange],
        ids: Iterator[int],
        store: Store,
        steps: Callable[[int], Sequence[DenseStep]],
        *,
        stop_at_failure: bool,
        begins: bool = True,
        ends: bool = True,
    ) -> None:
        """Plan some frames.

        Args:
            frames: first and last.
            chunks: the frame ranges for tasks.
            ids: numbers for tasks.
            store: of the results.
            steps: those of a number of passes, in their order. The first task decides the number, where images are looked at.
            stop_at_failure: end at the first frame that fails.
            begins: there is no frame before these. Otherwise other parts have those, and steps that depend on them are not done.
            ends: likewise, after these.
        """
        self.chunks = list(chunks)
        self._frames = frames
        self._ids = ids
        self._store = store
        self._stop_at_failure = stop_at_failure
        self._part = (begins, ends)
        self._steps = steps
        self._progress = list(self._shares(steps(_FEWEST_PASSES)))
        self._needs_optics = self._progress[0].step.kind == "find"
        if not self._needs_optics:
            self._tell_part()
        self._optics: int | None = None
        self._deaths: Counter[int] = Counter()
        self._idle_deaths = 0
        self._failed: set[int] = set()
        self._stopped = False

    @property
    def finished(self) -> bool:
        """All is done, or the run stops at a failure."""
        return self._stopped or (not self._needs_optics and all(progress.left == 0 for progress in self._progress))

    @property
    def complete(self) -> int:
        """Number of frames that pass all steps, from here on."""
        return self._progress[-1].left

    @property
    def waits(self) -> bool:
        """Frames wait for the kernels to be compiled: they are, before the run begins."""
        return False

    @property
    def failed_chunks(self) -> int:
        """Chunks in which a frame failed."""
        return sum(any(first <= frame <= last for frame in self._failed) for first, last in self.chunks)

    def next_task(self, idle: int = 1, worker: int = 1) -> DenseTask | None:  # noqa: ARG002 -- the interface of a plan
        """A task for an idle worker; None if there is none now."""
        if self._stopped:
            return None
        if self._needs_optics:
            if self._optics is not None:
                return None
            self._optics = next(self._ids)
            return DenseTask(self._optics, "optics", 1, *self._frames)
        for index in reversed(range(len(self._progress))):
            progress = self._progress[index]
            for at, (first, last) in enumerate(progress.waiting):
                if at >= idle + 2:
                    break  # ready frames usually come first
                if index == 0 or self._is_ready(self._progress[index - 1], progress.step, first, last):
                    del progress.waiting[at]
                    task = DenseTask(next(self._ids), progress.step.kind, progress.step.number, first, last)
                    ended = {frame for frame in range(first, last + 1) if progress.ended[frame - self._frames[0]]}
                    progress.running[task.id] = set(range(first, last + 1)) - ended
                    return task
        return None

    def record(self, event: Event) -> Iterator[Event]:
        """Process an event; yields the events to be reported."""
        if isinstance(event, Note):
            yield event
        elif isinstance(event, PassDone | FrameDone | StepDone | FrameFailed):
            yield from self._frame_ended(event)
        elif isinstance(event, WorkerDied):
            if not event.lost:
                self._count_idle_deaths(event)
            yield from self._died(event)
        elif isinstance(event, TaskFailed):
            yield from self._task_failed(event)
        elif isinstance(event, TaskDone):
            if event.task == self._optics:
                self._needs_optics = False
            elif (progress := self._of(event.task)) is not None:
                self._again(progress, progress.running.pop(event.task))

    # -- inside --------------------------------------------------------------------------------------------------------

    def _decided(self, passes: int) -> None:
        """Plan the steps of a number of passes: nothing has begun yet."""
        self._progress = list(self._shares(self._steps(passes)))
        self._tell_part()

    def _tell_part(self) -> None:
        if not all(self._part):
            text = "Of the %d frames of this part %d depend on no other part and get their results now, the others with --finish"
            logger.info(text, self._frames[1] - self._frames[0] + 1, self.complete)

    def _shares(self, steps: Sequence[DenseStep]) -> Iterator[_Progress]:
        """The frames of each step that depend only on these frames; the others count as ended."""
        (low, high), (begins, ends) = self._frames, self._part
        for step in steps:
            low += 0 if begins else step.back
            high -= 0 if ends else step.ahead
            within = [(max(first, low), min(last, high)) for first, last in self.chunks]
            mine = [0 if low <= frame <= high else 1 for frame in range(self._frames[0], self._frames[1] + 1)]
            ranges = deque((first, last) for first, last in within if first <= last)
            yield _Progress(step, ranges, bytearray(mine), mine.count(0))

    def _is_ready(self, before: _Progress, step: DenseStep, first: int, last: int) -> bool:
        if step.after_all:
            return before.left == 0
        low = max(first - step.back, self._frames[0]) - self._frames[0]
        high = min(last + step.ahead, self._frames[1]) - self._frames[0]
        return all(before.ended[low : high + 1])

    def _of(self, task: int) -> _Progress | None:
        return next((progress for progress in self._progress if task in progress.running), None)

    def _frame_ended(self, event: PassDone | FrameDone | StepDone | FrameFailed) -> Iterator[Event]:
        if isinstance(event, FrameFailed):
            yield from self._fail(event)
            return
        yield event
        if isinstance(event, PassDone) and event.step == OPTICS:
            self._decided(int(event.notes["passes"]))
        elif isinstance(event, PassDone):
            progress = next(progress for progress in self._progress if progress.step.name == event.step)
            self._end(progress, event.frame)

    def _end(self, progress: _Progress, frame: int) -> None:
        for left in progress.running.values():
            left.discard(frame)
        index = frame - self._frames[0]
        progress.left -= not progress.ended[index]
        progress.ended[index] = 1

    def _fail(self, failed: FrameFailed) -> Iterator[Event]:
        if failed.frame in self._failed:
            return
        self._failed.add(failed.frame)
        for progress in self._progress:
            if not progress.ended[failed.frame - self._frames[0]]:
                self._store.tables.remove(progress.step.name, failed.frame)  # an earlier run may have left one
                self._end(progress, failed.frame)
        yield failed
        if self._stop_at_failure:
            self._stopped = True
        else:
            self._store.forget(failed.frame)

    def _died(self, death: WorkerDied) -> Iterator[Event]:
        if death.task == self._optics:
            self._deaths[-1] += not death.lost
            if self._deaths[-1] >= MOST_DEATHS:
                raise ProcessingError(f"Self-calibration: worker {death.cause} while {death.doing or 'it worked at it'}")
            logger.warning("Worker %s during the self-calibration: it is tried once more", death.cause)
            self._optics = None
            return
        progress = self._of(death.task)
        if progress is None:
            return
        left = progress.running.pop(death.task)
        if death.frame is None or death.frame not in left:
            self._again(progress, left)
            return
        self._deaths[death.frame] += 1
        reason = f"frame {death.frame}: worker {death.cause} while {death.doing}"
        if self._deaths[death.frame] < MOST_DEATHS:
            logger.warning("%s: the frame is tried once more, alone", reason)
            self._again(progress, left - {death.frame})
            progress.waiting.appendleft((death.frame, death.frame))
        else:
            yield from self._fail(FrameFailed(death.frame, reason))
            self._again(progress, left - {death.frame})

    def _task_failed(self, event: TaskFailed) -> Iterator[Event]:
        if event.task == self._optics:
            raise ProcessingError(event.reason)
        progress = self._of(event.task)
        if progress is None:
            return
        left = progress.running.pop(event.task)
        if left:
            frame = event.frame if event.frame in left else min(left)
            yield from self._fail(FrameFailed(frame, f"frame {frame}: {event.reason}"))
            self._again(progress, left - {frame})

    def _again(self, progress: _Progress, frames: set[int]) -> None:
        progress.waiting.extendleft(reversed(contiguous(frames)))

    def _count_idle_deaths(self, event: WorkerDied) -> None:
        self._idle_deaths = self._idle_deaths + 1 if event.frame is None else 0
        if self._idle_deaths >= _MOST_IDLE_DEATHS:
            raise WorkersDieError(self._idle_deaths, event.cause)
