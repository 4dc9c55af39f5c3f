"""The choice of engine: the compiled kernels where they are worthwhile, otherwise optv; optv until they are compiled."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pyptv.core.base.errors import InvalidExperimentError
from pyptv.core.base.frames import FrameRange
from pyptv.core.base.options import Engine, Mode, Options
from pyptv.kernels import build, cache

logger = logging.getLogger(__name__)

WORTH_LOADING: dict[Mode, int] = {"both": 10, "sequence": 30, "tracking": 10, "match": 30}
"""Minimum frames per worker for which loading the kernels is worthwhile: docs/performance.md has the measurement."""


class Engines:
    """The current engine of each step: a run may switch from optv to the compiled kernels. The bytes are the same."""

    def __init__(self, engine: Engine, upcoming: Callable[[tuple[str, ...]], bool] | None = None) -> None:
        """``upcoming``: whether groups of kernels are compiled already; None: they are not being compiled."""
        self.begun = engine
        """The engine that the run begins with."""
        self._upcoming = upcoming
        self._tracking = self._all = engine == "compiled"

    @property
    def awaited(self) -> bool:
        """The kernels are being compiled: not all are ready, and none has failed."""
        if self._upcoming is None or self._all:
            return False
        if self.for_sequence() == "compiled":
            return False
        if (failed := build.failure()) is not None:
            logger.warning("Engine optv for the rest of the run: %s", failed)
            self._upcoming = None
        return self._upcoming is not None

    def for_sequence(self) -> Engine:
        """The engine for the next frames of the sequence step.

        Compiled only if tracking is: optv's tracker cannot hold as many targets as the kernels find.
        """
        if (
            not self._all
            and self.for_tracking() == "compiled"
            and self._upcoming is not None
            and self._upcoming(cache.FOR_SEQUENCE)
        ):
            self._all = True
        return "compiled" if self._all else "optv"

    def for_tracking(self) -> Engine:
        """The engine for the next frames of the tracking step."""
        if not self._tracking and self._upcoming is not None and self._upcoming(cache.FOR_TRACKING):
            self._tracking = True
            logger.info("The kernels for tracking are compiled: the run switches to them")
        return "compiled" if self._tracking else "optv"

    @property
    def taken(self) -> Engine:
        """The fastest engine that has been used so far."""
        return "compiled" if self._tracking or self._all else "optv"


def choose(options: Options, frames: FrameRange, *, may_compile: bool = True) -> Engines:
    """The engines for a frame range. If ``auto`` needs kernels that are not compiled, they are compiled in the background.

    Args:
        options: of the run.
        frames: first and last.
        may_compile: compile missing kernels; otherwise optv is used instead.

    Raises:
        InvalidExperimentError: the kernels were requested and are not available.
    """
    if options.engine == "optv":
        return Engines("optv")
    asked = options.engine == "compiled"
    n_frames = frames[1] - frames[0] + 1
    try:
        if not cache.installed():
            raise cache.KernelsUnavailableError('the compiled engine needs numba: pip install "pyptv-batch[fast]"')
        if not asked and n_frames < WORTH_LOADING[options.mode] * options.n_processes:
            return Engines("optv")
        if not cache.ready():
            if not may_compile:
                return Engines("optv")
            if not asked and not options.shared:
                build.build_in_background()
                logger.info("Compiling the kernels in the background, once for this version and machine: optv is used until then")
                return Engines("optv", cache.ready)
            compile_now()
    except cache.KernelsUnavailableError as error:
        if asked:
            raise InvalidExperimentError(f"--engine compiled: {error}") from error
        if cache.installed():
            logger.warning("Engine optv: %s", error)
        return Engines("optv")
    return Engines("compiled")


def compile_now(groups: tuple[str, ...] | None = None) -> None:
    """Compile the missing kernels of some groups (None: all of the standard method), and wait for them.

    Raises:
        KernelsUnavailableError: they cannot be compiled here.
    """
    if not cache.installed():
        raise cache.KernelsUnavailableError('the kernels need numba: pip install "pyptv-batch[fast]"')
    if not cache.ready(groups):
        logger.info("Compiling the kernels, once for this version and machine: up to %s", "two minutes" if groups else "a minute")
        logger.info("Kernels compiled in %.0f s", build.build(groups))
    logger.info("Kernels are kept in %s", cache.chosen_folder())
