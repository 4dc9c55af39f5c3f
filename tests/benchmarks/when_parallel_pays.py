"""Wall time of 10, 100 and 1000 frames, sequentially and on two processes: when does the parallel entry point pay?

    python tests/benchmarks/when_parallel_pays.py [--frames 10 100 1000] [--particles 500] [--pairs 3]

A synthetic experiment of smooth flow, 4 cameras of 1280 x 1024 px; the runs alternate, the medians are printed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from against_pyptv import FIRST, clean, timed


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--particles", type=int, default=500)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    from pyptv.synthetic import make_experiment

    with tempfile.TemporaryDirectory() as folder:
        exp = Path(folder) / "experiment"
        make_experiment(exp, n_frames=max(options.frames), n_particles=options.particles, first_frame=FIRST)
        print(f"{'frames':>7}{'sequential':>12}{'1 process':>11}{'2 processes':>13}{'gain of 2':>11}")
        for n_frames in options.frames:
            frames = [str(FIRST), str(FIRST + n_frames - 1)]
            commands = {
                "sequential": ["-m", "pyptv.pyptv_batch", str(exp), *frames],
                "1": ["-m", "pyptv.pyptv_batch_parallel", str(exp), *frames, "1"],
                "2": ["-m", "pyptv.pyptv_batch_parallel", str(exp), *frames, "2"],
            }
            walls: dict[str, list[float]] = {name: [] for name in commands}
            for _ in range(options.pairs if n_frames < 1000 else 1):
                for name, command in commands.items():
                    clean(exp)
                    walls[name].append(timed([sys.executable, *command])[1])
            medians = {name: statistics.median(times) for name, times in walls.items()}
            gain = medians["sequential"] / medians["2"]
            print(
                f"{n_frames:>7}{medians['sequential']:>11.2f}s{medians['1']:>10.2f}s{medians['2']:>12.2f}s{gain:>11.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
