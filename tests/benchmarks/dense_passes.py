"""One, two or three passes over frames that stay independent, against going on from frame to frame: accuracy and cost.

    python tests/benchmarks/dense_passes.py FOLDER [--frames 10] [--processes 4]

*Passes*: what ``--method dense`` does; in each pass but the first a frame begins with what the tracks of the pass before say of
it. *Frame to frame*: each frame begins with where the tracks so far lead, as in Shake-The-Box. Both have the same search, shaking
and links, so that the table compares the two uses of time alone. Cost: CPU seconds of the reconstructions for a frame.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from dense_accuracy import CLEAN, MIXED, WIDE, make

from pyptv.core.engines.dense.calibrate import fit_spots
from pyptv.core.engines.dense.cameras import Cameras
from pyptv.core.engines.dense.links import Linker, previous
from pyptv.core.engines.dense.particles import Reconstruction, Start
from pyptv.core.engines.dense.reconstruct import reconstruct
from pyptv.core.engines.dense.settings import Settings
from pyptv.core.engines.dense.tracks import start
from pyptv.core.experiment.folder import load_experiment
from pyptv.core.images.full_depth import read_frame
from pyptv.core.images.grey_values import decide
from pyptv.core.stages.dense.link import limits_of
from pyptv.evaluate.compare import pixel_in_space
from pyptv.kernels import cache
from pyptv.synthetic import read_truth

CASES = {
    "0.014 ppp, mixed, SNR 7": MIXED | WIDE | {"n_particles": 2240, "image_size": (400, 400)},
    "0.05 ppp, clean": CLEAN | {"n_particles": 4500, "image_size": (300, 300)},
    "0.075 ppp, clean": CLEAN | {"n_particles": 6750, "image_size": (300, 300)},
}
WAYS = ("1 pass", "2 passes", "3 passes", "frame to frame")


@dataclass
class Found:
    """Particles and links of all frames so far; what :func:`start` asks for."""

    frames: dict[int, Reconstruction] = field(default_factory=dict)
    links: dict[int, np.ndarray] = field(default_factory=dict)

    def positions(self, frame: int) -> np.ndarray:
        return self.frames[frame].particles.positions if frame in self.frames else np.empty((0, 3))

    def load(self, frame: int) -> np.ndarray | None:
        return self.positions(frame) if frame in self.frames else None

    def begin(self, frame: int) -> Start:
        """What the next pass begins with."""
        done = self.frames[frame]
        known = (done.particles.positions, done.particles.intensities, done.particles.scale)
        return Start(*known, np.empty((0, 3)), done.ground, done.noise).again(*start(self, frame))

    def next(self, frame: int) -> np.ndarray:
        return self.links.get(frame, np.full(len(self.positions(frame)), -2))

    def previous(self, frame: int) -> np.ndarray:
        return previous(self.next(frame - 1), len(self.positions(frame)))


class Lab:
    """An experiment, and what is measured in it."""

    def __init__(self, folder: Path) -> None:
        self.experiment = load_experiment(folder)
        sequence = self.experiment.parameters.sequence
        self.frames = range(sequence.first, sequence.last + 1)
        settings = decide(self.experiment).settings
        self.views = {frame: read_frame(self.experiment, settings, frame)[0] for frame in self.frames}
        self.cameras = Cameras.of(self.experiment.parameters, self.experiment.calibrations)
        self.spots = fit_spots([self.views[frame] for frame in self.frames[:3]], self.cameras)
        self.limits = limits_of(self.experiment.parameters.track)
        self.truth = read_truth(folder / "truth.csv")
        self.seconds = 0.0

    def find(self, frame: int, begin: Start | None, settings: Settings | None = None) -> Reconstruction:
        """Reconstruct a frame; its time is counted."""
        began = time.process_time()
        found = reconstruct(self.views[frame], self.cameras, self.spots, settings, begin)
        self.seconds += time.process_time() - began
        return found

    def link(self, found: Found) -> None:
        linker = Linker(found.load, self.limits)
        found.links = {frame: linker.links(frame) for frame in found.frames}

    def passes(self, number: int) -> Found:
        """Frames one by one, then again with what their neighbours say."""
        found = Found()
        for k in range(number):
            settings = Settings.of_pass(k + 1, number)
            found = Found({frame: self.find(frame, found.begin(frame) if k else None, settings) for frame in self.frames})
            self.link(found)
        return found

    def chain(self) -> Found:
        """Each frame begins with where the tracks lead that have come so far."""
        found = Found()
        for frame in self.frames:
            found.frames[frame] = self.find(frame, self._led_to(found, frame))
            linker = Linker(found.load, self.limits)
            found.links[frame - 1] = linker.links(frame - 1)
        self.link(found)
        return found

    def _led_to(self, found: Found, frame: int) -> Start | None:
        before = found.previous(frame - 1)
        rows = np.flatnonzero(before >= 0)
        if not len(rows):
            return None
        x0, x1 = found.positions(frame - 1)[rows], found.positions(frame - 2)[before[rows]]
        earlier = found.previous(frame - 2)[before[rows]]
        x2 = np.where(
            (earlier >= 0)[:, None], found.positions(frame - 3)[earlier] if frame - 3 in found.frames else x1, 2 * x1 - x0
        )
        return Start.at(2.5 * x0 - 2 * x1 + 0.5 * x2, self.cameras.n_cams)

    def score(self, found: Found) -> tuple[float, float, float, float]:
        """Recall, precision, link recall, link precision; the first and the last frame left out."""
        from scipy.spatial import cKDTree

        pixel, who, true_of = pixel_in_space(self.truth), {}, {}
        counts = np.zeros(3)
        for frame in self.frames:
            rows = self.truth.rows_of(frame)
            places, true = found.positions(frame), self.truth.position[rows]
            far, nearest = cKDTree(true).query(places)
            back = cKDTree(places).query(true)[1]
            hit = (far < pixel) & (back[nearest] == np.arange(len(places)))
            true_of[frame] = self.truth.identity[rows]
            who[frame] = np.where(hit, true_of[frame][nearest], -1)
            if frame in self.frames[1:-1]:
                counts += hit.sum(), len(true), len(places)
        right = wanted = made = 0
        for frame in self.frames[1:-2]:
            links = found.next(frame)
            here = np.flatnonzero(links >= 0)
            same = (who[frame][here] >= 0) & (who[frame][here] == who[frame + 1][links[here]])
            right, made = right + same.sum(), made + len(here)
            wanted += len(np.intersect1d(true_of[frame], true_of[frame + 1]))
        return counts[0] / counts[1], counts[0] / counts[2], right / wanted, right / made


def measured(case: str, way: str, folder: Path) -> str:
    """A row of the table."""
    cache.load(cache.FOR_DENSE)
    lab = Lab(folder)
    found = lab.chain() if way == WAYS[-1] else lab.passes(int(way[0]))
    numbers = " | ".join(f"{value:.4f}" for value in lab.score(found))
    return f"| {case} | {way} | {numbers} | {lab.seconds / len(lab.frames):.2f} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    cases = {name: options for name, options in CASES.items() if asked.only in name}
    for number, options in enumerate(cases.values()):
        make(asked.folder / f"passes{number}", asked.frames, options)
    print("| case | way | recall | precision | link recall | link precision | CPU s a frame |\n|---|---|--:|--:|--:|--:|--:|")
    with ProcessPoolExecutor(asked.processes, get_context("spawn")) as pool:
        jobs = [pool.submit(measured, name, way, asked.folder / f"passes{k}") for k, name in enumerate(cases) for way in WAYS]
        for job in as_completed(jobs):
            print(job.result(), flush=True)
