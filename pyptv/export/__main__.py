"""``pyptv-export EXP --to h5``: write trajectories in the formats of other programs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pyptv.core.base.command_line import Parser
from pyptv.core.base.errors import InvalidExperimentError, ProcessingError
from pyptv.core.base.streams import show
from pyptv.export import FORMATS
from pyptv.export.api import load, write

DONE, FAILED, INVALID, INTERRUPTED = 0, 1, 2, 130
_EPILOG = """\
formats, who reads them, and what to install:
{formats}

exit codes:
  0 written; 1 not written: nothing to export, a library is missing, the output
  cannot be written; 2 bad usage, or the experiment or a result file is damaged;
  130 interrupted"""


def build_parser() -> Parser:
    """The options of the command line."""
    formats = "\n".join(
        f'  {entry.name:<9}{entry.readers:<27}pip install "pyptv-batch[{entry.extra}]"' for entry in FORMATS.values()
    )
    parser = Parser(
        "pyptv-export",
        "EXP [FIRST LAST] --to FORMAT",
        "Write the trajectories of a tracked experiment in the formats of other programs.",
        _EPILOG.format(formats=formats),
    )
    parser.add_argument(
        "experiment", metavar="EXP", help="experiment folder, a YAML parameter file in it, or the output folder of a run"
    )
    parser.add_range("the first one that is tracked", "the last one that is tracked")
    files = parser.section("Files")
    files.add_argument("--to", action="append", required=True, choices=FORMATS, help="format; may be given several times")
    files.add_argument(
        "--output",
        type=Path,
        metavar="PATH",
        help="what to write (default: in EXP/res/export); with several formats, the folder to write into",
    )
    units = parser.section("Trajectories and units")
    units.add_argument("--min-length", type=int, default=1, metavar="N", help="minimum number of frames (default: 1)")
    units.add_argument("--frame-rate", type=float, metavar="HZ", help="frames per second (default: per frame, not per second)")
    units.add_argument("--units", choices=("mm", "m"), default="mm", help="unit of length (default: mm)")
    units.add_argument("--window", type=int, default=5, metavar="N", help="frames in the fit of velocity (odd, default: 5)")
    units.add_argument("--order", type=int, default=2, metavar="N", help="order of its polynomial (2 to 5, default: 2)")
    return parser


def cli(arguments: Sequence[str] | None = None) -> int:
    """The command ``pyptv-export``: returns its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        _run(options)
    except (InvalidExperimentError, ValueError) as error:
        return _fail(str(error), INVALID)
    except ProcessingError as error:
        return _fail(str(error), FAILED)
    except MemoryError:
        return _fail("not enough memory: export fewer frames, with --first and --last", FAILED)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    return DONE


def _run(options: argparse.Namespace) -> None:
    formats = list(dict.fromkeys(options.to))
    names = ("first", "last", "min_length", "frame_rate", "window", "order")
    several = options.output is not None and len(formats) > 1
    outputs = {name: options.output / FORMATS[name].file_name if several else options.output for name in formats}
    with load(options.experiment, outputs, options.units, **{name: getattr(options, name) for name in names}) as dataset:
        show(f"{dataset.metadata['trajectories']} trajectories, {dataset.metadata['rows']} rows\n")
        for name, output in outputs.items():
            show(f"written: {write(dataset, name, output)}\n")


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(cli())
