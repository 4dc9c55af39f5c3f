"""The options of the two commands, each declared once. A new option is one more entry in the tuple of its group.

An option that ``sets`` a field of :class:`pyptv.core.base.options.Options` takes the default and the check from that field.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyptv.core.base.command_line import Parser
from pyptv.core.base.options import BIT_DEPTHS, ENGINES, METHODS, MODES, ON_ERROR, POSTPROCESS, TRACKING

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

_EXIT_CODES = """\
exit codes:
  0 done; 1 processing failed; 2 bad usage or an invalid experiment; 3 done, but
  frames failed and were skipped; 130 interrupted (Ctrl-C); 143 terminated.
  --resume continues a run that was stopped."""


@dataclass(frozen=True)
class Command:
    """The differences between the two commands."""

    name: str
    summary: str
    parallel: bool


SEQUENTIAL = Command("pyptv-batch", "Process an OpenPTV experiment, one frame after the other.", parallel=False)
PARALLEL = Command("pyptv-batch-parallel", "Process an OpenPTV experiment on several cores.", parallel=True)
COMMANDS = (SEQUENTIAL, PARALLEL)


@dataclass(frozen=True)
class Option:
    """One option of the command line."""

    names: tuple[str, ...]
    meaning: str
    """The text of ``--help``; argparse.SUPPRESS hides the option."""
    sets: str | None
    """A field of :class:`pyptv.core.base.options.Options`; None: the command line itself uses it."""
    commands: tuple[Command, ...]
    """The commands that have it."""
    settings: Mapping[str, Any]
    """Further arguments of ``add_argument``."""


def option(
    *names: str, meaning: str, sets: str | None = None, commands: tuple[Command, ...] = COMMANDS, **settings: Any
) -> Option:
    """An :class:`Option`; ``settings`` go to ``add_argument``."""
    return Option(names, meaning, sets, commands, settings)


def flag(*names: str, meaning: str, sets: str | None = None, commands: tuple[Command, ...] = COMMANDS) -> Option:
    """An option without a value."""
    return option(*names, meaning=meaning, sets=sets, commands=commands, action="store_true")


def _bit_depth(text: str) -> int | str:
    for depth in BIT_DEPTHS:
        if text == str(depth):
            return depth
    raise argparse.ArgumentTypeError(f"found {text!r}, expected {', '.join(map(str, BIT_DEPTHS))}")


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < len(text) < 7 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number of parts, at least 1")
    return int(text)


def _page(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < len(text) < 9 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number, at least 1")
    return int(text)


def _seconds(text: str) -> float:
    """A number of seconds, 0 or more."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise argparse.ArgumentTypeError(f"expected a number of seconds, 0 or more, got {text!r}")
    return seconds


WHAT = (
    option(
        "--mode",
        sets="mode",
        choices=MODES,
        meaning="which steps (default: both); match: the sequence step from stored _targets files",
    ),
    flag("--check", "--dry-run", meaning="check everything, process nothing, estimate time and disk"),
    flag("--resume", sets="resume", meaning="continue where an earlier run was stopped"),
    option(
        "--on-error",
        sets="on_error",
        choices=ON_ERROR,
        meaning="at a failed frame: end the run (default), or leave it out and continue",
    ),
    option("--repetitions", commands=(SEQUENTIAL,), type=int, default=1, metavar="N", meaning="repeat the whole run N times"),
    option(
        "--demo",
        nargs="?",
        const=Path("pyptv-demo"),
        type=Path,
        metavar="DIR",
        meaning="make a synthetic experiment (default: pyptv-demo), process it, and print its score",
    ),
)

METHOD = (
    flag("--compile", meaning="compile the kernels for this machine, process nothing"),
    option(
        "--method",
        sets="method",
        choices=METHODS,
        meaning="standard: as PyPTV, to the byte; dense: finds far more in densely seeded images (default: ptv.method, standard)",
    ),
    option(
        "--min-track",
        sets="min_track",
        type=int,
        metavar="N",
        meaning="dense: drop doubtful particles on tracks of fewer frames (default: dense.min_track, 3)",
    ),
    option(
        "--no-self-calibration",
        sets="self_calibration",
        action="store_false",
        meaning="dense: use the calibration as it is",
    ),
    option(
        "--engine",
        sets="engine",
        choices=ENGINES,
        meaning="code used for detection, matching and tracking; results are identical (default: auto, whichever is faster)",
    ),
    option(
        "--tracking",
        sets="tracking",
        choices=TRACKING,
        meaning="both: also track backward from the end, and combine the links of both passes (default: forward)",
    ),
)

IMAGES = (
    option(
        "--bit-depth",
        sets="bit_depth",
        type=_bit_depth,
        metavar="BITS",
        meaning="bits of a grey value in images that store more than 8: 8, 10, 12, 14, 16, auto (default: ptv.bit_depth, auto)",
    ),
    option("--page", sets="page", type=_page, metavar="N", meaning="page to read of image files with several pages, from 1"),
)

RESULTS = (
    option("--output", sets="output", metavar="DIR", meaning="folder for res/ and the _targets files (default: EXP)"),
    flag("--clean", sets="clean", meaning="remove results of frames outside the range"),
    option(
        "--postprocess",
        sets="postprocess",
        choices=POSTPROCESS,
        meaning="after the run, write its trajectories to res/export, joined across missing frames; see pyptv-export",
    ),
    flag("--report", sets="report", meaning="after the run, write res/report.html, a page with figures and a verdict"),
)

PROCESSES = (
    option(
        "-j",
        "--processes",
        type=int,
        metavar="N",
        meaning="worker processes (default: 1 for pyptv-batch, the usable CPUs for pyptv-batch-parallel)",
    ),
    flag("--serial-tracking", sets="serial_tracking", meaning="track in one piece, for any number of processes"),
    option(
        "--frame-timeout",
        sets="frame_timeout",
        type=_seconds,
        metavar="SECONDS",
        meaning="replace a worker that makes no progress for this long; 0: never (default: 300, or 20 times the slowest so far)",
    ),
    option("--start-method", sets="start_method", choices=("fork", "spawn", "forkserver"), meaning=argparse.SUPPRESS),
)

CLUSTER = (
    option(
        "--part",
        sets="part",
        metavar="I/N",
        meaning="process part I of N parts of the frames, as a job of an array; the same command resumes it",
    ),
    flag("--finish", sets="finish", meaning="combine the parts: prove their seams, track the frames that have no links yet"),
    option("--print-slurm", type=_count, metavar="N", meaning="print a script that submits N parts to SLURM, and --finish"),
    option("--print-pbs", type=_count, metavar="N", meaning="the same for PBS"),
    option(
        "--scheduler",
        sets="scheduler",
        commands=(PARALLEL,),
        metavar="ADDRESS|FILE",
        meaning="process on the Dask workers of this scheduler (its address, or its scheduler file)",
    ),
    option(
        "--scratch",
        sets="scratch",
        metavar="DIR",
        meaning="local folder for scratch files (default: $SLURM_TMPDIR, or the temporary folder)",
    ),
)

WATCH = (
    flag("--watch", sets="watch", meaning="process frames as their images arrive, until LAST, Ctrl-C, or --until-idle"),
    option(
        "--until-idle",
        sets="until_idle",
        type=_seconds,
        metavar="S",
        meaning="with --watch: end when no new frame has arrived for S seconds (default: never)",
    ),
)

PLUGINS = (
    option(
        "--hook",
        sets="hooks",
        action="append",
        metavar="NAME[:KEY=VALUE,...]",
        meaning="code in the sequence step: background_median, background_minimum, rolling_ball, or your own; may be repeated",
    ),
    option("--sequence-plugin", sets="sequence_plugin", metavar="NAME", meaning="PyPTV's plugin in place of the sequence step"),
    option("--tracking-plugin", sets="tracking_plugin", metavar="NAME", meaning="PyPTV's plugin in place of tracking"),
    flag("--allow-plugins", sets="allow_plugins", meaning="run code from EXP/plugins or named by its parameters"),
)

LOG = (
    option("--log-level", type=str.upper, choices=LEVELS, default="INFO", meaning="minimum log level (default: INFO)"),
    option("--log-file", type=Path, metavar="FILE", meaning="also write the log to a file"),
    flag("-q", "--quiet", meaning="show errors only"),
    flag("--no-progress", meaning="never show a progress bar"),
)

GROUPS = {
    "Run": WHAT,
    "Method": METHOD,
    "Images": IMAGES,
    "Results": RESULTS,
    "Processes": PROCESSES,
    "Cluster": CLUSTER,
    "Live": WATCH,
    "Plugins": PLUGINS,
    "Messages": LOG,
}


def build_parser(kind: Command) -> Parser:
    """The command line of a command."""
    parser = Parser(kind.name, "EXP [FIRST LAST]", kind.summary, _EXIT_CODES)
    parser.add_argument(
        "experiment",
        metavar="EXP",
        nargs="?",
        help="experiment folder, a parameter set or YAML file in it, or the DIR of an earlier --output",
    )
    parser.add_range("that of the parameters", "that of the parameters")
    if kind.parallel:
        parser.add_argument("processes_word", metavar="N_PROCESSES", nargs="?", type=int, help="the same as --processes")
    for title, options in GROUPS.items():
        for entry in options:
            if kind in entry.commands:
                _add(parser.section(title), entry)
    return parser


def _add(group: Any, entry: Option) -> None:
    settings = dict(entry.settings)
    if entry.sets is not None:  # not in the namespace unless given: the field has the default
        settings |= {"dest": entry.sets, "default": argparse.SUPPRESS}
    group.add_argument(*entry.names, help=entry.meaning, **settings)


def chosen_fields(found: argparse.Namespace) -> dict[str, Any]:
    """The fields of :class:`pyptv.core.base.options.Options` given on a command line."""
    there = vars(found)
    names = {entry.sets for options in GROUPS.values() for entry in options if entry.sets is not None}
    return {name: there[name] for name in sorted(names) if name in there}
