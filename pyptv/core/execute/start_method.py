"""How worker processes are started: forked where that is safe, else anew."""

from __future__ import annotations

import logging
import multiprocessing
import sys

logger = logging.getLogger(__name__)


def start_method(asked: str | None) -> str:
    """The start method of multiprocessing to use; ``asked`` decides where it is named.

    A fork copies the locks of all threads as they stand. BLAS waits in the fork itself for its own: where another thread of the
    program multiplies matrices all the time, as in a notebook, it waits forever. So a program with other Python threads gets
    spawned workers, which take longer to start and share no memory. forkserver would be as safe, but leaves its server behind.
    """
    if asked is not None:
        return asked
    usual = multiprocessing.get_start_method()
    if usual == "fork" and len(sys._current_frames()) > 1:  # noqa: SLF001 -- also counts threads that Python did not start
        logger.debug("This program has other threads: workers are spawned, not forked")
        return "spawn"
    return usual
