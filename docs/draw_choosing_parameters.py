"""Draw the pictures of "Choosing parameters" (docs/advice.md): too low, right, too high.

    python docs/draw_choosing_parameters.py

Needs matplotlib and scipy. Makes two small synthetic experiments in temporary folders.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pyptv.core.base.machine import use_one_thread

use_one_thread()

FRAMES = (10000, 10002)
THRESHOLDS = np.unique(np.rint(np.geomspace(2, 120, 24)).astype(int))
BANDS = np.geomspace(0.15, 8, 9)
LOOSE = {"nnmin": 2, "nxmin": 1, "nymin": 1, "sumg_min": 0}
"""Limits that do not hide noise: as they are made, sumg_min would remove most of it."""
PART = (200, 280, 150, 214)
"""[px] What is shown of an image: left, right, top, bottom."""


def show(axes: Any, image: Any, targets: Any, title: str, part: tuple[int, int, int, int]) -> None:
    """A part of an image, dark on white, with rings on the targets."""
    left, right, top, bottom = part
    axes.imshow(255 - image, cmap="gray", vmin=215, vmax=255, interpolation="nearest")
    axes.plot(targets[:, 1] - 0.5, targets[:, 2] - 0.5, "o", mfc="none", mec="#c8320a", ms=11, mew=1.3)
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    inside = (targets[:, 1] > left) & (targets[:, 1] < right) & (targets[:, 2] > top) & (targets[:, 2] < bottom)
    axes.set_title(f"{title}\n{np.count_nonzero(inside)} targets here, {len(targets)} in the image", fontsize=10)


def three(bench: Any, image: Any, values: dict[str, dict[str, Any]], path: Path) -> None:
    """A row of three: title -> parameters of detection."""
    figure = Figure(figsize=(10, 3.3), layout="constrained")
    rows = figure.subplots(1, 3)
    for axes, (title, changes) in zip(rows, values.items(), strict=True):
        limits = replace(bench.experiment.parameters.targ_rec, **LOOSE, **changes)
        show(axes, image, bench.with_detection(limits).detect_in(image, 0), title, PART)
    figure.savefig(path, dpi=100)


def curves(bench: Any, images: dict[int, Any], path: Path) -> None:
    """Targets over the threshold; matches and ghosts over the width of the band."""
    from pyptv.measures.chance import expected_ghosts

    p = bench.experiment.parameters
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    at = [bench.with_detection(replace(p.targ_rec, **LOOSE, gvthres=(int(value),) * 4)) for value in THRESHOLDS]
    for camera, style in enumerate(("-", "--", "-.", ":")):
        counts = [len(one.detect_in(images[FRAMES[0]][camera], camera)) for one in at]
        left.loglog(THRESHOLDS, counts, style, label=f"camera {camera + 1}")
    left.set(xlabel="gvthres", ylabel="targets per image", title="noise, plateau, loss", ylim=(10, None))
    left.set_xticks([2, 5, 10, 20, 50, 100])
    targets = {number: bench.detect(views) for number, views in images.items()}
    found, ghosts = [], []
    for band in BANDS:
        one = bench.with_criteria(replace(p.criteria, eps0=float(band * p.ptv.pix_x)))
        frames = [one.match(rows, number) for number, rows in targets.items()]
        found.append(np.mean([frame.counts() for frame in frames], axis=0))
        ghosts.append(sum(expected_ghosts(one, frames).expected) / len(frames))
    for kind, style, values in zip(("quadruplets", "triplets", "pairs"), ("-", "--", "-."), np.transpose(found), strict=True):
        right.semilogx(BANDS, values, style, label=kind)
    right.semilogx(BANDS, ghosts, ":", color="#c8320a", label="ghosts expected")
    right.set(xlabel="eps0 [px]", ylabel="per frame", title="too narrow: triplets and pairs; too wide: ghosts")
    right.set_xticks([0.2, 0.5, 1, 2, 5])
    for axes in (left, right):
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.grid(color="#e2e6eb")
        axes.legend(frameon=False)
    figure.savefig(path, dpi=100)


def workbench(**options: Any) -> tuple[Any, dict[int, Any]]:
    """An experiment, and its filtered images by frame."""
    from pyptv.advise.advice import choose_engine
    from pyptv.core.experiment.folder import load_experiment
    from pyptv.core.images.grey_values import decide
    from pyptv.measures.bench import Workbench
    from pyptv.synthetic import make_experiment

    with tempfile.TemporaryDirectory() as place:
        made = make_experiment(Path(place) / "e", n_frames=3, image_size=(512, 410), seed=5, **options)
        experiment = load_experiment(made)
        bench = Workbench(experiment, choose_engine("auto"), decide(experiment).settings)
        return bench, {number: bench.filtered(number) for number in FRAMES}


def main() -> None:
    """Make the three of them."""
    folder = Path(__file__).parent / "images"
    bench, images = workbench(n_particles=800, noise=2.0, intensity=90.0)
    levels = {"gvthres 2: too low": 2, "gvthres 9: right": 9, "gvthres 45: too high": 45}
    changes: dict[str, dict[str, Any]] = {name: {"gvthres": (value,) * 4} for name, value in levels.items()}
    three(bench, images[FRAMES[0]][0], changes, folder / "choosing-gvthres.png")
    curves(bench, images, folder / "choosing-curves.png")
    bench, images = workbench(n_particles=1000, noise=5.0, intensity=90.0, spot_diameter=4.5)
    discos = {"disco 0: too low": 0, "disco 12: right": 12, "disco 100: too high": 100}
    changes = {name: {"disco": value, "gvthres": (16,) * 4} for name, value in discos.items()}
    three(bench, images[FRAMES[0]][0], changes, folder / "choosing-disco.png")


if __name__ == "__main__":
    main()
