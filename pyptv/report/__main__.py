"""``pyptv-report EXP``: write the report of a processed experiment."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from pyptv.core.base.command_line import Parser
from pyptv.core.base.errors import InvalidExperimentError, ProcessingError
from pyptv.core.base.streams import show

DONE, FAILED, INVALID = 0, 1, 2


def build_parser() -> Parser:
    """The options of the command line."""
    parser = Parser(
        "pyptv-report",
        "EXP...",
        "Write the report of a processed experiment: one HTML file, readable offline.\nSeveral experiments: side by side.",
        'Needs the extra: pip install "pyptv-batch[report]".\n\nexit codes: 0 written; 1 not written; 2 bad usage or experiment',
    )
    parser.add_argument(
        "experiment",
        metavar="EXP",
        type=Path,
        nargs="+",
        help="experiment folder, a YAML parameter file in it, or the output folder of a run; several are compared",
    )
    page = parser.section("Page")
    page.add_argument(
        "--output", type=Path, metavar="FILE", help="the file to write (default: EXP/res/report.html, or comparison.html)"
    )
    page.add_argument("--frame", type=int, metavar="N", help="the frame whose images are shown (default: one in the middle)")
    page.add_argument(
        "--frame-rate", type=_rate, metavar="HZ", help="frames per second (default: sequence.frame_rate of the parameters)"
    )
    page.add_argument(
        "--statistics", action="store_true", help="show Lagrangian statistics: distributions, profiles, structure function"
    )
    page.add_argument(
        "--postprocess",
        action="store_true",
        help="show the effect of cutting at impossible links and joining across gaps; --statistics then uses these trajectories",
    )
    return parser


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not (math.isfinite(rate) and rate > 0):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number of frames per second above 0")
    return rate


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report and print its path; returns the exit code, with a message on standard error if it is not 0."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    several = len(options.experiment) > 1
    chosen = {name: getattr(options, name) for name in ("frame", "frame_rate", "statistics", "postprocess")}
    if several and any(value is not None and value is not False for value in chosen.values()):
        parser.error("--frame, --frame-rate, --statistics and --postprocess are for the report of one run")
    from pyptv.report import write_comparison, write_report  # not needed for --help

    try:
        if several:
            path = write_comparison(options.experiment, output=options.output)
        else:
            path = write_report(options.experiment[0], output=options.output, **chosen)
        show(f"written: {path} ({path.stat().st_size / 1e6:.1f} MB)\n")
    except (InvalidExperimentError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return INVALID
    except ProcessingError as error:
        sys.stderr.write(f"error: {error}\n")
        return FAILED
    return DONE


def cli(arguments: Sequence[str] | None = None) -> int:
    """The command ``pyptv-report``: returns its exit code."""
    return main(arguments)


if __name__ == "__main__":
    sys.exit(cli())
