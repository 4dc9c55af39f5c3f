"""Limits of tracking from the data alone: ours, and those that another program proposes, on the same matched frames.

    python tests/benchmarks/advice_limits.py prepare PLACE      # some experiments, with dv limits that are wrong
    cd PLACE/e0 && openptv2-batch bad.yaml 10000 10007 --mode sequence && openptv warmup bad.yaml --frames 8 --write
    python tests/benchmarks/advice_limits.py score PLACE        # bad.yaml is read again: what is in it now is scored

The experiments are some of ``advice_truth.py``'s; detection, matching and calibrations are as they are made. Images are written
without compression, which openptv2 0.6.0 asks for.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import yaml
from advice_truth import DV, identify, plan, spoil
from PIL import Image

EXPERIMENTS = (0, 4, 8, 12, 16, 17, 20, 24, 25, 28, 32, 36)
LIMITS = (*DV, "angle", "dacc")


def prepare(place: Path) -> None:
    """Write the experiments, and for each a YAML file with wrong dv limits."""
    from pyptv.synthetic import make_experiment

    for number in EXPERIMENTS:
        options, camera, wrong = plan(number)
        folder = make_experiment(place / f"e{number}", **options)
        spoil(folder, camera)
        for path in (folder / "img").iterdir():
            Image.fromarray(np.array(Image.open(path))).save(path, format="TIFF")
        values = yaml.safe_load((folder / "parameters_synthetic.yaml").read_text())
        values["track"] |= {name: values["track"][name] * wrong["dv"] for name in DV}
        for name in ("bad.yaml", "wrong.yaml"):  # the one that others change, and the one that stays
            (folder / name).write_text(yaml.safe_dump(values))


def links(bench, frames, truth) -> tuple[float, float]:
    """Recall and precision of links; particles that the tracker adds count as well."""
    from pyptv.measures.frames import MatchedFrame

    tracked = bench.track(frames)
    pairs = zip(frames, tracked, strict=True)
    who = [identify(MatchedFrame(frame.number, frame.targets, one.position, one.target), truth) for frame, one in pairs]
    true = made = there = 0
    for index in range(len(frames) - 1):
        following = tracked[index].following
        rows = np.flatnonzero(following >= 0)
        made += len(rows)
        true += int(np.sum((who[index][rows] >= 0) & (who[index][rows] == who[index + 1][following[rows]])))
        there += len(np.intersect1d(*(truth.identity[truth.rows_of(frames[k].number)] for k in (index, index + 1))))
    return true / there, true / max(made, 1)


def score(place: Path) -> None:
    """A row of the table in docs/advice.md for each experiment."""
    from pyptv.advise.advice import choose_engine
    from pyptv.advise.limits import best_limits
    from pyptv.core.experiment.folder import load_experiment
    from pyptv.core.images.grey_values import decide
    from pyptv.measures.bench import Workbench
    from pyptv.measures.motion import measure_motion
    from pyptv.synthetic import read_truth

    print("| experiment | wrong limits | openptv2 warmup | advice | best of a search with truth |\n|---|--:|--:|--:|--:|")
    for number in EXPERIMENTS:
        folder, (options, _, wrong) = place / f"e{number}", plan(number)
        if not (folder / "wrong.yaml").exists():
            continue
        experiment, truth = load_experiment(folder / "wrong.yaml"), read_truth(folder / "truth.csv")
        p = experiment.parameters
        bench = Workbench(experiment, choose_engine("optv"), decide(experiment).settings)
        frames = [bench.match(bench.detect(bench.filtered(n)), n) for n in range(p.sequence.first, p.sequence.last + 1)]
        theirs = yaml.safe_load((folder / "bad.yaml").read_text())["track"]
        ours = best_limits(bench, [frames], measure_motion([frames]), p.track).limits
        good = replace(p.track, **{name: getattr(p.track, name) / wrong["dv"] for name in DV})
        tried = [
            replace(good, dacc=good.dacc * dacc, **{name: getattr(good, name) * dv for name in DV})
            for dv, dacc in product((0.8, 1.0, 1.6), (0.4, 0.7, 1.0, 2.0))
        ]
        them = replace(p.track, **{name: float(theirs[name]) for name in LIMITS})
        found = [links(bench.with_track(limits), frames, truth) for limits in (p.track, them, ours)]
        found.append(max(links(bench.with_track(limits), frames, truth) for limits in tried))
        cells = " | ".join(f"{recall:.3f}, {precision:.3f}" for recall, precision in found)
        what = f"{options['n_particles']} particles, {options['displacement']:g} of the spacing; dv limits x {wrong['dv']:g}"
        print(f"| {what} | {cells} |", flush=True)


def main() -> None:
    """Prepare, or score."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("prepare", "score"))
    parser.add_argument("place", type=Path)
    options = parser.parse_args()
    (prepare if options.what == "prepare" else score)(options.place)


if __name__ == "__main__":
    main()
