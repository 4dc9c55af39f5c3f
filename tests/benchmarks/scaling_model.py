"""How a run would scale on more cores than this machine has: the real plan of tasks, run by simulated workers.

    python tests/benchmarks/scaling_model.py [--frames 1000] [--sequence 0.055] [--tracking 0.080]

Assumptions: a frame takes the same time on every worker (measured on this machine, one process alone), memory bandwidth and disk
are no limit, a worker is ready after its start-up time, and a tracker run that starts inside the sequence becomes the true one
four frames later (as measured on smooth data). The scheduler, chunks, seams and messages are the program's own.
"""

from __future__ import annotations

import argparse
import heapq
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from pyptv.core.base.events import Event, FrameDone, StepDone, TaskDone
from pyptv.core.base.frames import chunk_ranges
from pyptv.core.schedule.plan import Plan
from pyptv.core.schedule.sequence import SequencePlan
from pyptv.core.schedule.tracking import TrackingPlan
from pyptv.core.stages.tasks import Frontier, SequenceTask, Stop, Task

SHORT_CHUNK, MOST_ROUNDS = 32, 50
CONVERGENCE = 4


class NoStore:
    """Results that are nowhere."""

    stages = Path("/nonexistent")

    def __getattr__(self, name: str) -> Any:
        return lambda *_args, **_kwargs: ""


@dataclass
class NoJob:
    """A job of which only this is asked."""

    stop_at_failure: bool = True


@dataclass
class Worker:
    """A worker in the middle of a task, or idle."""

    task: Task | None = None
    frame: int = 0
    frontier: int = 0
    end: int | None = None
    stopped: bool = False


@dataclass(order=True)
class Tick:
    """A worker is done with a frame at a time."""

    time: float
    order: int
    worker: Worker = field(compare=False)


class Simulation:
    """``n`` workers on the frames ``0..n_frames - 1``."""

    def __init__(self, n: int, n_frames: int, seconds: dict[str, float]) -> None:
        ids = count(1)
        longest = max(SHORT_CHUNK, n_frames // (n * MOST_ROUNDS))
        chunks = chunk_ranges(0, n_frames - 1, min(n_frames, n * -(-n_frames // (n * longest))))
        store: Any = NoStore()
        job: Any = NoJob()
        self.tracking = TrackingPlan((0, n_frames - 1), ids, store, speculate=n > 1, early=n > 1)
        self.plan = Plan(job, store, sequence=SequencePlan(chunks, ids, store, "process"), tracking=self.tracking)
        self.workers = [Worker() for _ in range(n)]
        self.seconds = seconds
        self.ticks: list[Tick] = []
        self.order = count()

    def run(self) -> float:
        """Wall time [s] of the whole run."""
        now = self.seconds["start"]
        self.hand_out(now)
        while not self.plan.finished and self.ticks:
            tick = heapq.heappop(self.ticks)
            now = tick.time
            for event in self.advance(tick.worker):
                for _ in self.plan.record(event):
                    pass
            self.deliver()
            if tick.worker.task is not None:
                self.schedule(tick.worker, now)
            self.hand_out(now)
        return now

    def hand_out(self, now: float) -> None:
        idle = [worker for worker in self.workers if worker.task is None]
        while idle and (task := self.plan.next_task(len(idle))) is not None:
            worker = idle.pop()
            worker.task, worker.frame, worker.stopped = task, task.first, False
            if not isinstance(task, SequenceTask):
                worker.frontier, worker.end = task.frontier, task.end
            self.schedule(worker, now)
        self.deliver()

    def schedule(self, worker: Worker, now: float) -> None:
        step = "sequence" if isinstance(worker.task, SequenceTask) else "tracking"
        heapq.heappush(self.ticks, Tick(now + self.seconds[step], next(self.order), worker))

    def advance(self, worker: Worker) -> list[Event]:
        task, frame = worker.task, worker.frame
        assert task is not None
        worker.frame += 1
        if isinstance(task, SequenceTask):
            done: list[Event] = [FrameDone(frame, (1,), (1,), 1, "")]
            finished = frame == task.last
        else:
            if worker.stopped or (worker.end is None and frame + 3 > worker.frontier):
                worker.task = None
                return [TaskDone(task.id, interrupted=True)]
            true = task.first == 0 or frame >= task.first + CONVERGENCE
            done = [StepDone(task.id, frame, "" if true else f"run {task.id}")]
            finished = frame == worker.end
        if finished:
            worker.task = None
            done.append(TaskDone(task.id))
        return done

    def deliver(self) -> None:
        for message in self.plan.messages():
            for worker in self.workers:
                if worker.task is not None and worker.task.id == message.task:
                    if isinstance(message, Stop):
                        worker.stopped = True
                    elif isinstance(message, Frontier):
                        worker.frontier, worker.end = message.frontier, message.end


def main() -> None:
    """Print a table of wall times and speed-ups."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--sequence", type=float, default=0.055, help="seconds a frame")
    parser.add_argument("--tracking", type=float, default=0.080, help="seconds a frame")
    parser.add_argument("--start", type=float, default=0.3, help="seconds until a worker is ready")
    options = parser.parse_args()
    seconds = {"sequence": options.sequence, "tracking": options.tracking, "start": options.start}
    print(f"{'frames':>8}{'processes':>11}{'wall':>10}{'speed-up':>10}{'efficiency':>12}   seams")
    for n_frames in options.frames:
        alone = Simulation(1, n_frames, seconds).run()
        for n in (1, 2, 4, 16, 64):
            simulation = Simulation(n, n_frames, seconds)
            wall = simulation.run()
            print(
                f"{n_frames:>8}{n:>11}{wall:>9.1f}s{alone / wall:>10.2f}{alone / wall / n:>11.0%}   {simulation.tracking.seams}"
            )


if __name__ == "__main__":
    main()
