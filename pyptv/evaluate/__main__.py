"""``python -m pyptv.evaluate EXP``: score a processed synthetic experiment."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pyptv.core.base.command_line import Parser
from pyptv.core.base.errors import ProcessingError
from pyptv.core.base.streams import show
from pyptv.evaluate.compare import evaluate
from pyptv.evaluate.plot import plot
from pyptv.evaluate.table import json_text, table, write_json

_STANDARD_OUTPUT = Path("-")


def build_parser() -> Parser:
    """The options of the command line."""
    parser = Parser(
        "python -m pyptv.evaluate",
        "EXP [FIRST LAST]",
        "Score a processed synthetic experiment against its truth.csv.",
        'Needs the extra: pip install "pyptv-batch[evaluate]".\n\nexit codes: 0 done; 1 not done; 2 bad usage',
    )
    parser.add_argument(
        "experiment", metavar="EXP", type=Path, help="experiment folder, with truth.csv and res/, or the output folder of a run"
    )
    parser.add_range("the first one of the truth", "the last one of the truth")
    score = parser.section("Score")
    score.add_argument("--tolerance", type=float, metavar="MM", help="maximum error of a true detection (default: 3 px)")
    score.add_argument(
        "--json", type=Path, metavar="FILE", help="file for the JSON; - for standard output (default: EXP/score.json)"
    )
    score.add_argument(
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


def cli(arguments: Sequence[str] | None = None) -> int:
    """The command ``python -m pyptv evaluate``: returns its exit code."""
    return main(arguments)


def run(options: argparse.Namespace) -> list[str]:
    """The lines to print, after writing the requested files."""
    score = evaluate(options.experiment, options.first, options.last, tolerance_mm=options.tolerance)
    json_path = options.json or options.experiment / "score.json"
    if json_path == _STANDARD_OUTPUT:
        lines = [json_text(score)]
    else:
        write_json(score, json_path)
        lines = [table(score), f"written: {json_path}"]
    if options.plot is not None:
        plot_path = options.experiment / "score.png" if options.plot == Path() else options.plot
        plot(score, plot_path)
        lines += [] if json_path == _STANDARD_OUTPUT else [f"written: {plot_path}"]  # standard output is JSON for a program
    return lines


if __name__ == "__main__":
    sys.exit(cli())
