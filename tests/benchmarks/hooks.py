"""What the built-in hooks cost: CPU time of the sequence step per frame (4 cameras), with each of them and without any.

    python tests/benchmarks/hooks.py [--frames 24] [--size 1280 1024] [--particles 1000] [--repetitions 3] [--hook NAME ...]

Prints a table in Markdown: medians; the ways are measured in turn. One worker; reading the images around a frame included.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
from pathlib import Path

from pyptv.pyptv_batch import main as run
from pyptv.synthetic import make_experiment

FIRST = 10_000
WAYS = (
    "background_median:window=11",
    "background_median:window=21,step=5",
    "background_minimum:window=11",
    "background_minimum:window=21,step=5",
    "rolling_ball:radius=10",
    "rolling_ball:radius=25",
    "rolling_ball:radius=50",
)


def spent_so_far() -> float:
    """CPU time [s] of this process and of the workers that have ended."""
    return sum(os.times()[:4])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 1024))
    parser.add_argument("--particles", type=int, default=1000)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--hook", action="append")
    options = parser.parse_args()
    ways = ["none", *(options.hook or WAYS)]
    logging.disable(logging.INFO)
    spent: dict[str, list[float]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        source = make_experiment(
            Path(folder) / "e", n_frames=options.frames, n_particles=options.particles, image_size=tuple(options.size)
        )
        last = FIRST + options.frames - 1
        run(source, FIRST, FIRST + 1, mode="sequence", hooks=["rolling_ball"])  # imports, kernels
        for _ in range(options.repetitions):
            for way in ways:
                start = spent_so_far()
                run(source, FIRST, last, mode="sequence", hooks=[way])
                spent[way].append(1000 * (spent_so_far() - start) / options.frames)
    plain = statistics.median(spent["none"])
    print("| hook | sequence step, CPU per frame [ms] | of these the hook |\n|---|--:|--:|")
    for way, times in spent.items():
        print(f"| `{way}` | {statistics.median(times):.0f} | {statistics.median(times) - plain:.0f} |")


if __name__ == "__main__":
    main()
