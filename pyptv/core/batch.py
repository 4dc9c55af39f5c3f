"""What the two entry points do between their arguments and a run."""

from __future__ import annotations

import logging
import os
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyptv.core.frames import check_range

if TYPE_CHECKING:
    from pyptv.core.report import Report
    from pyptv.core.run import Watcher

logger = logging.getLogger(__name__)


def run_batch(
    exp_path: str | Path,
    first: Any,
    last: Any,
    *,
    repetitions: Any = 1,
    kind: str = "batch",
    watch: Watcher | None = None,
    **options: Any,
) -> Report:
    """Check the arguments, process the frames as often as asked, and return the last report.

    Args:
        exp_path: folder or YAML file.
        first: number, numeric text, or None for the parameters' own.
        last: likewise.
        repetitions: at least 1.
        kind: ``"batch"`` or ``"parallel batch"``: how the log calls it.
        watch: told of the number of frames, then of every event.
        **options: of :class:`pyptv.core.run.Options`.

    Raises:
        ValueError: a bad argument.
        ProcessingError: the experiment is not valid, or a frame failed (and ``on_error`` is "abort").
    """
    times = _whole(repetitions, "Repetitions")
    if times < 1:
        raise ValueError(f"Repetitions must be >= 1, got {times}")
    numbers = [None if frame is None else _whole(frame, name) for frame, name in ((first, "First frame"), (last, "Last frame"))]
    if numbers[0] is not None and numbers[1] is not None:
        check_range(numbers[0], numbers[1])

    from pyptv.core.options import Options  # noqa: PLC0415 -- bad arguments are told without loading the core
    from pyptv.core.run import prepare, process  # noqa: PLC0415 -- bad arguments are told without loading the core

    chosen = Options(**options)
    experiment, frames = prepare(exp_path, *numbers)
    logger.info("Starting %s processing in directory: %s", kind, experiment.folder)
    logger.info("Frame range: %d to %d", *frames)
    if kind == "batch":
        logger.info("Repetitions: %d", times)
    else:
        logger.info("Number of processes: %d", chosen.n_processes)
    for repetition in range(1, times + 1):
        if times > 1:
            logger.info("Starting repetition %d of %d", repetition, times)
        report = process(experiment, frames, chosen, watch, kind=kind)
    return report


def process_count(asked: Any) -> int:
    """How many worker processes to use; None: the CPUs that this process may use.

    Raises:
        ValueError: not a number, or below 1.
    """
    available = usable_cpus()
    if asked is None:
        logger.info("Using default number of processes: %d (CPU count)", available)
        return available
    n = _whole(asked, "Number of processes")
    if n < 1:
        raise ValueError(f"Number of processes must be >= 1, got {n}")
    if n > available:
        logger.warning("Requested %d processes, but only %d CPUs are available: more will not be faster", n, available)
    return n


def usable_cpus() -> int:
    """The CPUs that this process may use: affinity and the limit of a container count, not the machine."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:  # control groups, version 2: "max 100000" or "150000 100000"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        cpus = min(cpus, max(1, -(-int(quota) // int(period))))
    except (OSError, ValueError):
        pass
    return cpus


def run_sequence_chunk(exp_path: str | Path, first: int, last: int) -> tuple[int, int]:
    """Run the sequence step of the frames ``first..last`` in this process.

    Returns:
        ``(first, last)``.

    Raises:
        ValueError: frames in the wrong order.
        ProcessingError: the experiment is not valid, or a frame failed.
    """
    check_range(first, last)
    from pyptv.core.worker import process_chunk  # noqa: PLC0415 -- imports optv

    process_chunk(exp_path, first, last)
    return first, last


def _whole(value: Any, name: str) -> int:
    try:
        return int(value) if isinstance(value, str) else index(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a whole number, got {value!r}") from None
