"""Which tasks come next: what a dead worker left is done again, the guilty frame stands alone, gaps cut the sequence."""

from __future__ import annotations

import logging
import sys
import tempfile
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from pyptv.core.base.errors import ProcessingError
from pyptv.core.base.events import NO_RUN, FrameDone, FrameFailed, Note, StepDone, TaskDone, TaskFailed, WorkerDied
from pyptv.core.engines.choice import Engines
from pyptv.core.execute.runners import InProcessRunner
from pyptv.core.schedule.plan import Plan
from pyptv.core.schedule.sequence import SequencePlan
from pyptv.core.schedule.tracking import TrackingPlan
from pyptv.core.stages.tasks import FramesTask, PublishTask, TrackTask

STAGES = Path(tempfile.mkdtemp())
KILLED = "killed by signal 11 (SIGSEGV)"


class Store:
    """Notes what is asked of it."""

    experiment = SimpleNamespace(true_frame=lambda frame: frame)

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def forget(self, frame: int, **_options: bool) -> None:
        self.calls.append(("forget", frame))

    def drop_links(self, frame: int) -> None:
        self.calls.append(("drop links", frame))

    def stage_of(self, run: int) -> Path:
        return STAGES / f"run-{run}"

    def states(self) -> dict:
        return {}


def done(frame: int, particles: int = 5) -> FrameDone:
    return FrameDone(frame, (9,), (particles,), particles, f"digest {frame}")


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def make(store):
    """Plans of some chunks, with or without tracking."""

    def make(*chunks, tracking=False, stop=True, kind="process", early=False, speculate=False) -> Plan:
        ids = count(1)
        sequence = SequencePlan(chunks, ids, store, kind, engines=Engines("optv"))
        frames = (chunks[0][0], chunks[-1][1])
        then = TrackingPlan(frames, ids, store, Engines("optv"), speculate=speculate, early=early) if tracking else None
        return Plan(SimpleNamespace(stop_at_failure=stop), store, sequence=sequence, tracking=then)

    return make


def tell(plan: Plan, *events) -> list:
    return [report for event in events for report in plan.record(event)]


class TestSequence:
    def test_chunks_are_handed_out_in_order(self, make):
        plan = make((1, 3), (4, 5))
        assert plan.next_task() == FramesTask(1, 1, 3)
        assert plan.next_task() == FramesTask(2, 4, 5)
        assert plan.next_task() is None
        assert not plan.finished

    def test_it_ends_when_every_frame_is_done(self, make):
        plan = make((1, 2))
        plan.next_task()
        assert tell(plan, done(1), done(2)) == [done(1), done(2)]
        assert not plan.finished
        tell(plan, TaskDone(1))
        assert plan.finished

    def test_chunks_are_reported_once_there_are_several(self, make, caplog):
        plan = make((1, 2), (3, 4), stop=False)
        plan.next_task()
        plan.next_task()
        with caplog.at_level(logging.INFO, "pyptv"):
            tell(plan, done(1), done(3), done(2), FrameFailed(4, "bad"))
        assert caplog.messages == ["✓ Completed chunk: frames 1 to 2", "✗ Failed chunk: frames 3 to 4: 1 done, failed: 4"]
        assert plan.sequence.failed_chunks == 1

    def test_what_an_interrupted_task_left_is_handed_out_again(self, make):
        plan = make((1, 6))
        plan.next_task()
        tell(plan, done(1), done(2), TaskDone(1, interrupted=True, taint=True))
        assert plan.next_task() == FramesTask(2, 3, 6)


class TestDeath:
    def test_of_a_worker_that_had_not_begun(self, make):
        plan = make((1, 4))
        plan.next_task()
        assert tell(plan, WorkerDied(1, KILLED, None)) == []
        assert plan.next_task() == FramesTask(2, 1, 4)

    def test_the_guilty_frame_is_tried_alone_and_the_rest_goes_on(self, make, caplog):
        plan = make((1, 6))
        plan.next_task()
        tell(plan, done(1), done(2))
        assert tell(plan, WorkerDied(1, KILLED, 3, "detecting targets in camera 2")) == []
        assert caplog.messages == [
            f"frame 3: worker {KILLED} while detecting targets in camera 2: the frame is tried once more, alone"
        ]
        assert plan.next_task() == FramesTask(2, 3, 3)
        assert plan.next_task() == FramesTask(3, 4, 6)
        assert plan.next_task() is None

    def test_a_frame_that_kills_twice_fails(self, make, store):
        plan = make((1, 6), stop=False)
        plan.next_task()
        tell(plan, WorkerDied(1, KILLED, 1, "reading"))
        plan.next_task()
        (failure,) = tell(plan, WorkerDied(2, KILLED, 1, "detecting targets"))
        assert failure == FrameFailed(1, "frame 1: worker killed by signal 11 (SIGSEGV) while detecting targets")
        assert store.calls == [("forget", 1)]
        assert plan.next_task() == FramesTask(3, 2, 6)
        tell(plan, *map(done, range(2, 7)), TaskDone(3))
        assert plan.finished

    def test_checked_results_are_never_removed(self, make, store):
        plan = make((1, 1), kind="check")
        for task in (1, 2):
            plan.next_task()
            tell(plan, WorkerDied(task, KILLED, 1, "checking"))
        assert store.calls == []

    def test_after_the_frame_was_done_costs_nothing(self, make):
        plan = make((1, 3))
        plan.next_task()
        tell(plan, done(1), WorkerDied(1, KILLED, 1, "writing results"))
        assert plan.next_task() == FramesTask(2, 2, 3)

    def test_workers_that_never_begin_end_the_run(self, make):
        plan = make((1, 3))
        for task in (1, 2):
            plan.next_task()
            tell(plan, WorkerDied(task, "ended with exit status 1", None))
        plan.next_task()
        with pytest.raises(ProcessingError, match=r"^3 workers in succession ended with exit status 1 before they began a frame"):
            tell(plan, WorkerDied(3, "ended with exit status 1", None))

    def test_a_frame_between_them_shows_that_workers_do_begin(self, make):
        plan = make((1, 9))
        for task in range(1, 8):
            plan.next_task()
            frame = 1 if task in (3, 6) else None
            tell(plan, WorkerDied(task, KILLED, frame, "reading"))


class TestFailure:
    def test_abort_stops_everything(self, make):
        plan = make((1, 3), (4, 6))
        plan.next_task()
        assert tell(plan, FrameFailed(1, "bad")) == [FrameFailed(1, "bad")]
        assert plan.finished
        assert plan.next_task() is None

    def test_skip_goes_on(self, make):
        plan = make((1, 3), stop=False)
        plan.next_task()
        tell(plan, done(1), FrameFailed(2, "bad"), done(3), TaskDone(1))
        assert plan.finished

    def test_a_task_that_cannot_be_done_fails_its_frame(self, make):
        plan = make((1, 3), stop=False)
        plan.next_task()
        tell(plan, done(1))
        (failure,) = tell(plan, TaskFailed(1, "res/rt_is.2: No space left on device"))
        assert failure == FrameFailed(2, "frame 2: res/rt_is.2: No space left on device")
        assert plan.next_task() == FramesTask(2, 3, 3)


class TestTracking:
    def start(self, plan: Plan, *events) -> TrackTask | None:
        """The tracking task after the sequence step."""
        plan.next_task()
        tell(plan, *events, TaskDone(1))
        return plan.next_task()

    def piece(self, task: TrackTask, **facts) -> list:
        """What a worker reports of a whole task."""
        frames = range(task.first, task.last + 1)
        published = task.stage is None
        steps = [StepDone(task.run, f, f"{f}", stretch=task.stretch, last=task.end, published=published) for f in frames]
        return [*steps, TaskDone(task.id, **facts)]

    def test_it_begins_when_the_frames_are_done(self, make):
        plan = make((1, 9), tracking=True)
        task = self.start(plan, *map(done, range(1, 10)))
        assert (task.first, task.last, task.stretch, task.end, task.begins, task.stage) == (1, 9, 1, 9, True, None)
        assert not plan.finished
        tell(plan, *self.piece(task))
        assert plan.finished

    def test_it_is_done_in_pieces_that_hand_the_state_on(self, make):
        plan = make((1, 40), tracking=True)
        task = self.start(plan, *map(done, range(1, 41)))
        pieces = []
        while task is not None:
            pieces.append((task.first, task.last, task.begins, task.saved and str(task.saved)))
            tell(plan, *self.piece(task, saved=f"state-{task.last}"))
            task = plan.next_task(1, worker=len(pieces) + 1)
        assert pieces == [(1, 16, True, None), (17, 32, False, "state-16"), (33, 40, False, "state-32")]
        assert plan.finished

    def test_with_several_workers_it_begins_during_the_sequence_step(self, make):
        plan = make((0, 19), (20, 39), (40, 59), tracking=True, early=True, speculate=True)
        assert plan.next_task() == FramesTask(1, 0, 19)
        tell(plan, *map(done, range(20)), TaskDone(1))
        task = plan.next_task()
        assert isinstance(task, TrackTask)
        assert (task.first, task.last, task.end) == (0, 15, None), "three frames beyond it are there"
        assert isinstance(plan.next_task(), FramesTask)  # one run at a time

    def test_where_tracking_is_faster_it_waits_and_goes_on(self, make):
        plan = make((0, 19), (20, 39), tracking=True, early=True, speculate=True)
        plan.next_task()
        tell(plan, *map(done, range(20)), TaskDone(1))
        run = plan.next_task()
        tell(plan, *self.piece(run, saved="state-15"))
        second = plan.next_task()
        assert second.first == 20
        assert plan.next_task() is None
        tell(plan, *map(done, range(20, 40)), TaskDone(second.id))
        again = plan.next_task()
        assert (again.run, again.first, again.end, again.begins) == (run.run, 16, 39, False)

    def test_frames_out_of_order(self, make):
        plan = make((1, 4), (5, 9), tracking=True)
        plan.next_task()
        plan.next_task()
        tell(plan, *map(done, range(5, 10)), TaskDone(2))
        assert plan.next_task() is None
        tell(plan, *map(done, range(1, 5)), TaskDone(1))
        assert plan.next_task().end == 9

    def test_the_only_run_waits_until_all_frames_are_there(self, make):
        plan = make((1, 30), (31, 60), tracking=True)
        plan.next_task(), plan.next_task()
        tell(plan, *map(done, range(31, 61)), TaskDone(2), *map(done, range(1, 29)))
        assert plan.next_task() is None
        tell(plan, done(29), done(30), TaskDone(1))
        assert (plan.next_task().end, plan.next_task()) == (60, None)

    @pytest.mark.parametrize("gap", [done(4, particles=0), FrameFailed(4, "bad")], ids=["empty", "failed"])
    def test_gaps_cut_it_into_stretches(self, make, gap):
        plan = make((1, 9), tracking=True, stop=False)
        task = self.start(plan, *map(done, (1, 2, 3)), gap, *map(done, range(5, 10)))
        other = plan.next_task(1, worker=2)
        assert (task.first, task.end) == (1, 3)
        assert (other.first, other.end, other.stretch) == (5, 9, 5)
        assert plan.next_task(1, worker=3) is None

    def test_links_of_empty_frames_come_from_the_worker(self, make):
        plan = make((1, 2), tracking=True)
        plan.next_task()
        empty = [StepDone(NO_RUN, frame, "empty", stretch=frame, published=True) for frame in (1, 2)]
        reports = tell(plan, done(1, particles=0), empty[0], done(2, particles=0), empty[1], TaskDone(1))
        assert [type(report) for report in reports] == [FrameDone, StepDone, FrameDone, StepDone]
        assert plan.finished

    def test_staged_frames_are_put_in_place_by_a_task_once_they_are_right(self, make):
        plan = make((1, 80), tracking=True, speculate=True)
        plan.next_task()
        tell(plan, *map(done, range(1, 81)), TaskDone(1))
        true, guess = plan.next_task(2, worker=1), plan.next_task(1, worker=2)
        assert (true.stage, guess.stage) == (None, STAGES / f"run-{guess.run}")
        assert tell(plan, *self.piece(guess)) == [], "nobody knows yet whether they are right"
        while true.last < guess.first:
            tell(plan, *self.piece(true, saved="state"))
            true = plan.next_task(2, worker=1)
        assert set(true.meets) >= {guess.first}
        until = guess.first + 3  # four equal frames
        tell(plan, *self.piece(true)[: until - true.first + 1], TaskDone(true.id, interrupted=True))
        publish = plan.next_task(2, worker=1)
        assert isinstance(publish, PublishTask)
        assert [step.frame for step in publish.steps] == list(range(until + 1, guess.last + 1))
        published = [replace(step, published=True) for step in publish.steps]
        assert tell(plan, *published, TaskDone(publish.id)) == published
        assert str(plan.tracking.seams) == "1 of 1 pieces joined exactly, 0 tried again (results unaffected)"

    def test_a_worker_that_dies_while_it_puts_them_in_place(self, make):
        plan = make((1, 80), tracking=True, speculate=True)
        plan.next_task()
        tell(plan, *map(done, range(1, 81)), TaskDone(1))
        true, guess = plan.next_task(2, worker=1), plan.next_task(1, worker=2)
        tell(plan, *self.piece(guess))
        while true.last < guess.first + 3:
            tell(plan, *self.piece(true, saved="state"))
            true = plan.next_task(2, worker=1)
        tell(plan, *self.piece(true))
        publish = plan.next_task(2, worker=1)
        tell(plan, replace(publish.steps[0], published=True), WorkerDied(publish.id, KILLED, publish.steps[1].frame, "moving"))
        again = plan.next_task(2, worker=1)
        assert again.steps == publish.steps[1:]

    @pytest.mark.parametrize(("stop", "calls"), [(True, []), (False, [("drop links", 4)])])
    def test_a_failed_frame_ends_the_run_or_loses_its_links(self, make, store, stop, calls):
        """Old links are removed where the run goes on without the frame; a run that ends there leaves them."""
        plan = make((1, 9), tracking=True, stop=stop)
        task = self.start(plan, *map(done, range(1, 10)))
        (failure,) = tell(plan, TaskFailed(task.id, "frame 4: the tracker printed nonsense", 4))
        assert (failure.frame, failure.step) == (4, "tracking")
        assert store.calls == calls
        assert plan.finished == stop

    def test_old_results_are_all_checked_before_a_link_is_replaced(self, make, store):
        plan = make((1, 4), (5, 6), tracking=True, kind="check", early=True)
        first, second = plan.next_task(), plan.next_task()
        assert (first.first, second.last) == (1, 6)
        tell(plan, *map(done, range(1, 5)), TaskDone(first.id))
        assert plan.next_task() is None
        tell(plan, done(5), done(6), TaskDone(second.id))
        assert isinstance(plan.next_task(), TrackTask)

    def test_a_refused_result_leaves_links_alone(self, make, store):
        plan = make((1, 3), tracking=True, kind="check")
        task = plan.next_task()
        tell(plan, done(1), done(2), FrameFailed(3, "bad", step="tracking"), TaskDone(task.id))
        assert plan.finished
        assert store.calls == []

    def test_or_cuts_the_stretch(self, make):
        plan = make((1, 9), tracking=True, stop=False)
        task = self.start(plan, *map(done, range(1, 10)))
        tell(plan, TaskFailed(task.id, "frame 4: the tracker printed nonsense", 4))
        again = plan.next_task(2, worker=1), plan.next_task(1, worker=2)
        assert {(task.first, task.end) for task in again} == {(1, 3), (5, 9)}

    def test_a_state_that_is_lost(self, make, caplog):
        """A worker of optv's tracker was replaced: a new run starts before the last true frame."""
        plan = make((1, 60), tracking=True)
        task = self.start(plan, *map(done, range(1, 61)))
        tell(plan, *self.piece(task))
        task = plan.next_task()
        assert (task.first, task.begins, task.saved) == (17, False, None)
        tell(plan, TaskDone(task.id, lost="the process that had it is gone"))
        again = plan.next_task()
        assert (again.first, again.begins, again.stage) == (5, True, STAGES / f"run-{again.run}")


def test_what_workers_log_is_passed_on(make):
    note = Note("pyptv", 20, "hello")
    assert tell(make((1, 2), tracking=True), note) == [note]


def test_other_events_are_nobodys(make):
    plan = make((1, 2), tracking=True)
    assert tell(plan, StepDone(99, 1, "x"), TaskDone(99), TaskFailed(99, "x")) == []


def test_in_one_process_the_same_plan_gives_the_same_files(small_experiment):
    """A daemonic process may have no workers: it does the tasks itself."""
    import multiprocessing

    from conftest import results

    from pyptv.core.app import plans
    from pyptv.pyptv_batch import main

    one, two = small_experiment("one"), small_experiment("two")
    main(one)
    with pytest.MonkeyPatch.context() as patch:
        used = []
        patch.setattr(plans, "make_runner", lambda job, *_: used.append(job) or InProcessRunner(job))
        main(two)
    assert len(used) == 1
    assert multiprocessing.active_children() == []
    assert results(one) == results(two)


class TestManyWorkers:
    def test_idle_ones_are_turned_away_without_a_look_at_every_run(self, make):
        n = 200
        plan = make((1, 16 * n), tracking=True, speculate=True)
        plan.next_task()
        tell(plan, *(done(frame) for frame in range(1, 16 * n + 1)), TaskDone(1))
        tasks = [plan.next_task(2 * n - worker, worker) for worker in range(1, 2 * n)]
        n_idle = tasks.count(None)
        assert n < n_idle + 5 < 2 * n

        calls = []
        sys.setprofile(lambda _frame, event, _argument: calls.append(event))
        try:
            again = [plan.next_task(n_idle - position, 10 * n + position) for position in range(n_idle)]
        finally:
            sys.setprofile(None)
        assert again == [None] * n_idle
        assert len(calls) < 100 * n_idle, "24 million before, for they looked at each run for each run"
