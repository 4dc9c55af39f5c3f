"""Workers that stop, die unseen, or cannot be started: the run goes on, or ends with one clear line; nobody waits for ever."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from conftest import results, run_python
from processes import FIRST, MODULES, Run, is_alive, wait_until_gone

from pyptv.pyptv_batch import cli

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks processes up in /proc")

N_LONG = 80
LAST = FIRST + N_LONG - 1
ROOT = hasattr(os, "getuid") and os.getuid() == 0


@pytest.fixture(scope="module")
def expected(_experiments: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], dict[str, bytes]]:
    """The results of an undisturbed run over so many frames."""
    from pyptv.pyptv_batch import main

    @cache
    def get(n_frames: int) -> dict[str, bytes]:
        exp = tmp_path_factory.mktemp("expected") / "experiment"
        shutil.copytree(_experiments(n_frames=n_frames), exp)
        main(exp)
        return results(exp)

    return get


def limit(soft: int, hard: int) -> Callable[[], None]:
    """What a child process does to its limit of open files."""
    import resource

    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def states(pids: list[int]) -> str:
    """The states of processes, a letter each, in /proc's letters."""
    return "".join(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in pids)


@pytest.mark.parametrize("kind", MODULES)
def test_a_stopped_worker_is_replaced(kind, small_experiment, expected):
    for trial in range(3):
        exp = small_experiment(f"experiment{trial}", n_frames=N_LONG)
        began = [exp / "res" / f"rt_is.{FIRST + 3}", *([exp / "res" / f"rt_is.{FIRST + 23}"] if kind == "parallel" else [])]
        with Run(kind, exp, "--frame-timeout", "1.5", last=LAST) as run:
            run.wait_for(lambda began=began: all(path.exists() for path in began))  # before that, more time is allowed
            os.kill(run.workers()[-1], signal.SIGSTOP)
            code, log = run.finish()
            assert not wait_until_gone(run.seen)
        assert code == 0, log
        assert results(exp) == expected(N_LONG)
        if "worker made no progress" in log:
            break  # on a busy machine it may have been through before it was stopped
    assert log.count("worker made no progress for 1.5 s (--frame-timeout allows more) while") == 1


@pytest.mark.parametrize("kind", MODULES)
def test_a_frame_that_never_ends_costs_only_itself(kind, small_experiment):
    """12000 targets and a wide eps0: correspondence takes minutes."""
    exp = small_experiment(n_frames=3, images=False)
    dense = small_experiment("dense", n_frames=1, n_particles=12000, images=False)
    for path in (dense / "img").glob(f"*.{FIRST}_targets"):
        shutil.copyfile(path, exp / "img" / path.name.replace(str(FIRST), str(FIRST + 1)))
    criteria = exp / "parameters" / "criteria.par"
    criteria.write_text("\n".join([*criteria.read_text().splitlines()[:-1], "3.0"]) + "\n")
    with Run(kind, exp, "--frame-timeout", "0.1", "--on-error", "skip", "--mode", "sequence", last=FIRST + 2) as run:
        code, log = run.finish()
    assert code == 3, log
    doing = "while finding correspondences and positions"
    assert f"frame {FIRST + 1}: worker made no progress for 0.1 s (--frame-timeout allows more) {doing}" in log
    assert sorted(path.name for path in (exp / "res").glob("rt_is.*")) == [f"rt_is.{FIRST}", f"rt_is.{FIRST + 2}"]


def test_all_stopped_together_and_continued_is_no_fault(small_experiment, expected):
    exp = small_experiment(n_frames=N_LONG)
    with Run("parallel", exp, "--frame-timeout", "1.5", last=LAST) as run:
        run.wait_for((exp / "res" / f"rt_is.{FIRST + 3}").exists)
        os.killpg(run.process.pid, signal.SIGSTOP)
        time.sleep(3)
        os.killpg(run.process.pid, signal.SIGCONT)
        code, log = run.finish()
    assert code == 0, log
    assert "no progress" not in log
    assert results(exp) == expected(N_LONG)


def test_sigchld_may_be_ignored(small_experiment, expected):
    """As some daemons and shells leave it: then no process's exit code is to be had."""
    exp = small_experiment(n_frames=N_LONG)
    ignore = lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # noqa: E731
    with Run("parallel", exp, last=LAST, preexec_fn=ignore) as run:
        run.wait_for((exp / "res" / f"rt_is.{FIRST + 3}").exists)
        for pid in run.workers():
            os.kill(pid, signal.SIGKILL)
        code, log = run.finish()
        assert not wait_until_gone(run.seen)
    assert code == 0, log
    assert "worker ended for an unknown reason (SIGCHLD is ignored) while" in log
    assert results(exp) == expected(N_LONG)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody kills a stopped process whose parent dies")
def test_a_stopped_worker_does_not_outlive_its_parent(small_experiment):
    exp = small_experiment(n_frames=N_LONG)
    with Run("parallel", exp, last=LAST) as run:
        run.wait_for((exp / "res" / f"rt_is.{FIRST + 3}").exists)
        workers = run.workers()
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        while set(states(workers)) != {"T"}:
            time.sleep(0.01)
        os.kill(run.process.pid, signal.SIGKILL)
        run.process.wait(10)
        assert not wait_until_gone(set(workers))
    assert cli([str(exp), str(FIRST), str(FIRST + 3), "--resume"]) == 0  # nobody holds the lock


def test_descriptors_and_threads_of_the_parent(small_experiment):
    def count(n: int) -> tuple[int, int]:
        exp = small_experiment(f"with-{n}", n_frames=N_LONG)
        with Run("parallel", exp, last=LAST, processes=n) as run:
            run.wait_for((exp / "res" / f"rt_is.{FIRST}").exists)
            run.wait_for(lambda: len(run.workers()) == n)
            return run.open_files(), run.threads()

    few, many = count(2), count(16)
    assert (many[0] - few[0]) / 14 <= 4
    assert many[1] == few[1] <= 6


def test_many_workers_where_few_files_may_be_open(small_experiment, expected):
    exp = small_experiment(n_frames=6)
    with Run("parallel", exp, last=FIRST + 5, processes=64, preexec_fn=limit(100, 1000)) as run:
        code, log = run.finish()
    assert code == 0, log
    assert results(exp) == expected(6)
    report = (exp / "res" / "run_report.json").read_bytes()

    with Run("parallel", exp, last=FIRST + 5, processes=64, preexec_fn=limit(100, 100)) as run:
        code, log = run.finish()
    assert code == 1
    (error,) = [line for line in log.splitlines() if " - ERROR - " in line]
    assert "64 worker processes need 256 open files, and this process may have " in error
    assert "(ulimit -Hn): use at most " in error
    assert results(exp) == expected(6)
    assert (exp / "res" / "run_report.json").read_bytes() == report
    assert "Traceback" not in log


@pytest.mark.skipif(ROOT, reason="root may have any number of processes")
def test_workers_that_cannot_be_started_end_the_run(small_experiment):
    import resource

    exp = small_experiment(n_frames=6)
    few = lambda: resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))  # noqa: E731
    with Run("parallel", exp, last=FIRST + 5, preexec_fn=few) as run:
        code, log = run.finish()
    assert code == 1
    assert "2 worker processes cannot be started: " in log
    assert "Traceback" not in log


def test_a_wrong_time_limit(small_experiment, capsys):
    exp = small_experiment(n_frames=6)
    with pytest.raises(SystemExit) as ended:
        cli([str(exp), "--frame-timeout", "-1"])
    assert ended.value.code == 2
    assert "argument --frame-timeout: expected a number of seconds, 0 or more, got '-1'" in capsys.readouterr().err
    from pyptv.pyptv_batch import main

    with pytest.raises(ValueError, match="frame_timeout must be a number of seconds >= 0, got nan"):
        main(exp, frame_timeout=float("nan"))
    with pytest.raises(ValueError, match="start_method must be one of fork, spawn, forkserver, got 'foo'"):
        main(exp, start_method="foo")
    assert not (exp / "res" / "rt_is.10000").exists()


# -- what a machine may lack -------------------------------------------------------------------------------------------


def in_namespace(script: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a shell script that may mount what it likes; ``$0`` is Python, the arguments follow."""
    if not ROOT or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs root, and unshare, to take folders away")
    return subprocess.run(
        ["unshare", "-m", "sh", "-ec", script, sys.executable, *map(str, arguments)],
        capture_output=True, text=True, timeout=300, check=False, **options,
    )  # fmt: skip


READ_ONLY = "for folder in $FOLDERS; do mount -t tmpfs -o ro none $folder; done; "


def test_without_shared_memory_the_run_goes_on_in_one_process(small_experiment, expected):
    exp = small_experiment(n_frames=6)
    done = in_namespace(
        READ_ONLY + 'exec "$0" -m pyptv.pyptv_batch_parallel "$@"',
        exp,
        FIRST,
        FIRST + 5,
        2,
        env=os.environ | {"FOLDERS": "/dev/shm"},
    )
    assert done.returncode == 0, done.stderr
    assert "No worker processes, because there are no semaphores" in done.stderr
    assert results(exp) == expected(6)


def test_without_temporary_folders(small_experiment, expected):
    if Path(sys.prefix).resolve().is_relative_to("/tmp"):
        pytest.skip("this Python environment lies in /tmp itself, which is taken away here")
    exp = small_experiment(n_frames=6)
    script = f'mount --bind {exp} /mnt; cd /mnt; {READ_ONLY} exec "$0" -m pyptv.pyptv_batch_parallel "$@"'
    numbers = [FIRST, FIRST + 5, 2, "--engine"]
    no_temporary = os.environ | {"FOLDERS": "/tmp /var/tmp", "TMPDIR": "/tmp"}
    done = in_namespace(script, ".", *numbers, "optv", env=no_temporary)  # there is another place
    assert done.returncode == 0, done.stderr
    assert results(exp) == expected(6)

    none = no_temporary | {"FOLDERS": "/tmp /var/tmp /dev/shm"}
    done = in_namespace(script, ".", *numbers, "optv", env=none)
    assert done.returncode == 1
    (error,) = [line for line in done.stderr.splitlines() if " - ERROR - " in line]
    assert "No scratch folder for the tracker (/tmp: " in error
    assert error.endswith("set TMPDIR to one")
    assert "Traceback" not in done.stderr
    assert results(exp) == expected(6)

    pytest.importorskip("numba")
    done = in_namespace(script, ".", *numbers, "compiled", env=none)  # needs none
    assert done.returncode == 0, done.stderr
    assert results(exp) == expected(6)


def test_a_temporary_folder_that_goes_during_the_run(small_experiment, tmp_path):
    exp = small_experiment(n_frames=N_LONG)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with Run("serial", exp, last=LAST, env=os.environ | {"TMPDIR": str(temporary)}) as run:
        run.wait_for((exp / "res" / f"ptv_is.{FIRST + 3}").exists)
        temporary.rename(tmp_path / "gone")
        code, log = run.finish()
    assert code == 1, log
    (error,) = [line for line in log.splitlines() if " - ERROR - " in line]
    assert str(temporary) in error
    assert "No such file or directory" in error or "the tracker's scratch folder has been removed" in error
    assert "Traceback" not in log


def test_scratch_folders_of_other_users(small_experiment, expected, tmp_path):
    if not ROOT or shutil.which("setpriv") is None:
        pytest.skip("needs root, to make files of another user, and setpriv, to obey permissions all the same")
    exp = small_experiment(n_frames=6)
    theirs = tmp_path / "pyptv-run-abcdefgh"
    theirs.mkdir(mode=0o700)
    (theirs / "lock").touch()
    for path in (theirs / "lock", theirs):
        os.chown(path, 65534, 65534)
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-m", "pyptv.pyptv_batch", str(exp)]
    done = subprocess.run(
        [*command, "--engine", "optv"], capture_output=True, text=True, check=False, env=os.environ | {"TMPDIR": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    assert results(exp) == expected(6)
    assert [path.name for path in tmp_path.glob("pyptv-run-*")] == ["pyptv-run-abcdefgh"]


def test_the_exit_of_a_program_that_drops_a_run_does_not_block(small_experiment):
    """A generator of events that nobody closes, its workers killed or stopped: the interpreter still ends."""
    exp = small_experiment(n_frames=N_LONG)
    code = f"""
import os, signal, sys
from itertools import count
from pyptv.core.app.preflight import prepare_job
from pyptv.core.engines.choice import Engines
from pyptv.core.execute.runners import make_runner
from pyptv.core.files.store import Store
from pyptv.core.schedule.plan import Plan
from pyptv.core.schedule.sequence import SequencePlan
job = prepare_job({str(exp)!r})
store = Store(job.experiment)
store.open(({FIRST}, {LAST}))
plan = Plan(job, store, sequence=SequencePlan([({FIRST}, {LAST})], count(1), store, "process", engines=Engines("optv")))
kept = make_runner(job, 2).events(plan)
list(plan.record(next(kept)))
import multiprocessing
first, second = multiprocessing.active_children()
os.kill(first.pid, signal.SIGKILL)
os.kill(second.pid, signal.SIGSTOP)
sys.modules["kept"] = kept
"""
    assert run_python("-c", code, timeout=30).returncode == 0
    assert is_alive(os.getpid())
