"""Measure how the results degrade, and put the table and the plots into ``docs/accuracy.md``.

    python tests/benchmarks/accuracy_sweep.py              # all: a few minutes on two cores
    python tests/benchmarks/accuracy_sweep.py --dry-run    # only print what would be run
    python tests/benchmarks/accuracy_sweep.py --only density

Every case is a synthetic experiment run by ``pyptv-batch`` and scored by ``pyptv.evaluate``, with three seeds; the table
shows their mean. Needs the extra ``evaluate``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pyptv.core.files.formats import TARGETS, targets_name
from pyptv.evaluate import Score, evaluate
from pyptv.evaluate.compare import DEFAULT_TOLERANCE_PX
from pyptv.pyptv_batch import main as batch
from pyptv.synthetic import Settings, make_experiment, read_truth
from pyptv.synthetic.optics import pixel_size
from pyptv.synthetic.writer import YAML_NAME

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- accuracy_sweep: begin -->", "<!-- accuracy_sweep: end -->"
SEEDS = (0, 1, 2)
N_FRAMES = 10
SIZE = (640, 512)
_ROUND = 0.1
MEASURES = ("recall", "precision", "link_recall", "link_precision")


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    sweep: str
    value: float
    """What is varied: the place on the x axis."""
    options: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    """Parameters changed afterwards: "section.key" -> value."""

    @property
    def label(self) -> str:
        """What stands in the first column."""
        if self.sweep == "parameters":
            return ", ".join(f"`{name}: {value}`" for name, value in self.changes.items()) or "as generated"
        return f"{self.value:.4g}" if self.value < _ROUND else f"{self.value:g}"

    @property
    def command(self) -> str:
        """The command that makes the experiment of the first seed."""
        words = [f"--{name.removeprefix('n_').replace('_', '-')} {_words(value)}" for name, value in self.options.items()]
        return " ".join(["python -m pyptv.synthetic EXP", *words])


def cases() -> Iterator[Case]:
    """All cases; particles per pixel are particles in the volume over pixels of an image."""
    pixels = SIZE[0] * SIZE[1]
    common = {"n_frames": N_FRAMES, "image_size": SIZE}
    for density in (0.002, 0.005, 0.01, 0.02, 0.04):
        yield Case("density", density, {**common, "n_particles": round(density * pixels)})
    for density in (0.002, 0.005, 0.01):
        yield Case("large", density, {**common, "image_size": (1280, 1024), "n_particles": round(density * 4 * pixels)})
    for n_particles in (1800, 9000):
        yield Case("peers", n_particles / 800**2, {**common, "image_size": (800, 800), "n_particles": n_particles})
    common["n_particles"] = round(0.01 * pixels)
    pixel = pixel_size(SIZE)
    for changes in (
        {},
        {"targ_rec.disco": 100},
        {"criteria.eps0": round(0.3 * pixel, 6)},
        {"criteria.eps0": round(0.5 * pixel, 6)},
        {"track.flagNewParticles": False},
    ):
        yield Case("parameters", 0.01, dict(common), changes)
    common["n_particles"] = round(0.002 * pixels)
    for displacement in (0.1, 0.3, 0.6):
        yield Case("displacement", displacement, {**common, "displacement": displacement})
    for error in (0.0, 0.1, 0.5):
        yield Case("calibration", error, {**common, "calibration_error_px": error})


@dataclass(frozen=True)
class Result:
    """What the seeds of a case gave: mean over them."""

    case: Case
    n_particles: int
    targets: float
    """Detected targets over true spots, all cameras."""
    means: dict[str, float]
    spreads: dict[str, tuple[float, float]]
    """Smallest and largest of the seeds."""
    rms_mm: tuple[float, ...]
    rms_px: tuple[float, ...]
    """The same in units of what a pixel covers in the volume."""
    strict: tuple[float, float]
    """Recall and precision where a detection is true within 1 px only, as in the LPT challenge."""


def measure(case: Case, folder: Path) -> Result:
    """Make, run and score a case with every seed."""
    scores: list[Score] = []
    targets, strict = [], []
    for seed in SEEDS:
        exp = make_experiment(folder / "exp", seed=seed, overwrite=(folder / "exp").exists(), **case.options)
        first = Settings().first_frame
        batch(_changed(exp, case.changes), first, first + N_FRAMES - 1)
        scores.append(evaluate(exp))
        pixel = scores[-1].tolerance_mm / DEFAULT_TOLERANCE_PX
        closer = evaluate(exp, tolerance_mm=pixel)
        strict.append((closer.recall, closer.precision))
        targets.append(_detected_share(exp, first))
    values = {name: [getattr(score, name) for score in scores] for name in MEASURES}
    rms = np.mean([score.rms for score in scores], axis=0)
    return Result(
        case=case,
        n_particles=case.options["n_particles"],
        targets=float(np.mean(targets)),
        means={name: float(np.mean(found)) for name, found in values.items()},
        spreads={name: (min(found), max(found)) for name, found in values.items()},
        rms_mm=tuple(rms.tolist()),
        rms_px=tuple((rms / pixel).tolist()),
        strict=(float(np.mean([recall for recall, _ in strict])), float(np.mean([precision for _, precision in strict]))),
    )


def table(results: Sequence[Result]) -> str:
    """The results as Markdown, a table a sweep."""
    titles = {
        "density": ("Particles per pixel, 640 x 512 px", "ppp"),
        "large": ("Particles per pixel, 1280 x 1024 px", "ppp"),
        "peers": ("800 x 800 px, for comparison with published numbers", "ppp"),
        "parameters": ("Other parameters, at 0.01 ppp, 640 x 512 px", "changed"),
        "displacement": ("Mean displacement over mean spacing (655 particles, 640 x 512 px)", "ratio"),
        "calibration": ("Calibration error, rms in the image (655 particles, 640 x 512 px)", "px"),
    }
    parts = []
    for sweep, (title, unit) in titles.items():
        rows = [result for result in results if result.case.sweep == sweep]
        if not rows:
            continue
        parts.append(f"### {title}\n")
        columns = (unit, "particles", "spots", *(name.replace("_", " ") for name in MEASURES), "rms x, y, z [px]", "within 1 px")
        parts.append("| " + " | ".join(columns) + " |\n" + "|--:" * len(columns) + "|")
        parts += [_row(result) for result in rows]
        edit = ", the parameter changed in `EXP/parameters_synthetic.yaml`" if sweep == "parameters" else ""
        run = "`pyptv-batch EXP/parameters_synthetic.yaml` and `python -m pyptv.evaluate EXP`"
        parts.append(f"\nMade with (`--seed` 0, 1, 2){edit}, then {run}:\n")
        parts.append("```sh\n" + "\n".join(dict.fromkeys(result.case.command for result in rows)) + "\n```\n")
    return "\n".join(parts)


def plots(results: Sequence[Result], folder: Path) -> None:
    """Draw the degradation curves."""
    from matplotlib.figure import Figure  # an extra

    folder.mkdir(parents=True, exist_ok=True)
    labels = {"density": "particles per pixel", "displacement": "displacement / spacing", "calibration": "calibration error [px]"}
    for sweep, label in labels.items():
        rows = [result for result in results if result.case.sweep == sweep]
        if not rows:
            continue
        figure = Figure(figsize=(8, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        x = [result.case.value for result in rows]
        for name, style in zip(MEASURES, ("o-", "s-", "o--", "s--"), strict=True):
            left.plot(x, [result.means[name] for result in rows], style, label=name.replace("_", " "), markersize=4)
            low, high = zip(*(result.spreads[name] for result in rows), strict=True)
            left.fill_between(x, low, high, alpha=0.15)
        for axis, errors in zip("xyz", zip(*(result.rms_px for result in rows), strict=True), strict=True):
            right.plot(x, errors, "o-", label=axis, markersize=4)
        left.set_ylabel("score (mean and range of the seeds)")
        right.set_ylabel("rms error [px]")
        right.set_ylim(bottom=0)
        for axes in (left, right):
            axes.set_xlabel(label)
            if sweep == "density":
                axes.set_xscale("log")
                axes.set_xticks(x, [f"{value:g}" for value in x])
                axes.minorticks_off()
            else:
                axes.set_xticks(x)
            axes.grid(alpha=0.3)
            axes.legend(fontsize="small")
        figure.savefig(folder / f"accuracy-{sweep}.png", dpi=130)


def insert(text: str, page: Path) -> None:
    """Replace what is between the markers of a page."""
    old = page.read_text(encoding="utf-8")
    before, _, rest = old.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        sys.exit(f"error: {page}: the markers {BEGIN} and {END} are missing")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


def _row(result: Result) -> str:
    cells = [result.case.label, str(result.n_particles), f"{result.targets:.2f}"]
    cells += [f"{result.means[name]:.4f}" for name in MEASURES]
    cells.append(", ".join(f"{value:.2f}" for value in result.rms_px))
    cells.append(" / ".join(f"{value:.3f}" for value in result.strict))
    return "| " + " | ".join(cells) + " |"


def _changed(exp: Path, changes: dict[str, Any]) -> Path:
    """The YAML parameters of an experiment, after changing them."""
    path = exp / YAML_NAME
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, value in changes.items():
        section, key = name.split(".")
        tree[section][key] = value
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return path


def _detected_share(exp: Path, frame: int) -> float:
    """Targets of all cameras over true spots, in one frame."""
    truth = read_truth(exp / "truth.csv")
    rows = truth.rows_of(frame)
    n_cameras = len(truth.pixels)
    found = sum(len(TARGETS.read(exp / "img" / targets_name(camera, frame))) for camera in range(n_cameras))
    return found / (n_cameras * (rows.stop - rows.start))


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Run the sweeps."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--only", choices=list(dict.fromkeys(case.sweep for case in cases())), help="one sweep; prints, writes no docs"
    )
    parser.add_argument("--dry-run", action="store_true", help="only print the commands")
    options = parser.parse_args()
    chosen = [case for case in cases() if options.only in (None, case.sweep)]
    if options.dry_run:
        print("\n".join(case.command for case in chosen))
        return
    results = []
    with tempfile.TemporaryDirectory(prefix="pyptv-accuracy-") as folder:
        for case in chosen:
            results.append(measure(case, Path(folder)))
            print(_row(results[-1]), flush=True)
    if options.only is None:
        insert(table(results), DOCS / "accuracy.md")
        plots(results, DOCS / "images")
        figures = [{"sweep": r.case.sweep, "value": r.case.value, **r.means, "rms_mm": r.rms_mm} for r in results]
        (DOCS / "images" / "accuracy.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
