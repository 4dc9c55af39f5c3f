"""``pyptv-advise EXP``: propose parameters from a sample of the frames."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pyptv.core.base.command_line import Parser
from pyptv.core.base.errors import InvalidExperimentError, ProcessingError
from pyptv.core.base.frames import check_range
from pyptv.core.base.machine import use_one_thread
from pyptv.core.base.streams import show

DONE, FAILED, INVALID, INTERRUPTED = 0, 1, 2, 130


def build_parser() -> Parser:
    """The options of the command line."""
    parser = Parser(
        "pyptv-advise",
        "EXP [FIRST LAST]",
        "Propose parameters from a sample of the frames. Changes nothing.",
        'Needs the extra: pip install "pyptv-batch[advise]".\n\nexit codes: 0 done; 1 failed; 2 bad usage or experiment',
    )
    parser.add_argument("experiment", metavar="EXP", help="experiment folder, or parameter set or YAML file in it")
    parser.add_range("of the parameters", "of the parameters")
    files = parser.section("Files")
    files.add_argument("--write", type=Path, metavar="FILE", help="write the proposed parameters to a new file in EXP")
    files.add_argument(
        "--fix-calibration", type=Path, metavar="DIR", help="write refined calibrations to DIR, and advise for them"
    )
    files.add_argument(
        "--json", type=Path, nargs="?", const=Path(), metavar="FILE", help="write all numbers (default: EXP/res/advice.json)"
    )
    run = parser.section("Computation and output")
    run.add_argument("--engine", choices=("auto", "optv", "compiled"), default="auto", help="code used for matching")
    run.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the advice, and write what was asked for; the exit code, with a message on standard error where it is not 0."""
    options = build_parser().parse_args(arguments)
    try:
        show("\n".join(run(options)) + "\n")
    except (InvalidExperimentError, ValueError) as error:
        return _fail(str(error), INVALID)
    except ProcessingError as error:
        return _fail(str(error), FAILED)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    return DONE


def run(options: argparse.Namespace) -> list[str]:
    """What to print, after writing the files asked for."""
    if find_spec("scipy") is None:
        raise ProcessingError('advice needs scipy: pip install "pyptv-batch[advise]"')
    from pyptv.advise.advice import changes, measure  # --help must not wait for it
    from pyptv.advise.tree import as_tree
    from pyptv.advise.words import report
    from pyptv.advise.write import new_calibrations, new_parameters, write_calibrations, write_parameters
    from pyptv.core.experiment.folder import load_experiment
    from pyptv.core.files.atomic import write_atomic
    from pyptv.core.record.advice_file import FILE_NAME

    experiment = load_experiment(options.experiment)
    sequence = experiment.parameters.sequence
    first = sequence.first if options.first is None else options.first
    last = sequence.last if options.last is None else options.last
    check_range(first, last)
    if options.write is not None:  # before the time is spent
        new_parameters(experiment, options.write)
    if options.fix_calibration is not None:
        new_calibrations(experiment, options.fix_calibration)
    tell = _silent if options.quiet else _tell
    measured = measure(
        experiment, (first, last), engine=options.engine, tell=tell, fix_calibration=options.fix_calibration is not None
    )
    lines = [report(measured), ""]
    names: list[str] = []
    if options.fix_calibration is not None and measured.refined is not None:
        names = write_calibrations(experiment, measured.refined.calibrations, options.fix_calibration)
        lines.append(f"written: {options.fix_calibration}")
    if options.write is not None:
        lines.append(f"written: {write_parameters(experiment, changes(measured), options.write, names)}")
    if options.json is not None:
        path = experiment.results / FILE_NAME if options.json == Path() else options.json
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, (json.dumps(as_tree(measured), indent=1, allow_nan=False) + "\n").encode("utf-8"))
        except OSError as error:
            raise ProcessingError(f"{path}: cannot be written: {error.strerror or error}") from error
        lines.append(f"written: {path}")
    return lines


def _tell(what: str) -> None:
    sys.stderr.write(f"{what} ...\n")


def _silent(_: str) -> None:
    pass


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code


def cli(arguments: Sequence[str] | None = None) -> int:
    """The console script ``pyptv-advise``."""
    use_one_thread()
    return main(arguments)


if __name__ == "__main__":
    sys.exit(cli())
