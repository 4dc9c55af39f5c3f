"""How worker processes are started: forked where that is safe, otherwise spawned."""

from __future__ import annotations

import logging
import multiprocessing
import sys

logger = logging.getLogger(__name__)


def start_method(asked: str | None) -> str:
    """The start method of multiprocessing to use; ``asked``, if given, decides.

    A fork copies the locks of all threads in their current state. BLAS waits for its own locks inside the fork: if another thread
    multiplies matrices all the time, as in a notebook, it waits forever. So a program with other Python threads uses
    spawned workers, which take longer to start and share no memory. forkserver would be as safe, but leaves its server running.
    """
    if asked is not None:
        return asked
    usual = multiprocessing.get_start_method()
    if usual == "fork" and len(sys._current_frames()) > 1:  # noqa: SLF001 -- also counts threads that Python did not start
        logger.debug("This program has other threads: workers are spawned, not forked")
        return "spawn"
    return usual
