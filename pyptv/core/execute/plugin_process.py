"""Runs a plugin of PyPTV in a separate process, in a copy of the experiment, with limits of time and output."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import IO

import pyptv
from pyptv.core.base.errors import ProcessingError
from pyptv.core.base.frames import FrameRange
from pyptv.core.experiment.folder import Experiment
from pyptv.core.plugins.plugin_specs import PluginSpec
from pyptv.core.stages.plugin_host import BEGINS, ERROR_MARK, request

logger = logging.getLogger(__name__)

_PATIENCE = 300.0
"""Seconds without a line of output or a new file after which a plugin is ended; ``--frame-timeout`` replaces it."""

_START = 600.0
"""The same before its code runs."""

_LOOK = 0.1
_LONGEST_LINE = 1000
_MOST_KEPT_LINES = 20


def run_plugin(spec: PluginSpec, experiment: Experiment, frames: FrameRange, stage: Experiment, timeout: float | None) -> None:
    """Run a plugin over a range of frames.

    Args:
        spec: of the plugin.
        experiment: whose parameters and calibrations it receives.
        frames: first and last.
        stage: the copy of the experiment that it works in.
        timeout: seconds without progress after which it is ended; 0: never; None: 300.

    Raises:
        ProcessingError: it failed, died, or hung.
    """
    limit = _PATIENCE if timeout is None else timeout
    here = str(Path(pyptv.__file__).parents[1])
    paths = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": paths, "MPLBACKEND": "Agg", "PYTHONUNBUFFERED": "1", "QT_QPA_PLATFORM": "offscreen"}
    process = subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",  # -P: modules in the experiment's folder do not replace ours
            "pyptv.core.stages.plugin_host",
        ],
        cwd=stage.folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    output = _Output(spec, process.stdout)
    try:
        if process.stdin is not None:
            with suppress(BrokenPipeError), process.stdin:
                process.stdin.write(request(spec, experiment, frames))
        _wait(process, spec, output, stage.results, limit)
    finally:
        _kill(process)
        output.finish()
    if process.returncode != 0:
        raise ProcessingError(f"{spec.kind} plugin {spec.name}: {_cause(process.returncode, output)}")


def _wait(process: subprocess.Popen[bytes], spec: PluginSpec, output: _Output, results: Path, limit: float) -> None:
    """Wait for the end of the process; end it if it makes no progress for too long."""
    seen: object = None
    quiet_since = time.monotonic()
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK)
            return
        now = output.count, _last_change(results)
        if now != seen:
            seen, quiet_since = now, time.monotonic()
        elif limit and time.monotonic() - quiet_since > (limit if output.begun else max(limit, _START)):
            raise ProcessingError(
                f"{spec.kind} plugin {spec.name}: made no progress for {limit:.3g} s (--frame-timeout allows more)"
            )


def _last_change(folder: Path) -> int:
    with suppress(OSError):
        return folder.stat().st_mtime_ns
    return 0


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and its children."""
    if hasattr(os, "killpg"):
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _cause(code: int, output: _Output) -> str:
    if output.error:
        return output.error
    if code < 0:
        with suppress(ValueError):
            return f"its process was killed by signal {-code} ({signal.Signals(-code).name})"
    last = f": {output.lines[-1]}" if output.lines else ""
    return f"its process ended with exit status {code}{last}"


class _Output:
    """The output of a plugin: lines go to the log, the last ones are kept for a message."""

    def __init__(self, spec: PluginSpec, stream: IO[bytes] | None) -> None:
        self.count = 0
        self.lines: deque[str] = deque(maxlen=_MOST_KEPT_LINES)
        self.error = ""
        self.begun = False
        """The plugin's code is running."""
        self._name = spec.name
        self._stream = stream
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Read the remaining output."""
        self._thread.join(2)
        if self._stream is not None and not self._thread.is_alive():
            self._stream.close()

    def _read(self) -> None:
        while self._stream is not None and (line := self._stream.readline(_LONGEST_LINE)):
            self.count += 1
            text = "".join(letter if letter.isprintable() else " " for letter in line.decode("utf-8", "replace")).strip()
            if text.startswith(ERROR_MARK):
                self.error = text.removeprefix(ERROR_MARK)
            elif text == BEGINS:
                self.begun = True
            elif text:
                self.lines.append(text)
                logger.debug("Plugin %s: %s", self._name, text)
