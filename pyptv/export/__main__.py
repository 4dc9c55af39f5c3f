"""``pyptv-export EXP --to h5``: write trajectories in the formats of other programs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyptv.core.base.command_line import Parser
from pyptv.core.base.errors import InvalidExperimentError, ProcessingError
from pyptv.core.base.streams import show
from pyptv.export import FORMATS
from pyptv.export.api import load, write

if TYPE_CHECKING:
    from pyptv.trajectories.postprocess import PostProcessing

DONE, FAILED, INVALID, INTERRUPTED = 0, 1, 2, 130
_EPILOG = """\
formats, their readers, and what to install:
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
    parser.add_range("the first tracked one", "the last tracked one")
    files = parser.section("Files")
    files.add_argument("--to", action="append", required=True, choices=FORMATS, help="format; may be given several times")
    files.add_argument(
        "--output",
        type=Path,
        metavar="PATH",
        help="file or folder to write (default: in EXP/res/export); with several formats, the folder for all",
    )
    units = parser.section("Trajectories and units")
    units.add_argument("--min-length", type=int, default=1, metavar="N", help="minimum number of frames (default: 1)")
    units.add_argument(
        "--frame-rate", type=float, metavar="HZ", help="frames per second (default: that of the parameters; else per frame)"
    )
    units.add_argument("--units", choices=("mm", "m"), default="mm", help="unit of length (default: mm)")
    units.add_argument("--window", type=int, default=5, metavar="N", help="frames in the fit of velocity (odd, default: 5)")
    units.add_argument("--order", type=int, default=2, metavar="N", help="order of its polynomial (2 to 5, default: 2)")
    _add_postprocessing(parser.section("Post-processing"))
    return parser


def _add_postprocessing(group: argparse._ArgumentGroup) -> None:
    """The options of post-processing; the run's files are not changed."""
    group.add_argument("--postprocess", action="store_true", help="cut at impossible links, join across missing frames")
    group.add_argument("--max-gap", type=int, metavar="N", help="maximum number of missing frames in a join (default: 2)")
    group.add_argument("--no-cut", action="store_true", help="cut nothing")
    group.add_argument("--no-join", action="store_true", help="join nothing")
    group.add_argument("--fill", action="store_true", help="search for missing particles among the targets of their frames")
    group.add_argument("--remove-stationary", action="store_true", help="leave out trajectories that do not move")
    group.add_argument("--smooth", action="store_true", help="smooth positions, and give errors of all quantities")


def _postprocessing(options: argparse.Namespace) -> PostProcessing | None:
    """The requested post-processing, or None."""
    names = ("max_gap", "no_cut", "no_join", "fill", "remove_stationary", "smooth")
    asked = [name for name in names if getattr(options, name) not in (None, False)]
    if not options.postprocess:
        if asked:
            raise ValueError(f"--{asked[0].replace('_', '-')} needs --postprocess")
        return None
    if options.no_join and options.max_gap is not None:
        raise ValueError("--max-gap has no effect with --no-join: leave it out")
    from pyptv.trajectories.postprocess import PostProcessing  # numpy: not needed for --help

    gap = PostProcessing.max_gap if options.max_gap is None else options.max_gap
    return PostProcessing(
        cut=not options.no_cut,
        max_gap=None if options.no_join else gap,
        fill=options.fill,
        remove_stationary=options.remove_stationary,
        smooth=options.smooth,
    )


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
    chosen = {name: getattr(options, name) for name in names} | {"postprocess": _postprocessing(options)}
    with load(options.experiment, outputs, options.units, **chosen) as dataset:
        if dataset.processed is not None:
            show(f"{dataset.processed.counts}\n")
        show(f"{dataset.metadata['trajectories']} trajectories, {dataset.metadata['rows']} rows\n")
        for name, output in outputs.items():
            show(f"written: {write(dataset, name, output)}\n")


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(cli())
