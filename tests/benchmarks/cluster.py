"""Many small frames through a pool, a Dask scheduler, and a job array: CPU time, memory, and whether anything is lost.

    python tests/benchmarks/cluster.py [--frames 300 1500] [--parts 10] [--ways pool dask dask-workers parts] [--images]

Frames are made from ``_targets`` files (``Existing_Target``), so that what is around the work weighs as much as it can; with
``--images`` they are rendered. CPU time is that of all processes, also of those that outlive their parents (on Linux: this one
adopts them). With several numbers of frames the last lines split it into start-up and CPU time per frame. Each way works on a
copy of the experiment; all must give the same bytes.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FIRST = 10000
POOL = ["-m", "pyptv.pyptv_batch_parallel"]
ONE = ["-m", "pyptv.pyptv_batch"]
PATTERNS = ("res/rt_is.*", "res/ptv_is.*", "res/added.*", "img/*_targets")


def results(folder: Path) -> tuple[int, str]:
    """How many result files there are, and one fingerprint of all."""
    whole, n = hashlib.sha256(), 0
    for pattern in PATTERNS:
        for path in sorted(folder.glob(pattern)):
            whole.update(path.name.encode() + path.read_bytes())
            n += 1
    return n, whole.hexdigest()[:12]


class Memory:
    """The largest resident memory [MB] of a process and of each below it, as long as it runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.own = self.below = 0.0
        while process.poll() is None:
            self.own = max(self.own, _peak(process.pid))
            self.below = max([self.below, *map(_peak, _children(process.pid))])
            time.sleep(0.2)

    def __str__(self) -> str:
        return f"{self.own:.0f} MB, its workers {self.below:.0f} MB"


def _peak(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return max((int(line.split()[1]) / 1000 for line in text.splitlines() if line.startswith("VmHWM")), default=0.0)


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def run(*words: Any) -> str:
    """Run a command; the memory it has needed."""
    process = subprocess.Popen([sys.executable, *map(str, words), "-q"])
    memory = Memory(process)
    assert process.returncode == 0, process.returncode
    return str(memory)


def by_pool(exp: Path, frames: list[int], options: argparse.Namespace) -> str:
    """Workers of this machine."""
    return run(*POOL, exp, *frames, options.processes, "--engine", "compiled")


FRUGAL = {
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "1s",
    "DASK_DISTRIBUTED__WORKER__MEMORY__MONITOR_INTERVAL": "2s",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "5s",
}
"""What docs/cluster.md proposes: Dask looks after itself less often."""


def _frugal(processes: int) -> tuple[list[list[str]], dict[str, str]]:
    """A Dask worker with so many threads, as docs/cluster.md has it: words of each worker, and settings."""
    return [["--nthreads", str(processes), "--no-nanny"]], FRUGAL


def _usual(processes: int) -> tuple[list[list[str]], dict[str, str]]:
    """Dask workers of one thread each, with nannies, all as Dask sets them up."""
    return [["--nthreads", "1"]] * processes, {}


def by_dask(exp: Path, frames: list[int], options: argparse.Namespace) -> str:
    """A scheduler, and a worker as docs/cluster.md has it."""
    with _dask(exp.parent, *_frugal(options.processes)) as file:
        return run(*POOL, exp, *frames, "--engine", "compiled", "--scheduler", file)


def by_dask_workers(exp: Path, frames: list[int], options: argparse.Namespace) -> str:
    """A scheduler, and workers as Dask sets them up."""
    with _dask(exp.parent, *_usual(options.processes)) as file:
        return run(*POOL, exp, *frames, "--engine", "compiled", "--scheduler", file)


@contextmanager
def _dask(folder: Path, workers: list[list[str]], settings: dict[str, str]) -> Iterator[Path]:
    file = folder / "scheduler.json"
    file.unlink(missing_ok=True)
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    started: list[subprocess.Popen[bytes]] = []

    def start(what: str, *words: str) -> None:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *common, *words]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started.append(subprocess.Popen(command, env=os.environ | settings, **quiet))

    try:
        start("scheduler", "--port", "0")
        for words in workers:
            start("worker", *words, "--local-directory", str(folder))
        while not file.exists():
            time.sleep(0.1)
        yield file
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()


def idle(folder: Path, seconds: list[float], processes: int) -> None:
    """Print the CPU time of a scheduler and its workers that have nothing to do, each second."""
    for name, (workers, settings) in {"dask": _frugal(processes), "dask-workers": _usual(processes)}.items():
        spent = []
        for long in seconds:
            before = cpu()
            with _dask(folder, workers, settings):
                time.sleep(long)
            spent.append(cpu() - before)
        each = (spent[-1] - spent[0]) / (seconds[-1] - seconds[0])
        print(f"{name:>12}: {1000 * each:.0f} ms CPU each second, {spent[0] - seconds[0] * each:.1f} s start-up", flush=True)


def by_parts(exp: Path, frames: list[int], options: argparse.Namespace) -> str:
    """A job array, some parts at a time, and the job that puts them together."""
    waiting, running = list(range(1, options.parts + 1)), []
    common = [str(exp), *map(str, frames), "-q", "--engine", "compiled"]
    while waiting or running:
        while waiting and len(running) < options.processes:
            words = [*ONE, *common, "--part", f"{waiting.pop(0)}/{options.parts}"]
            running.append(subprocess.Popen([sys.executable, *words]))
        assert running.pop(0).wait() == 0
    return run(*POOL, exp, *frames, options.processes, "--engine", "compiled", "--finish")


WAYS = {"pool": by_pool, "dask": by_dask, "dask-workers": by_dask_workers, "parts": by_parts}


def cpu() -> float:
    """CPU seconds of all processes below this one that have ended."""
    while True:
        try:
            os.waitpid(-1, 0)  # also those that were left by their parents
        except ChildProcessError:
            break
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(way: str, made: Path, n_frames: int, options: argparse.Namespace) -> float:
    """Run the first frames of a copy in one of the ways, print the figures; the CPU time [s]."""
    exp = made.with_name("exp")
    shutil.copytree(made, exp)
    before, begin = cpu(), time.perf_counter()
    memory = WAYS[way](exp, [FIRST, FIRST + n_frames - 1], options)
    wall, spent = time.perf_counter() - begin, cpu() - before
    n, digest = results(exp)
    counts = json.loads((exp / "res/run_report.json").read_text())["frames"]
    print(
        f"{way:>12} {n_frames:>7} frames: {wall:7.1f} s wall, {spent:7.1f} s CPU, command {memory}, "
        f"{counts['done']} done, {counts['tracked']} tracked, {n} files, {digest}",
        flush=True,
    )
    shutil.rmtree(exp)
    return spent


def main() -> None:
    """Make the experiment, run it in each way, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[300, 1500])
    parser.add_argument("--particles", type=int, default=5)
    parser.add_argument("--parts", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--images", action="store_true", help="render images of 640 x 512 px: frames as they usually are")
    parser.add_argument("--idle", type=float, nargs=2, metavar="S", help="only what Dask takes that waits, from two times [s]")
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    if options.idle:
        with tempfile.TemporaryDirectory() as folder:
            idle(Path(folder), options.idle, options.processes)
        return
    from pyptv.synthetic import make_experiment

    spent: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        made = make_experiment(
            Path(folder) / "made",
            n_frames=max(options.frames),
            n_particles=options.particles,
            n_cameras=4 if options.images else 2,
            image_size=(640, 512),
            images=options.images,
            first_frame=FIRST,
        )
        for _ in range(options.pairs):
            for n_frames in options.frames:
                for way in options.ways:
                    spent.setdefault((way, n_frames), []).append(measure(way, made, n_frames, options))
    few, many = min(options.frames), max(options.frames)
    for way in options.ways if few < many else ():
        low, high = (statistics.median(spent[way, n]) for n in (few, many))
        each = (high - low) / (many - few)
        print(f"{way:>12}: {1000 * each:.3f} ms CPU per frame, {low - few * each:.1f} s start-up")


if __name__ == "__main__":
    os.nice(3)
    main()
