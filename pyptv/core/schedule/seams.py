"""Tracking on many workers with the serial result, byte for byte.

The tracker forgets: what it carries from one frame to the next is the particle lists of four frames. A run that starts in
the middle of a sequence differs at first, and from the frame on where its whole state is once the same as the true run's, it
*is* the true run. So several runs start at once, the one that began at the start of the stretch is true, and it goes
on into the next run's frames until the two have written the same files, and added as many particles, at ``PROOF`` frames in
succession. There the seam is proven: the earlier run stops, the later one is true from there on. A seam that is never
proven costs nothing but the hope: the true run simply goes on to the end.

The same comparison resumes a stopped run, or one whose worker died: a new run starts some frames before the last true
one; where it has not met the truth by then it is tried again from further back, at last from the start.

Pure bookkeeping: nothing here reads a file or starts a process.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from pyptv.core.base.events import StepDone

logger = logging.getLogger(__name__)

PROOF = 4
"""Equal frames in succession that prove a seam.

After the step of frame f the tracker's state is frames f to f + 2 (and f + 3, just read). Of these f and f + 1 are as they will
be written but for links yet to come; f + 2 may get more particles at the next step, which count there. So equal files at f to
f + 2 with equal counts of added particles are an equal state after f; one more frame is asked for to be safe.
"""

WARM_UP = 12
"""Frames before the last true one at which a new run starts; doubled at each retry."""

MAX_WARM_UP = 96
SHORTEST_PIECE = 16
"""A run is not worth its overlap for fewer frames."""

_LOOK_BACK = 2 * MAX_WARM_UP
END_EFFECT = 3
"""So many frames before the end of a stretch depend on where it ends."""


@dataclass
class SeamCounts:
    """How the seams of a run turned out."""

    proven: int = 0
    retried: int = 0
    given_up: int = 0

    def __str__(self) -> str:
        return f"{self.proven} proven, {self.retried} retried, {self.given_up} given up"


@dataclass
class _Run:
    """One run of the tracker, as far as it has reported."""

    id: int
    first: int
    true: bool
    steps: OrderedDict[int, StepDone] = field(default_factory=OrderedDict)
    """Frames that are not known to be true (yet); of a true run nothing is kept."""
    matches: int = 0
    last: int = -1
    """The last frame reported."""
    live: bool = True


@dataclass(frozen=True)
class Start:
    """A tracker run to be started at ``first``."""

    first: int


class Stretch:
    """An unbroken range of frames with particles, and the runs that track it."""

    def __init__(self, first: int, counts: SeamCounts) -> None:
        self.first = first
        self.frontier = first - 1
        """Frames up to here are known to belong to the stretch."""
        self.end: int | None = None
        """Its last frame, once known."""
        self.true_until = first - 1
        self.done = False
        self._counts = counts
        self._truth: OrderedDict[int, tuple[str, int]] = OrderedDict()
        self._runs: dict[int, _Run] = {}
        self._warm_up = WARM_UP
        self._unproven = 0
        self._to_stop: list[int] = []

    # -- what is known -------------------------------------------------------------------------------------------------

    def extend(self, frame: int) -> None:
        """One more frame belongs to the stretch."""
        self.frontier = frame

    def close(self, end: int) -> None:
        """The stretch ends here."""
        self.end = self.frontier = end
        self.true_until = min(self.true_until, max(end - END_EFFECT, self.first - 1))
        self._truth = OrderedDict((frame, state) for frame, state in self._truth.items() if frame <= self.true_until)

    def recall(self, step: StepDone) -> bool:
        """Take over a frame that an earlier, stopped run has tracked and put in place, if it is the next one and still right.

        The last frames of a stretch depend on where it ends: they count only where it ended there then, too.
        """
        open_end = step.last is None or step.frame <= step.last - END_EFFECT
        if step.stretch == self.first and step.frame == self.true_until + 1 and (open_end or step.last == self.end):
            self._set_truth(step)
            return True
        return False

    def cut(self, end: int) -> None:
        """The stretch ends earlier than thought: what depends on that is not true any more, and all runs stop."""
        self.close(end)
        self.done = end < self.first
        for run in list(self._runs.values()):
            self._drop(run)

    # -- runs ----------------------------------------------------------------------------------------------------------

    @property
    def live_runs(self) -> list[int]:
        """The runs that are under way, to be told of new frames."""
        return [run.id for run in self._runs.values() if run.live]

    def wanted(self, idle: int, limit: int, *, speculate: bool) -> Start | None:
        """The next run worth starting, if any.

        Args:
            idle: workers that have nothing else to do.
            limit: how far the stretch may reach at most.
            speculate: whether runs may start where the truth has not come to.
        """
        if self.done or idle < 1:
            return None
        if not any(run.true or run.first <= self.true_until + 1 for run in self._runs.values() if run.live):
            return self._leading_start()
        if not speculate or self._unproven > 1:
            return None
        return self._speculative_start(idle, self.end if self.end is not None else limit)

    def _leading_start(self) -> Start | None:
        """A run that carries the truth on: from the start, or from a few frames before its end."""
        first = self.first if self._warm_up > MAX_WARM_UP else max(self.first, self.true_until + 1 - self._warm_up)
        enough = self.end is not None or self.frontier >= self.true_until + SHORTEST_PIECE
        return Start(first) if enough else None

    def _speculative_start(self, idle: int, limit: int) -> Start | None:
        """The start of the piece that an idle worker should take: the longest remaining one is shared out."""
        runs = sorted(self._runs.values(), key=lambda run: run.first)
        bounds = [run.first for run in runs[1:]] + [limit + 1]
        pieces = [(max(run.last + 1, run.first), bound) for run, bound in zip(runs, bounds, strict=True)]
        start, bound = max(pieces, key=lambda piece: piece[1] - piece[0])
        first = start + max((bound - start) // (idle + 1), SHORTEST_PIECE)
        if bound - first < SHORTEST_PIECE or self.frontier < first + SHORTEST_PIECE // 2:
            return None
        return Start(first)

    def started(self, run: int, first: int) -> None:
        """A run has been handed out."""
        self._runs[run] = _Run(run, first, true=first == self.first, last=first - 1)

    def ended(self, run: int) -> None:
        """A run has come to its end, or died. Frames it made ahead of the truth stay: they may still prove right."""
        known = self._runs.get(run)
        if known is None:
            return
        known.live = False
        hopeless = not self._has_true_run() and known.first <= self.true_until + 1  # it was to meet the truth, and has not
        if known.true or not known.steps or hopeless:
            del self._runs[run]

    def leads(self, run: int) -> bool:
        """Whether the truth depends on a run: it is true, or is to carry the truth on."""
        known = self._runs.get(run)
        return known is not None and (known.true or (not self._has_true_run() and known.first <= self.true_until + 1))

    def knows(self, run: int) -> bool:
        """Whether a run's frames may still be needed."""
        return run in self._runs

    def add(self, step: StepDone) -> Iterator[StepDone]:
        """A run has done a frame: yields the frames that are known to be true by that, in order."""
        run = self._runs.get(step.run)
        if run is None:
            return
        run.last = step.frame
        if run.true:
            yield from self._carry_on(step)
        else:
            run.steps[step.frame] = step
            self._compare(run, step)
        yield from self._join()
        if self.done:
            for other in list(self._runs.values()):
                self._drop(other) if other.true else self._give_up(other)

    def stops(self) -> list[int]:
        """Runs that are not needed any more and are to be told so, each once."""
        stopped, self._to_stop = self._to_stop, []
        return stopped

    # -- inside --------------------------------------------------------------------------------------------------------

    def _carry_on(self, step: StepDone) -> Iterator[StepDone]:
        """The true run has done a frame."""
        if step.frame <= self.true_until and self._truth.get(step.frame, _state(step)) == _state(step):
            return  # a run from the start repeats what is in place already
        self._set_truth(step)
        yield step
        for other in list(self._runs.values()):
            if other.true:
                continue
            if step.frame in other.steps:
                self._compare(other, other.steps[step.frame])
            elif other.first <= step.frame:  # the truth has overtaken it
                self._give_up(other)

    def _compare(self, run: _Run, step: StepDone) -> None:
        """Count equal frames in succession, of a run and the truth."""
        truth = self._truth.get(step.frame)
        if truth is not None:
            run.matches = run.matches + 1 if truth == _state(step) else 0

    def _join(self) -> Iterator[StepDone]:
        """Make runs true that are proven; try again where a leading run has not met the truth."""
        for run in sorted(self._runs.values(), key=lambda run: run.first):
            if run.true or run.id not in self._runs:
                continue
            if run.matches >= PROOF:
                yield from self._promote(run)
            elif run.last > self.true_until >= run.first - 1 and not self._has_true_run():
                self._counts.retried += 1
                self._warm_up *= 2
                logger.info("Seam at frame %d not proven: again with a longer warm-up", self.true_until + 1)
                self._drop(run)

    def _has_true_run(self) -> bool:
        return any(run.true for run in self._runs.values())

    def _promote(self, run: _Run) -> Iterator[StepDone]:
        """A run has proven to be the true one: so are all its frames from here on."""
        for other in [other for other in self._runs.values() if other.true]:
            self._drop(other)
        run.true = True
        self._counts.proven += 1
        self._warm_up, self._unproven = WARM_UP, 0
        logger.info("Seam at frame %d proven at frame %d", run.first, self.true_until)
        for step in list(run.steps.values()):
            if step.frame > self.true_until:
                yield from self._carry_on(step)
        run.steps.clear()
        if not run.live:
            self._runs.pop(run.id, None)

    def _give_up(self, run: _Run) -> None:
        self._counts.given_up += 1
        self._unproven += 1
        logger.info("Seam at frame %d given up: the run before it went on instead", run.first)
        self._drop(run)

    def _drop(self, run: _Run) -> None:
        del self._runs[run.id]
        if run.live:
            self._to_stop.append(run.id)

    def _set_truth(self, step: StepDone) -> None:
        self.true_until = step.frame
        self._truth[step.frame] = _state(step)
        self._truth.move_to_end(step.frame)
        while len(self._truth) > _LOOK_BACK:
            self._truth.popitem(last=False)
        self.done = self.end is not None and step.frame >= self.end


def _state(step: StepDone) -> tuple[str, int]:
    """What must be equal in two runs: all files, and how many particles were added."""
    return step.digest, step.added
