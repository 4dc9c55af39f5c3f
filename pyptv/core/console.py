"""What the command line shows: log lines and the progress bar, both on standard error, with one owner."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyptv.core.results import Event, FrameDone, FrameFailed, StepDone

LOG_FORMAT = "%(asctime)s - %(levelname)s - %(message)s"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class Console:
    """Log handlers for a command, and a progress bar on a terminal."""

    def __init__(self, level: str, log_file: Path | None, *, quiet: bool, progress: bool) -> None:
        self._bar: Any = None
        self._wants_bar = progress and not quiet and sys.stderr.isatty()
        self._logger = logging.getLogger("pyptv")
        self._level_before = self._logger.level
        self._logger.setLevel(level)
        self._handlers: list[logging.Handler] = [_BarHandler(self)]
        if quiet:
            self._handlers[0].setLevel(logging.ERROR)
        if log_file is not None:
            self._handlers.append(logging.FileHandler(log_file, encoding="utf-8"))
        for handler in self._handlers:
            handler.setFormatter(logging.Formatter(LOG_FORMAT))
            self._logger.addHandler(handler)

    def expect(self, frames: int, steps: int) -> None:
        """Show a bar that counts each frame through each step."""
        if self._wants_bar:
            from tqdm import tqdm  # noqa: PLC0415 -- only for a bar

            tqdm.monitor_interval = 0  # its thread would only get in the way of forked workers
            self._bar = tqdm(total=frames * steps, unit="frame", dynamic_ncols=True, smoothing=0.1, desc="sequence")

    def watch(self, event: Event) -> None:
        """Count what is done."""
        if self._bar is None:
            return
        if isinstance(event, FrameDone | StepDone | FrameFailed):
            step = "sequence" if isinstance(event, FrameDone) else "tracking" if isinstance(event, StepDone) else event.step
            if self._bar.desc != f"{step}: ":
                self._bar.set_description(step, refresh=False)
            self._bar.update()

    def write(self, line: str) -> None:
        """Write a log line, above the bar where there is one."""
        with suppress(BrokenPipeError):
            if self._bar is not None:
                self._bar.write(line, file=sys.stderr)
            else:
                sys.stderr.write(line + "\n")

    def close(self) -> None:
        """Take the bar and the handlers away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        for handler in self._handlers:
            self._logger.removeHandler(handler)
            handler.close()
        self._logger.setLevel(self._level_before)


class _BarHandler(logging.Handler):
    """Log records to standard error, around the progress bar."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record where the bar is not."""
        try:
            self._console.write(self.format(record))
        except Exception:  # as every logging handler does
            self.handleError(record)
