"""Tracking on many workers: whatever happens in whatever order, what is published is what one serial run would give.

Nothing here tracks. A made-up tracker stands for optv's: deterministic, and forgetful after a while. What a run from frame s
makes of frame f depends on s until it has converged (never, for some s), and near the end on where the stretch ends.
Before it has converged it may agree with the truth by chance for a few frames in succession. Workers take tasks, step, die
and report in an order that hypothesis chooses; messages and reports are late by as much.
"""

from __future__ import annotations

import random
from collections import defaultdict, deque
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyptv.core.base.events import FrameFailed, StepDone, TaskDone, WorkerDied
from pyptv.core.schedule import seams
from pyptv.core.schedule import tracking as tracking_plan
from pyptv.core.schedule.seams import END_EFFECT, PROOF, SeamCounts, Stretch
from pyptv.core.schedule.tracking import TrackingPlan
from pyptv.core.stages.tasks import Frontier, Stop, TrackingTask

LOOK_AHEAD = 3
FIRST = 100


@dataclass
class Tracker:
    """The made-up tracker."""

    lags: dict[int, int]
    """Start of a run -> frames until it has converged; others: ``usual``."""
    usual: int
    lucky: bool
    """Whether runs agree with the truth by chance, PROOF - 1 frames of each PROOF."""

    def state(self, start: int, first: int, frame: int, end: int | None) -> str:
        """What a run from ``start`` makes of a frame of the stretch from ``first`` to ``end``."""
        truth = f"{first}:{frame}" + (f":{end}" if end is not None and frame > end - END_EFFECT else "")
        converged = start == first or frame - start >= self.lags.get(start, self.usual)
        by_chance = self.lucky and frame % PROOF
        return truth if converged or by_chance else f"{truth} from {start}"


class Store:
    """Keeps what is staged and published."""

    stages = Path("/nowhere")

    def __init__(self) -> None:
        self.staged: dict[Path, dict[int, str]] = defaultdict(dict)
        self.published: dict[int, str] = {}
        self.order: list[int] = []

    def publish_tracking(self, stage: Path, frame: int) -> None:
        self.published[frame] = self.staged[stage].pop(frame)
        self.order.append(frame)

    def publish_empty(self, frame: int) -> str:
        self.published[frame] = "empty"
        return "empty"

    def remove(self, stage: Path, **_options: bool) -> None:
        self.staged.pop(stage, None)


@dataclass
class Worker:
    """Does one task at a time, as ``TrackingRun`` does it."""

    tracker: Tracker
    store: Store
    poison: set[int]
    """Frames at which every worker dies."""
    task: TrackingTask | None = None
    inbox: deque = field(default_factory=deque)
    outbox: deque = field(default_factory=deque)

    def take(self, task: TrackingTask) -> None:
        self.task, self.frame, self.frontier, self.end, self.stopped = task, task.first, task.frontier, task.end, False
        self.inbox.clear()

    @property
    def busy(self) -> bool:
        return self.task is not None

    def step(self) -> None:
        for message in self.inbox:
            if isinstance(message, Stop):
                self.stopped = True
            else:
                self.frontier, self.end = message.frontier, message.end if message.end is not None else self.end
        self.inbox.clear()
        if self.stopped or (self.end is None and self.frame + LOOK_AHEAD > self.frontier):
            self.outbox.append(TaskDone(self.task.id, interrupted=True))
            self.task = None
            return
        if self.frame in self.poison:
            self.die()
            return
        state = self.tracker.state(self.task.first, self.task.stretch, self.frame, self.end)
        self.store.staged[self.task.stage][self.frame] = state
        self.outbox.append(StepDone(self.task.id, self.frame, state, last=self.end))
        if self.frame == self.end:
            self.outbox.append(TaskDone(self.task.id))
            self.task = None
        self.frame += 1

    def die(self) -> int:
        self.outbox.append(WorkerDied(self.task.id, "killed by signal 9 (SIGKILL)", self.frame, "tracking"))
        self.task = None
        return self.frame


def stretches(kinds: str) -> dict[int, tuple[int, int]]:
    """Frame -> (first, last) of its unbroken stretch; ``kinds``: a letter a frame, ``p`` for one with particles."""
    found: dict[int, tuple[int, int]] = {}
    start = 0
    for index, kind in enumerate([*kinds, "e"]):
        if kind != "p":
            found.update({FIRST + n: (FIRST + start, FIRST + index - 1) for n in range(start, index)})
            start = index + 1
    return found


@dataclass
class World:
    """A tracking plan, its workers, and what reaches them when."""

    kinds: str
    tracker: Tracker
    n_workers: int
    speculate: bool
    choices: random.Random
    deaths: int = 0
    known: list[StepDone] = field(default_factory=list)
    poison: set[int] = field(default_factory=set)
    sequence_first: bool = False
    """The sequence step is through before tracking starts."""

    def __post_init__(self) -> None:
        self.where = stretches(self.kinds)
        self.store = Store()
        self.plan = TrackingPlan((FIRST, FIRST + len(self.kinds) - 1), count(1), self.store, speculate=self.speculate)
        self.plan.recall(self.known)
        self.store.published = {step.frame: step.digest for step in self.known}
        self.workers = [Worker(self.tracker, self.store, self.poison) for _ in range(self.n_workers)]
        self.reported: list[StepDone] = []
        self.failures: list[FrameFailed] = []
        self.waiting: deque = deque()

    def truth(self) -> dict[int, str]:
        """What one serial run gives."""
        states = {f: self.tracker.state(first, first, f, last) for f, (first, last) in self.where.items()}
        return states | {FIRST + i: "empty" for i, kind in enumerate(self.kinds) if kind == "e"}

    def run(self) -> World:
        arrivals = self.arrivals()
        died: set[int] = set()
        while self.sequence_first and arrivals:
            self.arrive(arrivals.popleft())
        for _ in range(400 * len(self.kinds) + 2000):
            if self.plan.finished and not arrivals:
                return self
            actions = ["step", "step", "step", "drain", "drain", "post", "hand out"]
            actions += ["arrive"] * bool(arrivals) + ["die"] * (self.deaths > 0)
            action = self.choices.choice(actions)
            if action == "arrive":
                self.arrive(arrivals.popleft())
            elif action == "die":
                busy = [worker for worker in self.workers if worker.busy and worker.frame not in died]
                if busy:
                    died.add(self.choices.choice(busy).die())
                    self.deaths -= 1
            else:
                getattr(self, action.replace(" ", "_"))()
        raise AssertionError("the plan does not come to an end")

    def arrivals(self) -> deque:
        """The frames in the order in which the sequence step's workers finish them: chunks, side by side."""
        size = self.choices.randint(1, len(self.kinds))
        chunks = [list(range(i, min(i + size, len(self.kinds)))) for i in range(0, len(self.kinds), size)]
        order: deque = deque()
        while chunks:
            chunk = self.choices.choice(chunks[: self.n_workers])
            order.append(chunk.pop(0))
            if not chunk:
                chunks.remove(chunk)
        return order

    def arrive(self, index: int) -> None:
        if self.kinds[index] == "f":
            self.plan.frame_failed(FIRST + index)
        else:
            self.note(self.plan.frame_ready(FIRST + index, particles=self.kinds[index] == "p"))

    def step(self) -> None:
        busy = [worker for worker in self.workers if worker.busy]
        if busy:
            self.choices.choice(busy).step()

    def drain(self) -> None:
        full = [worker for worker in self.workers if worker.outbox]
        if full:
            event = self.choices.choice(full).outbox.popleft()
            task = event.run if isinstance(event, StepDone) else event.task
            if isinstance(event, StepDone) or self.plan.owns(task):
                self.note(self.plan.record(event, stop_at_failure=False))

    def post(self) -> None:
        self.waiting.extend(self.plan.messages())
        while self.waiting:
            message = self.waiting.popleft()
            assert isinstance(message, Frontier | Stop)
            for worker in self.workers:
                if worker.busy and worker.task.id == message.task:
                    worker.inbox.append(message)

    def hand_out(self) -> None:
        idle = [worker for worker in self.workers if not worker.busy and not worker.outbox]
        if idle and (task := self.plan.next_task(len(idle))) is not None:
            self.post()  # what was said before is not for this task
            idle[0].take(task)

    def note(self, events) -> None:
        for event in events:
            if isinstance(event, FrameFailed):
                self.failures.append(event)
            else:
                self.reported.append(event)


@st.composite
def worlds(draw):
    """Sequences of 1 to some 250 frames, with empty and failed ones in them."""
    pieces = st.tuples(st.integers(1, 120), st.sampled_from(["", "e", "f", "ee", "ef"]))
    kinds = "".join("p" * n + gap for n, gap in draw(st.lists(pieces, min_size=1, max_size=4)))
    lags = draw(st.dictionaries(st.integers(FIRST, FIRST + len(kinds)), st.sampled_from([0, 1, 5, 20, 50, 10**6]), max_size=10))
    tracker = Tracker(lags, usual=draw(st.sampled_from([0, 3, 4, 11, 13, 30, 100, 10**6])), lucky=draw(st.booleans()))
    return World(
        kinds,
        tracker,
        n_workers=draw(st.integers(1, 5)),
        speculate=draw(st.booleans()),
        choices=random.Random(draw(st.integers(0, 2**32))),
        deaths=draw(st.integers(0, 4)),
    )


@pytest.fixture(autouse=True, scope="module")
def _no_real_folders():
    """Stages are dictionaries here: a frame that is published from a removed one is a KeyError."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking_plan.shutil, "rmtree", lambda stage, **_options: Store.current.remove(stage))
        yield


def run(world: World) -> World:
    Store.current = world.store
    return world.run()


class TestAnyOrder:
    @settings(max_examples=250)
    @given(worlds())
    def test_the_serial_truth_is_published(self, world):
        run(world)
        assert world.failures == []
        assert world.store.published == world.truth()

    @settings(max_examples=150)
    @given(worlds())
    def test_each_frame_once_and_each_stretch_in_order(self, world):
        run(world)
        assert len(world.store.order) == len(set(world.store.order))
        by_stretch = defaultdict(list)
        for frame in world.store.order:
            by_stretch[world.where[frame]].append(frame)
        assert all(frames == sorted(frames) for frames in by_stretch.values())

    @settings(max_examples=100)
    @given(worlds())
    def test_what_is_reported_is_what_was_published(self, world):
        run(world)
        assert {step.frame: step.digest for step in world.reported} == world.truth()
        assert all(step.stretch == world.where[step.frame][0] for step in world.reported if step.digest != "empty")

    @settings(max_examples=100)
    @given(worlds(), st.data())
    def test_a_stopped_run_goes_on(self, world, data):
        """Some frames were tracked by an earlier run, which knew the end of the stretch only where it was near."""
        truth = world.truth()
        done = data.draw(st.sets(st.sampled_from(sorted(world.where)))) if world.where else set()
        for frame in sorted(done):
            first, last = world.where[frame]
            near = frame > last - END_EFFECT
            knew = last if near or data.draw(st.booleans()) else None
            world.known.append(StepDone(1, frame, truth[frame], stretch=first, last=knew))
        world.__post_init__()
        run(world)
        assert world.store.published == truth

    @settings(max_examples=100)
    @given(worlds(), st.integers(0, 250))
    def test_a_run_with_an_earlier_end_is_not_taken_over_as_it_is(self, world, cut):
        """The frames near the end of an earlier, shorter run depend on where that ended."""
        if not world.where:
            return
        frames = sorted(world.where)
        first, last = world.where[frames[min(cut, len(frames) - 1)]]
        old_end = min(last, first + cut)
        for frame in range(first, old_end + 1):
            state = world.tracker.state(first, first, frame, old_end)
            world.known.append(StepDone(1, frame, state, stretch=first, last=old_end))
        world.__post_init__()
        run(world)
        assert world.store.published == world.truth()


class TestFailingFrames:
    """A frame at which every worker dies fails; its neighbours are tracked as if a gap had been there from the start."""

    @settings(max_examples=200)
    @given(worlds(), st.sets(st.integers(0, 250), max_size=3))
    def test_the_rest_is_what_a_serial_run_with_gaps_gives(self, world, places):
        frames = sorted(world.where)
        world.poison = {frames[place] for place in places if place < len(frames)}
        world.__post_init__()
        run(world)
        gaps = "".join("f" if FIRST + index in world.poison else kind for index, kind in enumerate(world.kinds))
        world.where = stretches(gaps)
        assert world.store.published == world.truth()
        assert sorted(failure.frame for failure in world.failures) == sorted(world.poison)
        for failure in world.failures:
            assert failure.step == "tracking"
            assert failure.reason == f"frame {failure.frame}: worker killed by signal 9 (SIGKILL) while tracking"


class TestEconomy:
    """Nothing is lost to orders of events; here: little is lost to seams. The sequence step is through."""

    @staticmethod
    def world(n_frames: int, usual: int, n_workers: int, **options: Any) -> World:
        lucky = options.pop("lucky", False)
        options = {"speculate": True, "choices": random.Random(1), "sequence_first": True} | options
        return run(World("p" * n_frames, Tracker({}, usual, lucky=lucky), n_workers, **options))

    def test_without_speculation_there_is_one_run_a_stretch(self):
        world = self.world(200, 4, 4, speculate=False)
        assert max(step.run for step in world.reported) == 1
        assert str(world.plan.seams) == "0 proven, 0 retried, 0 given up"

    def test_with_it_seams_are_proven(self):
        world = self.world(200, 4, 4)
        assert world.plan.seams.proven >= 2
        assert len({step.run for step in world.reported}) == world.plan.seams.proven + 1

    def test_seams_that_never_match_are_given_up_and_not_tried_for_ever(self):
        world = self.world(400, 10**6, 4)
        assert world.plan.seams.proven == 0
        assert 1 <= world.plan.seams.given_up <= 8
        assert {step.run for step in world.reported} == {1}

    def test_luck_is_no_proof(self):
        """PROOF - 1 equal frames in succession are not enough."""
        world = self.world(400, 10**6, 4, lucky=True)
        assert world.plan.seams.proven == 0

    def test_a_death_costs_a_warm_up_not_the_stretch(self):
        world = self.world(200, 4, 1, speculate=False, deaths=1)
        starts = {step.run for step in world.reported}
        assert world.store.published == world.truth()
        assert len(starts) <= 2


class TestStretch:
    """Single decisions."""

    def closed(self, first: int = 1, end: int = 60) -> Stretch:
        stretch = Stretch(first, SeamCounts())
        stretch.close(end)
        return stretch

    def steps(self, run: int, first: int, last: int, mark: str = "") -> list[StepDone]:
        return [StepDone(run, frame, f"{frame}{mark}") for frame in range(first, last + 1)]

    def test_the_first_run_starts_at_the_start(self):
        assert self.closed().wanted(1, 60, speculate=False) == seams.Start(1)

    def test_nothing_is_started_before_it_is_worth_it(self):
        stretch = Stretch(1, SeamCounts())
        stretch.extend(seams.SHORTEST_PIECE - 1)
        assert stretch.wanted(1, 60, speculate=False) is None
        stretch.extend(seams.SHORTEST_PIECE)
        assert stretch.wanted(1, 60, speculate=False) == seams.Start(1)

    def test_added_particles_are_part_of_the_state(self):
        """Equal files with another count of added particles are no match."""
        stretch = self.closed()
        stretch.started(1, 1)
        stretch.started(2, 30)
        for step in self.steps(1, 1, 29):
            list(stretch.add(step))
        for frame in range(30, 30 + PROOF):
            list(stretch.add(StepDone(2, frame, f"{frame}", added=1)))
            list(stretch.add(StepDone(1, frame, f"{frame}", added=2)))
        assert stretch.stops() == []
        for frame in range(30 + PROOF, 30 + 2 * PROOF):
            list(stretch.add(StepDone(2, frame, f"{frame}", added=1)))
            list(stretch.add(StepDone(1, frame, f"{frame}", added=1)))
        assert stretch.stops() == [1]

    def test_proof_needs_that_many_equal_frames(self):
        stretch = self.closed()
        stretch.started(1, 1)
        stretch.started(2, 30)
        for step in self.steps(2, 30, 50) + self.steps(1, 1, 30 + PROOF - 2):
            list(stretch.add(step))
        assert stretch.stops() == []
        published = list(stretch.add(StepDone(1, 30 + PROOF - 1, f"{30 + PROOF - 1}")))
        assert stretch.stops() == [1]
        assert [step.frame for step in published] == list(range(30 + PROOF - 1, 51))
        assert stretch.true_until == 50

    def test_a_wrong_start_is_retried_from_further_back(self):
        counts = SeamCounts()
        stretch = Stretch(1, counts)
        stretch.close(400)
        stretch.started(1, 1)
        for step in self.steps(1, 1, 300):
            list(stretch.add(step))
        stretch.ended(1)  # died
        starts = []
        for run in range(2, 12):
            start = stretch.wanted(1, 400, speculate=False)
            starts.append(start.first)
            stretch.started(run, start.first)
            if start.first == 1:
                break
            for step in self.steps(run, start.first, 301, mark=f" wrong by {run}"):
                list(stretch.add(step))
            assert stretch.stops() == [run]
        expected, warm_up = [], seams.WARM_UP
        while warm_up <= seams.MAX_WARM_UP:
            expected.append(301 - warm_up)
            warm_up *= 2
        assert starts == [*expected, 1]
        assert counts.retried == len(expected)
        published = [step.frame for step in self.steps(run, 1, 400) for step in stretch.add(step)]
        assert published == list(range(301, 401))
        assert stretch.done
