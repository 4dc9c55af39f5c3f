"""Tracking on many workers with the result of serial tracking, byte for byte.

The state of the tracker between two steps is four frames. A run that starts in the middle of a stretch differs at first, and
from the frame on where its state equals that of the run before it, the two *are* the same (:mod:`pyptv.core.stages.proof`). So
several runs start at once, and each continues, piece by piece, into the frames of the next one until their states are equal;
there it ends. The run from the start of the stretch is true. Where a true run meets the next one, that is true from there on,
and its frames are published. A run that never meets the next one replaces it.

The same comparison is used when no state is available (a worker of optv's tracker died; another engine continues): a new run
starts some frames before the last true one; if it has not met the true run by then, it is started again from further back, and
finally from the start.

Nothing here reads a file or starts a process.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from pyptv.core.base.events import StepDone
from pyptv.core.base.options import Engine
from pyptv.core.schedule.runs import Runs
from pyptv.core.schedule.tracker_runs import (
    LONGEST_PIECE,
    LOOK_AHEAD,
    MAX_WARM_UP,
    SECONDS_A_PIECE,
    SHORTEST_PIECE,
    UNPROVEN_FRAMES,
    WARM_UP,
    Piece,
    SeamCounts,
    TrackerRun,
)
from pyptv.core.schedule.truth import Proven, Truth
from pyptv.core.stages.proof import known, same_state, state_tag

logger = logging.getLogger(__name__)


class Stretch:
    """An unbroken range of frames with particles, and the runs that track it."""

    def __init__(self, first: int, counts: SeamCounts, engine: Engine, *, guess: bool = False) -> None:
        """``guess``: it may begin before ``first``, in frames of another part: none of its frames is published."""
        self.truth = Truth(first)
        self.guess = guess
        self.broken = False
        """Links of an earlier run are no longer used: tracking has begun."""
        self.offered = first
        """The next frame that parts of a job array may have tracked ahead."""
        self._counts = counts
        self.engine = engine
        """The engine of all its runs."""
        self._changes_to: Engine | None = None
        """The engine that runs use once the pieces in progress have ended."""
        self.runs = Runs()
        self._warm_up = WARM_UP
        self._unproven = 0
        self.right = Proven()
        """Staged frames that have been proven, to be published."""
        self._seconds = 0.0

    # -- what is known -------------------------------------------------------------------------------------------------

    @property
    def first(self) -> int:
        """Its first frame."""
        return self.truth.first

    @property
    def end(self) -> int | None:
        """Its last frame, once known."""
        return self.truth.end

    def recall(self, step: StepDone) -> bool:
        """Adopt a frame that an earlier run has tracked, if it is the next one and still valid."""
        return not self.broken and self.truth.recall(step)

    def may_recall(self, frame: int) -> bool:
        """Whether the links of an earlier run may still be valid at a frame."""
        return not self.broken and self.truth.may_recall(frame)

    def adopt(self, step: StepDone, new_run: Iterator[int], states: Mapping[tuple[int, str], str]) -> int | None:
        """Adopt a frame that a part of a job array has tracked ahead, if it may still be valid.

        Args:
            step: the frame; in ascending order.
            new_run: numbers for runs.
            states: (frame, tag) -> file, of the states that the part has saved.

        Returns:
            The number of the run that it belongs to; None: it is not needed.
        """
        if step.frame <= self.truth.until or not self.truth.still_fits(step):
            return None
        run = next((run for run in self.runs if run.waits_for(step)), None)
        if run is None:
            true = step.frame == self.first
            run = TrackerRun(next(new_run), step.frame, true=true, last=step.frame - 1, begun=True, part=step.part)
            self.broken |= true
            self.runs.insert(run)
        run.take_over(replace(step, run=run.id, stretch=self.first, kept=False), known(step))
        saved = states.get((step.frame, state_tag(run.knows, run.first, step.frame) or ""))
        if saved is not None:
            run.saved = step.frame, saved
        deque(self._settle(), maxlen=0)  # its frames are staged: none of them is published
        return run.id

    def cut(self, end: int) -> None:
        """The stretch ends earlier than assumed: all runs end."""
        self.truth.cut(end)
        self.right.cut(self.truth.until)
        self.runs.clear()

    # -- runs ----------------------------------------------------------------------------------------------------------

    def wanted(self, worker: int, idle: int, new_run: Iterator[int], *, speculate: bool) -> Piece | None:
        """The next piece for a worker, if there is one.

        Args:
            worker: its number.
            idle: how many workers have nothing else to do.
            new_run: numbers for runs that are started.
            speculate: runs may start beyond the frames that are proven.
        """
        self._replace_lost_leader()
        if self.truth.done or self._changes_to is not None:
            return None
        holds = self.holds(worker)
        free = [run for run in self.runs if run.task is None and run.goes_on(self.end)]
        for run in sorted(free, key=lambda run: (run.holder != worker, not run.true)):
            if run in self.runs and (piece := self._continue(run, worker)) is not None:
                return piece
            holds = holds and self.holds(worker)
            if holds:
                return None
        if not self.broken and self.truth.is_recalling:
            return None
        if not any(self._leads(run) for run in self.runs):
            start = self._leading_start()
        elif speculate and not self.guess and self._unproven < 2:
            start = self._speculative_start(idle)
        else:
            start = None
        if start is None:
            return None
        run = TrackerRun(next(new_run), start, true=start == self.first, last=start - 1)
        self.broken = True
        self.runs.insert(run)
        return self._continue(run, worker)

    def change_engine(self, engine: Engine) -> None:
        """Continue the true run with another engine: at once, or when no piece is in progress.

        The state of optv's tracker cannot be read. So the other engine begins again: at the start if that is near, otherwise
        a few frames before the end of the true run, to be proven by equal files.
        """
        self._changes_to = engine if engine != self.engine else None
        if self._changes_to is None or any(run.task is not None for run in self.runs):
            return
        if self.runs:
            tracked = self.truth.until + 1 - self.first
            self._warm_up = WARM_UP if tracked > MAX_WARM_UP else 2 * MAX_WARM_UP
        self.runs.clear()
        self._unproven, self._seconds = 0, 0.0
        self.engine, self._changes_to = engine, None

    def go_on_from(self, run: int, states: Mapping[tuple[int, int, str], str]) -> None:
        """Continue the true run from a state that an earlier run saved, if one matches the frames that are recalled."""
        for stretch, frame, tag in sorted(states, key=lambda state: -state[1]):
            fits = stretch == self.first and self.first <= frame <= self.truth.until
            if fits and tag == state_tag(self.truth.recent, self.first, frame):
                saved = states[stretch, frame, tag]
                self.runs.insert(TrackerRun(run, frame + 1, true=True, last=frame, begun=True, saved=(frame, saved)))
                self.broken = True
                return

    def holds(self, worker: int) -> bool:
        """Whether a worker has the only copy of the state of a run that is not at its end."""
        return any(run.holder == worker and run.saved is None and run.goes_on(self.end) for run in self.runs)

    def leads(self, run: int) -> bool:
        """Whether the true run depends on a run: it is true, or is meant to continue the true one."""
        known_run = self.runs.find(run)
        return known_run is not None and self._leads(known_run)

    @property
    def needed(self) -> set[int]:
        """Runs whose frames may still be needed."""
        return {run.id for run in self.runs} | self.right.runs.keys()

    def add(self, step: StepDone) -> Iterator[StepDone]:
        """A run has done a frame: yields the frames that this proves and that are published, in order."""
        run = self.runs.find(step.run)
        if run is None or run.met:
            return
        run.last = step.frame
        self._seconds = step.seconds if not self._seconds else 0.9 * self._seconds + 0.1 * step.seconds
        run.knows[step.frame] = known(step)
        if run.true:
            yield from self._carry_on(step)
        else:
            run.steps[step.frame] = step
        self._find_meetings(run, step.frame)
        yield from self._settle()

    def give_up(self) -> None:
        """Stop all guesses."""
        self.runs.clear()
        self.truth.given_up = True

    @property
    def settled(self) -> bool:
        """No frame waits to be published."""
        return self.truth.done and not self.right

    # -- pieces --------------------------------------------------------------------------------------------------------

    def _continue(self, run: TrackerRun, worker: int) -> Piece | None:
        """The next frames of a run without a task, if a worker can track them now."""
        if run.holder is None and run.saved is not None and run.saved[0] < run.last:
            run.roll_back()  # the part that began it was stopped between two states
        on_disk = run.saved is not None and run.saved[0] == run.last
        if run.begun and run.holder != worker and not on_disk:
            if run.holder is None:
                logger.debug("Tracker run %d: its state after frame %d is lost", run.id, run.last)
                self.runs.remove(run)  # its staged frames beyond the true run are given up with it
            return None
        first, ready = run.last + 1, self.truth.ready
        following = self.runs.following(run)
        if following is not None and first >= following.first and following.last < first:
            if following.task is not None:
                return None  # another run may meet it there: its first frames are in progress
            self._give_up(following)
            following = self.runs.following(run)
        last = min(ready, first + self._piece_length - 1)
        if following is not None:
            last = min(last, max(following.last, following.first - 1))
        waits_for_more = self.end is None and not self.truth.paused and last == ready and last - first + 1 < SHORTEST_PIECE
        if last < first or waits_for_more:
            return None
        meets = (
            {} if following is None else {f: state for f, state in following.knows.items() if first - 2 * LOOK_AHEAD <= f <= last}
        )
        saved = run.saved[1] if run.saved is not None and on_disk else None
        return Piece(run.id, first, last, run.true, not run.begun, saved, meets)

    @property
    def _piece_length(self) -> int:
        length = round(SECONDS_A_PIECE / self._seconds) if self._seconds else SHORTEST_PIECE
        return min(max(length, SHORTEST_PIECE), LONGEST_PIECE)

    def _leads(self, run: TrackerRun) -> bool:
        may_lead = not run.part and run.first <= self.truth.until + 1
        return run.true or (may_lead and not any(other.true for other in self.runs))

    def _leading_start(self) -> int | None:
        """A run that continues the true one: from the start, or from a few frames before its end."""
        from_start = self.guess or self._warm_up > MAX_WARM_UP
        first = self.first if from_start else max(self.first, self.truth.until + 1 - self._warm_up)
        enough = self.end is not None or self.truth.paused or self.truth.ready >= self.truth.until + SHORTEST_PIECE
        return first if enough else None

    def _speculative_start(self, idle: int) -> int | None:
        """The first frame for an idle worker: the longest untracked piece is divided among the idle workers."""
        limit = min(self.truth.frontier, self.truth.until + UNPROVEN_FRAMES * (len(self.runs) + idle))
        start, bound = self.runs.longest_gap(limit)
        first = start + max((bound - start) // (idle + 1), SHORTEST_PIECE)
        return first if bound - first >= SHORTEST_PIECE and self.truth.ready >= first + SHORTEST_PIECE - 1 else None

    # -- truth ---------------------------------------------------------------------------------------------------------

    def _carry_on(self, step: StepDone) -> Iterator[StepDone]:
        """A frame of the true run."""
        if step.frame <= self.truth.until:
            return  # an earlier run repeats what is published already
        self.truth.carry_on(step)
        if step.published or self.guess:
            yield step
        else:
            self.right.append(step)

    def _find_meetings(self, run: TrackerRun, frame: int) -> None:
        """Check whether a run has reached the same state as a neighbouring run at a frame."""
        for one, other in self.runs.beside(run):
            if not one.met and same_state(one.knows, other.knows, frame):
                one.met = True
                one.last = frame
                self._counts.proven += 1
                self._unproven = 0
                logger.debug("Tracking from frame %d agrees with the piece before it at frame %d", other.first, frame)
        if frame <= self.truth.until:
            self._compare_with_truth([frame])

    def _compare_with_truth(self, frames: Iterable[int]) -> None:
        """Check whether the run that continues the true one agrees with it."""
        leading = self.runs.first
        if leading is None or leading.true:
            return
        if any(same_state(self.truth.recent, leading.knows, frame) for frame in frames):
            self._counts.proven += 1
            self._warm_up = WARM_UP
            leading.true = True

    def _replace_lost_leader(self) -> None:
        """Handle the loss of a true run: the next run may already have met the true frames, or passed them."""
        leading = self.runs.first
        if leading is not None and not leading.true and leading.first <= self.truth.until + 1:
            self._compare_with_truth([frame for frame in leading.knows if frame <= self.truth.until])
            deque(self._settle(), maxlen=0)  # its frames are staged: none of them is published

    def _settle(self) -> Iterator[StepDone]:
        """Make runs true that a true one has met, and start others again that did not meet the true run."""
        while (run := self.runs.first) is not None:
            if not run.true:
                if run.last > self.truth.until >= run.first - (not run.part):
                    self._retry(run)
                    continue
                return
            for step in list(run.steps.values()):
                yield from self._carry_on(step)
            run.steps.clear()
            if not run.met:
                run.trim()
                break
            following = self.runs.following(run)
            self.runs.remove(run)
            if following is not None:
                following.true = True
        if self.truth.done:
            for run in list(self.runs):
                if not run.true:
                    self._give_up(run)

    def _retry(self, run: TrackerRun) -> None:
        self._counts.retried += 1
        self._warm_up *= 2
        logger.debug("Frame %d: pieces do not agree yet; tracking again from further back", self.truth.until + 1)
        self.runs.remove(run)

    def _give_up(self, run: TrackerRun) -> None:
        self._counts.given_up += 1
        self._unproven += 1
        logger.debug("Frame %d: pieces do not agree; the one before it is tracked further instead", run.first)
        self.runs.remove(run)
