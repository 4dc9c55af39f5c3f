"""Process an OpenPTV experiment on several cores: the same files as :mod:`pyptv.pyptv_batch`, sooner.

Command line::

    pyptv-batch-parallel EXP [FIRST LAST [N_PROCESSES]] [options]
    python -m pyptv.pyptv_batch_parallel EXP FIRST LAST 4
    python pyptv/pyptv_batch_parallel.py EXP FIRST LAST 4

From Python (guarded, because some platforms start workers by importing the script again):

    >>> from pyptv.pyptv_batch_parallel import main
    >>> if __name__ == "__main__":
    ...     main("experiment", 10000, 10004, n_processes=4)  # doctest: +SKIP
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pyptv.core.app.batch import process_count, run_batch, run_sequence_chunk
from pyptv.core.base.errors import ProcessingError
from pyptv.core.base.frames import chunk_ranges
from pyptv.core.experiment.attrdict import AttrDict
from pyptv.core.experiment.folder import validate_experiment_directory

__all__ = ["AttrDict", "ProcessingError", "chunk_ranges", "cli", "main", "run_sequence_chunk", "validate_experiment_directory"]


def main(
    exp_path: str | Path,
    first: int | str | None = None,
    last: int | str | None = None,
    n_processes: int | str | None = None,
    **options: Any,
) -> None:
    """Process the frames ``first..last`` of an experiment on several worker processes, tracking included.

    Args:
        exp_path: the experiment folder, or a YAML parameter file in it.
        first: first frame; default: that of the sequence parameters.
        last: last frame, included.
        n_processes: number of workers; default: the CPUs that this process may use.
        **options: fields of :class:`pyptv.core.base.options.Options`: ``mode`` ("both", "sequence", "tracking"), ``on_error``
            ("abort", "skip"), ``resume``, ``clean``, ``engine`` ("auto", "optv",
            "compiled"), ``report``, ``bit_depth``, ``page``,
            ``frame_timeout``, ``serial_tracking``, ``start_method``.

    Raises:
        ValueError: a bad argument.
        ProcessingError: the experiment is not valid, or a frame failed (and ``on_error`` is "abort").
    """
    n = process_count(n_processes)
    run_batch(exp_path, first, last, kind="parallel batch", **{"serial_tracking": False, **options, "n_processes": n})


def cli(arguments: list[str] | None = None) -> int:
    """The command ``pyptv-batch-parallel``: returns its exit code."""
    from pyptv.core.app.cli import PARALLEL, command  # only the command line needs argparse

    return command(PARALLEL, arguments)


if __name__ == "__main__":
    sys.exit(cli())
