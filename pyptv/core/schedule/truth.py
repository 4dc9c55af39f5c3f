"""The proven state of a stretch: which frames belong to it, and how far they are tracked."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable

from pyptv.core.base.events import StepDone
from pyptv.core.schedule.tracker_runs import END_EFFECT, LOOK_AHEAD, LOOK_BACK
from pyptv.core.stages.proof import known
from pyptv.core.stages.tasks import Known


class Truth:
    """The frames of a stretch, and its proven links."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.frontier = first - 1
        """Frames up to here are known to belong to the stretch."""
        self.end: int | None = None
        """Its last frame, once known."""
        self.until = first - 1
        """Frames up to here are tracked and proven."""
        self.recent: OrderedDict[int, Known] = OrderedDict()
        """The states of the true run after the last frames."""
        self.paused = False
        """No more frames will be known, whether the stretch ends here or not: another part has them."""
        self.given_up = False
        """Nothing more is to be tracked here."""
        self._kept_until = first - 1
        """Frames up to here have not changed since an earlier run."""

    @property
    def done(self) -> bool:
        """Every frame that can be tracked is tracked."""
        return self.given_up or ((self.end is not None or self.paused) and self.until >= self.ready)

    @property
    def ready(self) -> int:
        """The last frame that can be tracked now."""
        return self.end if self.end is not None else self.frontier - LOOK_AHEAD

    def extend(self, frame: int, *, kept: bool) -> None:
        """Add a frame to the stretch; ``kept``: it is unchanged since an earlier run."""
        self.frontier = frame
        if kept and self._kept_until == frame - 1:
            self._kept_until = frame

    def close(self, end: int) -> None:
        """The stretch ends here."""
        self.end = self.frontier = end

    def cut(self, end: int) -> None:
        """The stretch ends earlier than assumed: links that depend on this are no longer valid."""
        self.close(end)
        self.until = min(self.until, max(end - END_EFFECT, self.first - 1))
        self.recent = OrderedDict((frame, state) for frame, state in self.recent.items() if frame <= self.until)

    def carry_on(self, step: StepDone) -> None:
        """The next frame is tracked."""
        self.until = step.frame
        self.recent[step.frame] = known(step)
        while len(self.recent) > LOOK_BACK:
            self.recent.popitem(last=False)

    def recall(self, step: StepDone) -> bool:
        """Adopt a frame that an earlier run has tracked, if it is the next one and still valid.

        A step uses three frames beyond its own: all of them must be unchanged. The last frames of a stretch depend on
        where it ends: they are valid only if it ended there in the earlier run as well.
        """
        if step.stretch != self.first or step.frame != self.until + 1 or not self.still_fits(step):
            return False
        self.carry_on(step)
        return True

    def still_fits(self, step: StepDone) -> bool:
        """Whether the frames that a step used are unchanged and, where it matters, the stretch has the same end."""
        ended_here = self.end is not None and step.last == self.end
        was_open = step.last is None or step.frame <= step.last - END_EFFECT
        is_open = self.end is None or step.frame <= self.end - END_EFFECT
        seen = step.frame + LOOK_AHEAD if self.end is None else min(step.frame + LOOK_AHEAD, self.end)
        return (ended_here or (was_open and is_open)) and self._kept_until >= seen

    def may_recall(self, frame: int) -> bool:
        """Whether the links of an earlier run may still be valid at a frame."""
        return self._kept_until == self.frontier or frame + LOOK_AHEAD <= self._kept_until

    @property
    def is_recalling(self) -> bool:
        """Whether all frames so far and their links are unchanged since an earlier run, so that the next ones may be as well."""
        return self.end is None and self._kept_until == self.frontier and self.until + LOOK_AHEAD >= self._kept_until


class Proven:
    """Staged frames that have been proven, until they are published."""

    def __init__(self) -> None:
        self._steps: deque[StepDone] = deque()
        self.runs: Counter[int] = Counter()
        """Run -> its frames here."""

    def __bool__(self) -> bool:
        return bool(self._steps)

    def append(self, step: StepDone) -> None:
        """Add a frame."""
        self._steps.append(step)
        self.runs[step.run] += 1

    def take(self, most: int) -> list[StepDone]:
        """Remove and return the first frames, of one run."""
        taken: list[StepDone] = []
        while self._steps and len(taken) < most and (not taken or taken[0].run == self._steps[0].run):
            taken.append(self._steps.popleft())
        self._count_off(taken)
        return taken

    def give_back(self, steps: list[StepDone]) -> None:
        """Return frames that were taken and have not been published."""
        self._steps.extendleft(reversed(steps))
        self.runs.update(step.run for step in steps)

    def cut(self, end: int) -> None:
        """Drop frames beyond this one, which are no longer valid."""
        self._count_off([step for step in self._steps if step.frame > end])
        self._steps = deque(step for step in self._steps if step.frame <= end)

    def _count_off(self, steps: Iterable[StepDone]) -> None:
        self.runs.subtract(step.run for step in steps)
        self.runs = +self.runs
