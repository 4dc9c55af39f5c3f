"""What the command line shows: log lines, the progress bar and the summary, all on standard error, with one owner."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyptv.core.base.events import Event, FrameDone, FrameFailed, StepDone
from pyptv.core.base.streams import LogFile
from pyptv.core.record.summary import summary_lines

LOG_FORMAT = "%(asctime)s - %(levelname)s - %(message)s"
_BAR_FORMAT = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} frames [{elapsed}<{remaining}, {rate_noinv_fmt}]"
_STEP_WIDTH = len("sequence")


class Console:
    """Log handlers for a command; on a terminal a progress bar, and a table when the run has ended."""

    def __init__(self, level: str, log_file: Path | None, *, quiet: bool, progress: bool) -> None:
        self._bar: Any = None
        self._steps = 1
        self._report: dict[str, Any] | None = None
        self._files: list[Path] = []
        self._shows_more = not quiet and sys.stderr.isatty()
        self._wants_bar = progress and self._shows_more
        self._handlers: list[logging.Handler] = [_BarHandler(self)]
        if quiet:
            self._handlers[0].setLevel(logging.ERROR)
        if log_file is not None:
            self._handlers.append(LogFile(log_file))
        self._logger = logging.getLogger("pyptv")
        self._level_before = self._logger.level
        self._logger.setLevel(level)
        for handler in self._handlers:
            handler.setFormatter(logging.Formatter(LOG_FORMAT))
            self._logger.addHandler(handler)

    def expect(self, frames: int, steps: int, done: int = 0) -> None:
        """Show a bar that counts each frame through each step; those that are kept do not count as fast ones."""
        self._steps = steps
        if self._wants_bar:
            from tqdm import tqdm  # only for a bar

            tqdm.monitor_interval = 0  # its thread would only get in the way of forked workers
            self._bar = tqdm(
                total=frames * steps,
                initial=done,
                unit=" frames",
                dynamic_ncols=True,
                smoothing=0.1,
                desc=f"{'sequence':<{_STEP_WIDTH}}",
                bar_format=_BAR_FORMAT,
            )

    def watch(self, event: Event) -> None:
        """Count what is done."""
        if self._bar is None:
            return
        if isinstance(event, FrameDone | StepDone | FrameFailed):
            step = "sequence" if isinstance(event, FrameDone) else "tracking" if isinstance(event, StepDone) else event.step
            self._bar.set_description_str(f"{step:<{_STEP_WIDTH}}", refresh=False)
            through = self._steps if isinstance(event, FrameFailed) and event.step == "sequence" else 1
            with suppress(OSError):  # the terminal may have been closed
                self._bar.update(min(through, self._bar.total - self._bar.n))  # a step can be done again

    def finish(self, report: dict[str, Any]) -> None:
        """The bar has come to its end; keep the report for :meth:`show_summary`."""
        self._close_bar()
        self._report, self._files = report, []

    def wrote(self, path: Path) -> None:
        """Name a file in the summary."""
        self._files.append(path)

    def show_summary(self) -> None:
        """Write the table of a run that has ended, on a terminal."""
        if self._shows_more and self._report is not None:
            self.write("\n".join(["", *summary_lines(self._report, self._files)]))
        self._report = None

    def write(self, line: str) -> None:
        """Write a log line, above the bar where there is one; nobody may read standard error any more, and the run goes on."""
        with suppress(OSError):
            if self._bar is not None:
                self._bar.write(line, file=sys.stderr)
            else:
                sys.stderr.write(line + "\n")

    def close(self) -> None:
        """Take the bar and the handlers away."""
        self._close_bar()
        for handler in self._handlers:
            self._logger.removeHandler(handler)
            handler.close()
        self._logger.setLevel(self._level_before)

    def _close_bar(self) -> None:
        if self._bar is not None:
            with suppress(OSError):
                self._bar.close()
            self._bar = None


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
