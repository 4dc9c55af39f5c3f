"""Tracking on many workers with the serial result, byte for byte.

The tracker forgets: what it carries from one step to the next is four frames. A run that starts in the middle of a stretch
differs at first, and from the frame on where its state is once the same as that of the run before it, the two *are* the same
(:mod:`pyptv.core.stages.proof`). So several runs start at once, each goes on, piece by piece, into the frames of the next one
until the two meet; there it ends. The run that began at the start of the stretch is true. Where a true run meets the next
one, that is true from there on, and what it has done already is put in place. A run that never meets the next one goes on in
its place.

The same comparison carries the truth on where no state is at hand (a worker of optv's tracker died; another engine goes on):
a new run starts some frames before the last true one; where it has not met the truth by then it is tried again from further
back, at last from the start.

Pure bookkeeping: nothing here reads a file or starts a process.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from pyptv.core.base.events import StepDone
from pyptv.core.stages.proof import known, same_state, state_tag
from pyptv.core.stages.tasks import Known

logger = logging.getLogger(__name__)

WARM_UP = 12
"""Frames before the last true one at which a new run starts; doubled at each retry."""

MAX_WARM_UP = 96
SHORTEST_PIECE = 16
"""Frames for which starting a task, or a run that must meet another one, is worth it."""

LOOK_AHEAD = 3
"""Frames that must be there beyond the one that is tracked, where the stretch does not end before."""

END_EFFECT = 3
"""So many frames before the end of a stretch depend on where it ends."""

_SECONDS_A_PIECE = 1.0
_LONGEST_PIECE = 512
_UNPROVEN_FRAMES = 1024
"""Frames for each worker that may be tracked beyond the truth: what waits in stage folders, and in memory, is bounded."""

_LOOK_BACK = 2 * MAX_WARM_UP


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
    last: int
    """The last frame reported."""
    task: int | None = None
    """The task that is at it."""
    begun: bool = False
    holder: int | None = None
    """The worker that has its state in memory."""
    saved: tuple[int, str] | None = None
    """Its last state on disk: after which frame, and the file."""
    steps: OrderedDict[int, StepDone] = field(default_factory=OrderedDict)
    """Frames that are not known to be true yet."""
    knows: dict[int, Known] = field(default_factory=dict)
    met: bool = False
    """It has come to the state of the next run, and ended."""


@dataclass(frozen=True)
class Piece:
    """Frames of a run to be tracked next."""

    run: int
    first: int
    last: int
    true: bool
    begins: bool
    saved: str | None
    meets: Mapping[int, Known]


class Stretch:
    """An unbroken range of frames with particles, and the runs that track it."""

    def __init__(self, first: int, counts: SeamCounts) -> None:
        self.first = first
        self.frontier = first - 1
        """Frames up to here are known to belong to the stretch."""
        self.end: int | None = None
        """Its last frame, once known."""
        self.true_until = first - 1
        self._counts = counts
        self._truth: OrderedDict[int, Known] = OrderedDict()
        self._kept_until = first - 1
        """Frames up to here have not changed since an earlier run."""
        self._runs: list[_Run] = []
        """In the order of their frames."""
        self._warm_up = WARM_UP
        self._unproven = 0
        self._right: deque[StepDone] = deque()
        """Staged frames that have turned out to be right."""
        self._seconds = 0.0

    # -- what is known -------------------------------------------------------------------------------------------------

    def extend(self, frame: int, *, kept: bool = False) -> None:
        """One more frame belongs to the stretch; ``kept``: it is what it was in an earlier run."""
        self.frontier = frame
        if kept and self._kept_until == frame - 1:
            self._kept_until = frame

    def close(self, end: int) -> None:
        """The stretch ends here."""
        self.end = self.frontier = end

    def recall(self, step: StepDone) -> bool:
        """Take over a frame that an earlier run has tracked, if it is the next one and still right.

        A step looks at three frames beyond its own: all of them must be what they were. The last frames of a stretch depend on
        where it ends: they count only where it ended there then, too.
        """
        if step.stretch != self.first or step.frame != self.true_until + 1 or self._runs:
            return False
        open_end = step.last is None or step.frame <= step.last - END_EFFECT
        ends_here = self.end is not None and step.last == self.end
        if not (open_end or ends_here):
            return False
        if self._kept_until < (step.frame + LOOK_AHEAD if self.end is None else min(step.frame + LOOK_AHEAD, self.end)):
            return False
        if open_end and self.end is not None and step.frame > self.end - END_EFFECT:
            return False
        self._set_truth(step)
        return True

    def cut(self, end: int) -> None:
        """The stretch ends earlier than thought: what depends on that is not true any more, and all runs end."""
        self.close(end)
        self.true_until = min(self.true_until, max(end - END_EFFECT, self.first - 1))
        self._truth = OrderedDict((frame, state) for frame, state in self._truth.items() if frame <= self.true_until)
        self._right = deque(step for step in self._right if step.frame <= self.true_until)
        for run in list(self._runs):
            self._drop(run)

    @property
    def done(self) -> bool:
        """Every frame is tracked, and in its place or about to be."""
        return self.end is not None and self.true_until >= self.end

    # -- runs ----------------------------------------------------------------------------------------------------------

    def wanted(self, worker: int, idle: int, new_run: Iterator[int], *, speculate: bool) -> Piece | None:
        """What a worker should track next, if anything.

        Args:
            worker: its number.
            idle: how many workers have nothing else to do.
            new_run: numbers for runs that are started.
            speculate: runs may start where the truth has not come to.
        """
        self._see_who_leads()
        if self.done:
            return None
        for run in sorted(self._runs, key=lambda run: (run.holder != worker, not run.true)):
            if run in self._runs and (piece := self._continue(run, worker)) is not None:
                return piece
            if self.holds(worker):
                return None
        if not self._runs and self.is_recalling:
            return None
        if not any(self._leads(run) for run in self._runs):
            start = self._leading_start()
        elif speculate and self._unproven < 2:
            start = self._speculative_start(idle)
        else:
            start = None
        if start is None:
            return None
        run = _Run(next(new_run), start, true=start == self.first, last=start - 1)
        self._runs.append(run)
        self._runs.sort(key=lambda run: run.first)
        return self._continue(run, worker)

    def may_recall(self, frame: int) -> bool:
        """Whether the links of an earlier run may still turn out to count at a frame."""
        return not self._runs and (self._kept_until == self.frontier or frame + LOOK_AHEAD <= self._kept_until)

    def go_on_from(self, run: int, states: Mapping[tuple[int, int, str], str]) -> None:
        """Let the truth go on from a state that an earlier run has saved, if there is one that belongs to what is recalled."""
        for stretch, frame, tag in sorted(states, key=lambda state: -state[1]):
            fits = stretch == self.first and self.first <= frame <= self.true_until
            if fits and tag == state_tag(self._truth, self.first, frame):
                saved = states[stretch, frame, tag]
                self._runs.append(_Run(run, frame + 1, true=True, last=frame, begun=True, saved=(frame, saved)))
                return

    def started(self, run: int, task: int, worker: int) -> None:
        """A piece of a run has been handed out. A worker keeps one run in memory."""
        for other in self._runs:
            if other.holder == worker:
                other.holder = None
            if other.id == run:
                other.task, other.begun = task, True
        self._with_id(run).holder = worker

    def forget_worker(self, worker: int) -> None:
        """A worker has taken up a run of another stretch: it keeps one in memory."""
        for run in self._runs:
            if run.holder == worker:
                run.holder = None

    def ended(self, run: int, *, saved: str | None = None) -> None:
        """The task of a run has come to its end."""
        known_run = self._find(run)
        if known_run is not None:
            known_run.task = None
            known_run.saved = (known_run.last, saved) if saved is not None else None

    def died(self, run: int, *, lost: bool = False) -> None:
        """The worker that was at a run is gone: it goes on from its last state on disk, unless that is ``lost``, too."""
        known_run = self._find(run)
        if known_run is None:
            return
        known_run.task = known_run.holder = None
        if lost:
            known_run.saved = None
        if known_run.saved is not None:
            known_run.last = known_run.saved[0]
            for frame in [frame for frame in known_run.knows if frame > known_run.last]:
                del known_run.knows[frame]
                known_run.steps.pop(frame, None)

    def holds(self, worker: int) -> bool:
        """Whether a worker has the only copy of the state of a run that is not at its end."""
        return any(run.holder == worker and run.saved is None and self._goes_on(run) for run in self._runs)

    def leads(self, run: int) -> bool:
        """Whether the truth depends on a run: it is true, or is to carry the truth on."""
        known_run = self._find(run)
        return known_run is not None and self._leads(known_run)

    def knows(self, run: int) -> bool:
        """Whether a run's frames may still be needed."""
        return self._find(run) is not None or any(step.run == run for step in self._right)

    def add(self, step: StepDone) -> Iterator[StepDone]:
        """A run has done a frame: yields those that are known to be right by that and are in place, in order."""
        run = self._find(step.run)
        if run is None or run.met:
            return
        run.last = step.frame
        self._seconds = step.seconds if not self._seconds else 0.9 * self._seconds + 0.1 * step.seconds
        run.knows[step.frame] = known(step)
        if run.true:
            yield from self._carry_on(step)
        else:
            run.steps[step.frame] = step
        self._look_for_meetings(step.frame)
        yield from self._settle()

    def take_right(self, most: int) -> list[StepDone]:
        """Staged frames of one run that have turned out to be right, to be put in place."""
        taken: list[StepDone] = []
        while self._right and len(taken) < most and (not taken or taken[0].run == self._right[0].run):
            taken.append(self._right.popleft())
        return taken

    def give_back(self, steps: Iterable[StepDone]) -> None:
        """Frames that were to be put in place, and have not been."""
        self._right.extendleft(reversed(list(steps)))

    @property
    def broken(self) -> bool:
        """Links of an earlier run do not count any more: tracking has begun."""
        return bool(self._runs)

    @property
    def settled(self) -> bool:
        """Nothing waits to be put in place."""
        return self.done and not self._right

    # -- pieces --------------------------------------------------------------------------------------------------------

    def _continue(self, run: _Run, worker: int) -> Piece | None:
        """The next frames of a run, if a worker can take them now."""
        if run.task is not None or not self._goes_on(run):
            return None
        on_disk = run.saved is not None and run.saved[0] == run.last
        if run.begun and run.holder != worker and not on_disk:
            if run.holder is None:
                self._lose(run)
            return None
        first, ready = run.last + 1, self._ready
        following = self._following(run)
        if following is not None and first >= following.first and following.last < first:
            if following.task is not None:
                return None  # it may have to be met there: its first frames are on their way
            self._give_up(following)
            following = self._following(run)
        last = min(ready, first + self._piece_length - 1)
        if following is not None:
            last = min(last, max(following.last, following.first - 1))
        waits_for_more = self.end is None and last == ready and last - first + 1 < SHORTEST_PIECE
        if last < first or waits_for_more:
            return None
        meets = (
            {} if following is None else {f: state for f, state in following.knows.items() if first - 2 * LOOK_AHEAD <= f <= last}
        )
        saved = run.saved[1] if run.saved is not None and on_disk else None
        return Piece(run.id, first, last, run.true, not run.begun, saved, meets)

    def _goes_on(self, run: _Run) -> bool:
        return not run.met and (self.end is None or run.last < self.end)

    @property
    def is_recalling(self) -> bool:
        """All frames so far are what they were in an earlier run, and so are their links: the next ones may be, too."""
        return self.end is None and self._kept_until == self.frontier and self.true_until + LOOK_AHEAD >= self._kept_until

    @property
    def _ready(self) -> int:
        """The last frame that can be tracked now."""
        return self.end if self.end is not None else self.frontier - LOOK_AHEAD

    @property
    def _piece_length(self) -> int:
        length = round(_SECONDS_A_PIECE / self._seconds) if self._seconds else SHORTEST_PIECE
        return min(max(length, SHORTEST_PIECE), _LONGEST_PIECE)

    def _lose(self, run: _Run) -> None:
        """Nobody has the run's state any more. What a run has staged beyond the truth is given up with it."""
        logger.debug("Tracker run %d: its state is gone after frame %d", run.id, run.last)
        self._drop(run)

    def _leads(self, run: _Run) -> bool:
        return run.true or (run.first <= self.true_until + 1 and not any(other.true for other in self._runs))

    def _leading_start(self) -> int | None:
        """A run that carries the truth on: from the start, or from a few frames before its end."""
        first = self.first if self._warm_up > MAX_WARM_UP else max(self.first, self.true_until + 1 - self._warm_up)
        enough = self.end is not None or self._ready >= self.true_until + SHORTEST_PIECE
        return first if enough else None

    def _speculative_start(self, idle: int) -> int | None:
        """The start of the frames that an idle worker should take: the longest piece that nobody has done yet is shared out."""
        limit = min(self.frontier, self.true_until + _UNPROVEN_FRAMES * (len(self._runs) + idle))
        bounds = [run.first for run in self._runs[1:]] + [limit + 1]
        pieces = [(max(run.last + 1, run.first), bound) for run, bound in zip(self._runs, bounds, strict=True)]
        start, bound = max(pieces, key=lambda piece: piece[1] - piece[0])
        first = start + max((bound - start) // (idle + 1), SHORTEST_PIECE)
        return first if bound - first >= SHORTEST_PIECE and self._ready >= first + SHORTEST_PIECE - 1 else None

    # -- truth ---------------------------------------------------------------------------------------------------------

    def _carry_on(self, step: StepDone) -> Iterator[StepDone]:
        """A frame of the true run."""
        if step.frame <= self.true_until:
            return  # a run from before repeats what is in place already
        self._set_truth(step)
        if step.published:
            yield step
        else:
            self._right.append(step)

    def _look_for_meetings(self, frame: int) -> None:
        """Whether runs that are neighbours have come to the same state at a frame."""
        for one, other in pairwise(self._runs):
            if not one.met and same_state(one.knows, other.knows, frame):
                one.met = True
                one.last = frame
                self._counts.proven += 1
                self._unproven = 0
                logger.debug("Seam at frame %d proven at frame %d", other.first, frame)
        if frame <= self.true_until:
            self._compare_with_truth([frame])

    def _compare_with_truth(self, frames: Iterable[int]) -> None:
        """Whether the run that is to carry the truth on has come to it."""
        leading = self._runs[0] if self._runs else None
        if leading is None or leading.true:
            return
        if any(same_state(self._truth, leading.knows, frame) for frame in frames):
            self._counts.proven += 1
            self._warm_up = WARM_UP
            leading.true = True

    def _see_who_leads(self) -> None:
        """A true run is gone where its worker was: the one after it may have met the truth already, or passed it by."""
        if self._runs and not self._runs[0].true and self._runs[0].first <= self.true_until + 1:
            self._compare_with_truth([frame for frame in self._runs[0].knows if frame <= self.true_until])
            deque(self._settle(), maxlen=0)  # its frames are staged: none of them is in place

    def _settle(self) -> Iterator[StepDone]:
        """Make runs true that a true one has met, and try again where the truth was not met."""
        while self._runs:
            run = self._runs[0]
            if not run.true:
                if run.last > self.true_until >= run.first - 1:
                    self._retry(run)
                    continue
                return
            for step in list(run.steps.values()):
                yield from self._carry_on(step)
            run.steps.clear()
            if not run.met:
                self._trim(run)
                break
            self._drop(run)
            following = self._runs[0]
            following.true = True
        if self.done:
            for run in list(self._runs):
                if not run.true:
                    self._give_up(run)

    def _retry(self, run: _Run) -> None:
        self._counts.retried += 1
        self._warm_up *= 2
        logger.debug("Tracking again from further back: frame %d does not agree yet", self.true_until + 1)
        self._drop(run)

    def _give_up(self, run: _Run) -> None:
        self._counts.given_up += 1
        self._unproven += 1
        logger.debug("Seam at frame %d given up: the run before it goes on instead", run.first)
        self._drop(run)

    def _drop(self, run: _Run) -> None:
        self._runs.remove(run)

    def _trim(self, run: _Run) -> None:
        """Of a true run only what may be compared is kept."""
        while len(run.knows) > _LOOK_BACK:
            del run.knows[next(iter(run.knows))]

    def _set_truth(self, step: StepDone) -> None:
        self.true_until = step.frame
        self._truth[step.frame] = known(step)
        while len(self._truth) > _LOOK_BACK:
            self._truth.popitem(last=False)

    def _following(self, run: _Run) -> _Run | None:
        at = self._runs.index(run) + 1
        return self._runs[at] if at < len(self._runs) else None

    def _find(self, run: int) -> _Run | None:
        return next((known_run for known_run in self._runs if known_run.id == run), None)

    def _with_id(self, run: int) -> _Run:
        found = self._find(run)
        if found is None:
            raise KeyError(run)
        return found
