"""optv's tracker: the files of frames are its input, links its output. Its own files are in a scratch folder.

It receives copies of the pristine sequence results just before it needs them, and each frame's output is removed as soon as
it is written: the scratch folder never contains more than a few frames, and C code never accesses the result files.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from optv.parameters import SequenceParams
from optv.tracker import Tracker

from pyptv.core.base.errors import FrameError, ProcessingError
from pyptv.core.base.events import StepNumbers
from pyptv.core.engines.matches import NO_PARTICLE
from pyptv.core.engines.optv.c_library import captured_output, zero_small_blocks
from pyptv.core.engines.optv.objects import control_params, optv_calibration, tracking_params, volume_params
from pyptv.core.experiment.calibration import Calibration
from pyptv.core.experiment.parameters.schema import MAX_CAMERAS, Parameters
from pyptv.core.files.formats import PARTICLES, closed

_MAX_SCRATCH_PATH = 200
"""Maximum bytes of a path for the tracker's C buffers (230 measured)."""

_NO_END = 2**30
"""Assumed number of frames of a run whose end is not known yet."""

_STEP_LINE = re.compile(rb"step: *-?\d+, curr: *(\d+), next: *(\d+), links: *(\d+), lost: *(-?\d+), add: *(\d+)")


class TrackerBackend:
    """One run of optv's tracker over files in a scratch folder, a step at a time.

    Frames are numbered from 1 in the scratch folder, independent of the experiment's numbers: so frame 0 and very large numbers
    are safe. A step reads up to two frames ahead, and the third one at its end.
    """

    LOOK_AHEAD = 3
    """Before the step of frame f, the files up to f + 3 (or the last frame) must exist."""

    def __init__(self, parameters: Parameters, calibrations: Sequence[Calibration], scratch: Path, n_frames: int) -> None:
        base = os.fsencode(scratch)
        if len(base) > _MAX_SCRATCH_PATH or not base.isascii():
            raise FrameError(f"scratch folder {scratch}: optv's tracker needs a short ASCII path: set TMPDIR to one")
        self.scratch = scratch
        self._sequence = SequenceParams(num_cams=parameters.num_cams)
        self._sequence.set_first(1)
        self._sequence.set_last(n_frames)
        for camera in range(parameters.num_cams):
            self._sequence.set_img_base_name(camera, os.fsdecode(base) + f"/t{camera + 1}.")
        zero_small_blocks()
        # optv keeps pointers to all objects below, and changes the volume: all are kept as long as the tracker
        self._naming = {"corres": base + b"/rt", "linkage": base + b"/ptv", "prio": base + b"/add"}
        self._tracker = Tracker(
            control_params(parameters, parameters.num_cams),
            volume_params(parameters),
            tracking_params(parameters),
            self._sequence,
            [optv_calibration(calibration) for calibration in calibrations],
            self._naming,
        )

    @staticmethod
    def file_names(num_cams: int, index: int) -> dict[str, str]:
        """Short name -> file name in the scratch folder of the run's frame ``index``, counted from 1."""
        names = {f"targets{camera + 1}": f"t{camera + 1}.{index:04d}_targets" for camera in range(num_cams)}
        return names | {"rt_is": f"rt.{index}", "added": f"add.{index}", "ptv_is": f"ptv.{index}"}

    def end_at(self, n_frames: int) -> None:
        """Make the run end at frame ``n_frames``; only allowed before a step comes within three frames of it."""
        self._sequence.set_last(n_frames)

    def restart(self) -> None:
        """Read the first frames."""
        with captured_output():
            self._tracker.restart()

    def step(self) -> str:
        """Link one frame to the next and write its files. Returns the output of C."""
        with captured_output() as printed:
            self._tracker.step_forward()
        return printed()

    def finish(self) -> None:
        """Write the last frame's files."""
        with captured_output():
            self._tracker.finalize()


class OptvTracker:
    """A tracker. Frames have the experiment's numbers. Its state cannot be saved: a run can continue only in its process."""

    LOOK_AHEAD = TrackerBackend.LOOK_AHEAD
    """Before the step of frame f the frames up to f + 3 (or the last one) must have been fed."""

    def __init__(self, parameters: Parameters, calibrations: Sequence[Calibration], first: int, folder: Path) -> None:
        self._num_cams = parameters.num_cams
        self._folder = folder
        self._before = first - 1
        """In the scratch folder frames are numbered from 1."""
        self._n_read: dict[int, int] = {}
        folder.mkdir()
        self._tracker = TrackerBackend(parameters, calibrations, folder, _NO_END)
        self._started = False

    def feed(self, frame: int, files: Mapping[str, bytes]) -> None:
        """Add the sequence results of the next frame: short name -> bytes.

        Raises:
            ProcessingError: a file is truncated.
        """
        for name, path in self._paths(frame).items():
            if name in files:
                data = closed(files[name])
                count = _check_whole(data, name)
                path.write_bytes(data)
                if name == "rt_is":
                    self._n_read[frame] = count

    def end_at(self, frame: int) -> None:
        """Make the run end at a frame; only allowed before a step comes within three frames of it."""
        self._tracker.end_at(frame - self._before)

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

    def state(self) -> str:
        """Not to be had."""
        return ""

    def save(self) -> bytes | None:
        """Not to be had."""
        return None

    def go_on(self, frame: int, saved: bytes) -> None:  # noqa: ARG002 -- a tracker's shape
        """Not supported: no state can be saved.

        Raises:
            ValueError: always.
        """
        raise ValueError("optv's tracker cannot load a state")

    def take(self, frame: int) -> dict[str, bytes]:
        """A frame's files, including the sequence results, after its step.

        Raises:
            ProcessingError: the tracker has not written a file, or not all of it.
        """
        written = {}
        for name, path in self._paths(frame).items():
            with suppress(FileNotFoundError):
                written[name] = path.read_bytes()
                path.unlink()
            if not self._folder.is_dir():  # checked last: it may be removed at any moment
                raise ProcessingError(f"{self._folder}: the tracker's scratch folder has been removed")
            _check_whole(written.get(name, b""), f"{name}, as the tracker wrote it,")
        n_read = self._n_read.pop(frame)
        if self._num_cams < MAX_CAMERAS:
            written["rt_is"] = _without_unset_columns(written["rt_is"], n_read, self._num_cams)
        return written

    def close(self) -> None:
        """Remove the scratch folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        if not self._started:
            self._tracker.restart()
            self._started = True

    def _paths(self, frame: int) -> dict[str, Path]:
        names = TrackerBackend.file_names(self._num_cams, frame - self._before)
        return {name: self._folder / file_name for name, file_name in names.items()}


def _check_whole(data: bytes, what: str) -> int:
    """Fast check of a text table: the number of lines equals its count, and the last one is complete. Returns the count."""
    first, _, rest = data.partition(b"\n")
    count = int(first) if first.strip().isdigit() else -1
    if count < 0 or rest.count(b"\n") != count or (rest and not rest.endswith(b"\n")):
        raise ProcessingError(f"{what} is incomplete: found {rest.count(chr(10).encode())} rows and the count {first[:40]!r}")
    return count


def _without_unset_columns(data: bytes, n_read: int, num_cams: int) -> bytes:
    """An ``rt_is`` whose added rows have -1 for the cameras that the experiment does not have.

    With fewer than four cameras optv never sets these numbers in the rows that it adds: they are previous memory content.
    """
    lines = data.split(b"\n")
    for row in range(n_read + 1, len(lines) - 1):
        number, *position = lines[row].split()[:4]
        targets = list(map(int, lines[row].split()[4 : 4 + num_cams])) + [NO_PARTICLE] * (MAX_CAMERAS - num_cams)
        lines[row] = (PARTICLES.row_format.rstrip("\n") % (int(number), *map(float, position), *targets)).encode("ascii")
    return b"\n".join(lines)
