"""Measure what the program promises of its first hour, against PyPTV, one process each, and print a row for each promise.

    python tests/benchmarks/targets.py --pyptv /path/of/other/python [--rounds N]

The kernels are kept in a new folder in each round: so its first run of 60 ping-pong frames compiles them in the background, and
the second one finds them. A run of 1000 frames is estimated from runs of 60 and 200: both programs take a time per frame that
does not change. For an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from against_pyptv import FIRST, clean, make, timed

from pyptv.kernels import cache

FEW, MANY, THOUSAND = 60, 200, 1000
CPU, WALL = 0, 1


def command(python: str, yaml: Path, n_frames: int, *options: str) -> list[str]:
    return [python, "-m", "pyptv.pyptv_batch", str(yaml), str(FIRST), str(FIRST + n_frames - 1), *options]


def run(python: str, folder: Path, yaml: Path, n_frames: int, *options: str) -> tuple[float, float, int]:
    clean(folder)
    return timed(command(python, yaml, n_frames, *options))


def thousand(few: float, many: float) -> float:
    """CPU time of 1000 frames, from that of 60 and 200."""
    return few + (many - few) * (THOUSAND - FEW) / (MANY - FEW)


def one_round(pyptv: str, folder: Path, yaml: Path) -> dict[str, tuple[float, float]]:
    """Promise -> ours and the other's seconds."""
    ours = sys.executable
    with tempfile.TemporaryDirectory() as kernels:
        os.environ["PYPTV_KERNEL_CACHE"] = kernels
        cache.chosen_folder.cache_clear()
        first = run(ours, folder, yaml, FEW)
        deadline = time.monotonic() + 300
        while cache.missing() and time.monotonic() < deadline:
            time.sleep(1.0)
        theirs = run(pyptv, folder, yaml, FEW)
        second = run(ours, folder, yaml, FEW)
        one = run(ours, folder, yaml, 1, "--engine", "compiled")
        many = run(ours, folder, yaml, MANY)
    their_many = run(pyptv, folder, yaml, MANY)
    with tempfile.TemporaryDirectory() as kernels:
        os.environ["PYPTV_KERNEL_CACHE"] = kernels
        compiling = timed([ours, "-m", "pyptv.pyptv_batch", "--compile"])
    return {
        "first run of 60 frames, wall time": (first[WALL], theirs[WALL]),
        "second run of 60 frames, CPU time": (second[CPU], theirs[CPU]),
        "1000 frames (from 60 and 200), CPU time": (thousand(second[CPU], many[CPU]), thousand(theirs[CPU], their_many[CPU])),
        "compiling all, wall time": (compiling[WALL], 0.0),
        "compiling all, CPU time": (compiling[CPU], 0.0),
        "one frame, kernels compiled, CPU time": (one[CPU], 0.0),
    }


def main() -> None:
    """Measure the rounds and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pyptv", required=True, help="Python of the environment with PyPTV")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        experiment = Path(folder) / "pingpong"
        yaml = make(experiment, MANY, smooth=False)
        rounds = []
        for _ in range(options.rounds):
            rounds.append(one_round(options.pyptv, experiment, yaml))
            print(rounds[-1], flush=True)
    for promise in rounds[0]:
        ours, theirs = (statistics.median(found[promise][side] for found in rounds) for side in (0, 1))
        ratio = f"{theirs:>9.1f} s{ours / theirs:>7.2f}" if theirs else ""
        print(f"{promise:<42}{ours:>8.1f} s{ratio}")


if __name__ == "__main__":
    main()
