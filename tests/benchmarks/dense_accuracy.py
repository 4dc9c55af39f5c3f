"""The dense method against the standard one, on synthetic images of known truth: the table in ``docs/accuracy.md``.

    python tests/benchmarks/dense_accuracy.py FOLDER                       # all cases, side by side on all CPUs
    python tests/benchmarks/dense_accuracy.py FOLDER --only 0.014 --no-standard
    python tests/benchmarks/dense_accuracy.py FOLDER --frames 6 --processes 16 --seconds 220

Rows come as they are done. With ``--seconds`` those that are not done by then are stopped, and named. CPU seconds are comparable
only while there are no more processes than free cores.

A true detection is within 1 px as seen in the volume, and a link is true when both its ends are (the definition of the Lagrangian
particle tracking challenge). Chance: tracks of three frames between displaced frames, over those that there are.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import resource
import shutil
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from pyptv.core.engines.choice import compile_now
from pyptv.core.record.run_report import FILE_NAME
from pyptv.evaluate import Score, evaluate
from pyptv.evaluate.compare import pixel_in_space
from pyptv.kernels import cache
from pyptv.pyptv_batch_parallel import main
from pyptv.synthetic import make_experiment, read_truth

CLEAN: dict[str, Any] = {"dropout": 0.0, "hot_pixels": 0, "displacement": 0.2, "seed": 1}
MIXED: dict[str, Any] = CLEAN | {
    "spot_diameter": 3.0,
    "size_scatter": 0.22,
    "intensity": 100.0,
    "intensity_scatter": 0.3,
    "camera_scatter": 0.2,
    "unevenness": 0.4,
    "background": 50.0,
    "noise": 3.0,
    "read_noise": 14.0,
}
"""Sigmas of 0.5 to 1.2 px and peaks of 0.55 to 1.8 times the median (95 %), light and background that vary by up to 40 % over an
image, each camera with another brightness, and noise of 14.3 in the background, 14.9 at the median peak of 100: a ratio of 7."""
WIDE = {"camera_spread": 2.0}
"""Cameras 17 to 38 degrees off the axis; 9 to 18 without it."""
CASES: dict[str, dict[str, Any]] = {
    "0.003 ppp, clean": CLEAN | {"n_particles": 1920, "image_size": (800, 800)},
    "0.014 ppp, clean": CLEAN | {"n_particles": 8960, "image_size": (800, 800)},
    "0.014 ppp, mixed sizes, uneven light, SNR 7": MIXED | WIDE | {"n_particles": 8960, "image_size": (800, 800)},
    "0.028 ppp, the same": MIXED | WIDE | {"n_particles": 17920, "image_size": (800, 800)},
    "0.014 ppp, mixed, narrow angles": MIXED | {"n_particles": 8960, "image_size": (800, 800)},
    "0.05 ppp, clean": CLEAN | {"n_particles": 18000, "image_size": (600, 600)},
    "0.075 ppp, clean": CLEAN | {"n_particles": 19660, "image_size": (512, 512)},
    "0.014 ppp, calibration off by 0.3 px": CLEAN | {"n_particles": 8960, "image_size": (800, 800), "calibration_error_px": 0.3},
    "0.1 ppp, clean": CLEAN | {"n_particles": 19980, "image_size": (447, 447)},
    "0.03 ppp, clean, 1 megapixel": CLEAN | {"n_particles": 30000, "image_size": (1000, 1000)},
    "0.003 ppp, 3 cameras": CLEAN | {"n_particles": 1920, "image_size": (800, 800), "n_cameras": 3},
    "0.014 ppp, 3 cameras": CLEAN | {"n_particles": 8960, "image_size": (800, 800), "n_cameras": 3},
    "0.0005 ppp, 2 cameras": CLEAN | {"n_particles": 320, "image_size": (800, 800), "n_cameras": 2},
    "0.003 ppp, 2 cameras": CLEAN | {"n_particles": 1920, "image_size": (800, 800), "n_cameras": 2},
}
LONGEST = (
    "0.028 ppp, the same",
    "0.014 ppp, mixed, narrow angles",
    "0.014 ppp, mixed sizes, uneven light, SNR 7",
    "0.1 ppp, clean",
    "0.075 ppp, clean",
    "0.03 ppp, clean, 1 megapixel",
    "0.05 ppp, clean",
)
"""What takes the longest, in this order."""
HEAD = "| case | method | recall | precision | link recall | link precision | rms x, y, z [px] | by chance | seconds | MB |"


def run(folder: Path, method: str) -> dict[str, Any]:
    """Process an experiment by one method, in one process: its score, its run report, and the memory that was needed."""
    output = folder.with_name(f"{folder.name}-{method}")
    shutil.rmtree(output, ignore_errors=True)
    main(folder, n_processes=1, method=method, output=output, engine="compiled")
    pixel = pixel_in_space(read_truth(folder / "truth.csv"))
    score = evaluate(output, tolerance_mm=pixel)
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) // 1024
    report = json.loads((output / "res" / FILE_NAME).read_text(encoding="utf-8"))
    return {"score": score, "pixel": pixel, "report": report, "memory": most}


def row(case: str, method: str, found: dict[str, Any]) -> str:
    """A row of the table."""
    score: Score = found["score"]
    rms = ", ".join(f"{value / found['pixel']:.3f}" for value in score.rms)
    chance = (found["report"]["dense"] or {}).get("chance")
    by_chance = f"{chance['chance_tracks'] / max(1, chance['sampled_tracks']):.4f}" if chance else ""
    seconds = sum(found["report"]["seconds"]["stages"].values()) / found["report"]["frames"]["done"]
    numbers = f"{score.recall:.4f} | {score.precision:.4f} | {score.link_recall:.4f} | {score.link_precision:.4f}"
    return f"| {case} | {method} | {numbers} | {rms} | {by_chance} | {seconds:.2f} | {found['memory']} |"


def measured(case: str, folder: Path, method: str, said: Connection) -> None:
    """Send the row of a case and a method; of one that fails, why."""
    try:
        said.send(row(case, method, run(folder, method)))
    except Exception as error:
        said.send(f"| {case} | {method} | {type(error).__name__}: {error} |")


def rows(jobs: list[tuple[str, Path, str]], n_processes: int, until: float) -> Iterator[str]:
    """The rows of jobs, started in their order, as they are done; those that are not done in time, named.

    Each has a process of its own: its memory is its own, its seconds are those of one core.
    """
    context, waiting, running = get_context("spawn"), deque(jobs), {}
    while waiting or running:
        while waiting and len(running) < n_processes:
            heard, said = context.Pipe(duplex=False)
            process = context.Process(target=measured, args=(*waiting[0], said))
            process.start()
            said.close()
            running[heard] = (process, waiting.popleft())
        done = wait(list(running), None if math.isinf(until) else max(0.0, until - time.perf_counter()))
        for heard in done:
            process, (case, _, method) = running.pop(heard)
            try:
                yield heard.recv()
            except EOFError:
                yield f"| {case} | {method} | its process died |"
            process.join()
        if not done:
            break
    for process, (case, _, method) in running.values():
        process.terminate()
        yield f"| {case} | {method} | not done in time |"
    yield from (f"| {case} | {method} | not begun in time |" for case, _, method in waiting)


def make(folder: Path, n_frames: int, options: dict[str, Any]) -> None:
    """Make the experiment of a case, unless it is there."""
    if not (folder / "truth.csv").exists():
        make_experiment(folder, n_frames=n_frames, **options)


def command_line() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the experiments go")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("--no-standard", action="store_true", help="the dense method only")
    parser.add_argument("--seconds", type=float, default=math.inf, help="what is not done by then is stopped")
    return parser.parse_args()


if __name__ == "__main__":
    asked = command_line()
    logging.basicConfig(level=logging.WARNING)
    asked.folder.mkdir(parents=True, exist_ok=True)
    cases = {name: options for name, options in CASES.items() if asked.only in name}
    places = {name: asked.folder / f"case{number}" for number, name in enumerate(CASES)}
    began = time.perf_counter()
    with ProcessPoolExecutor(asked.processes) as pool:
        compiled = [pool.submit(compile_now, groups) for groups in (cache.FOR_DENSE, None)]  # once, on a machine that has none
        list(pool.map(make, [places[name] for name in cases], [asked.frames] * len(cases), cases.values()))
        for one in compiled:
            one.result()
    print(f"made in {time.perf_counter() - began:.0f} s", flush=True)
    print(HEAD + "\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|", flush=True)
    methods = ("dense",) if asked.no_standard else ("dense", "standard")
    longest_first = [name for name in LONGEST if name in cases] + [name for name in cases if name not in LONGEST]
    jobs = [(name, places[name], method) for method in methods for name in longest_first]
    for line in rows(jobs, asked.processes, began + asked.seconds):
        print(line, flush=True)
