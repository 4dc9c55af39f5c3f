"""Limits of tracking from the data alone: ours, and those that openptv2 proposes, on the same matched frames.

    python tests/benchmarks/advice_limits.py OUT.jsonl 0 4 8 --openptv2 VENV/bin    # those that OUT has not yet, one by one
    python tests/benchmarks/advice_limits.py OUT.jsonl --summary

The experiments are those of ``advice_truth.py``, with dv limits that are wrong; detection, matching and calibrations are as they
are made. Images are written without compression, which openptv2 0.6.0 asks for. ``VENV`` is an environment with openptv2 alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import tempfile
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import yaml
from advice_summary import rows_of
from advice_truth import DV, identify, plan, spoil
from PIL import Image

LIMITS = (*DV, "angle", "dacc")
WHO = {"wrong": "wrong limits", "warmup": "openptv2 warmup", "advice": "advice", "best": "best of a search with truth"}


def prepare(folder: Path, number: int) -> Path:
    """Make an experiment, and write a YAML file with wrong dv limits: its path."""
    from pyptv.synthetic import make_experiment

    options, camera, wrong = plan(number)
    make_experiment(folder, **options)
    spoil(folder, camera)
    for path in (folder / "img").iterdir():
        Image.fromarray(np.array(Image.open(path))).save(path, format="TIFF")
    values = yaml.safe_load((folder / "parameters_synthetic.yaml").read_text())
    values["track"] |= {name: values["track"][name] * wrong["dv"] for name in DV}
    path = folder / "bad.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def ask_openptv2(programs: Path, path: Path, first: int, last: int) -> tuple[dict, float]:
    """The section ``track`` that ``openptv warmup`` writes, and its CPU time [s]."""
    copy = path.with_name("theirs.yaml")
    copy.write_bytes(path.read_bytes())
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for command in (
        [programs / "openptv2-batch", copy, str(first), str(last), "--mode", "sequence"],
        [programs / "openptv", "warmup", copy, "--frames", str(last - first + 1), "--write"],
    ):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return yaml.safe_load(copy.read_text())["track"], cpu


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


def judge(number: int, programs: Path) -> dict:
    """Recall and precision of an experiment with each set of limits."""
    from pyptv.advise.advice import choose_engine
    from pyptv.advise.limits import best_limits
    from pyptv.core.experiment.folder import load_experiment
    from pyptv.core.images.grey_values import decide
    from pyptv.measures.bench import Workbench
    from pyptv.measures.motion import measure_motion
    from pyptv.synthetic import read_truth

    with tempfile.TemporaryDirectory() as place:
        path = prepare(Path(place) / "e", number)
        experiment, truth = load_experiment(path), read_truth(path.with_name("truth.csv"))
        p = experiment.parameters
        bench = Workbench(experiment, choose_engine("auto"), decide(experiment).settings)
        frames = [bench.match(bench.detect(bench.filtered(n)), n) for n in range(p.sequence.first, p.sequence.last + 1)]
        theirs, cpu = ask_openptv2(programs, path, p.sequence.first, p.sequence.last)
    dv = plan(number)[2]["dv"]
    good = replace(p.track, **{name: getattr(p.track, name) / dv for name in DV})
    tried = [
        replace(good, dacc=good.dacc * dacc, **{name: getattr(good, name) * wider for name in DV})
        for wider, dacc in product((0.8, 1.0, 1.6), (0.4, 0.7, 1.0, 2.0))
    ]
    proposed = {
        "wrong": p.track,
        "warmup": replace(p.track, **{name: float(theirs[name]) for name in LIMITS}),
        "advice": best_limits(bench, [frames], measure_motion([frames]), p.track).limits,
    }
    found = {who: links(bench.with_track(limits), frames, truth) for who, limits in proposed.items()}
    found["best"] = max(links(bench.with_track(limits), frames, truth) for limits in tried)
    return {"number": number, "warmup_cpu": cpu} | found


def summary(path: Path) -> None:
    """The tables of docs/advice.md."""
    rows = rows_of(path)
    print(f"{len(rows)} of 60 experiments; CPU s of warmup, median: {np.median([row['warmup_cpu'] for row in rows]):.0f}\n")
    print("| limits | recall: median, 10 %, minimum | precision: median, 10 %, minimum |\n|---|--:|--:|")
    for who, words in WHO.items():
        cells = [
            ", ".join(f"{np.percentile([row[who][what] for row in rows], share):.3f}" for share in (50, 10, 0)) for what in (0, 1)
        ]
        print(f"| {words} | {' | '.join(cells)} |")
    print("\n| advice beside warmup | higher | equal within .001 | lower | difference: minimum, median, maximum |")
    print("|---|--:|--:|--:|--:|")
    for what, name in enumerate(("recall", "precision")):
        off = np.array([row["advice"][what] - row["warmup"][what] for row in rows])
        counts = [np.sum(off > 0.001), np.sum(np.abs(off) <= 0.001), np.sum(off < -0.001)]
        spread = ", ".join(f"{value:+.3f}" for value in np.percentile(off, (0, 50, 100)))
        print(f"| {name} | {' | '.join(map(str, counts))} | {spread} |")


def main() -> None:
    """Run, or summarise."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("experiments", type=int, nargs="*")
    parser.add_argument("--openptv2", type=Path, help="folder of its programs")
    parser.add_argument("--summary", action="store_true")
    options = parser.parse_args()
    done = {row["number"] for row in rows_of(options.out)}
    for number in options.experiments:
        if number not in done:
            with options.out.open("a") as file:
                file.write(json.dumps(judge(number, options.openptv2)) + "\n")
    if options.summary:
        summary(options.out)


if __name__ == "__main__":
    main()
