"""Memory of a whole run: all its processes together, and the largest of them, at the worst moment (Linux).

    python tests/benchmarks/memory.py EXP FIRST LAST [--processes 1 2 4]

"together" is the sum of the processes' proportional set sizes: memory that several of them share counts once. "largest" is the
resident set of one process, which counts what it shares as well. Sampled every 50 ms from /proc.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

ENGINES = ("optv", "compiled")


def descendants(pid: int) -> list[int]:
    """A process and all that it has started."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += descendants(int(child))
    return found


def sizes(pid: int) -> tuple[float, float]:
    """Resident and proportional set size of a process [MB]."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {name.rstrip(":"): int(value) for name, value, *_ in map(str.split, lines)}
    return kilobytes["Rss"] / 1024, kilobytes["Pss"] / 1024


def worst(command: list[str]) -> tuple[float, float]:
    """The largest sum and the largest process that were seen during a command [MB]."""
    together = largest = 0.0
    with subprocess.Popen(command, cwd=tempfile.gettempdir()) as run:
        while run.poll() is None:
            time.sleep(0.05)
            with suppress(OSError):  # a process may end while it is looked at
                seen = [sizes(pid) for pid in descendants(run.pid)]
                together = max(together, sum(proportional for _, proportional in seen))
                largest = max(largest, *(resident for resident, _ in seen))
    if run.returncode:
        raise SystemExit(f"failed: {' '.join(command)}")
    return together, largest


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", type=Path)
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    options = parser.parse_args()
    frames = [str(options.first), str(options.last)]
    print(f"{'engine':<10}{'processes':>9}{'together':>12}{'largest':>12}")
    for engine in ENGINES:
        for n in options.processes:
            command = [sys.executable, "-m", "pyptv.pyptv_batch_parallel", str(options.experiment.absolute()), *frames, str(n)]
            together, largest = worst([*command, "-q", "--engine", engine])
            print(f"{engine:<10}{n:>9}{together:>9.0f} MB{largest:>9.0f} MB", flush=True)


if __name__ == "__main__":
    main()
