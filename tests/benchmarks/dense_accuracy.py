"""The dense method against the standard one, on synthetic images of known truth: the table in ``docs/accuracy.md``.

    python tests/benchmarks/dense_accuracy.py FOLDER                       # all cases on all CPUs
    python tests/benchmarks/dense_accuracy.py FOLDER --only 0.014 --no-standard

A true detection is within 1 px as seen in the volume, and a link is true when both its ends are (the definition of the Lagrangian
particle tracking challenge). Chance: tracks of three frames between displaced frames, over those that there are.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from pyptv.core.record.run_report import FILE_NAME
from pyptv.evaluate import Score, evaluate
from pyptv.evaluate.compare import pixel_in_space
from pyptv.pyptv_batch_parallel import main
from pyptv.synthetic import make_experiment, read_truth

CLEAN: dict[str, Any] = {"dropout": 0.0, "hot_pixels": 0, "displacement": 0.2, "seed": 1}
MIXED: dict[str, Any] = CLEAN | {
    "size_scatter": 0.15,
    "intensity_scatter": 0.4,
    "camera_scatter": 0.2,
    "unevenness": 0.4,
    "noise": 20.0,
    "background": 40.0,
}
CASES: dict[str, dict[str, Any]] = {
    "0.003 ppp, clean": CLEAN | {"n_particles": 1920, "image_size": (800, 800)},
    "0.014 ppp, clean": CLEAN | {"n_particles": 8960, "image_size": (800, 800)},
    "0.014 ppp, mixed sizes, uneven light, SNR 7": MIXED | {"n_particles": 8960, "image_size": (800, 800)},
    "0.028 ppp, the same": MIXED | {"n_particles": 17920, "image_size": (800, 800)},
    "0.05 ppp, clean": CLEAN | {"n_particles": 18000, "image_size": (600, 600)},
    "0.075 ppp, clean": CLEAN | {"n_particles": 19660, "image_size": (512, 512)},
    "0.014 ppp, calibration off by 0.3 px": CLEAN | {"n_particles": 8960, "image_size": (800, 800), "calibration_error_px": 0.3},
    "0.1 ppp, clean": CLEAN | {"n_particles": 19980, "image_size": (447, 447)},
}
HEAD = "| case | method | recall | precision | link recall | link precision | rms x, y, z [px] | by chance | CPU s a frame |"


def run(folder: Path, method: str, n_processes: int) -> dict[str, Any]:
    """Process an experiment by one method; its score and its run report."""
    output = folder.with_name(f"{folder.name}-{method}")
    shutil.rmtree(output, ignore_errors=True)
    main(folder, n_processes=n_processes, method=method, output=output, engine="compiled")
    pixel = pixel_in_space(read_truth(folder / "truth.csv"))
    score = evaluate(output, tolerance_mm=pixel)
    return {"score": score, "pixel": pixel, "report": json.loads((output / "res" / FILE_NAME).read_text(encoding="utf-8"))}


def row(case: str, method: str, found: dict[str, Any]) -> str:
    """A row of the table."""
    score: Score = found["score"]
    rms = ", ".join(f"{value / found['pixel']:.3f}" for value in score.rms)
    chance = (found["report"]["dense"] or {}).get("chance")
    by_chance = f"{chance['chance_tracks'] / max(1, chance['sampled_tracks']):.4f}" if chance else ""
    seconds = sum(found["report"]["seconds"]["stages"].values()) / found["report"]["frames"]["done"]
    numbers = f"{score.recall:.4f} | {score.precision:.4f} | {score.link_recall:.4f} | {score.link_precision:.4f}"
    return f"| {case} | {method} | {numbers} | {rms} | {by_chance} | {seconds:.2f} |"


def make(folder: Path, n_frames: int, options: dict[str, Any]) -> None:
    """Make the experiment of a case, unless it is there."""
    if not (folder / "truth.csv").exists():
        make_experiment(folder, n_frames=n_frames, **options)


def command_line() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the experiments go")
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("--no-standard", action="store_true", help="the dense method only")
    return parser.parse_args()


if __name__ == "__main__":
    asked = command_line()
    logging.basicConfig(level=logging.WARNING)
    asked.folder.mkdir(parents=True, exist_ok=True)
    cases = {name: options for name, options in CASES.items() if asked.only in name}
    places = {name: asked.folder / f"case{number}" for number, name in enumerate(CASES)}
    began = time.perf_counter()
    with ProcessPoolExecutor(asked.processes) as pool:
        list(pool.map(make, [places[name] for name in cases], [asked.frames] * len(cases), cases.values()))
    print(f"made in {time.perf_counter() - began:.0f} s", flush=True)
    print(HEAD + "\n|---|---|--:|--:|--:|--:|--:|--:|--:|", flush=True)
    for name in cases:
        for method in ("dense",) if asked.no_standard else ("standard", "dense"):
            print(row(name, method, run(places[name], method, asked.processes)), flush=True)
