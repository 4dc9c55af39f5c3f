"""Many small frames through a pool, a Dask scheduler, and a job array: CPU time, memory, and whether anything is lost.

    python tests/benchmarks/cluster.py [--frames 20000] [--parts 10] [--ways pool dask parts] [--pairs 1]

Frames are made from ``_targets`` files (``Existing_Target``), so that what is around the work weighs as much as it can. CPU time
is that of all processes: of children by the system's count, of Dask's scheduler and workers as well. Each way works on a copy of
the experiment; all must give the bytes of the first one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
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


def run(*words: Any) -> float:
    """Run a command; the largest resident memory [MB] of its own process, without its children."""
    process = subprocess.Popen([sys.executable, *map(str, words), "-q"])
    most = 0.0
    while process.poll() is None:
        try:
            text = Path(f"/proc/{process.pid}/status").read_text()
            most = max(most, *(int(line.split()[1]) / 1000 for line in text.splitlines() if line.startswith("VmHWM")), 0.0)
        except OSError:
            pass
        time.sleep(0.05)
    assert process.returncode == 0, process.returncode
    return most


def by_pool(exp: Path, frames: list[int], _options: argparse.Namespace) -> float:
    """Two workers of this machine."""
    return run(*POOL, exp, *frames, 2, "--engine", "compiled")


def by_dask(exp: Path, frames: list[int], _options: argparse.Namespace) -> float:
    """Two Dask workers, and a scheduler."""
    file = exp.parent / "scheduler.json"
    file.unlink(missing_ok=True)
    dask = [sys.executable, "-m", "distributed.cli"]
    started = [subprocess.Popen([*dask[:2], "distributed.cli.dask_scheduler", "--scheduler-file", str(file), "--no-dashboard"])]
    worker = [*dask[:2], "distributed.cli.dask_worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard"]
    started += [subprocess.Popen(worker) for _ in range(2)]
    try:
        while not file.exists():
            time.sleep(0.1)
        return run(*POOL, exp, *frames, "--engine", "compiled", "--scheduler", file)
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()


def by_parts(exp: Path, frames: list[int], options: argparse.Namespace) -> float:
    """A job array, two parts at a time, and the job that puts them together."""
    waiting, running = list(range(1, options.parts + 1)), []
    while waiting or running:
        while waiting and len(running) < 2:
            words = [
                *ONE,
                str(exp),
                *map(str, frames),
                "-q",
                "--engine",
                "compiled",
                "--part",
                f"{waiting.pop(0)}/{options.parts}",
            ]
            running.append(subprocess.Popen([sys.executable, *words]))
        assert running.pop(0).wait() == 0
    return run(*POOL, exp, *frames, 2, "--engine", "compiled", "--finish")


WAYS = {"pool": by_pool, "dask": by_dask, "parts": by_parts}


def cpu() -> float:
    """CPU seconds of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Make the experiment, run it in each way, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--particles", type=int, default=5)
    parser.add_argument("--parts", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--images", action="store_true", help="render images of 640 x 512 px: frames as they usually are")
    options = parser.parse_args()
    from pyptv.synthetic import make_experiment

    frames = [FIRST, FIRST + options.frames - 1]
    with tempfile.TemporaryDirectory() as folder:
        made = make_experiment(
            Path(folder) / "made",
            n_frames=options.frames,
            n_particles=options.particles,
            n_cameras=4 if options.images else 2,
            image_size=(640, 512),
            images=options.images,
            first_frame=FIRST,
        )
        for _ in range(options.pairs):
            for way in options.ways:
                exp = Path(folder) / "exp"
                shutil.copytree(made, exp)
                before, begin = cpu(), time.perf_counter()
                memory = WAYS[way](exp, frames, options)
                wall, spent = time.perf_counter() - begin, cpu() - before
                n, digest = results(exp)
                counts = json.loads((exp / "res/run_report.json").read_text())["frames"]
                print(
                    f"{way:>6}: {wall:7.1f} s wall, {spent:7.1f} s CPU, {spent / options.frames * 1000:.2f} ms CPU per frame, "
                    f"command {memory:.0f} MB, {counts['done']} done, {counts['tracked']} tracked, {n} files, {digest}",
                    flush=True,
                )
                shutil.rmtree(exp)


if __name__ == "__main__":
    os.nice(3)
    main()
