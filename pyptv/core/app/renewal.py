"""``--watch``: reports made anew now and then while frames still come, so that somebody can look at them."""

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
"""Seconds between two run reports, and at least between the end of one page and the start of the next."""
_PART = 10.0
"""A page is begun only after so many times as long as the last one has taken: frames come first."""
_LOW_PRIORITY = 10


class Renewal:
    """Writes the run report of the moment, and lets a process of its own make the page of it."""

    def __init__(self, write: Callable[[], None], page_of: str | None) -> None:
        """``write`` writes the run report; ``page_of``: the experiment whose HTML report is wanted, None: none is."""
        self._write = write
        self._page_of = page_of
        self._due = self._page_due = 0.0
        self._page: subprocess.Popen[bytes] | None = None
        self._begun = 0.0

    def look(self) -> None:
        """Renew what is due."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + _EVERY
        try:
            self._write()
            self._begin_page(now)
        except OSError as error:  # frames count, and the next one may be written
            logger.warning("The report of the moment cannot be renewed: %s", error)

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
        """The run is over: its own reports come now."""
        if self._page is not None:
            self._page.kill()
            self._page.wait()
