"""What is known to be right of a stretch: which frames belong to it, and how far they are tracked."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable

from pyptv.core.base.events import StepDone
from pyptv.core.schedule.tracker_runs import END_EFFECT, LOOK_AHEAD, LOOK_BACK
from pyptv.core.stages.proof import known
from pyptv.core.stages.tasks import Known


class Truth:
    """The frames of a stretch, and the true links as far as there are any."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.frontier = first - 1
        """Frames up to here are known to belong to the stretch."""
        self.end: int | None = None
        """Its last frame, once known."""
        self.until = first - 1
        """Frames up to here are tracked, and right."""
        self.recent: OrderedDict[int, Known] = OrderedDict()
        """What the true run had after the last frames."""
        self.paused = False
        """No more frames will be known, whether the stretch ends here or not: others have them."""
        self.given_up = False
        """Nothing more is to be tracked here."""
        self._kept_until = first - 1
        """Frames up to here have not changed since an earlier run."""

    @property
    def done(self) -> bool:
        """Every frame is tracked that can be."""
        return self.given_up or ((self.end is not None or self.paused) and self.until >= self.ready)

    @property
    def ready(self) -> int:
        """The last frame that can be tracked now."""
        return self.end if self.end is not None else self.frontier - LOOK_AHEAD

    def extend(self, frame: int, *, kept: bool) -> None:
        """One more frame belongs to the stretch; ``kept``: it is what it was in an earlier run."""
        self.frontier = frame
        if kept and self._kept_until == frame - 1:
            self._kept_until = frame

    def close(self, end: int) -> None:
        """The stretch ends here."""
        self.end = self.frontier = end

    def cut(self, end: int) -> None:
        """The stretch ends earlier than thought: what depends on that is not true any more."""
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
        """Take over a frame that an earlier run has tracked, if it is the next one and still right.

        A step looks at three frames beyond its own: all of them must be what they were. The last frames of a stretch depend on
        where it ends: they count only where it ended there then, too.
        """
        if step.stretch != self.first or step.frame != self.until + 1 or not self.still_fits(step):
            return False
        self.carry_on(step)
        return True

    def still_fits(self, step: StepDone) -> bool:
        """Whether the frames that a step has looked at are what they were, and end where they did as far as that matters."""
        ended_here = self.end is not None and step.last == self.end
        was_open = step.last is None or step.frame <= step.last - END_EFFECT
        is_open = self.end is None or step.frame <= self.end - END_EFFECT
        seen = step.frame + LOOK_AHEAD if self.end is None else min(step.frame + LOOK_AHEAD, self.end)
        return (ended_here or (was_open and is_open)) and self._kept_until >= seen

    def may_recall(self, frame: int) -> bool:
        """Whether the links of an earlier run may still turn out to count at a frame."""
        return self._kept_until == self.frontier or frame + LOOK_AHEAD <= self._kept_until

    @property
    def is_recalling(self) -> bool:
        """All frames so far are what they were in an earlier run, and so are their links: the next ones may be, too."""
        return self.end is None and self._kept_until == self.frontier and self.until + LOOK_AHEAD >= self._kept_until


class Proven:
    """Staged frames that have turned out to be right, until they are put in place."""

    def __init__(self) -> None:
        self._steps: deque[StepDone] = deque()
        self.runs: Counter[int] = Counter()
        """Run -> its frames here."""

    def __bool__(self) -> bool:
        return bool(self._steps)

    def append(self, step: StepDone) -> None:
        """One more frame."""
        self._steps.append(step)
        self.runs[step.run] += 1

    def take(self, most: int) -> list[StepDone]:
        """The first frames, of one run."""
        taken: list[StepDone] = []
        while self._steps and len(taken) < most and (not taken or taken[0].run == self._steps[0].run):
            taken.append(self._steps.popleft())
        self._count_off(taken)
        return taken

    def give_back(self, steps: list[StepDone]) -> None:
        """Frames that were taken, and have not been put in place."""
        self._steps.extendleft(reversed(steps))
        self.runs.update(step.run for step in steps)

    def cut(self, end: int) -> None:
        """Frames beyond this one are not right any more."""
        self._count_off([step for step in self._steps if step.frame > end])
        self._steps = deque(step for step in self._steps if step.frame <= end)

    def _count_off(self, steps: Iterable[StepDone]) -> None:
        self.runs.subtract(step.run for step in steps)
        self.runs = +self.runs
