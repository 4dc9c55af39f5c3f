"""Whole tracks on real images with some parameter files, and how many of them there are by chance.

    pyptv-advise test_cavity --fix-calibration test_cavity/cal2 --write test_cavity/advised.yaml
    python tests/benchmarks/advice_real.py test_cavity/parameters_Run1.yaml test_cavity/advised.yaml --first 10000

A whole track goes on over all frames by the tracker's own links; a strict one is predicted at each step by the two positions
before it, to ``--strict`` mm. Chance is counted twice, each time as a mean:

- displaced: the particles of each frame are displaced as a whole, by a vector of its own: links of chance;
- shifted: the targets of all cameras but the first are shifted by multiples of ``--shift`` px, the same in all frames, before
  they are matched: no particle is true, but targets go on smoothly in time, and so do accidents of the same targets.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from pyptv.core.base.machine import use_one_thread

use_one_thread()


def whole_tracks(tracked, strict: float) -> tuple[int, int]:
    """Tracks over all frames, and the strict ones among them."""
    rows = np.arange(len(tracked[0].position))[:, None]
    for frame in tracked[:-1]:
        after = frame.following[rows[:, -1]]
        rows = np.column_stack([rows, after])[after >= 0]
    places = np.stack([frame.position[rows[:, k]] for k, frame in enumerate(tracked)], axis=1)
    off = np.linalg.norm(np.diff(places, 2, axis=1), axis=2)
    return len(rows), int((off < strict).all(axis=1).sum())


def shifted(targets, by: float, width: int):
    """The same targets, each camera's shifted to the right by a distance of its own; what leaves the image enters again."""
    result = []
    for camera, rows in enumerate(targets):
        moved = rows.copy()
        moved[:, 1] = (moved[:, 1] + camera * by) % width
        result.append(moved)
    return result


def judge(path: Path, asked: argparse.Namespace) -> None:
    """Print a row of the table."""
    from pyptv.advise.advice import choose_engine
    from pyptv.core.experiment.folder import load_experiment
    from pyptv.core.images.grey_values import decide
    from pyptv.measures.bench import Workbench
    from pyptv.measures.linking import count, displaced, link_chance

    experiment = load_experiment(path)
    sequence = experiment.parameters.sequence
    bench = Workbench(experiment, choose_engine("auto"), decide(experiment).settings)
    numbers = range(asked.first or sequence.first, (asked.last or sequence.last) + 1)
    targets = {n: bench.detect(bench.filtered(n)) for n in numbers}
    frames = [bench.match(rows, number) for number, rows in targets.items()]
    tracked = bench.track(frames)
    torn, moved = [], []
    for seed in range(asked.seeds):
        rng = np.random.default_rng(seed)
        torn.append(whole_tracks(bench.track([displaced(experiment, frame, rng) for frame in frames]), asked.strict))
        by = asked.shift * (-1) ** seed * (1 + seed // 2)
        other = [bench.match(shifted(rows, by, experiment.parameters.ptv.imx), number) for number, rows in targets.items()]
        moved.append((*whole_tracks(bench.track(other), asked.strict), np.mean([len(frame.position) for frame in other])))
    whole, strict = whole_tracks(tracked, asked.strict)
    by_displacing, by_shifting = np.mean(torn, axis=0), np.mean(moved, axis=0)
    chance = link_chance(bench, [frames])
    print(
        f"{path.name}: particles {[len(frame.position) for frame in frames]}; shifted {by_shifting[2]:.0f} per frame\n"
        f"  links {count(tracked)}, of these {chance.expected_false:.0f} expected to be false\n"
        f"  whole tracks {whole}; displaced {by_displacing[0]:.1f}; shifted {by_shifting[0]:.1f}\n"
        f"  strict {strict}; displaced {by_displacing[1]:.1f}; shifted {by_shifting[1]:.1f}",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parameters", type=Path, nargs="+")
    parser.add_argument("--first", type=int)
    parser.add_argument("--last", type=int)
    parser.add_argument("--shift", type=float, default=40, help="px")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--strict", type=float, default=0.35, help="mm")
    asked = parser.parse_args()
    for path in asked.parameters:
        judge(path, asked)
