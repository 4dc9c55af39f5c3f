"""Output of the command line on standard error: log lines, the progress bar and the summary, controlled in one place."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyptv.core.base.streams import IN_TABLE, LogFile
from pyptv.core.cli.progress import Bar, Follower, ProgressLog
from pyptv.core.record.progress import Meter
from pyptv.core.record.summary import summary_lines

LOG_FORMAT = "%(asctime)s - %(levelname)s - %(message)s"


class Console:
    """Log handlers for a command; on a terminal a progress bar, and a table at the end of the run; elsewhere log lines."""

    def __init__(self, level: str, log_file: Path | None, *, quiet: bool, progress: bool) -> None:
        self._report: dict[str, Any] | None = None
        self._files: list[Path] = []
        self._has_table = not quiet and sys.stderr.isatty()
        self._bar = Bar() if progress and self._has_table else None
        self._progress: Follower = self._bar or ProgressLog()
        self._handlers: list[logging.Handler] = [_BarHandler(self)]
        if quiet:
            self._handlers[0].setLevel(logging.ERROR)
        if self._has_table:
            self._handlers[0].addFilter(lambda record: not hasattr(record, *IN_TABLE))
        if log_file is not None:
            self._handlers.append(LogFile(log_file))
        self._logger = logging.getLogger("pyptv")
        self._level_before = self._logger.level
        self._logger.setLevel(level)
        for handler in self._handlers:
            handler.setFormatter(logging.Formatter(LOG_FORMAT))
            self._logger.addHandler(handler)

    def begin(self, meter: Meter) -> None:
        """Follow a run."""
        self._progress.begin(meter)

    def advance(self) -> None:
        """Show the progress."""
        self._progress.advance()

    def finish(self, report: dict[str, Any]) -> None:
        """Complete the bar; keep the report for :meth:`show_summary`."""
        self._progress.finish(report)
        self._report, self._files = report, []

    def wrote(self, path: Path) -> None:
        """Name a file in the summary."""
        self._files.append(path)

    def show_summary(self) -> None:
        """Write the table of a run that has ended, on a terminal."""
        if self._has_table and self._report is not None:
            self.write("\n".join(["", *summary_lines(self._report, self._files)]))
        self._report = None

    def write(self, line: str) -> None:
        """Write a log line, above the bar if there is one. If standard error is closed, the run continues."""
        with suppress(OSError):
            if self._bar is not None:
                self._bar.write(line, sys.stderr)
            else:
                sys.stderr.write(line + "\n")

    def close(self) -> None:
        """Remove the bar and the handlers."""
        if self._bar is not None:
            self._bar.close()
        for handler in self._handlers:
            self._logger.removeHandler(handler)
            handler.close()
        self._logger.setLevel(self._level_before)


class _BarHandler(logging.Handler):
    """Writes log records to standard error, above the progress bar."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record above the bar."""
        try:
            self._console.write(self.format(record))
        except Exception:  # as every logging handler does
            self.handleError(record)
