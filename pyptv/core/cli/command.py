"""Executes a command line: signals become exceptions, exceptions become exit codes."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from types import FrameType
from typing import Any

from pyptv.core.base.command_line import Parser
from pyptv.core.base.errors import InvalidExperimentError, ProcessingError, Terminated
from pyptv.core.base.options import Options, make_options
from pyptv.core.base.streams import show
from pyptv.core.cli.console import Console
from pyptv.core.cli.options import Command, build_parser, chosen_fields
from pyptv.core.record.tally import DONE, FAILED, INTERRUPTED, INVALID, TERMINATED

logger = logging.getLogger(__name__)


def command(kind: Command, arguments: list[str] | None) -> int:
    """Run a command line and return its exit code; all messages go to standard error."""
    _open_standard_streams()
    parser = build_parser(kind)
    found = parser.parse_args(arguments)
    found.argv = (kind.name, *(sys.argv[1:] if arguments is None else arguments))
    _check_usage(parser, found)
    try:
        console = Console(found.log_level, found.log_file, quiet=found.quiet, progress=not found.no_progress)
    except OSError as error:
        parser.error(f"--log-file {found.log_file}: {error.strerror or error}")
    try:
        with _sigterm_raises():
            return _dispatch(kind, found, console)
    except (InvalidExperimentError, ValueError) as error:
        return _fail(error, INVALID, "Invalid")
    except ProcessingError as error:
        return _fail(error, FAILED, "Processing failed")
    except Terminated:
        return _interrupted("Terminated", TERMINATED)
    except KeyboardInterrupt:
        return _interrupted("Interrupted", INTERRUPTED)
    except Exception as error:  # a bug in this program: still one line, and how to see more
        return _fail(error, FAILED, f"Unexpected {type(error).__name__}")
    finally:
        console.close()


def _check_usage(parser: Parser, found: argparse.Namespace) -> None:
    if found.compile:
        if found.experiment is not None or found.demo is not None:
            parser.error("--compile processes nothing: leave out EXP and --demo")
    elif (found.experiment is None) == (found.demo is None):
        parser.error("name an experiment (EXP), or ask for --demo")
    word = getattr(found, "processes_word", None)
    if word is not None and found.processes is not None:
        parser.error("name the number of processes once: N_PROCESSES, or --processes")
    found.processes = found.processes if word is None else word


def _dispatch(kind: Command, found: argparse.Namespace, console: Console) -> int:
    if found.compile:
        return _compile()
    found.kind, options = _options(kind, found)
    if found.demo is not None:
        return _demo(found, options, console)
    if found.print_slurm is not None or found.print_pbs is not None:
        from pyptv.core.cli.job_script import PBS, SLURM, job_script  # not needed for a run

        scheduler, n_parts = (SLURM, found.print_slurm) if found.print_slurm is not None else (PBS, found.print_pbs)
        show(job_script(scheduler, n_parts, found.experiment, (found.first, found.last), options))
        return DONE
    if found.check:
        from pyptv.core.cli.check import check_only  # not needed for a run

        with redirect_stdout(StringIO()) as table:
            code = check_only(found.experiment, found.first, found.last, options)
        show(table.getvalue())
        return code
    if options.watch:
        with _ctrl_c_ends_watching():
            return _process(found, options, console, found.experiment, (found.first, found.last))
    return _process(found, options, console, found.experiment, (found.first, found.last))


def _compile() -> int:
    from pyptv.core.engines.choice import compile_now  # not needed for a run
    from pyptv.kernels.cache import KernelsUnavailableError

    try:
        compile_now()
    except KernelsUnavailableError as error:
        raise InvalidExperimentError(f"--compile: {error}") from error
    return DONE


def _options(kind: Command, found: argparse.Namespace) -> tuple[str, Options]:
    """The kind of run and its options: several processes if the command, or ``--processes``, requests them."""
    from pyptv.core.app.batch import BATCH, PARALLEL_BATCH, parallel_options  # --help must not wait for it

    if kind.parallel or found.processes is not None:
        return PARALLEL_BATCH, parallel_options(chosen_fields(found), found.processes)
    return BATCH, make_options(chosen_fields(found))


def _process(found: argparse.Namespace, options: Options, console: Console, experiment: Any, frames: tuple[Any, Any]) -> int:
    from pyptv.core.app.batch import run_batch  # --help must not wait for it

    try:
        report = run_batch(
            experiment,
            *frames,
            repetitions=getattr(found, "repetitions", 1),
            kind=found.kind,
            watch=console,
            argv=found.argv,
            options=options,
        )
    finally:
        console.show_summary()
    return report.exit_code


def _demo(found: argparse.Namespace, options: Options, console: Console) -> int:
    from pyptv.core.cli.demo import prepare_demo, score_text  # only for the demo

    experiment, first, last = prepare_demo(found.demo)
    code = _process(found, options, console, experiment, (first, last))
    show(score_text(options.output or experiment) + "\n")
    return code


def _fail(error: Exception, code: int, what: str) -> int:
    logger.error("%s: %s", what, error)
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("Where it happened:", exc_info=error)
    return code


def _interrupted(what: str, code: int) -> int:
    logger.error("%s. Finished frames are kept: run the same command with --resume to continue", what)
    return code


def _open_standard_streams() -> None:
    """Open streams that the caller has closed: otherwise the next opened file would become standard output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 -- its only form
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+", encoding="utf-8"))  # noqa: SIM115 -- for as long as the process lives


@contextmanager
def _ctrl_c_ends_watching() -> Iterator[None]:
    """The first Ctrl-C makes a watching run process the frames that have arrived, and end. The second one interrupts it."""
    from pyptv.core.app.watch import ask_to_end  # not needed for other runs

    before = signal.getsignal(signal.SIGINT)

    def end(_signal: int, _frame: FrameType | None) -> None:
        """Handle the first one, and restore the previous handler for the second one."""
        ask_to_end()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        ask_to_end(asked=False)


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM ends a command like Ctrl-C: workers end first, no file is left incomplete."""

    def raise_terminated(_signal: int, _frame: FrameType | None) -> None:
        """The handler of SIGTERM."""
        raise Terminated

    before = signal.signal(signal.SIGTERM, raise_terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
