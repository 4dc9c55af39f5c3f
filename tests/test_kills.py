"""Runs that are killed: what is on disk is whole, what was lost is done again, nobody stays behind."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from conftest import results, rounds
from processes import FIRST, MODULES, N_FRAMES, Run, wait_until_gone

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks processes up in /proc")

N_LONG = 80
"""For runs that must not be over before the test has stopped them, however busy the machine is."""
KILLS = rounds(6, 30)
IDLE_DEATHS = rounds(1, 4)

Versions = dict[str, list[bytes]]


@pytest.fixture(params=MODULES)
def start(request: pytest.FixtureRequest) -> Iterator[Callable[..., Run]]:
    """Starts a run of either entry point; none outlives the test."""
    runs: list[Run] = []

    def new(exp: Path, *options: str, **kwargs: int) -> Run:
        runs.append(Run(request.param, exp, *options, **kwargs))
        return runs[-1]

    yield new
    for run in runs:
        run.kill_group()


@pytest.fixture(scope="module")
def reference(_experiments: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Versions]:
    """File -> what it may hold, for a number of frames: its bytes after the sequence step, and after tracking."""
    from pyptv.pyptv_batch import main

    @cache
    def get(n_frames: int = N_FRAMES) -> Versions:
        exp, last = tmp_path_factory.mktemp("reference") / "experiment", FIRST + n_frames - 1
        shutil.copytree(_experiments(n_frames=n_frames), exp)
        main(exp, FIRST, last, mode="sequence")
        versions = {name: [data] for name, data in results(exp).items()}
        main(exp, FIRST, last, mode="tracking")
        for name, data in results(exp).items():
            versions.setdefault(name, []).append(data)
        return versions

    return get


def final(reference: Versions) -> dict[str, bytes]:
    return {name: versions[-1] for name, versions in reference.items()}


def test_killed_at_random_moments_only_whole_files_and_resume_gives_the_same_bytes(start, small_experiment, reference):
    rng = random.Random(4)
    exp = small_experiment(n_frames=N_FRAMES)
    kills = 0
    while kills < KILLS:
        run = start(exp, "--resume")
        run.wait_for(lambda run=run: run.workers() or run.process.poll() is not None)
        try:
            run.process.wait(rng.uniform(0, 0.7))
        except subprocess.TimeoutExpired:
            run.kill_group()
            kills += 1
        left = results(exp)
        torn = [name for name, data in left.items() if data not in reference()[name]]
        assert not torn
        if run.process.returncode == 0:
            assert left == final(reference())
            shutil.rmtree(exp)
            exp = small_experiment(n_frames=N_FRAMES)
        else:
            assert run.process.returncode == -signal.SIGKILL, run.log.read_text()
    code, log = start(exp, "--resume").finish()
    assert code == 0, log
    assert results(exp) == final(reference())
    assert not [path for path in exp.rglob("*") if path.name.endswith(".pyptv-tmp")]


def test_a_killed_worker_costs_one_retry(start, small_experiment, reference):
    exp = small_experiment(n_frames=N_LONG)
    run = start(exp, last=FIRST + N_LONG - 1)
    run.wait_for((exp / "res" / f"rt_is.{FIRST + 2}").exists)
    for pid in run.workers():
        os.kill(pid, signal.SIGKILL)
    run.wait_for(lambda: "killed by signal 9 (SIGKILL)" in run.log.read_text())
    code, log = run.finish()
    assert code == 0, log
    assert results(exp) == final(reference(N_LONG))


def test_an_idle_worker_may_die(small_experiment, reference):
    both_died = 0
    for _ in range(IDLE_DEATHS + 2):  # the moment decides whether the dead worker held its queue's lock
        exp = small_experiment(n_frames=N_LONG)
        run = Run("parallel", exp, "--serial-tracking", last=FIRST + N_LONG - 1)
        try:
            run.wait_for(lambda exp=exp: (exp / "res" / f"ptv_is.{FIRST + 20}").exists())
            victims = run.workers()  # one of them tracks, the other one has nothing to do
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            code, log = run.finish()
        finally:
            run.kill_group()
        assert code == 0, log
        assert results(exp) == final(reference(N_LONG))
        assert not wait_until_gone(run.seen)
        shutil.rmtree(exp)
        both_died += log.count("killed by signal 9 (SIGKILL)") == len(victims) == 2
        if both_died == IDLE_DEATHS:
            return
    pytest.fail(f"the run was over too soon: both workers died during it {both_died} times, expected {IDLE_DEATHS}")


@pytest.mark.parametrize(
    ("sent", "code", "word"),
    [(signal.SIGINT, 130, "Interrupted"), (signal.SIGTERM, 143, "Terminated"), (signal.SIGKILL, -9, None)],
    ids=["SIGINT", "SIGTERM", "SIGKILL"],
)
def test_the_parent_may_be_stopped_in_any_way(start, small_experiment, reference, sent, code, word):  # noqa: PLR0917
    exp = small_experiment(n_frames=N_LONG)
    last = FIRST + N_LONG - 1
    run = start(exp, last=last)
    run.wait_for((exp / "res" / f"rt_is.{FIRST + 3}").exists)
    workers = run.workers()
    assert workers
    os.kill(run.process.pid, sent)
    found, log = run.finish(10)
    assert found == code, log
    assert not wait_until_gone({run.process.pid, *run.seen})
    assert all(data in reference(N_LONG)[name] for name, data in results(exp).items())
    if word is not None:
        assert f"{word}. Finished frames are kept: run the same command with --resume to continue" in log
        assert "Traceback" not in log
    resumed = start(exp, "--resume", last=last)
    code, log = resumed.finish()
    assert code == 0, log
    assert re.search(r"Resumed: [1-9]\d* frames and the links of \d+ were kept", log)
    assert results(exp) == final(reference(N_LONG))


def test_ctrl_c_reaches_the_whole_group(start, small_experiment):
    exp = small_experiment(n_frames=N_FRAMES)
    run = start(exp)
    run.wait_for(run.workers)
    os.killpg(run.process.pid, signal.SIGINT)
    code, log = run.finish(10)
    assert code == 130, log
    assert "Traceback" not in log
    assert not wait_until_gone(run.seen)


def test_a_second_run_on_the_same_experiment_is_refused(start, small_experiment):
    from pyptv.core.experiment.folder import load_experiment
    from pyptv.core.files.store import Store

    exp = small_experiment(n_frames=N_FRAMES)
    first = Store(load_experiment(exp))
    first.open((FIRST, FIRST + N_FRAMES - 1))
    try:
        code, log = start(exp).finish()
    finally:
        first.close()
    assert code == 1
    assert f"another run is working on frames {FIRST} to {FIRST + N_FRAMES - 1}" in log


def test_changed_inputs_are_named_and_not_mixed(start, small_experiment):
    exp = small_experiment()
    assert start(exp, last=FIRST + 5).finish()[0] == 0
    parameters = exp / "parameters" / "criteria.par"
    before = parameters.read_text()
    lines = before.splitlines()
    parameters.write_text("\n".join([str(float(lines[0]) - 1), *lines[1:]]) + "\n")
    code, log = start(exp, "--resume", last=FIRST + 5).finish()
    assert code == 2
    assert "Cannot resume, the inputs have changed" in log
    assert "parameters.criteria.X_lay: " in log
    parameters.write_text(before)

    image = exp / "img" / f"cam2.{FIRST + 1}.tif"
    image.touch()
    code, log = start(exp, "--resume", last=FIRST + 5).finish()
    assert (code, "Resumed: 6 frames and the links of 6 were kept" in log) == (0, True), log
    image.write_bytes(image.read_bytes() + b"\0")
    code, log = start(exp, "--resume", last=FIRST + 5).finish()
    assert (code, f"processed again, {image} has changed since" in log) == (0, True), log
