"""Methods and modes through parts and through Dask, byte for byte against a sequential run: golden, ping-pong and smooth data.

    python tests/benchmarks/cluster_bytes.py --shared ../shared [--frames 9] [--parts 3]

The golden experiment is ``test_cavity``, ping-pong is the same played back and forth, smooth is synthetic. Dask is a
``LocalCluster`` with a process of two threads.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATTERNS = ("res/rt_is.*", "res/ptv_is.*", "res/added.*", "img/*_targets", "res/quality.*", "res/passes.*", "res/*.csv")
METHODS: dict[str, dict[str, Any]] = {
    "standard": {"engine": "compiled"},
    "both ways": {"engine": "compiled", "tracking": "both"},
    "dense": {"method": "dense"},
    "match": {"engine": "compiled", "mode": "match"},
}


def results(folder: Path) -> dict[str, bytes]:
    """Every result file: path -> bytes."""
    files = (path for pattern in PATTERNS for path in sorted(folder.glob(pattern)))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def copy(source: Path, folder: Path) -> Path:
    """A copy of an experiment, which may be written into though the original may not."""
    shutil.copytree(source, folder)
    for place in (folder, *(inside for inside in folder.rglob("*") if inside.is_dir())):
        place.chmod(0o755)
    return folder


def with_targets(source: Path, frames: tuple[int, int], folder: Path) -> Path:
    """A copy of an experiment with the targets of its images, and no other results."""
    from pyptv.pyptv_batch import main as sequential

    sequential(copy(source, folder), *frames, mode="sequence", engine="compiled")
    shutil.rmtree(folder / "res")
    return folder


def main() -> None:
    """Print a line for each kind of data, method and way."""
    from distributed import Client, LocalCluster

    from pyptv.pyptv_batch import main as sequential
    from pyptv.pyptv_batch_parallel import main as parallel
    from pyptv.synthetic import make_experiment

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=9, help="of the ping-pong and the smooth experiment")
    parser.add_argument("--parts", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--data", nargs="+", default=["golden", "ping-pong", "smooth"])
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        LocalCluster(n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        folder = Path(name)
        cavity = options.shared / "data" / "test_cavity"
        tool = [sys.executable, options.shared / "tools" / "pingpong.py", folder / "ping-pong", options.frames]
        subprocess.run([str(word) for word in tool], check=True, stdout=subprocess.DEVNULL)
        smooth = make_experiment(folder / "smooth", options.frames, n_particles=200, image_size=(320, 256))
        data = {
            "golden": (cavity, (10000, 10004)),
            "ping-pong": (folder / "ping-pong", (10000, 9999 + options.frames)),
            "smooth": (smooth, (10000, 9999 + options.frames)),
        }

        def by_parts(exp: Path, frames: tuple[int, int], chosen: dict[str, Any]) -> None:
            for part in range(options.parts, 0, -1):
                sequential(exp, *frames, part=(part, options.parts), **chosen)
            sequential(exp, *frames, finish=True, **chosen)

        def by_dask(exp: Path, frames: tuple[int, int], chosen: dict[str, Any]) -> None:
            parallel(exp, *frames, client=client, **chosen)

        ways: dict[str, Callable[..., None]] = {"parts": by_parts, "dask": by_dask}
        for method in options.methods:
            for which in options.data:
                source, frames = data[which]
                if method == "match":
                    source = with_targets(source, frames, folder / f"{which} with targets")
                one = copy(source, folder / "one")
                sequential(one, *frames, **METHODS[method])
                truth = results(one)
                for way, run in ways.items():
                    begun, exp = time.perf_counter(), copy(source, folder / way)
                    run(exp, frames, METHODS[method])
                    found = results(exp)
                    differ = sorted(name for name in found.keys() | truth.keys() if found.get(name) != truth.get(name))
                    same = f"DIFFERENT: {' '.join(differ[:5])}" if differ or not truth else "the same bytes"
                    print(f"{method:>10} {which:>10} {way:>6}: {len(found):4} files, {same}, {time.perf_counter() - begun:.0f} s")
                    sys.stdout.flush()
                    shutil.rmtree(exp)
                shutil.rmtree(one)


if __name__ == "__main__":
    main()
