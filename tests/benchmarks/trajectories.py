"""Trajectories and exports: time and memory to read them, time and size to write them.

    python tests/benchmarks/trajectories.py read [--frames 10000] [--particles 1000] [--mean-length 50] [--keep EXP]
    python tests/benchmarks/trajectories.py export EXP [EXP ...]
    python tests/benchmarks/trajectories.py memory [--frames 1000 4000] [--to h5 csv ...]

``read`` makes ``ptv_is`` files of particles that move on smooth paths and whose trajectories end at random, and goes
through them. ``export`` writes every format of tracked experiments, into a temporary folder. ``memory`` does that with the
files of ``read`` at several sizes: what is bounded does not grow.

Each measurement is a process of its own: CPU time of all its threads [s], start of Python included, and its peak memory
(RSS) [MB].
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pyptv.core.files.formats import LINKS
from pyptv.synthetic import make_experiment

FIRST = 10000
READERS = {
    "stream": "from pyptv.core.experiment.folder import load_experiment\n"
    "from pyptv.trajectories import stream_trajectories\n"
    "n = m = 0\n"
    "for trajectory in stream_trajectories(load_experiment(exp), 0, 10**9):\n"
    "    n, m = n + len(trajectory.position), m + 1\n"
    "print(n, 'rows', m, 'trajectories')",
    "postprocess": "from pyptv.core.experiment.folder import load_experiment\n"
    "from pyptv.trajectories.postprocess import ProcessedTrajectories\n"
    "with ProcessedTrajectories(load_experiment(exp)) as t:\n"
    "    n = sum(len(block.id) for block in t.blocks())\n"
    "    print(n, 'rows', t.trajectories, 'trajectories')",
    "read": "from pyptv.trajectories import read_trajectories\n"
    "t = read_trajectories(exp)\n"
    "print(len(t.id), 'rows', len(t.lengths), 'trajectories')",
}
FORMATS = ("h5", "zarr", "vtk", "parquet", "csv", "mat")


def make_files(folder: Path, n_frames: int, n_particles: int, mean_length: float) -> None:
    """Write ``ptv_is`` files: every particle moves in a box, and is replaced by a new one with a chance of 1 in mean_length."""
    rng = np.random.default_rng(0)
    position = rng.uniform(-40, 40, (n_particles, 3))
    velocity = rng.normal(0, 0.3, (n_particles, 3))
    previous = np.full(n_particles, -1)
    for frame in range(n_frames):
        stays = rng.random(n_particles) > 1 / mean_length
        if frame == n_frames - 1:
            stays[:] = False
        order = rng.permutation(n_particles)
        place = np.argsort(order)
        rows = np.zeros(n_particles, LINKS.dtype)
        rows["previous"], rows["next"] = previous, np.where(stays, place, -2)
        rows["x"], rows["y"], rows["z"] = position.T
        (folder / "res" / f"ptv_is.{FIRST + frame}").write_bytes(LINKS.render(rows))
        velocity = 0.99 * velocity + rng.normal(0, 0.05, (n_particles, 3))
        position = np.where(stays[:, None], position + velocity, rng.uniform(-40, 40, (n_particles, 3)))
        previous = np.where(stays, np.arange(n_particles), -1)[order]
        position, velocity = position[order], velocity[order]


def measured(command: list[str]) -> tuple[float, float, str]:
    """CPU time [s], peak memory [MB] and output of a command: run in a child that then tells its own children's use."""
    code = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True)\n"
        "use = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(use.ru_utime + use.ru_stime, use.ru_maxrss / 1024, done.returncode)\n"
        "print(done.stdout, done.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
    head, _, output = done.stdout.partition("\n")
    seconds, memory, status = head.split()
    if status != "0":
        sys.exit(output)
    return float(seconds), float(memory), output.strip()


def size(path: Path) -> float:
    """Of a file, or of all files in a folder [MB]."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def read(options: argparse.Namespace) -> None:
    """Time the readers."""
    with tempfile.TemporaryDirectory() as temporary:
        exp = make_experiment(options.keep or Path(temporary) / "experiment", n_frames=1, n_particles=10, images=False)
        (exp / "res").mkdir(exist_ok=True)
        start = time.process_time()
        make_files(exp, options.frames, options.particles, options.mean_length)
        print(f"made {options.frames} files, {size(exp / 'res'):.0f} MB, in {time.process_time() - start:.0f} s")
        print(f"{'':8}{'CPU s':>8}{'MB':>8}")
        for name, code in READERS.items():
            seconds, memory, output = measured([sys.executable, "-c", f"exp = {str(exp)!r}\n{code}"])
            print(f"{name:8}{seconds:>8.1f}{memory:>8.0f}  {output}")


def export(options: argparse.Namespace) -> None:
    """Time the exports, and weigh what they write."""
    for exp in options.experiment:
        print(f"{exp}\n{'':8}{'CPU s':>8}{'MB':>8}{'size MB':>10}")
        for name in FORMATS:
            with tempfile.TemporaryDirectory() as temporary:
                output = Path(temporary) / "trajectories"
                command = [sys.executable, "-m", "pyptv.export", str(exp), "--to", name, "--output", str(output)]
                seconds, memory, said = measured(command)
                print(f"{name:8}{seconds:>8.2f}{memory:>8.0f}{size(output):>10.2f}  {said.splitlines()[-1]}")


def memory(options: argparse.Namespace) -> None:
    """Peak memory of each export at several sizes."""
    peaks: dict[str, list[float]] = {name: [] for name in options.to}
    for n_frames in options.frames:
        with tempfile.TemporaryDirectory() as temporary:
            exp = make_experiment(Path(temporary) / "experiment", n_frames=1, n_particles=10, images=False)
            (exp / "res").mkdir(exist_ok=True)
            make_files(exp, n_frames, options.particles, options.mean_length)
            for name in options.to:
                command = [sys.executable, "-m", "pyptv.export", str(exp), "--to", name, "--output", f"{temporary}/out-{name}"]
                seconds, peak, said = measured(command)
                peaks[name].append(peak)
                print(f"{n_frames} frames, {name}: {seconds:.0f} s, {peak:.0f} MB, {said.splitlines()[0]}", flush=True)
    print(f"{'peak MB':8}" + "".join(f"{n * options.particles / 1e6:>8.1f} M" for n in options.frames))
    for name, values in peaks.items():
        print(f"{name:8}" + "".join(f"{value:>10.0f}" for value in values))


def main() -> None:
    """Read or export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    reading = commands.add_parser("read")
    reading.add_argument("--frames", type=int, default=10_000)
    reading.add_argument("--particles", type=int, default=1000)
    reading.add_argument("--mean-length", type=float, default=50.0)
    reading.add_argument("--keep", type=Path, metavar="EXP", help="make the experiment here, and leave it there")
    reading.set_defaults(action=read)
    exporting = commands.add_parser("export")
    exporting.add_argument("experiment", type=Path, nargs="+")
    exporting.set_defaults(action=export)
    remembering = commands.add_parser("memory")
    remembering.add_argument("--frames", type=int, nargs="+", default=[1000, 4000])
    remembering.add_argument("--particles", type=int, default=1000)
    remembering.add_argument("--mean-length", type=float, default=50.0)
    remembering.add_argument("--to", nargs="+", choices=FORMATS, default=FORMATS)
    remembering.set_defaults(action=memory)
    options = parser.parse_args()
    options.action(options)


if __name__ == "__main__":
    main()
