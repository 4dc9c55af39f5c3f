"""Copies of the ``_targets`` files that a run with ``Existing_Target`` replaces: a stopped run starts again from them.

Such a run overwrites its own input. If it was stopped, a frame would be made again from its own results,
which gives other bytes: optv's sorting exchanges targets with equal y, and files hold 4 decimals. So the
original bytes are kept, in the format of :mod:`pyptv.core.files.pristine`, until the run is complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pyptv.core.base.errors import ProcessingError
from pyptv.core.base.frames import FrameRange
from pyptv.core.base.regular_files import read_regular
from pyptv.core.experiment.folder import Experiment
from pyptv.core.files.atomic import digest, write_atomic
from pyptv.core.files.pristine import Pristine, pack, read_pristine, replaced


class TargetInputs:
    """The copies, one file per frame in a separate folder."""

    def __init__(self, experiment: Experiment, folder: Path, pristine: Path) -> None:
        """``pristine``: the folder of the files from before tracking."""
        self._experiment = experiment
        self.folder = folder
        self._pristine = pristine

    def keep(self, frame: int, files: Mapping[str, bytes]) -> None:
        """Keep the input of a frame before its results replace it.

        Args:
            frame: its number.
            files: short name -> bytes of the results.

        Raises:
            ProcessingError: an earlier copy is damaged.
        """
        if not self._experiment.overwrites_input:
            return
        old = self._copy(frame)
        contents, written = {}, {}
        for camera in range(self._experiment.num_cams):
            name = f"targets{camera + 1}"
            try:
                data = self.original(frame, camera, read_regular(self._experiment.input_path(camera, frame)))
            except FileNotFoundError:  # no file that could be lost
                continue
            if data != files[name]:
                contents[name] = data
                written[name] = [*(old.tracked.get(name, []) if old is not None else []), digest(files[name])]
        if contents:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(self.folder / str(frame), pack(contents, written))

    def original(self, frame: int, camera: int, data: bytes) -> bytes:
        """The bytes of a file before a stopped run replaced it; ``data``, its present bytes, if no run has.

        Raises:
            ProcessingError: the copy is damaged.
        """
        kept = self._copy(frame) if self._experiment.overwrites_input else None
        if kept is None:
            return data
        name = f"targets{camera + 1}"
        written = replaced(read_pristine(self._pristine / str(frame), frame), name, data)  # tracking may have changed it later
        return kept.contents[name] if digest(written) in kept.tracked.get(name, ()) else data

    def _copy(self, frame: int) -> Pristine | None:
        path = self.folder / str(frame)
        try:
            return read_pristine(path, frame)
        except ProcessingError as error:
            raise ProcessingError(
                f"{path}: the copy of the original targets of frame {frame} is damaged: restore the original _targets files "
                "and remove this copy"
            ) from error

    def forget(self, frames: FrameRange) -> None:
        """Remove the copies of a range of frames, all of which are processed."""
        with suppress(FileNotFoundError):
            for path in list(self.folder.iterdir()):
                if path.name.isdecimal() and frames[0] <= int(path.name) <= frames[1]:
                    path.unlink(missing_ok=True)
            with suppress(OSError):
                self.folder.rmdir()  # unless another run has some
