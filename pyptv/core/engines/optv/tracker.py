"""optv's tracker as a value: frames' files in, links out. Its own files live in a scratch folder.

It gets copies of the pristine sequence results just before it needs them, and each frame's output is taken away as soon as
it is written: the scratch folder never holds more than a few frames, and C code never touches the results' own files.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pyptv.core.base.errors import ProcessingError
from pyptv.core.base.events import StepNumbers
from pyptv.core.engines.optv.backend import TrackerBackend
from pyptv.core.experiment.calibration import Calibration
from pyptv.core.experiment.parameters import Parameters
from pyptv.core.files.formats import closed

_STEP_LINE = re.compile(rb"step: *-?\d+, curr: *(\d+), next: *(\d+), links: *(\d+), lost: *(-?\d+), add: *(\d+)")


class OptvTracker:
    """One run of the tracker. Frames are numbered from 1."""

    LOOK_AHEAD = TrackerBackend.LOOK_AHEAD
    """Before the step of frame f the frames up to f + 3 (or the last one) must have been fed."""

    def __init__(self, parameters: Parameters, calibrations: Sequence[Calibration], n_frames: int, folder: Path) -> None:
        self._num_cams = parameters.num_cams
        self._folder = folder
        folder.mkdir()
        self._tracker = TrackerBackend(parameters, calibrations, folder, n_frames)
        self._started = False

    def feed(self, index: int, files: Mapping[str, bytes]) -> None:
        """Give it the sequence results of the next frame: short name -> bytes.

        Raises:
            ProcessingError: a file is cut.
        """
        for name, path in self._paths(index).items():
            if name in files:
                data = closed(files[name])
                _check_whole(data, name)
                path.write_bytes(data)

    def end_at(self, n_frames: int) -> None:
        """Let the run end at frame ``n_frames``; only before a step has come within three frames of it."""
        self._tracker.end_at(n_frames)

    def step(self) -> StepNumbers:
        """Link the next frame to the one after it."""
        self._start()
        printed = self._tracker.step()
        found = _STEP_LINE.search(printed.encode())
        if found is None:
            raise ProcessingError(f"the tracker printed {printed.strip()[:200]!r} instead of its numbers")
        return StepNumbers(*map(int, found.groups()))

    def finish(self) -> None:
        """Write the last frame."""
        self._start()
        self._tracker.finish()

    def take(self, index: int) -> dict[str, bytes]:
        """A frame's files, sequence results included, after its step.

        Raises:
            ProcessingError: the tracker has not written a file, or not all of it.
        """
        written = {}
        for name, path in self._paths(index).items():
            with suppress(FileNotFoundError):
                written[name] = path.read_bytes()
                path.unlink()
            _check_whole(written.get(name, b""), f"{name}, as the tracker wrote it,")
        return written

    def close(self) -> None:
        """Remove the scratch folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        if not self._started:
            self._tracker.restart()
            self._started = True

    def _paths(self, index: int) -> dict[str, Path]:
        names = TrackerBackend.file_names(self._num_cams, index)
        return {name: self._folder / file_name for name, file_name in names.items()}


def _check_whole(data: bytes, what: str) -> None:
    """Cheap check of a text table: as many lines as its count says, the last one ended."""
    first, _, rest = data.partition(b"\n")
    count = int(first) if first.strip().isdigit() else -1
    if count < 0 or rest.count(b"\n") != count or (rest and not rest.endswith(b"\n")):
        raise ProcessingError(f"{what} is not whole: found {rest.count(chr(10).encode())} rows and the count {first[:40]!r}")
