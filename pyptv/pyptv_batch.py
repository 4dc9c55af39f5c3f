"""Process an OpenPTV experiment frame by frame: detection, correspondence, 3-D positions, tracking.

Command line::

    pyptv-batch EXP [FIRST LAST] [-j N] [options]
    python -m pyptv.pyptv_batch EXP FIRST LAST
    python pyptv/pyptv_batch.py EXP FIRST LAST

From Python:

    >>> from pyptv.pyptv_batch import main
    >>> if __name__ == "__main__":  # on some platforms the worker imports the script again
    ...     main("experiment", 10000, 10004)  # doctest: +SKIP
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyptv.core.app import batch
from pyptv.core.base.errors import ProcessingError
from pyptv.core.base.options import make_options
from pyptv.core.cli.scripts import follow, parse_words
from pyptv.core.experiment.folder import validate_experiment_directory
from pyptv.core.experiment.parameters.attrdict import AttrDict

if TYPE_CHECKING:
    from pyptv.core.record.progress import Progress
    from pyptv.core.record.result import RunResult

__all__ = [
    "AttrDict",
    "ProcessingError",
    "cli",
    "logger",
    "main",
    "parse_command_line_args",
    "run_batch",
    "validate_experiment_directory",
]

logger = logging.getLogger(__name__)


def main(
    exp_path: str | Path,
    first: int | str | None = None,
    last: int | str | None = None,
    repetitions: int | str = 1,
    *,
    progress: Callable[[Progress], object] | bool | None = None,
    **options: Any,
) -> RunResult:
    """Process the frames ``first..last`` of an experiment, one after the other.

    The work is done in one worker process, so that a crash of the C library costs a frame, not the run.

    Args:
        exp_path: the experiment folder, a parameter set in it (``parametersRun1/``), or a YAML parameter file in it; or the
            folder that was the ``output`` of an earlier run.
        first: first frame; default: that of the sequence parameters.
        last: last frame, included.
        repetitions: number of repetitions of the whole run; each gives the same files.
        progress: a function that receives a :class:`pyptv.core.record.progress.Progress`, up to ten times per second and at the
            end (an exception in it ends the run); True: a bar; False: log lines only, every 30 s; None: a bar in IPython and
            notebooks, otherwise log lines.
        **options: fields of :class:`pyptv.core.base.options.Options`: ``mode`` ("both", "sequence", "tracking"), ``on_error``
            ("abort", "skip"), ``resume``, ``clean``, ``engine`` ("auto", "optv",
            "compiled"), ``report``, ``output`` (a folder for ``res/`` and ``_targets``), ``bit_depth``, ``page``,
            ``frame_timeout``, ``n_processes`` (default 1; None: the usable CPUs), ``serial_tracking``, ``start_method``.

    Returns:
        The result: numbers of frames, particles and links, failed frames, seconds, and the paths of the files.

    Raises:
        ValueError: a bad argument.
        ProcessingError: the experiment is not valid, or a frame failed (and ``on_error`` is "abort").
    """
    if "n_processes" in options:
        kind, chosen = batch.PARALLEL_BATCH, batch.parallel_options(options, options.pop("n_processes"))
    else:
        kind, chosen = batch.BATCH, make_options(options)
    return batch.run_batch(exp_path, first, last, repetitions=repetitions, kind=kind, watch=follow(progress), options=chosen)


def run_batch(seq_first: int, seq_last: int, exp_path: str | Path) -> RunResult:
    """:func:`main` with the argument order of PyPTV's scripts.

    Raises:
        ValueError: a bad argument.
        ProcessingError: the experiment is not valid, or a frame failed.
    """
    return main(exp_path, seq_first, seq_last)


def parse_command_line_args() -> tuple[Path, int, int]:
    """The experiment, first and last frame, from ``sys.argv``.

    Raises:
        ValueError: a word is missing, or is not a whole number.
    """
    exp_path, (first, last) = parse_words(sys.argv[1:4], ("FIRST", "LAST"))
    return exp_path, first, last


def cli(arguments: list[str] | None = None) -> int:
    """The command ``pyptv-batch``: returns its exit code."""
    from pyptv.core.cli.command import command  # only the command line needs argparse
    from pyptv.core.cli.options import SEQUENTIAL

    return command(SEQUENTIAL, arguments)


if __name__ == "__main__":
    sys.exit(cli())
