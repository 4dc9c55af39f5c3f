"""``pyptv-report EXP``: write the report of a processed experiment."""

from __future__ import annotations

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
        "EXP",
        "Write the report of a processed experiment: one HTML file, readable offline.",
        'Needs the extra: pip install "pyptv-batch[report]".\n\nexit codes: 0 written; 1 not written; 2 bad usage or experiment',
    )
    parser.add_argument(
        "experiment",
        metavar="EXP",
        type=Path,
        help="experiment folder, a YAML parameter file in it, or the output folder of a run",
    )
    page = parser.section("Page")
    page.add_argument("--output", type=Path, metavar="FILE", help="the file to write (default: EXP/res/report.html)")
    page.add_argument("--frame", type=int, metavar="N", help="the frame whose images are shown (default: one in the middle)")
    page.add_argument(
        "--statistics", action="store_true", help="show Lagrangian statistics: distributions, profiles, structure function"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report and say where it is; the exit code, with a message on standard error where it is not 0."""
    options = build_parser().parse_args(arguments)
    from pyptv.report import write_report  # --help must not wait for it

    try:
        path = write_report(options.experiment, output=options.output, frame=options.frame, statistics=options.statistics)
        show(f"written: {path} ({path.stat().st_size / 1e6:.1f} MB)\n")
    except InvalidExperimentError as error:
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
