"""The tracker runs of a stretch in their order, and the worker and task of each."""

from __future__ import annotations

from collections.abc import Iterator

from pyptv.core.schedule.tracker_runs import TrackerRun


class Runs:
    """The runs of a stretch, in the order of their frames."""

    def __init__(self) -> None:
        self._runs: list[TrackerRun] = []

    def __iter__(self) -> Iterator[TrackerRun]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def first(self) -> TrackerRun | None:
        """The true run, or the first one to be met."""
        return self._runs[0] if self._runs else None

    def find(self, run: int) -> TrackerRun | None:
        """The run with a number; None: it has ended."""
        return next((known_run for known_run in self._runs if known_run.id == run), None)

    def following(self, run: TrackerRun) -> TrackerRun | None:
        """The run after a run."""
        at = self._runs.index(run) + 1
        return self._runs[at] if at < len(self._runs) else None

    def beside(self, run: TrackerRun) -> Iterator[tuple[TrackerRun, TrackerRun]]:
        """A run with the previous run, and with the next run."""
        at = self._runs.index(run)
        return zip(self._runs[max(at - 1, 0) : at + 1], self._runs[max(at, 1) : at + 2], strict=False)

    def longest_gap(self, limit: int) -> tuple[int, int]:
        """The longest untracked piece up to ``limit``: its first frame, and the one after its last."""
        bounds = [run.first for run in self._runs[1:]] + [limit + 1]
        pieces = [(max(run.last + 1, run.first), bound) for run, bound in zip(self._runs, bounds, strict=True)]
        return max(pieces, key=lambda piece: piece[1] - piece[0])

    def insert(self, run: TrackerRun) -> None:
        """Add a run."""
        self._runs.append(run)
        self._runs.sort(key=lambda run: (run.first, bool(run.part)))

    def remove(self, run: TrackerRun) -> None:
        """A run ends."""
        self._runs.remove(run)

    def clear(self) -> None:
        """All runs end."""
        self._runs.clear()

    # -- workers and tasks ---------------------------------------------------------------------------------------------

    def started(self, run: int, task: int, worker: int) -> None:
        """A piece of a run has been assigned. A worker keeps one run in memory."""
        self.forget_worker(worker)
        known_run = self.find(run)
        if known_run is None:
            raise KeyError(run)
        known_run.task, known_run.begun, known_run.holder = task, True, worker

    def forget_worker(self, worker: int) -> None:
        """A worker tracks a run of another stretch now: it keeps only one in memory."""
        for run in self._runs:
            if run.holder == worker:
                run.holder = None

    def ended(self, run: int, *, saved: str | None = None) -> None:
        """The task of a run has ended."""
        known_run = self.find(run)
        if known_run is not None:
            known_run.task = None
            known_run.saved = (known_run.last, saved) if saved is not None else None

    def died(self, run: int, *, lost: bool = False) -> None:
        """The worker of a run is lost: the run continues from its last state on disk, unless that is ``lost`` as well."""
        known_run = self.find(run)
        if known_run is None:
            return
        known_run.task = known_run.holder = None
        if lost:
            known_run.saved = None
        known_run.roll_back()

    @property
    def holders(self) -> set[int | None]:
        """Workers that have the state of a run in memory."""
        return {run.holder for run in self._runs}
