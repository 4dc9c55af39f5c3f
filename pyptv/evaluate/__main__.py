"""``python -m pyptv.evaluate EXP``: score a processed synthetic experiment."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pyptv.core.base.errors import ProcessingError
from pyptv.core.base.streams import show
from pyptv.evaluate.compare import evaluate
from pyptv.evaluate.plot import plot
from pyptv.evaluate.table import table, write_json


def build_parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pyptv.evaluate",
        description="Score a processed synthetic experiment against its truth.csv; needs scipy.",
        epilog='Install the extra: pip install "pyptv-batch[evaluate]"',
    )
    parser.add_argument(
        "experiment", metavar="EXP", type=Path, help="experiment folder, with truth.csv and res/, or the output folder of a run"
    )
    parser.add_argument("--first", type=int, metavar="N", help="first frame to score (default: first of the truth)")
    parser.add_argument("--last", type=int, metavar="N", help="last frame to score (default: last of the truth)")
    parser.add_argument("--tolerance", type=float, metavar="MM", help="farthest a true detection is off (default: 3 px)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the JSON (default: EXP/score.json)")
    parser.add_argument(
        "--plot",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="FILE",
        help="draw recall and rms over frames (default: EXP/score.png); needs matplotlib",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the score and write it; 0, or 1 with a message on standard error."""
    options = build_parser().parse_args(arguments)
    try:
        show("\n".join(run(options)) + "\n")
    except (ProcessingError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def run(options: argparse.Namespace) -> list[str]:
    """What to print, after writing the files asked for."""
    score = evaluate(options.experiment, options.first, options.last, tolerance_mm=options.tolerance)
    json_path = options.json or options.experiment / "score.json"
    write_json(score, json_path)
    lines = [table(score), f"written: {json_path}"]
    if options.plot is not None:
        plot_path = options.experiment / "score.png" if options.plot == Path() else options.plot
        plot(score, plot_path)
        lines.append(f"written: {plot_path}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
