"""Progress of a run: a bar on a terminal or in a notebook, a log line every 30 s, or a user's function."""

from __future__ import annotations

import builtins
import logging
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from reprlib import repr as short
from typing import Any, TextIO

from pyptv.core.record.progress import Meter, Progress, duration
from pyptv.core.record.watcher import Watcher

logger = logging.getLogger(__name__)

_BAR_FORMAT = "{desc} {percentage:3.0f}%|{bar}|{postfix}"
_LOG_EVERY, _SHOW_EVERY = 30.0, 0.1
"""Seconds between two log lines, and between two updates of a bar or a function."""


class Follower:
    """Passes the progress of a run to a function at intervals, and once more at the end."""

    def __init__(self, show: Callable[[Progress], Any], every: float = _SHOW_EVERY) -> None:
        self._show_progress = show
        self._every = every
        self._meter: Meter | None = None
        self._next = 0.0

    def begin(self, meter: Meter) -> None:
        """The run begins."""
        self._meter = meter
        self._next = time.monotonic() + self._every

    def advance(self) -> None:
        """Report the progress if it is due."""
        if time.monotonic() >= self._next and self._meter is not None:
            self._next = time.monotonic() + self._every
            self._show_progress(self._meter.progress())

    def finish(self, report: dict[str, Any]) -> None:
        """Report the final progress."""
        del report
        if self._meter is not None:
            self._show_progress(self._meter.progress())

    def wrote(self, path: Path) -> None:
        """Ignore written reports."""


class ProgressLog(Follower):
    """A log line every 30 s if there is no bar; none at the end, which has its own lines."""

    def __init__(self, every: float = _LOG_EVERY) -> None:
        super().__init__(lambda progress: logger.info("Progress: %s", progress), every)

    def finish(self, report: dict[str, Any]) -> None:
        """Log nothing at the end."""


class Bar(Follower):
    """A progress bar, on a terminal or in a notebook."""

    def __init__(self, *, notebook: bool = False) -> None:
        super().__init__(self._show)
        self._notebook = notebook
        self._bar: Any = None

    def begin(self, meter: Meter) -> None:
        """Draw the bar."""
        super().begin(meter)
        tqdm = import_module("tqdm.auto" if self._notebook else "tqdm").tqdm  # only for a bar
        tqdm.monitor_interval = 0  # its thread would interfere with forking workers
        self._bar = tqdm(total=100, dynamic_ncols=True, bar_format=_BAR_FORMAT, desc=meter.progress().counts)

    def finish(self, report: dict[str, Any]) -> None:
        """Draw the bar a last time, and leave it on the screen."""
        super().finish(report)
        self.close()

    def close(self) -> None:
        """Close the bar, if there is one."""
        if self._bar is not None:
            with suppress(OSError):  # the terminal may have been closed
                self._bar.close()
            self._bar = None

    def write(self, line: str, stream: TextIO) -> None:
        """Write a line above the bar."""
        if self._bar is not None:
            self._bar.write(line, file=stream)
        else:
            stream.write(line + "\n")

    def _show(self, progress: Progress) -> None:
        if self._bar is None:
            return
        left = progress.seconds_left
        self._bar.n = 100 * progress.fraction
        self._bar.set_description_str(progress.counts, refresh=False)
        if left is not None and progress.fraction < 1:
            self._bar.set_postfix_str(f"{progress.rate:.1f} frames/s, {duration(left)} left", refresh=False)
        else:
            self._bar.set_postfix_str(f"{progress.rate:.1f} frames/s, {duration(progress.seconds)}", refresh=False)
        with suppress(OSError):
            self._bar.refresh()


class Watchers:
    """Several watchers, as one."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = watchers

    def begin(self, meter: Meter) -> None:
        """To each."""
        for watcher in self._watchers:
            watcher.begin(meter)

    def advance(self) -> None:
        """To each."""
        for watcher in self._watchers:
            watcher.advance()

    def finish(self, report: dict[str, Any]) -> None:
        """To each."""
        for watcher in self._watchers:
            watcher.finish(report)

    def wrote(self, path: Path) -> None:
        """To each."""
        for watcher in self._watchers:
            watcher.wrote(path)


def follow(progress: Any) -> Watcher:
    """The observer of a run that was called from Python.

    Args:
        progress: a function that receives a :class:`pyptv.core.record.progress.Progress` up to ten times per second and at the
            end; True: a bar; False: log lines only; None: a bar in a notebook, or IPython on a terminal, and log lines elsewhere.

    Raises:
        ValueError: another value.
    """
    if callable(progress):
        return Watchers([Follower(progress), ProgressLog()])
    if progress is None:
        progress = _interactive()
    if not isinstance(progress, bool):
        raise ValueError(  # noqa: TRY004 -- what main() raises for any bad argument
            f"progress must be a function, True, False or None, got {short(progress)}"
        )
    return Bar(notebook=True) if progress else ProgressLog()


def _interactive() -> bool:
    """Whether this is an interactive IPython: a notebook, or its prompt on a terminal."""
    if not hasattr(builtins, "get_ipython"):
        return False
    return "ipykernel" in sys.modules or sys.stderr.isatty()
