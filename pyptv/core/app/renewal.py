"""``--watch``: reports are updated regularly while frames still arrive."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

logger = logging.getLogger(__name__)

_EVERY = 30.0
"""Seconds between two run reports, and minimum time between the end of one page and the start of the next."""
_PART = 10.0
"""A page is started only after this multiple of the time that the last one took: frames have priority."""
_LOW_PRIORITY = 10


class Renewal:
    """Writes the current run report, and starts a separate process that makes a page of it."""

    def __init__(self, write: Callable[[], None], page_of: str | None) -> None:
        """``write`` writes the run report; ``page_of``: the experiment whose HTML report is wanted, or None."""
        self._write = write
        self._page_of = page_of
        self._due = self._page_due = 0.0
        self._page: subprocess.Popen[bytes] | None = None
        self._begun = 0.0

    def look(self) -> None:
        """Update the reports that are due."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + _EVERY
        try:
            self._write()
            self._begin_page(now)
        except OSError as error:  # frames matter more, and the next report may succeed
            logger.warning("The report cannot be updated: %s", error)

    def _begin_page(self, now: float) -> None:
        if self._page is not None and self._page.poll() is not None:
            self._page_due = now + max(_EVERY, _PART * (now - self._begun)) - _EVERY
            self._page = None
        if self._page_of is None or self._page is not None or now < self._page_due:
            return
        command = [sys.executable, "-m", "pyptv.report", self._page_of]
        nowhere = subprocess.DEVNULL
        self._page = subprocess.Popen(  # noqa: S603 -- our own module, of a path that is one of the run
            command, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True
        )
        self._begun = now
        if hasattr(os, "setpriority"):
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._page.pid, _LOW_PRIORITY)

    def close(self) -> None:
        """The run is over: it writes its final reports itself."""
        if self._page is not None:
            self._page.kill()
            self._page.wait()
