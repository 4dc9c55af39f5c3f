"""Process an OpenPTV experiment on several cores: the same files as :mod:`pyptv.pyptv_batch`, in less time.

Command line::

    pyptv-batch-parallel EXP [FIRST LAST] [-j N] [options]
    python -m pyptv.pyptv_batch_parallel EXP FIRST LAST 4
    python pyptv/pyptv_batch_parallel.py EXP FIRST LAST 4

From Python (guarded, because some platforms start workers by importing the script again):

    >>> from pyptv.pyptv_batch_parallel import main
    >>> if __name__ == "__main__":
    ...     main("experiment", 10000, 10004, n_processes=4)  # doctest: +SKIP
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyptv.core.app import batch
from pyptv.core.app.batch import run_sequence_chunk
from pyptv.core.base.errors import ProcessingError
from pyptv.core.base.frames import chunk_ranges
from pyptv.core.cli.scripts import follow, parse_words
from pyptv.core.experiment.folder import validate_experiment_directory
from pyptv.core.experiment.parameters.attrdict import AttrDict

if TYPE_CHECKING:
    from pyptv.core.record.progress import Progress
    from pyptv.core.record.result import RunResult

__all__ = [
    "AttrDict",
    "ProcessingError",
    "chunk_ranges",
    "cli",
    "logger",
    "main",
    "parse_command_line_args",
    "run_batch",
    "run_sequence_chunk",
    "validate_experiment_directory",
]

logger = logging.getLogger(__name__)


def main(
    exp_path: str | Path,
    first: int | str | None = None,
    last: int | str | None = None,
    n_processes: int | str | None = None,
    *,
    progress: Callable[[Progress], object] | bool | None = None,
    **options: Any,
) -> RunResult:
    """Process the frames ``first..last`` of an experiment in several worker processes, including tracking.

    Args:
        exp_path: the experiment folder, a parameter set in it (``parametersRun1/``), or a YAML parameter file in it; or the
            folder that was the ``output`` of an earlier run.
        first: first frame; default: that of the sequence parameters.
        last: last frame, included.
        n_processes: number of workers; default: the CPUs that this process may use.
        progress: a function that receives a :class:`pyptv.core.record.progress.Progress`, up to ten times per second and at the
            end (an exception in it ends the run); True: a bar; False: log lines only, every 30 s; None: a bar in IPython and
            notebooks, otherwise log lines.
        **options: fields of :class:`pyptv.core.base.options.Options`: ``mode`` ("both", "sequence", "tracking"), ``on_error``
            ("abort", "skip"), ``resume``, ``clean``, ``engine`` ("auto", "optv",
            "compiled"), ``report``, ``output`` (a folder for ``res/`` and ``_targets``), ``bit_depth``, ``page``,
            ``frame_timeout``, ``serial_tracking``, ``start_method``.

    Returns:
        The result: numbers of frames, particles and links, failed frames, seconds, and the paths of the files.

    Raises:
        ValueError: a bad argument.
        ProcessingError: the experiment is not valid, or a frame failed (and ``on_error`` is "abort").
    """
    chosen = batch.parallel_options(options, n_processes)
    return batch.run_batch(exp_path, first, last, kind=batch.PARALLEL_BATCH, watch=follow(progress), options=chosen)


def run_batch(seq_first: int, seq_last: int, exp_path: str | Path) -> RunResult:
    """:func:`main` with the argument order of PyPTV's scripts, with all CPUs that this process may use.

    Raises:
        ValueError: a bad argument.
        ProcessingError: the experiment is not valid, or a frame failed.
    """
    return main(exp_path, seq_first, seq_last)


def parse_command_line_args() -> tuple[Path, int, int, int | None]:
    """The experiment, first and last frame, and the number of processes (or None), from ``sys.argv``.

    Raises:
        ValueError: a word is missing, or is not a whole number.
    """
    exp_path, numbers = parse_words(sys.argv[1:5], ("FIRST", "LAST"))
    return exp_path, numbers[0], numbers[1], numbers[2] if len(numbers) > 2 else None


def cli(arguments: list[str] | None = None) -> int:
    """The command ``pyptv-batch-parallel``: returns its exit code."""
    from pyptv.core.cli.command import command  # only the command line needs argparse
    from pyptv.core.cli.options import PARALLEL

    return command(PARALLEL, arguments)


if __name__ == "__main__":
    sys.exit(cli())
