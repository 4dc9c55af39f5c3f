"""What the parent of the workers costs: its own CPU time per frame, over many tiny frames (``Existing_Target``).

    python tests/benchmarks/parent_cpu.py [--frames 20000] [--processes 2] [--mode sequence]

The start-up (a run over 10 frames) is subtracted. Also prints descriptors and threads of the parent (``/proc``).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FIRST = 10000
RUN = """
import os, sys
from pyptv.pyptv_batch_parallel import main
if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), mode=sys.argv[5], engine="optv")
    times = os.times()
    print(times.user + times.system)
"""


def count(folder: str) -> int:
    """Entries of a folder of /proc; 0 where it is gone."""
    try:
        return len(os.listdir(folder))
    except OSError:
        return 0


def main() -> None:
    """Make the experiment, run it, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--particles", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--mode", default="sequence", choices=("both", "sequence"))
    options = parser.parse_args()
    from pyptv.synthetic import make_experiment

    with tempfile.TemporaryDirectory() as folder:
        exp = Path(folder) / "experiment"
        make_experiment(exp, n_frames=options.frames, n_particles=options.particles, images=False, first_frame=FIRST)
        script = Path(folder) / "run.py"
        script.write_text(RUN)

        def cpu(n_frames: int) -> float:
            arguments = [exp, FIRST, FIRST + n_frames - 1, options.processes, options.mode]
            run = subprocess.Popen([sys.executable, str(script), *map(str, arguments)], stdout=subprocess.PIPE, text=True)
            files = threads = 0
            while run.poll() is None:
                files = max(files, count(f"/proc/{run.pid}/fd"))
                threads = max(threads, count(f"/proc/{run.pid}/task"))
                time.sleep(0.02)
            print(f"{n_frames} frames: at most {files} descriptors, {threads} threads")
            assert run.stdout is not None
            with run.stdout:
                return float(run.stdout.read())

        start = cpu(10)
        begin = time.perf_counter()
        whole = cpu(options.frames)
        wall = time.perf_counter() - begin
        print(f"start-up {start:.2f} s, whole run {whole:.2f} s CPU of the parent, {wall:.1f} s")
        print(f"per frame {(whole - start) / (options.frames - 10) * 1000:.4f} ms CPU of the parent")


if __name__ == "__main__":
    main()
