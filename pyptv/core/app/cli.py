"""The command lines of the two entry points: options, signals, exit codes."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any

from pyptv import __version__
from pyptv.core.app.console import LEVELS, Console
from pyptv.core.base.errors import InvalidExperimentError, ProcessingError, Terminated
from pyptv.core.base.options import make_options
from pyptv.core.base.streams import show
from pyptv.core.record.tally import FAILED, INTERRUPTED, INVALID, TERMINATED

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Command:
    """What is different between the two commands."""

    name: str
    summary: str
    kind: str
    parallel: bool


SEQUENTIAL = Command("pyptv-batch", "Process an OpenPTV experiment, one frame after the other.", "batch", parallel=False)
PARALLEL = Command("pyptv-batch-parallel", "Process an OpenPTV experiment on several cores.", "parallel batch", parallel=True)

_EXIT_CODES = """\
exit codes: 0 done; 1 processing failed; 2 bad usage or an invalid experiment; 3 done, but frames failed and were
skipped; 130 interrupted (Ctrl-C); 143 terminated. A run that was stopped goes on with --resume."""


def command(kind: Command, arguments: list[str] | None) -> int:
    """Run a command line and return its exit code; everything it has to say goes to standard error."""
    _open_standard_streams()
    parser = build_parser(kind)
    options = parser.parse_args(arguments)
    options.argv = (kind.name, *(sys.argv[1:] if arguments is None else arguments))
    _check_usage(parser, options)
    try:
        console = Console(options.log_level, options.log_file, quiet=options.quiet, progress=not options.no_progress)
    except OSError as error:
        parser.error(f"--log-file {options.log_file}: {error.strerror or error}")
    try:
        with _sigterm_raises():
            return _dispatch(kind, options, console)
    except (InvalidExperimentError, ValueError) as error:
        return _fail(error, INVALID, "Invalid")
    except ProcessingError as error:
        return _fail(error, FAILED, "Processing failed")
    except Terminated:
        return _interrupted("Terminated", TERMINATED)
    except KeyboardInterrupt:
        return _interrupted("Interrupted", INTERRUPTED)
    except Exception as error:  # a bug of ours: still one line, and where to find more
        return _fail(error, FAILED, f"Unexpected {type(error).__name__}")
    finally:
        console.close()


def build_parser(kind: Command) -> argparse.ArgumentParser:
    """The options, which the two commands share but for the number of processes."""
    parser = argparse.ArgumentParser(
        prog=kind.name, description=kind.summary, epilog=_EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "experiment",
        metavar="EXP",
        nargs="?",
        help="experiment folder, a parameter set or YAML file in it, or the DIR of an earlier --output",
    )
    parser.add_argument("first", metavar="FIRST", nargs="?", type=int, help="first frame (default: of the sequence parameters)")
    parser.add_argument("last", metavar="LAST", nargs="?", type=int, help="last frame, included")
    if kind.parallel:
        parser.add_argument(
            "n_processes", metavar="N_PROCESSES", nargs="?", type=int, help="worker processes (default: usable CPUs)"
        )
        parser.add_argument("--serial-tracking", action="store_true", help="track in one run, as the sequential command does")
        parser.add_argument("--start-method", choices=("fork", "spawn", "forkserver"), help=argparse.SUPPRESS)
    else:
        parser.add_argument("--repetitions", type=int, default=1, metavar="N", help="do it all N times (default 1)")
    parser.add_argument("--mode", choices=("both", "sequence", "tracking"), default="both", help="which steps (default both)")
    parser.add_argument("--on-error", choices=("abort", "skip"), default="abort", help="at a failed frame: end the run, or go on")
    parser.add_argument(
        "--engine",
        choices=("auto", "optv", "compiled"),
        default="auto",
        help="what matches and tracks: the same results (default auto)",
    )
    parser.add_argument(
        "--method",
        choices=("standard", "dense"),
        help="standard: PyPTV's files, byte for byte; dense: finds far more in densely seeded images (default: ptv.method, standard)",
    )
    parser.add_argument("--min-track", type=int, metavar="N", help="dense: drop particles on tracks of fewer frames (default 3)")
    parser.add_argument(
        "--no-self-calibration",
        dest="self_calibration",
        action="store_false",
        default=None,
        help="dense: use the calibration as it is",
    )
    parser.add_argument(
        "--bit-depth",
        type=_bit_depth,
        metavar="BITS",
        help="bits of a grey value in images that store more than 8: 8, 10, 12, 14, 16, or auto (default: ptv.bit_depth, auto)",
    )
    parser.add_argument("--page", type=_page, metavar="N", help="which page of image files with several, from 1")
    parser.add_argument(
        "--frame-timeout",
        type=_seconds,
        metavar="SECONDS",
        help="replace a worker that makes no progress for so long; 0: never (default: 300, or 20 times the slowest so far)",
    )
    parser.add_argument("--resume", action="store_true", help="go on where an earlier run was stopped")
    parser.add_argument("--report", action="store_true", help="make res/report.html after the run, to look at")
    parser.add_argument("--output", metavar="DIR", help="folder for res/ and the _targets files (default: EXP)")
    parser.add_argument("--clean", action="store_true", help="remove results of frames outside the range")
    parser.add_argument("--check", action="store_true", help="check everything, process nothing, estimate time and disk")
    parser.add_argument(
        "--demo", nargs="?", const=Path("pyptv-demo"), type=Path, metavar="DIR", help="make a synthetic experiment and process it"
    )
    parser.add_argument(
        "--log-level", type=str.upper, choices=LEVELS, default="INFO", help="least level of log lines (default INFO)"
    )
    parser.add_argument("--log-file", type=Path, metavar="FILE", help="write the log to a file as well")
    parser.add_argument("-q", "--quiet", action="store_true", help="show errors only")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar, on a terminal too")
    parser.add_argument("--version", action="version", version=f"{kind.name} {__version__}")
    return parser


def _bit_depth(text: str) -> int | str:
    from pyptv.core.base.options import BIT_DEPTHS  # --help need not load it

    for depth in BIT_DEPTHS:
        if text == str(depth):
            return depth
    raise argparse.ArgumentTypeError(f"found {text!r}, expected {', '.join(map(str, BIT_DEPTHS))}")


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


def _check_usage(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if (options.experiment is None) == (options.demo is None):
        parser.error("name an experiment (EXP), or ask for --demo")
    if options.first is not None and options.last is None:
        parser.error("FIRST needs LAST: name both frames, or none")


def _dispatch(kind: Command, options: argparse.Namespace, console: Console) -> int:
    if options.demo is not None:
        return _demo(kind, options, console)
    if options.check:
        from pyptv.core.app.check import check_only  # not needed for a run

        with redirect_stdout(StringIO()) as table:
            code = check_only(options.experiment, options.first, options.last, make_options(_chosen(kind, options)))
        show(table.getvalue())
        return code
    return _process(kind, options, console, options.experiment, (options.first, options.last))


def _process(kind: Command, options: argparse.Namespace, console: Console, experiment: Any, frames: tuple[Any, Any]) -> int:
    from pyptv.core.app.batch import run_batch  # --help must not wait for it

    try:
        report = run_batch(
            experiment,
            *frames,
            repetitions=getattr(options, "repetitions", 1),
            kind=kind.kind,
            watch=console,
            argv=options.argv,
            options=make_options(_chosen(kind, options)),
        )
    finally:
        console.show_summary()
    return report.exit_code


def _chosen(kind: Command, options: argparse.Namespace) -> dict[str, Any]:
    """The fields of :class:`pyptv.core.base.options.Options`."""
    chosen = {
        name: getattr(options, name)
        for name in (
            *("mode", "on_error", "resume", "clean", "engine", "report", "bit_depth", "page", "frame_timeout", "output"),
            *("method", "min_track", "self_calibration"),
        )
    }
    if kind.parallel:
        chosen |= {"serial_tracking": options.serial_tracking, "start_method": options.start_method}
    return chosen | {"n_processes": _processes(kind, options)}


def _processes(kind: Command, options: argparse.Namespace) -> int:
    from pyptv.core.app.batch import process_count  # as above

    return process_count(options.n_processes) if kind.parallel else 1


def _demo(kind: Command, options: argparse.Namespace, console: Console) -> int:
    from pyptv.core.app.demo import prepare_demo, score_text  # only for the demo

    experiment, first, last = prepare_demo(options.demo)
    code = _process(kind, options, console, experiment, (first, last))
    show(score_text(experiment if options.output is None else Path(options.output)) + "\n")
    return code


def _fail(error: Exception, code: int, what: str) -> int:
    logger.error("%s: %s", what, error)
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("Where it happened:", exc_info=error)
    return code


def _interrupted(what: str, code: int) -> int:
    logger.error("%s. What is done is kept: run the same command with --resume to go on", what)
    return code


def _open_standard_streams() -> None:
    """Open those that the caller has closed: else the next file that is opened takes the place of standard output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 -- its only form
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+", encoding="utf-8"))  # noqa: SIM115 -- for as long as the process lives


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM ends a command like Ctrl-C does: workers first, no file cut."""

    def raise_terminated(_signal: int, _frame: FrameType | None) -> None:
        """The handler of SIGTERM."""
        raise Terminated

    before = signal.signal(signal.SIGTERM, raise_terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
