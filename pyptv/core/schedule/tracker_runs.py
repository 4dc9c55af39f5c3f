"""Tracker runs as values: the progress of each, and its next piece."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from pyptv.core.base.events import StepDone
from pyptv.core.stages.tasks import Known

WARM_UP = 12
"""Frames before the last true one at which a new run starts; doubled at each retry."""

MAX_WARM_UP = 96
SHORTEST_PIECE = 16
"""Minimum number of frames for which a task, or a run that must meet another one, is worth starting."""

LOOK_AHEAD = 3
"""Frames that are needed beyond the tracked one, unless the stretch ends before."""

END_EFFECT = 3
"""Number of frames before the end of a stretch that depend on where it ends."""

SECONDS_A_PIECE = 1.0
LONGEST_PIECE = 512
UNPROVEN_FRAMES = 1024
"""Frames per worker that may be tracked beyond the true run, to limit the data in stage folders and in memory."""

LOOK_BACK = 2 * MAX_WARM_UP


@dataclass
class SeamCounts:
    """The outcome of the seams of a run."""

    proven: int = 0
    retried: int = 0
    given_up: int = 0

    def __str__(self) -> str:
        tried = self.proven + self.given_up
        if not tried:
            return "in one piece"
        return f"{self.proven} of {tried} pieces joined exactly, {self.retried} tried again (results unaffected)"


@dataclass(eq=False)
class TrackerRun:
    """One run of the tracker, as far as it has reported. Compared by identity: with a thousand workers lookups are frequent."""

    id: int
    first: int
    true: bool
    last: int
    """The last frame reported."""
    task: int | None = None
    """The task that tracks it now."""
    begun: bool = False
    holder: int | None = None
    """The worker that has its state in memory."""
    saved: tuple[int, str] | None = None
    """Its last state on disk: the frame before it, and the file."""
    steps: OrderedDict[int, StepDone] = field(default_factory=OrderedDict)
    """Frames that are not proven yet."""
    knows: dict[int, Known] = field(default_factory=dict)
    met: bool = False
    """It has reached the state of the next run and ended."""
    part: str = ""
    """The part of a job array that began it; empty: this run."""

    def goes_on(self, end: int | None) -> bool:
        """Whether it has frames to track in a stretch that ends at ``end`` (None: not known yet)."""
        return not self.met and (end is None or self.last < end)

    def roll_back(self) -> None:
        """Go back to its last state on disk, if there is one."""
        if self.saved is not None:
            self.last = self.saved[0]
            for frame in [frame for frame in self.knows if frame > self.last]:
                del self.knows[frame]
                self.steps.pop(frame, None)

    def waits_for(self, step: StepDone) -> bool:
        """Whether a frame done by the same part is the next one."""
        untouched = self.task is None and self.holder is None and not self.met
        return untouched and self.part == step.part != "" and self.last == step.frame - 1

    def take_over(self, step: StepDone, what: Known) -> None:
        """Add a frame done by another run."""
        self.last = step.frame
        self.steps[step.frame], self.knows[step.frame] = step, what

    def trim(self) -> None:
        """Keep only the frames that may still be compared; for a true run."""
        while len(self.knows) > LOOK_BACK:
            del self.knows[next(iter(self.knows))]


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
