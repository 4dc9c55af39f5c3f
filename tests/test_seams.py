"""Tracking on many workers: whatever happens in whatever order, what is published is what one serial run would give.

Nothing here tracks. A made-up tracker stands for the real ones: deterministic, and forgetful after a while. What a run from
frame s makes of frame f depends on s until it has converged (never, for some s), and near the end on where the stretch ends.
Before it has converged its files may agree with the truth by chance for a few frames in succession. It can hand its state on,
as the compiled one, or not, as optv's. Workers take tasks, step, die and report in an order that hypothesis chooses; reports
are late by as much.
"""

from __future__ import annotations

import random
from collections import defaultdict, deque
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyptv.core.base.events import NO_RUN, FrameFailed, StepDone, TaskDone, WorkerDied
from pyptv.core.engines.choice import Engines
from pyptv.core.schedule import seams, tracker_runs
from pyptv.core.schedule import tracking as tracking_plan
from pyptv.core.schedule.seams import Stretch
from pyptv.core.schedule.tracker_runs import END_EFFECT, LOOK_AHEAD, SeamCounts
from pyptv.core.schedule.tracking import TrackingPlan
from pyptv.core.stages.proof import EQUAL_FRAMES, known, same_state, state_tag
from pyptv.core.stages.tasks import PublishTask, TrackTask

FIRST = 100


@dataclass
class Tracker:
    """The made-up tracker."""

    lags: dict[int, int]
    """Start of a run -> frames until it has converged; others: ``usual``."""
    usual: int
    lucky: bool
    """Whether files agree with the truth by chance, EQUAL_FRAMES - 1 frames of each EQUAL_FRAMES."""
    hands_on: bool = True
    """Whether its state can be taken out and put in."""

    def files(self, start: int, first: int, frame: int, end: int | None) -> str:
        """What a run from ``start`` makes of a frame of the stretch from ``first`` to ``end``."""
        truth = f"{first}:{frame}" + (f":{end}" if end is not None and frame > end - END_EFFECT else "")
        by_chance = self.lucky and frame % EQUAL_FRAMES
        return truth if self.converged(start, first, frame) or by_chance else f"{truth} from {start}"

    def converged(self, start: int, first: int, frame: int) -> bool:
        return start == first or frame - start >= self.lags.get(start, self.usual)

    def state(self, start: int, first: int, frame: int) -> str:
        if not self.hands_on:
            return ""
        return f"state {first}:{frame}" if self.converged(start, first, frame) else f"state {first}:{frame} from {start}"


class Store:
    """Keeps what is staged and published, and the states."""

    experiment = SimpleNamespace(true_frame=lambda frame: frame)

    def __init__(self) -> None:
        self.staged: dict[Path, dict[int, str]] = defaultdict(dict)
        self.published: dict[int, str] = {}
        self.order: list[int] = []
        self.saved: dict[str, tuple[int, int]] = {}
        """File -> (start of the run, frame after which it is)."""
        self.kept_states: dict[tuple[int, int, str], str] = {}

    def stage_of(self, run: int) -> Path:
        return Folder(f"/nowhere/run-{run}")

    def states(self) -> dict[tuple[int, int, str], str]:
        return self.kept_states

    def publish(self, frame: int, files: str) -> None:
        self.published[frame] = files
        self.order.append(frame)

    def remove(self, stage: Path, **_options: bool) -> None:
        self.staged.pop(stage, None)


class Folder(type(Path())):
    """A stage folder that is not made."""

    def mkdir(self, *_args: Any, **_options: Any) -> None:
        pass


@dataclass
class Worker:
    """Does one task at a time, as ``Tracking`` does it."""

    tracker: Tracker
    store: Store
    poison: set[int]
    """Frames at which every worker dies."""
    number: int = 1
    task: TrackTask | PublishTask | None = None
    memory: tuple[int, int, int] | None = None
    """Run, its start, and the frame after which its state is."""
    outbox: deque = field(default_factory=deque)

    def take(self, task: TrackTask | PublishTask) -> None:
        self.task = task
        self.recent: dict[int, Any] = {}
        if isinstance(task, PublishTask):
            self.left, self.frame = deque(task.steps), task.steps[0].frame
            return
        self.frame = task.first
        if task.begins:
            self.memory = task.run, task.first, task.first - 1
        elif self.memory is None or (self.memory[0], self.memory[2]) != (task.run, task.first - 1):
            state = self.store.saved.get(str(task.saved))
            if state is None or state[1] != task.first - 1:
                self.memory = None
                self.done(lost="gone")
            else:
                self.memory = task.run, state[0], state[1]

    @property
    def busy(self) -> bool:
        return self.task is not None

    def done(self, **facts: Any) -> None:
        self.outbox.append(TaskDone(self.task.id, **facts))
        self.task = None

    def step(self) -> None:
        task = self.task
        if isinstance(task, PublishTask):
            if not self.left:
                self.done()
                return
            step = self.left.popleft()
            if step.frame in self.store.staged[task.stage]:  # a worker that died may have moved it before it could say so
                self.store.publish(step.frame, self.store.staged[task.stage].pop(step.frame))
            self.outbox.append(replace(step, published=True))
            return
        if self.frame in self.poison:
            self.die()
            return
        assert task.end is not None or self.frame + LOOK_AHEAD <= World.current.scanned(), "it looks at a frame that is not there"
        start = self.memory[1]
        files = self.tracker.files(start, task.stretch, self.frame, task.end)
        state = self.tracker.state(start, task.stretch, self.frame) if task.compares or self.frame in task.meets else ""
        if task.stage is None:
            self.store.publish(self.frame, files)
        else:
            self.store.staged[task.stage][self.frame] = files
        step = StepDone(
            task.run, self.frame, files, stretch=task.stretch, last=task.end, state=state, published=task.stage is None
        )
        self.outbox.append(step)
        self.memory = task.run, start, self.frame
        self.recent[self.frame] = known(step)
        if self.frame == task.last or same_state(self.recent, task.meets, self.frame):
            self.done(saved=self.save(task))
        self.frame += 1

    def save(self, task: TrackTask) -> str | None:
        near_end = task.end is not None and self.frame + LOOK_AHEAD > task.end
        if not self.tracker.hands_on or near_end:
            return None
        tag = state_tag(self.recent, task.stretch, self.frame) or "unproven"
        name = f"/nowhere/{task.run if task.stage else 'states'}/{task.stretch}-{self.frame}-{tag}"
        self.store.saved[name] = self.memory[1], self.frame
        if task.stage is None:
            self.store.kept_states[task.stretch, self.frame, tag] = name
        return name

    def die(self) -> int:
        self.outbox.append(WorkerDied(self.task.id, "killed by signal 9 (SIGKILL)", self.frame, "tracking"))
        self.task = self.memory = None
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
    kept: bool = True
    """The frames are what they were when ``known`` was made."""
    give_up_after: int = -1
    sequence_first: bool = False
    """The sequence step is through before tracking starts."""

    def __post_init__(self) -> None:
        self.where = stretches(self.kinds)
        self.store = Store()
        frames = FIRST, FIRST + len(self.kinds) - 1
        self.plan = TrackingPlan(frames, count(1), self.store, Engines("optv"), speculate=self.speculate, early=self.speculate)
        self.store.published = {step.frame: step.digest for step in self.known}
        self.workers = [Worker(self.tracker, self.store, self.poison, n + 1) for n in range(self.n_workers)]
        self.reported: list[StepDone] = []
        self.failures: list[FrameFailed] = []
        self.there: set[int] = set()

    def scanned(self) -> int:
        """Frames up to here are there."""
        return next(frame for frame in count(FIRST) if frame not in self.there) - 1

    def truth(self) -> dict[int, str]:
        """What one serial run gives."""
        states = {f: self.tracker.files(first, first, f, last) for f, (first, last) in self.where.items()}
        return states | {FIRST + i: "empty" for i, kind in enumerate(self.kinds) if kind == "e"}

    def run(self) -> World:
        World.current = self
        arrivals = self.arrivals()
        died: set[int] = set()
        while self.sequence_first and arrivals:
            self.arrive(arrivals.popleft())
        for turn in range(400 * len(self.kinds) + 2000):
            if (self.plan.finished and not arrivals) or turn == self.give_up_after:
                return self
            actions = ["step", "step", "step", "drain", "drain", "hand out"]
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
        frame, kind = FIRST + index, self.kinds[index]
        self.there.add(frame)
        if kind == "f":
            self.note(self.plan.frame_failed(frame))
            return
        self.note(self.plan.frame_ready(frame, particles=kind == "p", kept=self.kept))
        if kind == "e":
            self.store.published[frame] = "empty"
            self.note(self.plan.record(StepDone(NO_RUN, frame, "empty", published=True), stop_at_failure=False))
        for step in self.known:
            if step.frame == frame and self.kept:
                self.note(self.plan.recall(replace(step, kept=True, published=True)))

    def step(self) -> None:
        busy = [worker for worker in self.workers if worker.busy]
        if busy:
            self.choices.choice(busy).step()

    def drain(self) -> None:
        full = [worker for worker in self.workers if worker.outbox]
        if full:
            event = self.choices.choice(full).outbox.popleft()
            if isinstance(event, StepDone) or self.plan.owns(event.task):
                self.note(self.plan.record(event, stop_at_failure=False))

    def hand_out(self) -> None:
        idle = [worker for worker in self.workers if not worker.busy and not worker.outbox]
        if not idle:
            return
        worker = self.choices.choice(idle)
        task = self.plan.early_task(worker.number)
        if task is None and len(self.there) == len(self.kinds):
            task = self.plan.next_task(worker.number, len(idle))
        if task is not None:
            worker.take(task)

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
    usual = draw(st.sampled_from([0, 3, 4, 11, 13, 30, 100, 10**6]))
    tracker = Tracker(lags, usual, lucky=draw(st.booleans()), hands_on=draw(st.booleans()))
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

    @settings(max_examples=100)
    @given(worlds())
    def test_what_is_reported_is_what_was_published(self, world):
        run(world)
        assert {step.frame: step.digest for step in world.reported} == world.truth()
        assert len(world.reported) == len(world.truth())
        assert all(step.published for step in world.reported)
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

    @settings(max_examples=50)
    @given(worlds(), worlds())
    def test_a_killed_run_goes_on_from_its_state(self, killed, world):
        """What the first one had published and saved is there; staged frames are not."""
        killed.kinds, killed.tracker = world.kinds, world.tracker
        killed.__post_init__()
        killed.give_up_after = killed.choices.randint(0, 300)
        run(killed)
        truth = world.truth()
        reported = {step.frame: step for step in killed.reported if step.run != NO_RUN}
        assert {frame: step.digest for frame, step in reported.items()}.items() <= truth.items()
        world.known = list(reported.values())
        world.__post_init__()
        world.store.saved, world.store.kept_states = killed.store.saved, killed.store.kept_states
        run(world)
        assert world.store.published.items() >= truth.items()
        assert {step.frame: step.digest for step in world.reported} == truth

    @settings(max_examples=50)
    @given(worlds())
    def test_links_of_other_frames_do_not_count(self, world):
        """The sequence results have changed since the links were made."""
        for frame, (first, last) in world.where.items():
            world.known.append(StepDone(1, frame, f"of other frames {frame}", stretch=first, last=last))
        world.kept = False
        world.__post_init__()
        run(world)
        assert world.store.published == world.truth()

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
            files = world.tracker.files(first, first, frame, old_end)
            world.known.append(StepDone(1, frame, files, stretch=first, last=old_end))
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
        lucky, hands_on = options.pop("lucky", False), options.pop("hands_on", True)
        options = {"speculate": True, "choices": random.Random(1), "sequence_first": True} | options
        return run(World("p" * n_frames, Tracker({}, usual, lucky, hands_on), n_workers, **options))

    @pytest.mark.parametrize("hands_on", [True, False])
    def test_without_speculation_there_is_one_run_a_stretch(self, hands_on):
        world = self.world(200, 4, 4, speculate=False, hands_on=hands_on)
        assert len({step.run for step in world.reported}) == 1
        assert str(world.plan.seams) == "in one piece"
        assert world.store.order == list(range(FIRST, FIRST + 200))

    @pytest.mark.parametrize("hands_on", [True, False])
    def test_with_it_seams_are_proven(self, hands_on):
        world = self.world(300, 4, 4, hands_on=hands_on)
        assert world.plan.seams.proven >= 2
        assert len({step.run for step in world.reported}) == world.plan.seams.proven + 1

    @pytest.mark.parametrize("hands_on", [True, False])
    def test_seams_that_never_match_are_given_up_and_not_tried_for_ever(self, hands_on):
        world = self.world(400, 10**6, 4, hands_on=hands_on)
        assert world.plan.seams.proven == 0
        assert 1 <= world.plan.seams.given_up <= 8
        assert len({step.run for step in world.reported}) == 1

    def test_luck_is_no_proof(self):
        """EQUAL_FRAMES - 1 equal frames in succession are not enough where files are compared."""
        world = self.world(400, 10**6, 4, lucky=True, hands_on=False)
        assert world.plan.seams.proven == 0

    def test_a_death_costs_a_piece_where_the_state_is_on_disk(self):
        world = self.world(200, 10**6, 1, speculate=False, deaths=3)
        assert world.store.published == world.truth()
        assert len({step.run for step in world.reported}) <= 2, "the first piece has no state before it"
        assert len(world.store.order) < 200 + 3 * tracker_runs.SHORTEST_PIECE

    def test_a_death_costs_a_warm_up_not_the_stretch(self):
        world = self.world(200, 4, 1, speculate=False, deaths=1, hands_on=False)
        assert world.store.published == world.truth()
        assert len({step.run for step in world.reported}) <= 2

    def test_what_waits_for_proof_is_bounded(self, monkeypatch):
        monkeypatch.setattr(seams, "UNPROVEN_FRAMES", 32)
        monkeypatch.setattr(seams, "LONGEST_PIECE", 16)
        waiting = []
        real = Stretch.wanted

        def wanted(self, *args, **options):
            waiting.append(sum(len(run.steps) for run in self.runs))
            return real(self, *args, **options)

        monkeypatch.setattr(Stretch, "wanted", wanted)
        world = self.world(3000, 4, 4)
        assert world.plan.seams.proven > 10
        assert max(waiting) <= 32 * 8


class TestStretch:
    """Single decisions."""

    def wanted(self, stretch: Stretch, worker: int = 1, *, speculate: bool = False):
        return stretch.wanted(worker, 1, count(1), speculate=speculate)

    def test_the_first_run_starts_at_the_start(self):
        stretch = Stretch(1, SeamCounts(), "optv")
        stretch.truth.close(60)
        piece = self.wanted(stretch)
        assert (piece.first, piece.true, piece.begins) == (1, True, True)

    def test_nothing_is_started_before_it_is_worth_it(self):
        stretch = Stretch(1, SeamCounts(), "optv")
        stretch.truth.extend(tracker_runs.SHORTEST_PIECE + LOOK_AHEAD - 1, kept=False)
        assert self.wanted(stretch) is None
        stretch.truth.extend(tracker_runs.SHORTEST_PIECE + LOOK_AHEAD, kept=False)
        piece = self.wanted(stretch)
        assert (piece.first, piece.last) == (1, tracker_runs.SHORTEST_PIECE)

    def test_added_particles_are_part_of_what_is_compared(self):
        """Equal files with another count of added particles are no match."""
        one = {frame: known(StepDone(1, frame, f"{frame}", added=1)) for frame in range(10)}
        other = {frame: known(StepDone(2, frame, f"{frame}", added=2 - (frame > 3))) for frame in range(10)}
        assert [frame for frame in range(10) if same_state(one, other, frame)] == [7, 8, 9]

    def test_equal_states_need_no_more(self):
        one, other = ({5: known(StepDone(run, 5, f"files of {run}", state=state))} for run, state in ((1, "a"), (2, "a")))
        assert same_state(one, other, 5)
        assert not same_state(one, {5: known(StepDone(2, 5, "files of 1", state="b"))}, 5)

    def test_a_wrong_start_is_retried_from_further_back(self):
        counts = SeamCounts()
        stretch = Stretch(1, counts, "optv")
        stretch.truth.extend(400, kept=False)
        stretch.truth.close(400)
        stretch.truth._kept_until = 400
        for frame in range(1, 301):
            assert stretch.recall(StepDone(1, frame, f"{frame}", stretch=1, kept=True, published=True))
        starts = []
        for run in range(2, 12):
            piece = stretch.wanted(1, 1, iter([run]), speculate=False)
            starts.append(piece.first)
            if piece.first == 1:
                break
            stretch.runs.started(run, run, 1)
            for frame in range(piece.first, 302):
                assert list(stretch.add(StepDone(run, frame, f"{frame} wrong by {run}"))) == []
        expected, warm_up = [], tracker_runs.WARM_UP
        while warm_up <= tracker_runs.MAX_WARM_UP:
            expected.append(301 - warm_up)
            warm_up *= 2
        assert starts == [*expected, 1]
        assert counts.retried == len(expected)
        steps = [StepDone(run, frame, f"{frame}", published=True) for frame in range(1, 401)]
        assert [step.frame for one in steps for step in stretch.add(one)] == list(range(301, 401))
        assert stretch.truth.done
