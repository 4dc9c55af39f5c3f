"""Time this program against PyPTV, both in environments of their own, in pairs (A B A B ...), and print the ratios.

    python tests/benchmarks/against_pyptv.py --pyptv /path/of/other/python [--case CASE ...] [--engine auto|optv|compiled]

``--pyptv`` is the Python of an environment with PyPTV 0.4.3 (``python -m venv other && other/bin/pip install pyptv==0.4.3``).
The noisy case is the real experiment of ``shared/`` played back and forth; the smooth one is synthetic. CPU time is user +
system time of a command and all its children; one process is compared by CPU time, several by wall time. Start-up is in it,
loading the compiled kernels too; compiling them, once for a machine, is not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("PYPTV_SHARED") or ROOT.parent / "shared")
FIRST = 10000


@dataclass
class Case:
    """What is timed."""

    ours: list[str]
    theirs: list[str]
    smooth: bool
    figure: str
    """The figure to compare: cpu or wall."""


CASES = {
    "sequence": Case(["pyptv.pyptv_batch", "--mode", "sequence"], ["pyptv.pyptv_batch", "--mode", "sequence"], False, "cpu"),
    "both": Case(["pyptv.pyptv_batch"], ["pyptv.pyptv_batch"], False, "cpu"),
    "smooth": Case(["pyptv.pyptv_batch"], ["pyptv.pyptv_batch"], True, "cpu"),
    "parallel-noisy": Case(["pyptv.pyptv_batch_parallel"], ["pyptv.pyptv_batch_parallel"], False, "wall"),
    "parallel-smooth": Case(["pyptv.pyptv_batch_parallel"], ["pyptv.pyptv_batch_parallel"], True, "wall"),
    "own-scaling": Case(["pyptv.pyptv_batch_parallel"], ["pyptv.pyptv_batch"], True, "wall"),
}


def make(folder: Path, n_frames: int, *, smooth: bool) -> Path:
    """An experiment without results; returns its YAML file."""
    if smooth:
        # in another process: the memory of this one counts into the peak of those that it starts
        options = ["--frames", str(n_frames), "--particles", "1000", "--first-frame", str(FIRST)]
        subprocess.run([sys.executable, "-m", "pyptv.synthetic", folder, *options], check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(folder / "parameters", ignore_errors=True)
        return next(folder.glob("*.yaml"))
    subprocess.run([sys.executable, SHARED / "tools" / "pingpong.py", folder, str(n_frames)], check=True)
    return folder / "parameters_Run1.yaml"


def clean(folder: Path) -> None:
    """Remove results."""
    shutil.rmtree(folder / "res", ignore_errors=True)
    for path in (folder / "img").glob("*_targets"):
        path.unlink()


def timed(command: list[str]) -> tuple[float, float, int]:
    """Run a command from a neutral folder; its CPU seconds, wall seconds and the peak memory [kB] of its largest process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tempfile.gettempdir())
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"failed: {' '.join(command)}")
    return usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss


def main() -> None:
    """Run the pairs of the cases asked for, print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pyptv", default=sys.executable, help="Python of the environment with PyPTV")
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--engine", choices=("auto", "optv", "compiled"), default="auto", help="ours")
    options = parser.parse_args()
    print(f"{'case':<16}{'figure':<8}{'ours':>9}{'theirs':>9}{'ratio':>8}   ratios of the pairs; peak MB ours/theirs")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.case or CASES:
            run_case(name, CASES[name], Path(folder) / name, options)


def run_case(name: str, case: Case, folder: Path, options: argparse.Namespace) -> None:
    """Time one case and print its row."""
    yaml = make(folder, options.frames, smooth=case.smooth)
    frames = [str(FIRST), str(FIRST + options.frames - 1)]
    own = name == "own-scaling"
    commands = []
    for python, (module, *rest) in ((sys.executable, case.ours), (sys.executable if own else options.pyptv, case.theirs)):
        processes = ["2"] if module.endswith("parallel") else []
        engine = ["--engine", options.engine] if python == sys.executable else []
        commands.append([python, "-m", module, str(yaml), *frames, *processes, *rest, *engine])
    if options.engine != "optv":
        timed([*commands[0][:3], str(yaml), *frames[:1] * 2, "--engine", "compiled"])  # so that they are compiled
    pairs = []
    for _ in range(options.pairs):
        pair = []
        for command in commands:
            clean(folder)
            pair.append(timed(command))
        pairs.append(pair)
    index = 0 if case.figure == "cpu" else 1
    ratios = [ours[index] / theirs[index] for ours, theirs in pairs]
    medians = [statistics.median(pair[side][index] for pair in pairs) for side in (0, 1)]
    peaks = [max(pair[side][2] for pair in pairs) / 1024 for side in (0, 1)]
    shown = " ".join(f"{ratio:.3f}" for ratio in ratios)
    print(
        f"{name:<16}{case.figure:<8}{medians[0]:>8.1f}s{medians[1]:>8.1f}s{statistics.median(ratios):>8.3f}   {shown}; "
        f"{peaks[0]:.0f}/{peaks[1]:.0f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
