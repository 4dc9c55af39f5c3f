"""A run that begins with optv and goes over to the compiled kernels when these are there: the same bytes."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace

import pytest
from conftest import results

from pyptv import pyptv_batch, pyptv_batch_parallel
from pyptv.core.base.events import FrameDone, FrameFailed, TaskDone
from pyptv.core.engines import choice
from pyptv.core.engines.choice import Engines
from pyptv.core.engines.compiled import text
from pyptv.core.schedule import seams
from pyptv.core.schedule.sequence import SequencePlan
from pyptv.kernels.build import build
from pyptv.kernels.cache import FOR_SEQUENCE, FOR_TRACKING

pytest.importorskip("numba", reason="the compiled engine needs numba")

FIRST, LAST = 10000, 10079
NEVER = 10_000


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    build()


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """An experiment of 80 frames, tracked by optv, and its results."""
    from pyptv.synthetic import make_experiment

    folder = tmp_path_factory.mktemp("reference") / "experiment"
    make_experiment(folder, n_frames=80, n_particles=40, image_size=(320, 256), images=False)
    pyptv_batch.main(folder, FIRST, LAST, engine="optv")
    return results(folder)


@pytest.fixture
def slow_build(monkeypatch):
    """slow_build(tracking, all): the kernels for tracking, and all of them, are there from so many questions on."""

    def begin(tracking, every):
        asked = {FOR_TRACKING: count(), FOR_SEQUENCE: count()}
        needed = {FOR_TRACKING: tracking, FOR_SEQUENCE: every}
        monkeypatch.setattr(seams, "SECONDS_A_PIECE", 0.0)  # as short as can be: the number of questions does not depend on speed
        if every == NEVER:
            monkeypatch.setattr(text, "_kernels", lambda: None)  # those for text come last, and are not awaited
        monkeypatch.setattr(choice.build, "build_in_background", lambda: None)
        monkeypatch.setattr(choice.build, "failure", lambda: None)
        monkeypatch.setattr(
            choice.cache, "ready", lambda groups=None: groups is not None and next(asked[groups]) >= needed[groups]
        )

    return begin


@pytest.mark.parametrize(
    "when",
    [
        pytest.param((1, 1, 1), id="in the sequence step"),
        pytest.param((1, 5, 5), id="in the tracking step"),
        pytest.param((1, 5, NEVER), id="in the tracking step only"),
        pytest.param((2, 4, 6), id="two processes"),
    ],
)
def test_the_bytes_are_the_same(small_experiment, reference, slow_build, caplog, when):
    n_processes, tracking, every = when
    experiment = small_experiment(n_frames=80, images=False)
    caplog.set_level("INFO", "pyptv")
    slow_build(tracking, every)
    if n_processes == 1:
        pyptv_batch.main(experiment, FIRST, LAST)
    else:
        pyptv_batch_parallel.main(experiment, FIRST, LAST, n_processes)
    assert results(experiment) == reference
    assert caplog.text.count("the run switches to them") == 1
    assert "Engine: compiled" in caplog.text


class TestTooMuchForOptv:
    """Whether such a frame fails must not depend on how long compiling takes."""

    def plan(self, there):
        forgotten = []
        engines = Engines("optv", lambda _groups: bool(there))
        return SequencePlan([(1, 3)], count(1), SimpleNamespace(forget=forgotten.append), "process", engines=engines)

    def fail(self, plan):
        task = plan.next_task()
        assert task.engine == "optv"
        reported = list(plan.record(FrameFailed(1, "too many", limit=True)))
        reported += [event for frame in (2, 3) for event in plan.record(FrameDone(frame, (1,), (1,), 1, ""))]
        list(plan.record(TaskDone(task.id)))
        return reported

    def test_it_waits_for_the_kernels(self, monkeypatch):
        monkeypatch.setattr(choice.build, "failure", lambda: None)
        there = []
        plan = self.plan(there)
        assert [event.frame for event in self.fail(plan)] == [2, 3]
        assert plan.next_task() is None
        assert plan.waits
        assert not plan.finished
        there.append(True)
        task = plan.next_task()
        assert (task.first, task.last, task.engine) == (1, 1, "compiled")

    def test_it_fails_where_there_will_be_none(self, monkeypatch):
        failure = []
        monkeypatch.setattr(choice.build, "failure", lambda: failure[0] if failure else None)
        plan = self.plan([])
        self.fail(plan)
        failure.append("no compiler")
        assert plan.next_task().engine == "optv"
        assert [event.reason for event in plan.record(FrameFailed(1, "too many", limit=True))] == ["too many"]
