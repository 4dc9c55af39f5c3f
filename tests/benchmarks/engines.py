"""What a frame costs with each engine, from few particles to many: correspondence, and a tracking step.

    python tests/benchmarks/engines.py [--particles 250 1000 4000 16000] [--frames 8] [--plot FILE]

Synthetic smooth flow, 4 cameras of 4096 x 3276 px, targets without images. CPU time in this process, medians over the frames;
with the text of the tracker's files read and written. "feeding" is the part of a tracking step that reads the text and sorts
the targets into cells: more than all that handing frames over in memory could save. Loading the kernels is printed on its own.
A figure is missing where optv's buffers overflow. Peak memory is that of a process of its own for each engine and number of
particles.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ENGINES = ("optv", "compiled")
SIZE = (4096, 3276)
FIRST = 10_000


def measure(folder: Path, engine: Any, n_frames: int) -> dict[str, float]:
    """Medians [ms] of a frame, load time [s] and peak memory [MB] of this process."""
    from pyptv.core.base.errors import FrameError
    from pyptv.core.engines.optv.c_library import keep_freed_memory
    from pyptv.core.engines.shape import make_frame_backend, make_tracker
    from pyptv.core.experiment.folder import load_experiment
    from pyptv.core.files.formats import TARGETS

    keep_freed_memory()
    experiment = load_experiment(folder)
    cameras = range(experiment.num_cams)
    start = time.process_time()
    backend = make_frame_backend(engine, experiment)
    tracker = make_tracker(engine, experiment, 1, Path(tempfile.mkdtemp()) / "scratch")
    tracker.end_at(n_frames)
    figures = {"load": time.process_time() - start}
    match, files = [], []
    try:
        for frame in range(FIRST, FIRST + n_frames):
            targets = [backend.load_targets(TARGETS.read(experiment.targets_path(camera, frame))) for camera in cameras]
            start = time.process_time()
            matches = backend.match(targets)
            match.append(1000 * (time.process_time() - start))
            files.append(matches.files())
    except FrameError:
        return figures
    figures["match"] = statistics.median(match)
    steps, feeding = [], []
    for index in range(1, n_frames + 1):
        start = time.process_time()
        if index == 1:
            for fed in range(1, tracker.LOOK_AHEAD + 1):
                tracker.feed(fed, files[fed - 1])
        if index + tracker.LOOK_AHEAD <= n_frames:
            before = time.process_time()
            tracker.feed(index + tracker.LOOK_AHEAD, files[index + tracker.LOOK_AHEAD - 1])
            feeding.append(1000 * (time.process_time() - before))
        if index < n_frames:
            tracker.step()
        else:
            tracker.finish()
        tracker.take(index)
        steps.append(1000 * (time.process_time() - start))
    tracker.close()
    figures["step"] = statistics.median(steps[1 : n_frames - tracker.LOOK_AHEAD])
    figures["feed"] = statistics.median(feeding)
    figures["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


def make(folder: Path, n_particles: int, n_frames: int) -> None:
    """A synthetic experiment without images."""
    from pyptv.synthetic import make_experiment

    make_experiment(folder, n_particles=n_particles, n_frames=n_frames, images=False, image_size=SIZE, first_frame=FIRST)


def main() -> None:
    """Print the table, draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--particles", type=int, nargs="+", default=[250, 1000, 4000, 16000])
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(Path(options.one[0]), options.one[1], options.frames)))
        return
    columns = (f"{'correspondence':>15}{'tracking step':>15}", f"{'feeding':>11}{'peak memory':>13}{'loading':>10}")
    print(f"{'particles':>9} {'engine':<9}{''.join(columns)}")
    rows = []
    for n_particles in options.particles:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "experiment"
            make(folder, n_particles, options.frames)
            for engine in ENGINES:
                command = [sys.executable, __file__, "--frames", str(options.frames), "--one", str(folder), engine]
                printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                figures = json.loads(printed.splitlines()[-1])
                rows.append((n_particles, engine, figures))
                print(row(n_particles, engine, figures), flush=True)
    if options.plot:
        draw(rows, options.plot)


def row(n_particles: int, engine: str, figures: dict[str, float]) -> str:
    """A line of the table."""
    if "match" not in figures:
        return f"{n_particles:>9} {engine:<9}{'buffer overflows':>30}"
    match, step, feed, memory, load = (figures[name] for name in ("match", "step", "feed", "memory", "load"))
    return f"{n_particles:>9} {engine:<9}{match:>12.1f} ms{step:>12.1f} ms{feed:>8.1f} ms{memory:>10.0f} MB{load:>8.2f} s"


def draw(rows: list[tuple[int, str, dict[str, float]]], path: Path) -> None:
    """Both steps over the number of particles, both axes logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    for axes, key, title in zip(figure.subplots(1, 2), ("match", "step"), ("correspondence", "tracking step"), strict=True):
        for engine, mark in zip(ENGINES, ("s--", "o-"), strict=True):
            points = [(n, figures[key]) for n, name, figures in rows if name == engine and key in figures]
            axes.loglog(*zip(*points, strict=True), mark, label=engine)
        axes.set(title=title, xlabel="particles per frame", ylabel="CPU time of a frame [ms]")
        axes.grid(alpha=0.3, which="both")
        axes.legend()
    figure.savefig(path)


if __name__ == "__main__":
    main()
