"""The parallel entry point: the same bytes as the sequential one, and the time both take.

Run it: ``python docs/demos/demo_parallel_batch.py [FRAMES [PROCESSES]]``. It works in a temporary folder and leaves
nothing behind. A handful of small frames is the default, and too little to gain from: try 200.
"""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path

from pyptv import pyptv_batch, pyptv_batch_parallel
from pyptv.synthetic import make_experiment

FIRST = 10000


def results(experiment: Path) -> dict[str, bytes]:
    """Every result file of an experiment: name -> bytes."""
    files = experiment.glob("res/*.[0-9]*")
    return {path.name: path.read_bytes() for path in [*files, *experiment.glob("img/*_targets")]}


def demo(folder: Path, n_frames: int = 12, n_processes: int = 2) -> None:
    """Run copies of one experiment through both entry points and compare."""
    one = make_experiment(folder / "sequential", n_frames=n_frames, n_particles=60, image_size=(320, 256))
    other = Path(shutil.copytree(one, folder / "parallel"))
    last = FIRST + n_frames - 1

    start = time.perf_counter()
    pyptv_batch.main(one, FIRST, last)
    sequential = time.perf_counter() - start

    print("Chunks of frames:", pyptv_batch_parallel.chunk_ranges(FIRST, last, n_processes))
    start = time.perf_counter()
    pyptv_batch_parallel.main(other, FIRST, last, n_processes=n_processes)
    parallel = time.perf_counter() - start

    same = results(one) == results(other)
    print(f"{n_frames} frames: sequential {sequential:.2f} s, {n_processes} processes {parallel:.2f} s")
    print(f"{len(results(one))} files, the same bytes: {same}")
    if not same:
        sys.exit(1)


if __name__ == "__main__":
    logging.getLogger("pyptv").addHandler(logging.NullHandler())  # this demo prints what matters itself
    with tempfile.TemporaryDirectory() as temporary:
        demo(Path(temporary), *map(int, sys.argv[1:3]))
