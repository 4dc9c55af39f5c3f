"""The dense method on real images: whole tracks, and how many there are by chance where one camera's images are shifted.

    python tests/benchmarks/dense_real.py EXP [--first N] [--last N] [--shift 40] [--strict 0.35]

Three times the same, with the self-calibration and the spots of the images as they are: with these images; with those of the last
camera shifted (what leaves the image comes in on the other side); and with those of all cameras but the first shifted, each by
another distance. All cameras stay as bright and as full. In the last case no two cameras agree, and what is found is found by
chance. In the second one the other cameras agree still: a true particle that these see is found wherever the last one is bright
by chance. Printed for each pass: particles of each frame, links,
tracks over all frames, and those of them whose every step is predicted by the two positions before it to ``--strict`` mm.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from dense_passes import Found

from pyptv.core.app.dense import self_calibration_sample
from pyptv.core.engines.dense.calibrate import fit_spots, self_calibrate
from pyptv.core.engines.dense.cameras import Cameras
from pyptv.core.engines.dense.links import Linker
from pyptv.core.engines.dense.reconstruct import reconstruct
from pyptv.core.engines.dense.refine import refined
from pyptv.core.engines.dense.settings import Settings
from pyptv.core.experiment.folder import load_experiment
from pyptv.core.images.full_depth import read_frame
from pyptv.core.images.grey_values import decide
from pyptv.core.stages.dense.link import limits_of
from pyptv.kernels import cache

SHAPE_FRAMES = 3


def shifted(views, by: int, cameras: range):
    """The same images with those of some cameras shifted to the right, by a multiple of ``by`` px that no two share."""
    values, saturated = views.values.copy(), views.saturated.copy()
    for k, camera in enumerate(cameras, start=1):
        values[camera] = np.roll(values[camera], k * by, axis=1)
        if saturated.size:
            saturated[camera] = np.roll(saturated[camera], k * by, axis=1)
    return replace(views, values=values, saturated=saturated)


def whole_tracks(found: Found, frames: range, strict: float) -> tuple[int, int]:
    """Tracks over all frames, and those that go on as their last two positions predict, to ``strict`` mm."""
    rows = np.arange(len(found.positions(frames[0])))[:, None]
    for frame in frames[:-1]:
        after = found.next(frame)[rows[:, -1]]
        rows = np.column_stack([rows, after])[after >= 0]
    places = np.stack([found.positions(frame)[rows[:, k]] for k, frame in enumerate(frames)], axis=1)
    off = np.linalg.norm(np.diff(places, 2, axis=1), axis=2)
    return len(rows), int((off < strict).all(axis=1).sum())


def process(name, views, known, limits, asked) -> None:
    """All passes; prints what came out of each."""
    found, (cameras, spots) = None, known
    for number in range(1, asked.passes + 1):
        settings = Settings.of_pass(number, asked.passes)
        begin = {frame: found.begin(frame) if found else None for frame in views}
        done = {frame: reconstruct(images, cameras, spots, settings, begin[frame]) for frame, images in views.items()}
        found = Found(done)
        linker = Linker(found.load, limits)
        found.links = {frame: linker.links(frame) for frame in done}
        counts = [len(result.particles) for result in done.values()]
        links = sum(int((links >= 0).sum()) for links in found.links.values())
        energy = np.mean([result.energy_left.mean() for result in done.values()])
        whole, strict = whole_tracks(found, range(min(views), max(views) + 1), asked.strict)
        tracks = f"whole tracks {whole}, strict {strict}, energy left {energy:.3f}"
        print(f"{name}, pass {number}: particles {counts}, links {links}, {tracks}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--first", type=int)
    parser.add_argument("--last", type=int)
    parser.add_argument("--shift", type=int, default=40, help="px")
    parser.add_argument("--strict", type=float, default=0.35, help="mm")
    parser.add_argument("--passes", type=int, default=2)
    asked = parser.parse_args()
    cache.load(cache.FOR_DENSE)
    experiment = load_experiment(asked.experiment)
    sequence = experiment.parameters.sequence
    frames = range(asked.first or sequence.first, (asked.last or sequence.last) + 1)
    settings = decide(experiment).settings
    views = {frame: read_frame(experiment, settings, frame)[0] for frame in frames}
    sample = [
        read_frame(experiment, settings, frame)[0] for frame in self_calibration_sample(experiment, (frames[0], frames[-1]))
    ]
    cameras = Cameras.of(experiment.parameters, experiment.calibrations)
    disparity = refined(sample, cameras, self_calibrate(sample, cameras))
    cameras = cameras.corrected(disparity.cameras)
    spots = fit_spots(sample[:SHAPE_FRAMES], cameras)
    print("correction [px]:", [round(camera.largest, 2) for camera in disparity.cameras])
    print("sigma [px]:", spots.sigma[:, :, 0].round(2).tolist(), "scatter of sizes:", round(spots.scatter, 3))
    limits = limits_of(experiment.parameters.track)
    process("as it is", views, (cameras, spots), limits, asked)
    n_cams = cameras.n_cams
    for name, some in (("last camera shifted", range(n_cams - 1, n_cams)), ("all shifted", range(1, n_cams))):
        process(name, {f: shifted(v, asked.shift, some) for f, v in views.items()}, (cameras, spots), limits, asked)
