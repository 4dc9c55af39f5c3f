"""Accuracy and cost of the dense method's reconstruction on synthetic frames: the table of docs/dense-method.md.

    python tests/benchmarks/dense_frames.py [--only CASE ...] [--frames 2] [--processes 4] [--keep FOLDER]

Each case is made by ``python -m pyptv.synthetic`` with the options shown. Frames are reconstructed one by one, with the spots of
a sample of them. A particle counts as found within half a pixel of the mean scale in the image (0.5 mm in these volumes), each
once. Chance: the share that would be "found" if the positions were shifted by 3 mm in y.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from pyptv.core.experiment.folder import load_experiment
from pyptv.core.images.grey_values import decide
from pyptv.kernels import cache
from pyptv.synthetic import read_truth
from pyptv.synthetic.__main__ import main as make

SIZE = "--image-size 800 800 --spot-diameter 2.8 --dropout 0"
MIXED = (
    "--size-scatter 0.2 --intensity-scatter 0.3 --camera-scatter 0.1 --unevenness 0.3 --intensity 100 --noise 14 --background 60"
)
CASES = {
    "0.003 ppp": f"--particles 1900 {SIZE}",
    "0.014 ppp": f"--particles 9000 {SIZE}",
    "0.028 ppp": f"--particles 18000 {SIZE}",
    "0.05 ppp": f"--particles 32000 {SIZE}",
    "0.075 ppp": f"--particles 48000 {SIZE}",
    "0.1 ppp": f"--particles 64000 {SIZE}",
    "0.014 ppp mixed": f"--particles 9000 {SIZE} {MIXED}",
    "0.028 ppp mixed": f"--particles 18000 {SIZE} {MIXED}",
    "0.014 ppp off by 0.3 px": f"--particles 9000 {SIZE} --calibration-error-px 0.3",
    "0.014 ppp 3 cameras": f"--particles 9000 {SIZE} --cameras 3",
    "0.003 ppp 3 cameras": f"--particles 1900 {SIZE} --cameras 3",
    "0.003 ppp 2 cameras": f"--particles 1900 {SIZE} --cameras 2",
    "no particles": f"--particles 0 {SIZE}",
}
TOLERANCE = 0.5
"""[mm]"""


@dataclass(frozen=True)
class Row:
    """Means over the frames of a case."""

    case: str
    n_true: float
    n_found: float
    recall: float
    precision: float
    chance: float
    rms: tuple[float, float, float]
    cpu: float
    before: float
    memory: int

    def line(self) -> str:
        """As a row of the table."""
        rms = ", ".join(f"{value:.3f}" for value in self.rms)
        return (
            f"| {self.case} | {self.n_true:.0f} | {self.n_found:.0f} | {self.recall:.4f} | {self.precision:.4f} "
            f"| {self.chance:.3f} | {rms} | {self.cpu:.2f} | {self.before:.1f} | {self.memory} |"
        )


def score(found: np.ndarray, true: np.ndarray) -> tuple[int, np.ndarray]:
    """Mutually nearest pairs within the tolerance: how many, and their errors (n, 3)."""
    from scipy.spatial import cKDTree

    if not len(found) or not len(true):
        return 0, np.empty((0, 3))
    distance, nearest = cKDTree(true).query(found)
    _, back = cKDTree(found).query(true)
    hit = (distance < TOLERANCE) & (back[nearest] == np.arange(len(found)))
    return int(hit.sum()), found[hit] - true[nearest[hit]]


def measure(case: str, frames: int, folder: Path) -> Row:
    """Make a case and reconstruct its frames."""
    import resource

    cache.load(cache.FOR_DENSE)
    from pyptv.core.engines.dense.calibrate import fit_spots, self_calibrate
    from pyptv.core.engines.dense.cameras import Cameras
    from pyptv.core.engines.dense.reconstruct import reconstruct
    from pyptv.core.images.full_depth import read_frame

    place = folder / case.replace(" ", "_")
    make([str(place), "--frames", str(frames), "--overwrite", *CASES[case].split()])
    experiment = load_experiment(place)
    settings, truth = decide(experiment).settings, read_truth(place / "truth.csv")
    first = experiment.parameters.sequence.first
    views = [read_frame(experiment, settings, first + k)[0] for k in range(frames)]
    start = time.process_time()
    cameras = Cameras.of(experiment.parameters, experiment.calibrations)
    if "off" in case:
        cameras = cameras.corrected(self_calibrate(views, cameras).cameras)
    spots = fit_spots(views[:2], cameras)
    before = time.process_time() - start
    rows = []
    for k, view in enumerate(views):
        true = truth.position[truth.rows_of(first + k)]
        start = time.process_time()
        found = reconstruct(view, cameras, spots).particles.positions
        cpu = time.process_time() - start
        hits, errors = score(found, true)
        chance, _ = score(found + np.array([0.0, 3.0, 0.0]), true)
        rms = np.sqrt((errors**2).mean(axis=0)) if hits else np.full(3, np.nan)
        n_true, n_found = max(len(true), 1), max(len(found), 1)
        rows.append((len(true), len(found), hits / n_true, hits / n_found, chance / n_found, *rms, cpu))
    mean = np.mean(rows, axis=0)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Row(case, *map(float, mean[:5]), (float(mean[5]), float(mean[6]), float(mean[7])), float(mean[8]), before, memory)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="make the cases there")
    options = parser.parse_args()
    cache.load(cache.FOR_DENSE)  # compiled once, before the processes start
    print("| case | true | found | recall | precision | by chance | rms x, y, z [mm] | CPU s per frame | CPU s before | MB |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory(prefix="pyptv-dense-") as made:
        folder = options.keep or Path(made)
        with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
            jobs = [pool.submit(measure, case, options.frames, folder) for case in options.only]
            for case, job in zip(options.only, jobs, strict=True):
                try:
                    print(job.result().line(), flush=True)
                except Exception as error:
                    print(f"| {case} | {type(error).__name__}: {error} |", flush=True)
    for case in options.only:
        print(f"{case}: python -m pyptv.synthetic EXP --frames {options.frames} {CASES[case]}")


if __name__ == "__main__":
    main()
