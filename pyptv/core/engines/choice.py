"""Which engine a run takes: the compiled kernels where they pay, else optv."""

from __future__ import annotations

import logging
from contextlib import suppress

from pyptv.core.base.errors import InvalidExperimentError
from pyptv.core.base.frames import FrameRange
from pyptv.core.base.options import Engine, Mode, Options
from pyptv.core.files.locks import HeldError, lock
from pyptv.kernels import build, cache

logger = logging.getLogger(__name__)

WORTH_LOADING: dict[Mode, int] = {"both": 10, "sequence": 30, "tracking": 10, "match": 30}
"""Frames for each worker from which on loading the kernels pays: docs/performance.md has the measurement."""

_LONGEST_BUILD = 600.0
"""Seconds to wait for another job that compiles them."""

WORTH_COMPILING = 300
"""Frames of a run from which on compiling them pays at once; the runs after it only load them."""


def make_ready() -> None:
    """Compile the kernels where they are not there yet; of many jobs that want to, on one disk, one does it for all.

    Raises:
        KernelsUnavailableError: they cannot be compiled here.
    """
    if cache.ready():
        return
    folder = cache.chosen_folder()
    with suppress(HeldError, OSError):  # another job may hang: compiling twice does no harm
        with lock(folder.with_name(f"{folder.name}.lock"), _LONGEST_BUILD)[0]:
            if not cache.ready():
                _build()
        return
    _build()


def _build() -> None:
    logger.info("Compiling the kernels, once for this version and machine: up to a minute")
    logger.info("Kernels compiled in %.0f s, kept in %s", build.build(), cache.chosen_folder())


def choose(options: Options, frames: FrameRange, *, may_compile: bool = True) -> Engine:
    """The engine for a frame range.

    Args:
        options: of the run.
        frames: first and last.
        may_compile: compile the kernels where they are wanted and not there yet; otherwise optv stands in for them.

    Raises:
        InvalidExperimentError: the kernels were asked for, and cannot be had here.
    """
    if options.engine == "optv":
        return "optv"
    asked = options.engine == "compiled"
    n_frames = frames[1] - frames[0] + 1
    try:
        if not cache.installed():
            raise cache.KernelsUnavailableError('the compiled engine needs numba: pip install "pyptv-batch[fast]"')
        if not asked and n_frames < WORTH_LOADING[options.mode] * options.n_processes:
            return "optv"
        if not cache.ready():
            if not may_compile:
                return "optv"
            if not asked and n_frames < WORTH_COMPILING:
                logger.info("Engine optv: the kernels are not compiled on this machine yet (--engine compiled does it once)")
                return "optv"
            make_ready()
    except cache.KernelsUnavailableError as error:
        if asked:
            raise InvalidExperimentError(f"--engine compiled: {error}") from error
        if cache.installed():
            logger.warning("Engine optv: %s", error)
        return "optv"
    return "compiled"
