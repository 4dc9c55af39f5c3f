"""Whole trajectories: post-processing, filling and tracking both ways against truth, with other programs beside them.

    python tests/benchmarks/whole_tracks.py FOLDER [--openptv2 PYTHON] [--case NAME ...]

Makes each case in FOLDER, unless it is there, and prints tables in Markdown. ``--openptv2`` names the Python of an environment
with openptv2 0.6.0; its presets run on the same images. flowtracks is measured where it is installed. Gaps that the others leave
in their trajectories are filled with straight lines, as ours are filled with estimates.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pyptv.core.base.options import Options
from pyptv.core.experiment.output import record_path, record_text
from pyptv.core.files.formats import LINKS, PARTICLES
from pyptv.evaluate import evaluate
from pyptv.evaluate.compare import DEFAULT_TOLERANCE_PX, pixel_in_space
from pyptv.evaluate.matching import match
from pyptv.export import export
from pyptv.pyptv_batch import main as run
from pyptv.synthetic import make_experiment, read_truth
from pyptv.trajectories import read_trajectories
from pyptv.trajectories.postprocess import PostProcessing

FRAMES, SIZE = 12, (640, 512)
FIRST, LAST = 10_000, 10_000 + FRAMES - 1
BASE = "0.005 ppp"
CASES: dict[str, dict[str, Any]] = {
    "0.003 ppp": {"n_particles": 983},
    BASE: {"n_particles": 1638},
    "0.01 ppp": {"n_particles": 3277},
    "0.02 ppp": {"n_particles": 6554},
    "0.003 ppp, displacement 0.3": {"n_particles": 983, "displacement": 0.3},
    "0.003 ppp, displacement 0.6": {"n_particles": 983, "displacement": 0.6},
    "0.005 ppp, each camera misses 3 %": {"n_particles": 1638, "dropout": 0.03},
    "0.005 ppp, each camera misses 10 %": {"n_particles": 1638, "dropout": 0.1},
    "0.005 ppp, all cameras miss 1 %": {"n_particles": 1638, "blinking": 0.01},
    "0.005 ppp, all cameras miss 3 %": {"n_particles": 1638, "blinking": 0.03},
    "0.005 ppp, all cameras miss 10 %": {"n_particles": 1638, "blinking": 0.1},
}
PRESETS = ("default", "full_multipass", "two_phase")
WAYS = {
    "cut": PostProcessing(max_gap=None),
    "joined": PostProcessing(cut=False),
    "cut, joined (`--postprocess`)": PostProcessing(),
    "the same, `--fill`": PostProcessing(fill=True),
}
_DUMP = """
import sys, numpy as np
from openptv2.benchmarking.runner import read_trajectories
tracks = read_trajectories(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
np.save(sys.argv[4], np.array([(n, *p) for n, points in tracks.items() for p in points], float).reshape(-1, 5))
"""


def methods(case: Path, openptv2: str | None) -> Iterator[tuple[str, Path]]:
    """Name of each method and the folder of its results."""
    source = case / "parameters_synthetic.yaml"
    yield "the run", case
    yield from processed(source, case, case.with_name(f"{case.name}, post"))
    if any(field.name == "tracking" for field in fields(Options)):
        both = case.with_name(f"{case.name}, both ways")
        if not both.exists():
            run(source, FIRST, LAST, output=both, tracking="both")
        yield "`--tracking both`", both
        name = "cut, joined (`--postprocess`)"
        yield f"`--tracking both`, {name}", post(both, both.with_name(f"{both.name}, post"), WAYS[name])
    try:
        yield "flowtracks `repair`", repaired(source, case.with_name(f"{case.name}, repair"))
    except ImportError:
        print("flowtracks is not installed", file=sys.stderr)
    if openptv2 is not None:
        for preset in PRESETS:
            yield f"openptv2 `{preset}`", other(openptv2, preset, case)


def processed(source: Path, case: Path, place: Path) -> Iterator[tuple[str, Path]]:
    for number, (name, settings) in enumerate(WAYS.items()):
        yield name, post(source, place.with_name(f"{place.name} {number}"), settings)


def post(source: Path, output: Path, settings: PostProcessing) -> Path:
    shutil.rmtree(output, ignore_errors=True)
    return export(source, "ptv_is", output=output, postprocess=settings)


def repaired(source: Path, output: Path) -> Path:
    """The trajectories as flowtracks repairs them, with its own limits."""
    from flowtracks.repair import repair_arrays

    found = read_trajectories(source)
    known = np.isfinite(found.position).all(axis=1)
    identity, _ = repair_arrays(found.id[known], found.frame[known], found.position[known], max_gap=2)
    return put(source, output, np.column_stack([identity, found.frame[known], found.position[known]]))


def other(python: str, preset: str, case: Path) -> Path:
    """openptv2's own run over the same images, which it wants without compression."""
    work, output = case.with_name(f"{case.name}, openptv2 {preset}"), case.with_name(f"{case.name}, {preset}")
    dump = work.with_name(f"{work.name}.npy")
    if not dump.exists():
        shutil.rmtree(work, ignore_errors=True)
        for folder in ("img", "cal"):
            shutil.copytree(case / folder, work / folder, ignore=shutil.ignore_patterns("*_targets"))
        shutil.copy(case / "parameters_synthetic.yaml", work)
        for path in (work / "img").iterdir():
            with Image.open(path) as image:
                image.load()
            image.save(path, format="TIFF", compression=None)
        command = [str(Path(python).with_name("openptv2-batch")), str(work / "parameters_synthetic.yaml"), str(FIRST), str(LAST)]
        subprocess.run([*command, "--tracking-plugin", preset], check=True, capture_output=True)
        subprocess.run(
            [python, "-c", _DUMP, str(work / "res"), str(FIRST), str(LAST), str(dump)], check=True, capture_output=True
        )
        shutil.rmtree(work)
    return put(case / "parameters_synthetic.yaml", output, np.load(dump))


def put(source: Path, output: Path, rows: np.ndarray) -> Path:
    """Write trajectories, rows of id, frame, x, y, z, as results; gaps become straight lines."""
    shutil.rmtree(output, ignore_errors=True)
    record_path(output).parent.mkdir(parents=True)
    record_path(output).write_bytes(record_text(source.absolute()))
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    step = np.where(np.diff(rows[:, 0]) == 0, np.diff(rows[:, 1]), 1)
    line = [rows]
    for missing in range(1, int(step.max(initial=1))):
        at = np.flatnonzero(step > missing)
        share = (missing / step[at])[:, None]
        line.append((1 - share) * rows[at] + share * rows[at + 1])
    rows = np.concatenate(line)
    before = np.empty(0)
    for frame in range(FIRST, LAST + 1):
        now, after = rows[rows[:, 1] == frame], rows[rows[:, 1] == frame + 1, 0]
        links, particles = np.zeros(len(now), LINKS.dtype), np.full(len(now), -1, PARTICLES.dtype)
        for axis, values in zip("xyz", now[:, 2:].T, strict=True):
            links[axis] = particles[axis] = values
        links["previous"], links["next"] = (places(now[:, 0], ids, no) for ids, no in ((before, -1), (after, -2)))
        particles["number"] = np.arange(1, len(now) + 1)
        (output / "res" / f"ptv_is.{frame}").write_bytes(LINKS.render(links))
        (output / "res" / f"rt_is.{frame}").write_bytes(PARTICLES.render(particles))
        before = now[:, 0]
    return output


def places(wanted: np.ndarray, ids: np.ndarray, nowhere: int) -> list[int]:
    place = {number: index for index, number in enumerate(ids.tolist())}
    return [place.get(number, nowhere) for number in wanted.tolist()]


def pieces_of(folder: Path, case: Path) -> dict[int, int]:
    """True particle -> in how many trajectories, single positions included, its detections are."""
    truth = read_truth(case / "truth.csv")
    tolerance = DEFAULT_TOLERANCE_PX * pixel_in_space(truth)
    source = case / "parameters_synthetic.yaml"
    found = read_trajectories(source if folder == case else folder)
    owners: dict[int, set[int]] = {}
    for frame in range(FIRST, LAST + 1):
        here = np.flatnonzero((found.frame == frame) & np.isfinite(found.position).all(axis=1))
        rows = truth.rows_of(frame)
        pairs = match(found.position[here], truth.position[rows], tolerance)
        for index, pair in zip(here.tolist(), pairs.tolist(), strict=True):
            if pair >= 0:
                owners.setdefault(int(truth.identity[rows][pair]), set()).add(int(found.id[index]))
    return {particle: len(ids) for particle, ids in owners.items()}


def show(name: str, folder: Path, case: Path, whole: dict[int, int] | None, cut: set[int]) -> None:
    score = evaluate(folder)
    length = f"{score.tracks.lengths.mean():.1f}"
    mended = ""
    if whole is not None and cut:
        pieces = pieces_of(folder, case)
        mended = f" {sum(pieces.get(particle) == 1 for particle in cut) / len(cut):.2f} of {len(cut)} |"
    ratios = " | ".join(f"{value:.4f}" for value in (score.recall, score.link_recall, score.link_precision, score.pure_tracks))
    print(f"| {name} | {ratios} | {length} |{mended}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--openptv2", metavar="PYTHON")
    parser.add_argument("--case", action="append", choices=CASES)
    options = parser.parse_args()
    cases = options.case or list(CASES)
    for name in dict.fromkeys([BASE, *cases]):
        case = options.folder / name
        if not case.exists():
            make_experiment(case, n_frames=FRAMES, image_size=SIZE, **CASES[name])
        if not (case / "res").exists():
            run(case / "parameters_synthetic.yaml", FIRST, LAST)
    undisturbed = pieces_of(options.folder / BASE, options.folder / BASE)
    for name in cases:
        case = options.folder / name
        cut: set[int] = set()
        if "miss" in name:
            cut = {one for one, n in pieces_of(case, case).items() if n > 1 and undisturbed.get(one) == 1}
        head = " cut trajectories whole again |" if cut else ""
        print(f"\n### {name}\n\n| | 3-D recall | link recall | link precision | pure | length |{head}")
        print(f"|---|--:|--:|--:|--:|--:|{'--:|' if cut else ''}")
        for method, folder in methods(case, options.openptv2):
            show(method, folder, case, undisturbed, cut)


if __name__ == "__main__":
    main()
