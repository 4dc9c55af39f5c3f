"""The unbroken stretches of frames that tracking links: how they grow, end and split, as frames arrive in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pyptv.core.base.events import StepDone
from pyptv.core.base.frames import FrameRange
from pyptv.core.engines.choice import Engines
from pyptv.core.files.store import Store
from pyptv.core.schedule.ahead import Ahead
from pyptv.core.schedule.seams import Stretch
from pyptv.core.schedule.tracker_runs import SeamCounts


@dataclass(frozen=True)
class Share:
    """The share of a sequence that a plan sees, in a part of a job array or in the run that combines the parts."""

    part: str = ""
    """The name of the part; empty: not a part."""
    begins: bool = True
    """The sequence begins at the plan's first frame; otherwise other parts have the frames before it."""
    ends: bool = True
    """Likewise, at its last frame."""


WHOLE = Share()


class Stretches:
    """The unfinished stretches of a frame range, and what earlier runs have tracked of them."""

    def __init__(
        self,
        frames: FrameRange,
        ids: Iterator[int],
        store: Store,
        engines: Engines,
        *,
        share: Share,
        seams: SeamCounts,
        tidy: Callable[[Stretch], None],
    ) -> None:
        """``tidy`` is called when a stretch may have reached its end."""
        self.there: list[Stretch] = []
        self._first, self._last = frames
        self._ids = ids
        self._engines = engines
        self._share = share
        self._seams = seams
        self._tidy = tidy
        self._status: dict[int, tuple[bool, bool]] = {}
        """Frame -> (has particles, is unchanged since an earlier run), of frames that arrived before their turn."""
        self._scanned = self._first
        self._known: dict[int, StepDone] = {}
        """Steps of an earlier run that are not adopted yet."""
        self._open: Stretch | None = None
        self._ahead = Ahead(store)

    @property
    def all_seen(self) -> bool:
        """Every frame has arrived."""
        return self._scanned > self._last

    def stage_of(self, run: int) -> Path | None:
        """The stage folder of a run that a part of a job array has begun; None: no part."""
        return self._ahead.stage_of(run)

    def recall(self, step: StepDone) -> Iterator[StepDone]:
        """See :meth:`pyptv.core.schedule.tracking.TrackingPlan.recall`."""
        if not step.published and step.part != self._share.part:
            if not self._share.part:
                self._ahead.note(step)
            return
        if step.published and step.current == 0:
            yield step  # a frame without particles, which is in no stretch
            return
        stretch = next((stretch for stretch in self.there if stretch.first == step.stretch), None)
        if step.frame >= self._scanned or (stretch is not None and stretch.may_recall(step.frame)):
            self._known[step.frame] = step
            if stretch is not None:
                yield from self._recall(stretch)
                self._tidy(stretch)

    def end_at(self, frame: int) -> Iterator[StepDone]:
        """No frame follows this one."""
        self._last = min(self._last, frame)
        if self.all_seen and self._open is not None:
            yield from self._close(self._last)

    def split(self, stretch: Stretch, frame: int) -> None:
        """Continue without a frame: the stretch ends before it, another one begins after it."""
        rest = Stretch(frame + 1, self._seams, stretch.engine)
        rest.truth.frontier = max(stretch.truth.frontier, frame)
        if stretch is self._open:
            self._open = rest
        elif stretch.end is not None:
            rest.truth.close(stretch.end)
        stretch.cut(frame - 1)
        self.there = [s for s in [*self.there, rest] if not s.settled and (s.end is None or s.end >= s.first)]

    def mark(self, frame: int, *, usable: bool, kept: bool) -> Iterator[StepDone]:
        """Frames arrive in any order; stretches grow in ascending order."""
        self._status[frame] = usable, kept
        while self._scanned in self._status:
            has_particles, is_kept = self._status.pop(self._scanned)
            if has_particles:
                yield from self._extend(self._scanned, kept=is_kept)
            elif self._open is not None:
                yield from self._close(self._scanned - 1)
            self._scanned += 1
            self._adopt()
        if self._scanned > self._last and self._open is not None:
            if self._share.ends:
                yield from self._close(self._last)
            else:
                yield from self._pause(self._open)

    def _adopt(self) -> None:
        """Let the stretches adopt frames tracked by parts of a job array, as far as the following frames are known."""
        for stretch in self.there:
            self._ahead.hand_over(stretch, self._ids)

    def _pause(self, stretch: Stretch) -> Iterator[StepDone]:
        """Only another part knows whether the stretch continues."""
        stretch.truth.paused = True
        yield from self._recall(stretch)
        self._tidy(stretch)

    def _extend(self, frame: int, *, kept: bool) -> Iterator[StepDone]:
        if self._open is None:
            guess = frame == self._first and not self._share.begins
            self._open = Stretch(frame, self._seams, self._engines.for_tracking(), guess=guess)
            self.there.append(self._open)
        self._open.truth.extend(frame, kept=kept)
        if not self._open.may_recall(frame):
            self._known.pop(frame, None)
        yield from self._recall(self._open)

    def _close(self, end: int) -> Iterator[StepDone]:
        stretch, self._open = self._open, None
        if stretch is None:
            return
        stretch.truth.close(end)
        yield from self._recall(stretch)
        self._ahead.hand_over(stretch, self._ids)
        if end < stretch.first:
            self.there.remove(stretch)
        else:
            self._tidy(stretch)

    def _recall(self, stretch: Stretch) -> Iterator[StepDone]:
        while (step := self._known.get(stretch.truth.until + 1)) is not None and stretch.recall(step):
            yield self._known.pop(step.frame)
