"""A long run on small frames (``Existing_Target``): does memory stay flat, is every frame there?

    python tests/benchmarks/long_run.py [--frames 20000] [--processes 2]

Prints the memory (RSS, MB) of the command and of its largest worker as the run goes on, and what came out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

FIRST = 10000


def rss(pid: int) -> float:
    """Memory of a process in MB; 0 where it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def children(pid: int) -> list[int]:
    """The processes that one has started."""
    found: list[str] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += listed.read_text().split()
    return [int(child) for child in found]


def main() -> None:
    """Make the experiment, run it, sample the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--particles", type=int, default=30)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    from pyptv.synthetic import make_experiment

    with tempfile.TemporaryDirectory() as folder:
        exp = Path(folder) / "experiment"
        make_experiment(exp, n_frames=options.frames, n_particles=options.particles, images=False, first_frame=FIRST)
        last = FIRST + options.frames - 1
        module = "pyptv.pyptv_batch" if options.processes == 1 else "pyptv.pyptv_batch_parallel"
        processes = [] if options.processes == 1 else [str(options.processes)]
        command = [sys.executable, "-m", module, str(exp), str(FIRST), str(last), *processes]
        start = time.perf_counter()
        run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        samples = []
        while run.poll() is None:
            samples.append((time.perf_counter() - start, rss(run.pid), max(map(rss, children(run.pid)), default=0.0)))
            time.sleep(0.25)
        log = run.stderr.read() if run.stderr is not None else ""
        print("\n".join(line.split(" - ", 2)[-1] for line in log.splitlines()[-12:]))
        print(f"exit code {run.returncode}")
        results = exp / "res"
        for kind in ("rt_is", "ptv_is", "added"):
            print(f"{kind}: {len(list(results.glob(f'{kind}.*')))} files")
        print(f"{'time':>8}{'command MB':>12}{'worker MB':>11}")
        for part in range(9):
            seconds, parent, worker = samples[part * (len(samples) - 1) // 8]
            print(f"{seconds:>7.0f}s{parent:>12.1f}{worker:>11.1f}")


if __name__ == "__main__":
    main()
