"""Frames tracked ahead by parts of a job array: guesses, until their stretches are known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pyptv.core.base.events import StepDone
from pyptv.core.files.store import Store
from pyptv.core.schedule.seams import Stretch
from pyptv.core.schedule.tracker_runs import LOOK_AHEAD


class Ahead:
    """Frames tracked by parts, until their stretch and the following frames are known."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._steps: dict[int, StepDone] = {}
        self._states: dict[str, dict[tuple[int, str], str]] = {}
        """Part -> its saved states."""
        self._stages: dict[int, Path] = {}
        """Run -> the stage folder of the part that began it."""

    def note(self, step: StepDone) -> None:
        """Add a frame done by a part, whose files are unchanged."""
        self._steps[step.frame] = step

    def hand_over(self, stretch: Stretch, new_run: Iterator[int]) -> None:
        """Pass frames to their stretch, in ascending order, as far as the frames that they depend on are known."""
        end = stretch.end
        until = stretch.truth.frontier - LOOK_AHEAD if end is None else end
        while stretch.offered <= until:
            step = self._steps.pop(stretch.offered, None)
            stretch.offered += 1
            if step is not None and (run := stretch.adopt(step, new_run, self._states_of(step.part))) is not None:
                self._stages.setdefault(run, self._store.part_stage(step.part))

    def stage_of(self, run: int) -> Path | None:
        """The stage folder of a run that a part began; None: no part."""
        return self._stages.get(run)

    def _states_of(self, part: str) -> dict[tuple[int, str], str]:
        if part not in self._states:
            self._states[part] = {state: str(path) for state, path in self._store.part_states(part).items()}
        return self._states[part]
