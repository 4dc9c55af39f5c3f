"""How a run would scale on more cores than this machine has: the real plan of tasks, run by simulated workers.

    python tests/benchmarks/scaling_model.py [--way pool] [--frames 10000] [--latency 0.001] [--sequence 0.03] [--tracking 0.01]

Assumptions: a frame takes the same time on every worker: CPU time, and for each file operation the latency of the disk (the
numbers of operations are those that strace counts, docs/performance.md). The disk serves any number of workers. The parent
takes its CPU time for each event (and a scheduler between them for each task: ``--task``), one after the other; that is what
limits the number of workers. A worker is ready after its
start-up time. A tracker run that starts inside a stretch comes to the true state four frames later (as measured on smooth
data). The scheduler, chunks, pieces and seams are the program's own.

``--way dask``: what a task has done is known at its end, and tasks are cut by seconds. ``--way parts``: as many parts as
processes, all at once, then ``--finish`` on ``--together`` processes, which reads every frame and moves what was tracked ahead.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from pyptv.core.base.events import Event, FrameDone, StepDone, TaskDone
from pyptv.core.base.frames import chunk_ranges
from pyptv.core.engines.choice import Engines
from pyptv.core.schedule.plan import Plan
from pyptv.core.schedule.sequence import SequencePlan
from pyptv.core.schedule.tracking import TrackingPlan
from pyptv.core.stages.tasks import FramesTask, PublishTask, Task, TrackTask

SHORT_CHUNK, MOST_ROUNDS = 32, 50
CONVERGENCE = 4
SECONDS_A_TASK = 2.0
FINISH_OPERATIONS, FINISH_SECONDS = 68, 0.005
"""Of ``--finish``, per frame: docs/cluster.md."""
SEQUENCE_OPERATIONS, TRACKING_OPERATIONS, PUBLISH_OPERATIONS = 69, 43, 9
"""File operations per frame with four cameras."""


class NoStore:
    """Results that are nowhere."""

    def stage_of(self, run: int) -> Any:
        return Nowhere(f"/nonexistent/run-{run}")

    def states(self) -> dict[Any, Any]:
        return {}


class Nowhere(type(Path())):  # type: ignore[misc]
    """A folder that is not made."""

    def mkdir(self, *_args: Any, **_options: Any) -> None:
        """Nothing to do."""


@dataclass
class NoJob:
    """A job of which only this is asked."""

    stop_at_failure: bool = True


@dataclass
class Costs:
    """Seconds."""

    sequence: float
    tracking: float
    latency: float
    parent: float
    start: float
    task: float = 0.0
    together: int = 16

    @property
    def frame(self) -> float:
        """A frame, both steps."""
        return self.sequence + self.tracking + (SEQUENCE_OPERATIONS + TRACKING_OPERATIONS) * self.latency

    def of(self, event: Event) -> float:
        """What a worker needs until it reports an event."""
        if isinstance(event, FrameDone):
            return self.sequence + SEQUENCE_OPERATIONS * self.latency
        if isinstance(event, StepDone):
            return self.tracking + TRACKING_OPERATIONS * self.latency if event.seconds else PUBLISH_OPERATIONS * self.latency
        return 0.0


@dataclass
class Worker:
    """A worker, and what it will report next."""

    number: int
    events: Iterator[Event] | None = None
    starts: dict[int, int] = field(default_factory=dict)


class Simulation:
    """``n`` workers on the frames ``0..n_frames - 1``."""

    def __init__(self, n: int, n_frames: int, costs: Costs, *, dask: bool = False) -> None:
        ids = count(1)
        longest = max(SHORT_CHUNK, n_frames // (n * MOST_ROUNDS))
        chunks = chunk_ranges(0, n_frames - 1, min(n_frames, n * -(-n_frames // (n * longest))))
        if dask:
            chunks = [(0, n_frames - 1)]
        self.dask = dask
        self.busy = 0.0
        """Of the parent, and of a scheduler."""
        store: Any = NoStore()
        job: Any = NoJob()
        self.tracking = TrackingPlan((0, n_frames - 1), ids, store, Engines("compiled"), speculate=n > 1, early=n > 1)
        self.plan = Plan(
            job,
            store,
            sequence=SequencePlan(
                *(chunks, ids, store, "process"),
                engines=Engines("compiled"),
                shown=False,
                seconds=SECONDS_A_TASK if dask else None,
            ),
            tracking=self.tracking,
        )
        self.workers = [Worker(number) for number in range(1, n + 1)]
        self.costs = costs
        self.starts: dict[int, int] = {}
        """Tracker run -> its first frame."""
        self.queue: list[tuple[float, int, Worker, list[Event]]] = []
        self.order = count()

    def run(self) -> float:
        """Wall time [s] of the whole run."""
        parent = now = self.costs.start
        self.hand_out(now)
        while not self.plan.finished and self.queue:
            now, _, worker, events = heapq.heappop(self.queue)
            spent = self.costs.parent * len(events) + (self.costs.task if isinstance(events[-1], TaskDone) else 0.0)
            self.busy += spent
            parent = max(parent, now) + spent
            for event in events:
                for _ in self.plan.record(event):
                    pass
            if isinstance(events[-1], TaskDone):
                worker.events = None
            else:
                self.next_event(worker, now)
            self.hand_out(parent)
        return max(now, parent)

    def hand_out(self, now: float) -> None:
        idle = [worker for worker in self.workers if worker.events is None]
        for position, worker in enumerate(idle):
            task = self.plan.next_task(len(idle) - position, worker.number)
            if task is None:
                if position > 1:
                    break  # the others would get none, either
                continue
            worker.events = self.events(task)
            self.next_event(worker, now)

    def next_event(self, worker: Worker, now: float) -> None:
        assert worker.events is not None
        events = list(worker.events) if self.dask else [next(worker.events)]
        needs = sum(map(self.costs.of, events))
        heapq.heappush(self.queue, (now + needs, next(self.order), worker, events))

    def events(self, task: Task) -> Iterator[Event]:
        """What a worker reports of a task."""
        if isinstance(task, FramesTask):
            seconds = {"all": self.costs.sequence + SEQUENCE_OPERATIONS * self.costs.latency}
            yield from (FrameDone(frame, (1,), (1,), 1, "", seconds=seconds) for frame in range(task.first, task.last + 1))
        elif isinstance(task, PublishTask):
            yield from (StepDone(s.run, s.frame, s.digest, stretch=s.stretch, published=True) for s in task.steps)
        else:
            for frame in range(task.first, task.last + 1):
                step = self.step(task, frame)
                yield step
                if frame in task.meets and task.meets[frame].state == step.state:
                    break
        yield TaskDone(task.id, saved="somewhere")

    def step(self, task: TrackTask, frame: int) -> StepDone:
        start = self.starts.setdefault(task.run, task.first)
        state = "" if start == 0 or frame >= start + CONVERGENCE else f" of run {task.run}"
        return StepDone(
            run=task.run,
            frame=frame,
            digest=f"{frame}{state}",
            stretch=task.stretch,
            last=task.end,
            seconds=self.costs.tracking + TRACKING_OPERATIONS * self.costs.latency,
            state=f"{frame}{state}",
            published=task.stage is None,
        )


def in_parts(n: int, n_frames: int, costs: Costs) -> tuple[float, str]:
    """Wall time [s] of ``n`` parts at once and of putting them together; and how it is made up."""
    part = costs.start + -(-n_frames // n) * costs.frame
    look = FINISH_SECONDS + FINISH_OPERATIONS * costs.latency
    seams = n * CONVERGENCE * (costs.tracking + TRACKING_OPERATIONS * costs.latency)
    finish = costs.start + max((n_frames * look + seams) / costs.together, 3 * n_frames * costs.parent)
    return part + finish, f"a part {part:.1f} s, --finish {finish:.1f} s"


def by_plan(n: int, n_frames: int, costs: Costs, *, dask: bool) -> tuple[float, str]:
    """Wall time [s] of ``n`` workers; and how it is made up."""
    simulation = Simulation(n, n_frames, costs, dask=dask)
    wall = simulation.run()
    work, parent, start = (value / wall for value in (n_frames * costs.frame / n, simulation.busy, costs.start))
    seams = simulation.tracking.seams
    return wall, f"work {work:.0%}, start-up {start:.0%}, parent and scheduler busy {parent:.0%}, {seams.proven} seams"


def main() -> None:
    """Print a table of wall times and speed-ups."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--way", choices=("pool", "dask", "parts"), default="pool")
    parser.add_argument("--frames", type=int, nargs="+", default=[10000])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4, 16, 64, 256])
    parser.add_argument("--sequence", type=float, default=0.030, help="CPU seconds per frame")
    parser.add_argument("--tracking", type=float, default=0.015, help="CPU seconds per frame")
    parser.add_argument("--latency", type=float, nargs="+", default=[0.0, 0.001], help="seconds for each file operation")
    parser.add_argument("--parent", type=float, default=0.00003, help="CPU seconds of the parent for each event")
    parser.add_argument("--task", type=float, default=0.0, help="seconds for each task that is handed out, one after the other")
    parser.add_argument("--start", type=float, default=0.8, help="seconds until a worker is ready")
    parser.add_argument("--together", type=int, default=16, help="processes of --finish")
    options = parser.parse_args()
    print(f"{'latency':>9}{'frames':>8}{'processes':>11}{'wall':>10}{'speed-up':>10}{'efficiency':>12}   what it is made up of")
    for latency in options.latency:
        costs = Costs(options.sequence, options.tracking, latency, options.parent, options.start, options.task, options.together)
        for n_frames in options.frames:
            alone = costs.start + n_frames * costs.frame
            for n in options.processes:
                if options.way == "parts":
                    wall, parts = in_parts(n, n_frames, costs)
                else:
                    wall, parts = by_plan(n, n_frames, costs, dask=options.way == "dask")
                ratio = alone / wall
                print(f"{latency:>9}{n_frames:>8}{n:>11}{wall:>9.1f}s{ratio:>10.2f}{ratio / n:>11.0%}   {parts}", flush=True)


if __name__ == "__main__":
    main()
