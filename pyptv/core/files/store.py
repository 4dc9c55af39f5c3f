"""The program's own folder under ``res/``: pristine copies, staged frames, the journal, the lock.

Tracking rewrites its own input: it appends particles to ``rt_is`` and sets ``tnr`` in ``_targets``. So before a tracked file
replaces one with other bytes, the old bytes go into ``res/.pyptv/pristine/FRAME`` (:mod:`pyptv.core.files.pristine`) together
with a fingerprint of the tracked ones. Reading a frame's input undoes that: for a file that is still as tracking wrote it, the
pristine bytes are read; a file that was changed since is used as it is.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from pyptv.core.base.errors import InvalidExperimentError, ProcessingError
from pyptv.core.base.frames import FrameRange
from pyptv.core.base.regular_files import read_regular
from pyptv.core.experiment.folder import RESULT_KINDS, Experiment
from pyptv.core.experiment.output import output_problems, read_record, record_path, record_text
from pyptv.core.files.atomic import digest, frame_digest, move, remove_leftovers, write_atomic
from pyptv.core.files.claims import Claim, ClaimedError, claim_frames, locked
from pyptv.core.files.formats import NO_ROWS
from pyptv.core.files.inputs import TargetInputs
from pyptv.core.files.pristine import pack, read_pristine, replaced
from pyptv.core.files.tables import Tables

_PART = re.compile(r"\d{1,16}-\d{1,16}")


class Store:
    """Reads and writes the results of one experiment, only complete files."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.home = experiment.results / ".pyptv"
        if experiment.links is not None and experiment.links.backward:
            self.home = experiment.links.folder
        self._joined = _joined_files(experiment)
        self.stages = self.home / "stages"
        self._pristine = self.home / "pristine"
        self.inputs = TargetInputs(experiment, self.home / "inputs", self._pristine)
        self._states = self.home / "states"
        self.parts = self.home / "parts"
        """A folder for each part of a job array."""
        self._claim: Claim | None = None
        self.cut_short = False
        """A process was ended in the middle of its work and may have left unfinished files."""
        self.tables = Tables(self.home / "dense")
        """Intermediate results of the dense method."""

    # -- a run --------------------------------------------------------------------------------------------------------

    def open(
        self, frames: FrameRange, *, among_many: bool = False, unfinished: Mapping[Path, Iterable[str]] | None = None
    ) -> None:
        """Make the folders, claim a range of frames, and remove unfinished files of a killed run.

        Args:
            frames: first and last.
            among_many: the run is a part of a job array: others start at the same moment, and none of their files is removed.
            unfinished: folder -> names of unfinished files, as far as folders have been listed already.

        Raises:
            ProcessingError: the folder cannot be written, or another run works on frames of the range.
        """
        try:
            self._refuse_links()
            self.experiment.results.mkdir(exist_ok=True, parents=self.experiment.output is not None)
            self._pristine.mkdir(parents=True, exist_ok=True)
            if self.experiment.links is not None:
                self.experiment.links.folder.mkdir(exist_ok=True)
            if self.experiment.output is not None:
                self._take_output(self.experiment.output)
            self._claim = claim_frames(self.home, frames, among_many=among_many)
            self._claim.add_folders(self.experiment.targets_folder(camera) for camera in range(self.experiment.num_cams))
            self.stages = self.home / "stages" / self._claim.name
            if self._claim.alone:
                self._remove_old_stages()
                remove_leftovers(self.folders(), unfinished)
            self.stages.mkdir(parents=True, exist_ok=True)
        except ClaimedError as error:
            if self._claim is not None:
                self._claim.release()
                self._claim = None
            raise ProcessingError(f"{self.experiment.results}: another run is working on {error}") from error
        except OSError as error:
            raise ProcessingError(f"{error.filename or self.home}: cannot be written: {error.strerror}") from error

    @property
    def claim_file(self) -> Path | None:
        """The file that is locked until the run ends."""
        return self._claim.path if self._claim is not None else None

    @property
    def alone(self) -> bool:
        """No other run worked on the experiment when this one began."""
        return self._claim is not None and self._claim.alone

    def _remove_old_stages(self) -> None:
        """Remove the stages of runs that have ended; another run may just have begun."""
        with suppress(OSError):
            for stage in self.stages.parent.iterdir():
                if not (self.home / "runs" / stage.name).exists():
                    shutil.rmtree(stage, ignore_errors=True)

    def refresh(self) -> None:
        """Open every folder once: a network disk then drops its cache of missing files (close-to-open consistency)."""
        for folder in (*self.folders(), self._states, *self.tables.folders()):
            with suppress(OSError):
                os.close(os.open(folder, os.O_RDONLY))

    def open_backward(self) -> None:
        """Make the folders of a backward pass, whose frames the run has claimed already.

        Raises:
            ProcessingError: a folder cannot be written.
        """
        try:
            self._refuse_links()
            shutil.rmtree(self.stages, ignore_errors=True)
            for folder in (self._pristine, self.stages):
                folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers([self.home, self._pristine])
        except OSError as error:
            raise ProcessingError(f"{error.filename or self.home}: cannot be written: {error.strerror}") from error

    def _take_output(self, output: Path) -> None:
        """Record the experiment of an output folder, and make the folders of its targets.

        Two runs of different experiments may start at once with one empty folder: the second finds the record of the first.
        """
        source, targets = self.experiment.source, [self.experiment.targets_folder(n) for n in range(self.experiment.num_cams)]
        with locked(self.home):
            if problems := output_problems(output, source, targets):
                raise InvalidExperimentError(*problems)
            if read_record(output) is None:
                write_atomic(record_path(output), record_text(source))
        for folder in targets:
            folder.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Remove stages and unfinished files, release the frames."""
        if self._claim is None:
            return
        shutil.rmtree(self.stages, ignore_errors=True)
        with suppress(OSError):
            self.stages.parent.rmdir()  # if no other run has one
        if self._claim.alone and self.cut_short:
            remove_leftovers(self.folders())
        self._claim.release()
        self._claim = None

    def folders(self) -> list[Path]:
        """Every folder that a run writes result files to."""
        targets = [self.experiment.targets_folder(camera) for camera in range(self.experiment.num_cams)]
        links = [] if self.experiment.links is None else [self.experiment.links.folder]
        kept = [self.inputs.folder] if self.inputs.folder.is_dir() else []
        return list(dict.fromkeys([self.experiment.results, self.home, self._pristine, *kept, *links, *targets]))

    # -- the sequence step's files ------------------------------------------------------------------------------------

    def publish_sequence(self, frame: int, files: Mapping[str, bytes]) -> None:
        """Publish a frame's sequence results, and its links if it already has them.

        ``rt_is`` is removed first and written last: a frame that has one is complete. Results of an earlier tracking run
        are removed, because they belong to other targets and particles.
        """
        paths = self.experiment.tracking_files(frame) | {"quality": self.experiment.result_path("quality", frame)}
        self.inputs.keep(frame, files)
        self._forget_particles(frame)
        for name, data in files.items():
            write_atomic(paths[name], data)

    def forget(self, frame: int) -> None:
        """Remove a frame's results, ``rt_is`` first; ``_targets`` files that are its input are kept."""
        self._forget_particles(frame)
        if not self.experiment.overwrites_input:
            for camera in range(self.experiment.num_cams):
                self.experiment.targets_path(camera, frame).unlink(missing_ok=True)

    def _forget_particles(self, frame: int) -> None:
        for kind in (*RESULT_KINDS, "quality"):
            self.experiment.result_path(kind, frame).unlink(missing_ok=True)
        self._drop_joined(frame)
        (self._pristine / str(frame)).unlink(missing_ok=True)

    def sequence_input(self, frame: int, only: str | None = None) -> dict[str, bytes]:
        """A frame's sequence results, or one of them, as tracking must read them: pristine if tracking has replaced them.

        Raises:
            ProcessingError: a file cannot be read.
        """
        kept = read_pristine(self._pristine / str(frame), frame)
        files = {}
        for name, path in self.experiment.sequence_files(frame).items():
            if only not in (None, name):
                continue
            try:
                data = read_regular(path)
            except OSError as error:
                raise ProcessingError(f"{path}: cannot be read: {error.strerror}") from error
            files[name] = replaced(kept, name, data)
        return files

    # -- the tracking step's files ------------------------------------------------------------------------------------

    def put_tracked(self, stage: Path | None, frame: int, pristine: Mapping[str, bytes], tracked: Mapping[str, bytes]) -> None:
        """Publish a tracked frame, or write it to a stage folder, ready for :meth:`publish_tracked`.

        Only files whose bytes differ from the pristine ones are written, and those that tracking alone writes. The pristine copy
        is written first: it is valid at every moment.
        """
        if self.experiment.goes_backward:  # everything except the links belongs to the forward pass
            tracked = {name: tracked[name] for name in ("added", "ptv_is")}
        old = read_pristine(self._pristine / str(frame), frame)
        kept = old.contents.keys() if old else set()
        changed = {name: data for name, data in tracked.items() if pristine.get(name) != data}
        # a file that an earlier tracking run changed and this one does not is restored
        written = changed | {name: pristine[name] for name in kept - changed.keys()}
        replaced = (changed.keys() & pristine.keys()) | kept
        if replaced:
            versions = {name: [*(old.tracked[name] if name in kept and old else []), digest(written[name])] for name in replaced}
            packed = pack({name: pristine[name] for name in replaced}, versions)
            write_atomic(self._pristine / str(frame) if stage is None else stage / f"{frame}.pristine", packed)
        places = self.experiment.tracking_files(frame)
        if stage is None:
            self._drop_joined(frame)
        for name, data in written.items():
            write_atomic(places[name] if stage is None else stage / f"{frame}.{name}", data)

    def publish_tracked(self, stage: Path, frame: int) -> None:
        """Publish a staged frame; files that have already been moved are kept."""
        places = {"pristine": self._pristine / str(frame)} | self.experiment.tracking_files(frame)
        self._drop_joined(frame)
        for name, place in places.items():
            with suppress(FileNotFoundError):
                move(stage / f"{frame}.{name}", place)

    def stage_of(self, run: int) -> Path:
        """The folder of a tracker run that is not proven."""
        return self.stages / f"run-{run}"

    def part_stage(self, part: str) -> Path:
        """The folder of frames that a part of a job array has tracked ahead.

        Raises:
            ValueError: not the name of a part.
        """
        if not _PART.fullmatch(part):
            raise ValueError(f"found {part!r:.80}, expected the name of a part, FIRST-LAST")
        return self.parts / part / "stage"

    def part_states(self, part: str) -> dict[tuple[int, str], Path]:
        """The states saved by a part: (frame, tag) -> file."""
        found = {}
        for path in self.part_stage(part).parent.glob("state-*-*"):
            _, frame, tag = path.name.split("-", 2)
            if frame.isdecimal():
                found[int(frame), tag] = path
        return found

    def staged(self, part: str, frame: int, sequence: Mapping[str, bytes]) -> dict[str, bytes] | None:
        """A frame's files as they would be after publishing the links of a part; None if a file is missing.

        ``sequence``: those of the sequence step, if the caller has read them; empty: they are read.
        """
        stage = self.part_stage(part)
        try:
            files = dict(sequence) or self.sequence_input(frame)
            for name in self.experiment.tracking_files(frame):
                with suppress(FileNotFoundError):
                    files[name] = read_regular(stage / f"{frame}.{name}")
        except (OSError, ProcessingError):
            return None
        return files if {"added", "ptv_is"} <= files.keys() else None

    def save_state(self, stretch: int, frame: int, tag: str, data: bytes) -> Path:
        """Save the tracker's state after a frame, replacing earlier ones of that stretch."""
        path = self._states / f"{stretch}-{frame}-{tag}"
        self._states.mkdir(exist_ok=True)
        write_atomic(path, data)
        for other in self._states.glob(f"{stretch}-*"):
            if other != path:
                other.unlink(missing_ok=True)
        return path

    def states(self) -> dict[tuple[int, int, str], Path]:
        """The saved states: (stretch, frame, tag) -> file."""
        found = {}
        for path in self._states.glob("*-*-*"):
            stretch, frame, tag = path.name.split("-", 2)
            if stretch.isdecimal() and frame.isdecimal():
                found[int(stretch), int(frame), tag] = path
        return found

    def publish_empty(self, frame: int) -> str:
        """Write the tracking files of a frame without particles, unless they exist; its sequence files are not changed."""
        self._drop_joined(frame)
        files = {}
        for name in ("added", "ptv_is"):
            path = self.experiment.result_path(name, frame)
            try:
                files[name] = read_regular(path)
            except OSError:
                files[name] = b""
            if files[name].strip() not in NO_ROWS:
                files[name] = b"0\n"
                write_atomic(path, files[name])
        return frame_digest(self.sequence_input(frame) | files)

    def tracked(self, frame: int) -> dict[str, bytes] | None:
        """A frame's files as they are now, including those of tracking; None if one is missing."""
        try:
            return {name: read_regular(path) for name, path in self.experiment.tracking_files(frame).items()}
        except OSError:
            return None

    def drop_links(self, frame: int) -> None:
        """Remove a frame's links; its sequence files are kept."""
        self._drop_joined(frame)
        for kind in ("added", "ptv_is"):
            self.experiment.result_path(kind, frame).unlink(missing_ok=True)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _drop_joined(self, frame: int) -> None:
        """Remove the combined links of two passes over a frame, which do not match the new links."""
        for kind in self._joined:
            (self.experiment.results / f"{kind}.{frame}").unlink(missing_ok=True)

    def _refuse_links(self) -> None:
        """Refuse links in place of the program's own folders: a run would write, or clean, elsewhere."""
        passes = (self.home / "forward", self.home / "backward", self.home / "dense", self.parts)
        for folder in (self.home, self._pristine, self._states, self.home / "stages", self.home / "journal", *passes):
            if folder.is_symlink():
                raise ProcessingError(f"{folder}: found a link, expected a folder of this program: remove the link")


def _joined_files(experiment: Experiment) -> tuple[str, ...]:
    """The kinds of results that are made from two passes."""
    if experiment.goes_backward:
        return ()
    if experiment.links is not None:
        return ("ptv_is", "added", "passes")
    return ("passes",) if (experiment.results / ".pyptv" / "forward").is_dir() else ()
