"""Standard output and log files that may be closed, full, or not files at all: one clear error, never a hang."""

from __future__ import annotations

import logging
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

from pyptv.core.base.errors import ProcessingError

IN_TABLE = {"in_table": True}
"""``extra`` of the records whose content is also in the table at the end of a run: a terminal, which shows the table, omits these
records."""


def show(text: str) -> None:
    """Write text to standard output, at once. A reader that has ended (``| head``) is not an error.

    Raises:
        ProcessingError: it cannot be written: a full disk, a device.
    """
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        _leave_standard_output()
    except OSError as error:
        _leave_standard_output()
        raise ProcessingError(f"standard output cannot be written: {error.strerror or error}") from error


def _leave_standard_output() -> None:
    """Redirect it to nowhere: its buffer would fail again when the interpreter ends, and change the exit code."""
    with suppress(OSError, ValueError):  # a replacement by a test or a notebook has no descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class LogFile(logging.Handler):
    """Appends log lines to a file, as UTF-8. A file that can no longer be written is abandoned with a warning."""

    def __init__(self, path: Path) -> None:
        """Open the file; create it if it does not exist.

        Raises:
            OSError: it cannot be opened, or is a pipe: a run must not wait for a reader.
        """
        super().__init__()
        self._path = path
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
        self._descriptor = os.open(path, flags, 0o666)
        if stat.S_ISFIFO(os.fstat(self._descriptor).st_mode):
            os.close(self._descriptor)
            raise OSError(None, "found a pipe, expected a file", str(path))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        if self._descriptor < 0:
            return
        try:
            line = memoryview((self.format(record) + "\n").encode("utf-8", "backslashreplace"))
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError as error:
            self._give_up()
            logging.getLogger(__name__).warning(
                "--log-file %s: %s: nothing more is written there", self._path, error.strerror or error
            )

    def close(self) -> None:
        """Close the file."""
        self._give_up()
        super().close()

    def _give_up(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                os.close(descriptor)
