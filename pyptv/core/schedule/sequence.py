"""The sequence step's tasks: frame ranges, and their remaining frames when a worker dies."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from pyptv.core.base.events import Event, FrameDone, FrameFailed, LinksJoined, TaskDone, TaskFailed, WorkerDied
from pyptv.core.base.frames import FrameRange, chunk_ranges, contiguous, describe
from pyptv.core.engines.choice import Engines
from pyptv.core.files.store import Store
from pyptv.core.stages.tasks import FramesKind, FramesTask, Past

logger = logging.getLogger(__name__)

MOST_DEATHS = 2
"""A frame fails after this many deaths of workers."""

_FIRST_AT_ONCE, _MOST_AT_ONCE = 8, 512
"""Frames of a task: before their pace is known, and at most."""

_LEAST_SECONDS = 0.002
"""Minimum time per frame that is assumed."""


_SHORT_CHUNK = 32
_MOST_ROUNDS = 50
"""Chunks of at most 32 frames, or 50 for each process: so that the last chunks end at about the same time."""


def run_chunks(frames: FrameRange, n_processes: int) -> list[FrameRange]:
    """The chunks of a run."""
    n_frames = frames[1] - frames[0] + 1
    longest = max(_SHORT_CHUNK, n_frames // (n_processes * _MOST_ROUNDS))
    return chunk_ranges(*frames, min(n_frames, n_processes * -(-n_frames // (n_processes * longest))))


def nothing(_frame: int) -> None:
    """No journal entry of any frame."""


class SequencePlan:
    """The sequence step: frame ranges, assigned in order; the unfinished frames of a dead worker are assigned again."""

    def __init__(
        self,
        chunks: Sequence[FrameRange],
        ids: Iterator[int],
        store: Store,
        kind: FramesKind,
        *,
        engines: Engines,
        past: Callable[[int], Past | None] = nothing,
        shown: bool = True,
        seconds: float | None = None,
        expects: bool = False,
    ) -> None:
        """Plan the frames of some chunks.

        Args:
            chunks: frame ranges, in the order of assignment.
            ids: numbers for tasks.
            store: where results are.
            kind: what is done to the frames.
            engines: of the run.
            past: what an earlier run has noted of a frame.
            shown: chunks are reported as they end.
            seconds: tasks are cut so that they take about so long, as measured.
            expects: frames are assigned only once they are :meth:`offered <offer>`.
        """
        self._engines = engines
        self._held: set[int] = set()
        """Frames that are too much for optv, until the kernels are compiled."""
        self.chunks = sorted(chunks)
        self._ids = ids
        self._store = store
        self.kind: FramesKind = kind
        self._past = past
        self._shown = shown
        self._seconds = seconds
        self._pace = 0.0
        """Recent average seconds per frame."""
        self.expects = expects
        self._waiting: deque[FrameRange] = deque(() if expects else chunks)
        self._running: dict[int, set[int]] = {}
        """Task -> its frames that are not finished yet."""
        self._with: dict[int, set[int]] = {}
        """Assigned frame -> unfinished frames of its task."""
        self._deaths: Counter[int] = Counter()
        self._last = self.chunks[-1][1] if self.chunks else 0
        self._open = {chunk: chunk[1] - chunk[0] + 1 for chunk in self.chunks}
        self._failed: dict[FrameRange, list[int]] = {}
        """Chunk -> its frames that failed."""

    @property
    def finished(self) -> bool:
        """Every frame is done or has failed."""
        return not self._waiting and not self._running and not self._held and not self.expects

    @property
    def waits(self) -> bool:
        """Frames have not arrived yet, or wait for the kernels to be compiled."""
        return bool(self._held) or self.expects

    def offer(self, frames: Iterable[int]) -> None:
        """These frames can be processed now."""
        self._waiting.extend(contiguous(frames))

    def retract(self, frame: int) -> None:
        """An assigned frame did not finish: it will be offered again."""
        self._with.pop(frame, set()).discard(frame)

    @property
    def failed_chunks(self) -> int:
        """Chunks in which a frame failed."""
        return len(self._failed)

    def next_task(self) -> FramesTask | None:
        """The next range, if any is left."""
        if self._held and not self._engines.awaited:
            self._requeue(self._held)
            self._held = set()
        if not self._waiting:
            return None
        first, last = self._waiting.popleft()
        n_frames = self._frames_at_once
        if n_frames is not None and last - first >= n_frames:
            self._waiting.appendleft((first + n_frames, last))
            last = first + n_frames - 1
        past = {frame: entry for frame in range(first, last + 1) if (entry := self._past(frame)) is not None}
        task = FramesTask(next(self._ids), first, last, self.kind, past, self._engines.for_sequence())
        left = self._running[task.id] = set(range(first, last + 1))
        self._with.update(dict.fromkeys(left, left))
        return task

    def record(self, event: Event) -> Iterator[Event]:
        """Process an event of this step; yields the events to be reported."""
        if isinstance(event, FrameFailed) and event.limit and self._engines.awaited:
            self._hold(event.frame)
        elif isinstance(event, FrameDone | FrameFailed | LinksJoined):
            yield from self._finish(event)
        elif isinstance(event, WorkerDied):
            yield from self._again(event)
        elif isinstance(event, TaskFailed):
            left = self._running.pop(event.task)
            if left:
                frame = min(left)
                self._forget(frame)  # a full disk may have stopped it between two files
                yield from self._finish(FrameFailed(frame, f"frame {self._store.experiment.true_frame(frame)}: {event.reason}"))
                self._requeue(left - {frame})
        elif isinstance(event, TaskDone):
            self._requeue(self._running.pop(event.task))

    @property
    def _frames_at_once(self) -> int | None:
        if self._seconds is None:
            return None
        return min(max(1, round(self._seconds / self._pace)), _MOST_AT_ONCE) if self._pace else _FIRST_AT_ONCE

    def owns(self, task: int) -> bool:
        """Whether a task is one of this step."""
        return task in self._running

    def _hold(self, frame: int) -> None:
        """Keep a frame for the compiled kernels: whether it fails must not depend on when they are ready."""
        logger.info("frame %d: exceeds optv's buffers, kept until the kernels are compiled", frame)
        self._held.add(frame)
        self.retract(frame)

    def _finish(self, event: FrameDone | FrameFailed | LinksJoined) -> Iterator[Event]:
        self._with.pop(event.frame, set()).discard(event.frame)
        if isinstance(event, FrameDone):
            spent = max(sum(event.seconds.values()), _LEAST_SECONDS)
            self._pace = 0.9 * self._pace + 0.1 * spent if self._pace else spent
        yield event
        chunk = self.chunks[bisect_right(self.chunks, (event.frame, self._last)) - 1]
        self._open[chunk] -= 1
        if isinstance(event, FrameFailed):
            self._failed.setdefault(chunk, []).append(event.frame)
        if self._open[chunk] == 0:
            level = logging.INFO if self._shown and len(self.chunks) > 1 else logging.DEBUG
            if failed := self._failed.get(chunk):
                done = chunk[1] - chunk[0] + 1 - len(failed)
                logger.log(level, "✗ Failed chunk: frames %d to %d: %d done, failed: %s", *chunk, done, describe(failed))
            else:
                logger.log(level, "✓ Completed chunk: frames %d to %d", *chunk)

    def _again(self, death: WorkerDied) -> Iterator[Event]:
        """Reassign the unfinished frames of a dead worker: its current frame alone, and the others."""
        left = self._running.pop(death.task)
        if death.frame is None or death.frame not in left:
            self._requeue(left)
            return
        self._deaths[death.frame] += 1
        left.discard(death.frame)
        self._requeue(left)
        reason = f"frame {self._store.experiment.true_frame(death.frame)}: worker {death.cause} while {death.doing}"
        if self._deaths[death.frame] < MOST_DEATHS:
            logger.warning("%s: the frame is tried once more, alone", reason)
            self._waiting.appendleft((death.frame, death.frame))
        else:
            self._forget(death.frame)
            yield from self._finish(FrameFailed(death.frame, reason))

    def _forget(self, frame: int) -> None:
        """Remove the result files of a failed frame; a check or a trial has made none."""
        if self.kind == "process":
            self._store.forget(frame)

    def _requeue(self, frames: set[int]) -> None:
        self._waiting.extendleft(reversed(contiguous(frames)))
