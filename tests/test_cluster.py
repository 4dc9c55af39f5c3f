"""Dask: a scheduler and its workers, started as users do it; whatever is killed, the result is the sequential one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import refusal, results

pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")

from pyptv.core.base.errors import InvalidExperimentError, ProcessingError
from pyptv.core.base.options import Options
from pyptv.core.execute.cluster import node
from pyptv.pyptv_batch import main as sequential
from pyptv.pyptv_batch_parallel import cli, main

FIRST, LAST = 1, 48


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    """An experiment without images, and what a sequential run makes of it."""
    from pyptv.synthetic import make_experiment

    folder = tmp_path_factory.mktemp("cluster") / "made"
    make_experiment(folder, n_frames=LAST, n_particles=25, n_cameras=2, image_size=(320, 256), images=False, first_frame=FIRST)
    truth = shutil.copytree(folder, folder.with_name("truth"))
    sequential(truth, FIRST, LAST, engine="optv")
    return folder, results(truth)


@pytest.fixture
def exp(made, tmp_path) -> Path:
    return shutil.copytree(made[0], tmp_path / "experiment")


class Dask:
    """A scheduler and a worker of two threads, each a command of its own, as docs/cluster.md has them."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        self.folder = folder
        self.scheduler = self._start("scheduler", "--port", "0", "--no-dashboard")
        while not self.file.exists():
            time.sleep(0.05)
        self.workers = [self.add_worker("--nthreads", "2", "--no-nanny")]

    def add_worker(self, *words: str) -> subprocess.Popen:
        return self._start("worker", *words, "--no-dashboard", "--local-directory", self.folder)

    def _start(self, what: str, *words) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{what}", "--scheduler-file", str(self.file), *map(str, words)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def close(self) -> None:
        for process in [*self.workers, self.scheduler]:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    cluster = Dask(tmp_path_factory.mktemp("dask"))
    yield cluster
    cluster.close()


def _after_first_result(exp: Path, act) -> threading.Thread:
    """Do something as soon as the run has written its first frame."""

    def wait() -> None:
        while not list(exp.glob("res/rt_is.*")):
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def _children_of(dask: Dask) -> list[int]:
    """The processes of the workers that do tasks."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"pyptv.core.execute.cluster.child" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def _all_results(folder: Path) -> dict[str, bytes]:
    names = ("res/quality.*", "res/self_calibration.csv", "res/passes.*")
    return results(folder) | {path.name: path.read_bytes() for pattern in names for path in sorted(folder.glob(pattern))}


class TestRuns:
    def test_by_scheduler_file_and_client(self, exp, made, dask, monkeypatch):
        from distributed import Client

        assert cli([str(exp), str(FIRST), str(LAST), "--scheduler", str(dask.file), "--engine", "optv", "-q"]) == 0
        assert results(exp) == made[1]
        names: list[str] = []
        submit = Client.submit
        monkeypatch.setattr(Client, "submit", lambda *a, key, **options: (names.append(key), submit(*a, key=key, **options))[1])
        with Client(scheduler_file=str(dask.file), set_as_default=False) as client:
            main(exp, FIRST, LAST, client=client, engine="optv", resume=True)
            assert client.status == "running"
        assert results(exp) == made[1]
        assert f"frames-{FIRST}-8" in {name.rsplit("-", 2)[0] for name in names}, "what the dashboard shows"
        assert not list((exp / "res/.pyptv").glob("probe*"))
        assert not _children_of(dask)

    def test_every_method(self, made, dask, tmp_path):
        """Dense, both ways, matched again: the files of a sequential run."""
        from distributed import Client

        from pyptv.synthetic import make_experiment

        one = make_experiment(tmp_path / "one", 6, n_particles=60, image_size=(96, 96), displacement=0.2, hot_pixels=0)
        with Client(scheduler_file=str(dask.file), set_as_default=False) as client:
            for options in ({"method": "dense"}, {"engine": "optv", "tracking": "both"}, {"engine": "optv", "mode": "match"}):
                there = shutil.copytree(one, tmp_path / str(options))
                sequential(one, **options)
                main(there, client=client, **options)
                assert _all_results(there) == _all_results(one) != {}, options

    def test_real_images_and_another_clock(self, cavity, golden, dask, monkeypatch, caplog):
        from pyptv.core.execute.cluster import runner

        monkeypatch.setattr(runner, "_CLOCKS", -1.0)  # any clock is off by more
        main(cavity, 10000, 10004, scheduler=str(dask.file), engine="compiled")
        assert results(cavity) == golden("tracking")
        assert "The clock of" in caplog.text

    def test_what_is_killed_on_the_way(self, exp, made, dask):
        """A crash of the C library costs a child; that of a Dask worker, or of its nanny, a task."""
        from distributed import Client

        dask.workers.append(dask.add_worker("--nthreads", "1"))
        with Client(scheduler_file=str(dask.file), set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)

        def kill() -> None:
            os.kill(_children_of(dask)[0], signal.SIGSEGV)
            time.sleep(0.3)
            os.kill(dask.workers[1].pid, signal.SIGKILL)  # the nanny; its worker follows
            victim = dask.workers.pop(0)
            os.killpg(victim.pid, signal.SIGKILL)
            victim.wait()
            dask.workers.append(dask.add_worker("--nthreads", "2", "--no-nanny"))

        thread = _after_first_result(exp, kill)
        main(exp, FIRST, LAST, scheduler=str(dask.file), engine="optv")
        thread.join(30)
        assert results(exp) == made[1]

    def test_a_worker_of_another_version_or_disk_is_not_used(self, exp, dask, tmp_path, monkeypatch):
        from pyptv.core.execute.cluster import runner

        monkeypatch.setattr(runner, "__version__", "99.0")
        with pytest.raises(
            ProcessingError, match=r"No Dask worker can do the work: it has pyptv-batch .*, this is pyptv-batch 99.0"
        ):
            main(exp, FIRST, LAST, scheduler=str(dask.file))
        answer = node.look(node.Question(tmp_path / "elsewhere" / "probe", "secret", needs_kernels=False))
        assert "it does not have the disk of the experiment" in answer.problem
        (tmp_path / "probe").write_text("of another disk")
        assert "another disk" in node.look(node.Question(tmp_path / "probe", "secret", needs_kernels=False)).problem


def test_a_process_that_dies_before_it_begins_is_started_once_more(monkeypatch):
    tries = []

    class Child:
        def __init__(self, job):
            tries.append(job)
            if len(tries) != 2:
                raise ProcessingError("its process killed by signal 11 before it began")

    monkeypatch.setattr(node, "_Child", Child)
    assert isinstance(node._start("job"), Child)
    with pytest.raises(ProcessingError, match="signal 11"):
        node._start("job")


class TestEnds:
    def test_nobody_there(self, exp, tmp_path):
        with pytest.raises(InvalidExperimentError, match="no such file: expected the scheduler file"):
            main(exp, FIRST, LAST, scheduler=str(tmp_path / "none.json"))
        with pytest.raises(ValueError, match=r"client must be an open distributed.Client"):
            main(exp, FIRST, LAST, client="tcp://127.0.0.1:1")
        for wrong in ({"scheduler": " "}, {"scheduler": 5}, {"scheduler": "a", "client": object()}):
            with pytest.raises(ValueError, match="scheduler"):
                Options(**wrong)

    def test_ctrl_c_and_a_killed_client_free_the_workers(self, exp, made, dask):
        command = [sys.executable, "-m", "pyptv.pyptv_batch_parallel", exp, FIRST, LAST, "-q", "--engine", "optv", "--scheduler"]
        for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
            run = subprocess.Popen([*map(str, command), str(dask.file), *(["--resume"] if number == signal.SIGKILL else [])])
            _after_first_result(exp, lambda run=run, number=number: run.send_signal(number)).join(60)
            assert run.wait(60) in {code, 0}
            deadline = time.monotonic() + 20
            while _children_of(dask) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert not _children_of(dask)
        main(exp, FIRST, LAST, scheduler=str(dask.file), engine="optv", resume=True)
        assert results(exp) == made[1]

    def test_the_scheduler_is_killed(self, exp, made, dask):
        """Last: nobody of this module has one after that."""
        thread = _after_first_result(exp, lambda: os.killpg(dask.scheduler.pid, signal.SIGKILL))
        said = refusal(lambda: main(exp, FIRST, LAST, scheduler=str(dask.file), engine="optv"))
        assert said is None or "The Dask scheduler was lost" in said, "None: the run was through before"
        thread.join(30)
        main(exp, FIRST, LAST, engine="optv", n_processes=2, resume=True)
        assert results(exp) == made[1]
