"""Draw the pictures of "Choosing parameters" (docs/advice.md): too low, right, too high.

    python docs/draw_choosing_parameters.py

Needs matplotlib. Makes a small synthetic experiment in a temporary folder.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pyptv.advise.sample import Sample
from pyptv.advise.search import THRESHOLDS, count_targets
from pyptv.core.experiment.folder import load_experiment
from pyptv.core.images.grey_values import decide
from pyptv.measures.bench import Workbench
from pyptv.measures.chance import expected_ghosts
from pyptv.synthetic import make_experiment

IMAGES = Path(__file__).parent / "images"
THREE = ("too low", "right", "too high")


def main() -> None:
    """Draw them all."""
    with tempfile.TemporaryDirectory() as place:
        folder = make_experiment(
            Path(place) / "e", n_frames=4, n_particles=900, image_size=(512, 410), noise=3.0, intensity=60.0, seed=3
        )
        experiment = load_experiment(folder / "parameters")
        bench = Workbench(experiment, "optv", decide(experiment).settings)
        images = [bench.filtered(number) for number in range(10000, 10004)]
        spots(bench, images[0], "gvthres", (7, 14, 45), "choosing-gvthres.png")
        spots(
            bench.with_detection(replace(experiment.parameters.targ_rec, gvthres=(12,) * 4)),
            images[0],
            "disco",
            (1, 12, 100),
            "choosing-disco.png",
        )
        curves(bench, images)


def spots(bench: Workbench, images: list[np.ndarray], name: str, values: tuple[int, int, int], file: str) -> None:
    """A piece of an image with the targets that three values find."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for axes, value, word in zip(figure.subplots(1, 3), values, THREE, strict=True):
        limits = bench.experiment.parameters.targ_rec
        limits = replace(limits, **{name: (value,) * 4 if name == "gvthres" else value})
        targets = bench.with_detection(limits).detect_in(images[0], 0)
        axes.imshow(images[0][150:230, 200:280], cmap="gray_r", extent=(200, 280, 230, 150), vmax=60)
        inside = targets[(abs(targets[:, 1] - 240) < 40) & (abs(targets[:, 2] - 190) < 40)]
        axes.plot(inside[:, 1], inside[:, 2], "o", ms=9, mfc="none", mec="tab:red")
        axes.set(title=f"{name} {value}: {word}\n{len(targets)} targets in the image", xlabel="x [px]")
    figure.savefig(IMAGES / file, dpi=110)


def curves(bench: Workbench, images: list[list[np.ndarray]]) -> None:
    """Targets over the threshold; matches and ghosts over the band."""
    numbers = list(range(10000, 10004))
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    counts = count_targets(Sample(bench, numbers, [range(10000, 10004)]))
    for camera, rows in enumerate(counts.mean(axis=2), start=1):
        left.loglog(THRESHOLDS, rows, label=f"camera {camera}")
    left.set(xlabel="gvthres", ylabel="targets in an image", title="a plateau between noise and loss")
    left.legend()
    targets = [
        bench.with_detection(replace(bench.experiment.parameters.targ_rec, gvthres=(12,) * 4)).detect(views) for views in images
    ]
    criteria, pixel = bench.experiment.parameters.criteria, bench.experiment.parameters.ptv.pix_x
    bands = np.geomspace(0.15, 8, 9)
    rows = []
    for band in bands:
        at = bench.with_criteria(replace(criteria, eps0=band * pixel))
        frames = [at.match(one, number) for one, number in zip(targets, numbers, strict=True)]
        ghosts = expected_ghosts(at, frames)
        rows.append((*np.array(ghosts.found) / 4, sum(ghosts.expected) / 4))
    for column, label in enumerate(("quadruplets", "triplets", "pairs", "ghosts expected")):
        right.semilogx(bands, [row[column] for row in rows], label=label, ls=":" if column == 3 else "-")
    right.set(xlabel="eps0 [px]", ylabel="in a frame", title="too narrow: pairs; too wide: ghosts")
    right.legend()
    figure.savefig(IMAGES / "choosing-curves.png", dpi=110)


if __name__ == "__main__":
    main()
