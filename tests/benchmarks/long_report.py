"""The report of a long run: the results of a short one again and again, as hard links, without images.

    python tests/benchmarks/long_report.py EXP FOLDER [--frames 20000]

EXP has been tracked; FOLDER is made, and has to be on the same disk. Prints the CPU time, the memory at its highest, and the
size of the page.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import time
from pathlib import Path

from pyptv.core.experiment.folder import RESULT_KINDS, Experiment, load_experiment
from pyptv.core.files.result_names import frames_with
from pyptv.report import write_report


def repeat(short: Experiment, folder: Path, n_frames: int) -> Path:
    """Make the long experiment: frames from 10000 on."""
    (folder / "res").mkdir(parents=True)
    shutil.copytree(short.folder / "cal", folder / "cal")
    shutil.copytree(short.folder / "parameters", folder / "parameters")
    for camera in range(short.num_cams):
        (folder / short.targets_folder(camera).relative_to(short.folder)).mkdir(exist_ok=True)
    there = frames_with(short.results, "rt_is")
    for index in range(n_frames):
        source, number = there[index % len(there)], 10_000 + index
        for kind in RESULT_KINDS:
            (folder / "res" / f"{kind}.{number}").hardlink_to(short.result_path(kind, source))
        for camera in range(short.num_cams):
            old = short.targets_path(camera, source)
            (folder / old.parent.relative_to(short.folder) / f"cam{camera + 1}.{number:04d}_targets").hardlink_to(old)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("short", metavar="EXP", type=Path)
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--frames", type=int, default=20_000)
    options = parser.parse_args()
    long = repeat(load_experiment(options.short), options.folder, options.frames)
    start = time.process_time()
    page = write_report(long)
    seconds = time.process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{page}: {page.stat().st_size / 1e6:.1f} MB, {seconds:.1f} s CPU, {memory:.0f} MiB of memory")


if __name__ == "__main__":
    main()
