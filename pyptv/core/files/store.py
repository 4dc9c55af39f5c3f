"""The project's own place under ``res/``: pristine copies, staged frames, the journal, the lock.

Tracking rewrites its own input: it appends particles to ``rt_is`` and sets ``tnr`` in ``_targets``. So before a tracked file
replaces one with other bytes, the old bytes go into ``res/.pyptv/pristine/FRAME`` (:mod:`pyptv.core.files.pristine`) together
with a fingerprint of the tracked ones. Reading a frame's input undoes that: a file that still is what tracking wrote gives its
pristine bytes, a file that anybody changed since counts as it is.
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
    """Reads and writes the results of one experiment, whole files only."""

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
        """A process was ended in the middle of its work: it may have left unfinished files."""
        self.tables = Tables(self.home / "dense")
        """Of the dense method, between its steps."""

    # -- a run --------------------------------------------------------------------------------------------------------

    def open(
        self, frames: FrameRange, *, among_many: bool = False, unfinished: Mapping[Path, Iterable[str]] | None = None
    ) -> None:
        """Make the folders, claim a range of frames, and remove what a killed run left unfinished.

        Args:
            frames: first and last.
            among_many: it is a part of a job array: others start at the same moment, and nothing that may be theirs is removed.
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
        """The file that is locked as long as the run lives."""
        return self._claim.path if self._claim is not None else None

    @property
    def alone(self) -> bool:
        """No other run worked on the experiment when this one began."""
        return self._claim is not None and self._claim.alone

    def _remove_old_stages(self) -> None:
        """Of runs that are no more; another one may just have begun."""
        with suppress(OSError):
            for stage in self.stages.parent.iterdir():
                if not (self.home / "runs" / stage.name).exists():
                    shutil.rmtree(stage, ignore_errors=True)

    def refresh(self) -> None:
        """Open every folder once: a network disk then forgets which files it believed not to be there (close-to-open)."""
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
        """Note whose results an output folder holds, and make the folders of its targets.

        Two runs of different experiments may start at once with one empty folder: the second finds what the first has noted.
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
        """Remove stages and unfinished files, give the frames back."""
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
        """Put a frame's sequence results in place, and its links where it has them already.

        ``rt_is`` goes first and comes last: a frame that has one is whole. What an earlier tracking run made of the frame
        goes, for it belongs to other targets and particles.
        """
        paths = self.experiment.tracking_files(frame) | {"quality": self.experiment.result_path("quality", frame)}
        self.inputs.keep(frame, files)
        self._forget_particles(frame)
        for name, data in files.items():
            write_atomic(paths[name], data)

    def forget(self, frame: int) -> None:
        """Remove a frame's results, ``rt_is`` first; ``_targets`` files that are its input stay."""
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
        """A frame's sequence results, or one of them, as tracking must see them: pristine where tracking has replaced them.

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
        """Put a tracked frame into its place, or into a stage folder, ready for :meth:`publish_tracked`.

        Only files whose bytes differ from the pristine ones are written, and those that tracking alone writes. The pristine copy
        comes first: it is right at every moment.
        """
        if self.experiment.goes_backward:  # everything but the links is the forward pass's
            tracked = {name: tracked[name] for name in ("added", "ptv_is")}
        old = read_pristine(self._pristine / str(frame), frame)
        kept = old.contents.keys() if old else set()
        changed = {name: data for name, data in tracked.items() if pristine.get(name) != data}
        # what an earlier tracking run made of a file and this one does not goes back to what it was
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
        """Move a staged frame into its place; what has been moved already stays."""
        places = {"pristine": self._pristine / str(frame)} | self.experiment.tracking_files(frame)
        self._drop_joined(frame)
        for name, place in places.items():
            with suppress(FileNotFoundError):
                move(stage / f"{frame}.{name}", place)

    def stage_of(self, run: int) -> Path:
        """The folder of a tracker run that may not be right."""
        return self.stages / f"run-{run}"

    def part_stage(self, part: str) -> Path:
        """The folder of what a part of a job array has tracked ahead.

        Raises:
            ValueError: that is no name of a part.
        """
        if not _PART.fullmatch(part):
            raise ValueError(f"found {part!r:.80}, expected the name of a part, FIRST-LAST")
        return self.parts / part / "stage"

    def part_states(self, part: str) -> dict[tuple[int, str], Path]:
        """The states that a part has saved: (frame, tag) -> file."""
        found = {}
        for path in self.part_stage(part).parent.glob("state-*-*"):
            _, frame, tag = path.name.split("-", 2)
            if frame.isdecimal():
                found[int(frame), tag] = path
        return found

    def staged(self, part: str, frame: int, sequence: Mapping[str, bytes]) -> dict[str, bytes] | None:
        """What a frame's files would be once what a part has tracked is in place; None where something is missing.

        ``sequence``: those of the sequence step, for whoever has read them; empty: they are read.
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
        """Keep the tracker's state after a frame, in place of earlier ones of that stretch."""
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
        """Write the tracking files of a frame without particles, unless they are there; its sequence files stay as they are."""
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
        """A frame's files as they are now, tracking's included; None where one is missing."""
        try:
            return {name: read_regular(path) for name, path in self.experiment.tracking_files(frame).items()}
        except OSError:
            return None

    def drop_links(self, frame: int) -> None:
        """Remove a frame's links; its sequence files stay."""
        self._drop_joined(frame)
        for kind in ("added", "ptv_is"):
            self.experiment.result_path(kind, frame).unlink(missing_ok=True)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _drop_joined(self, frame: int) -> None:
        """Remove what was joined from two passes over a frame: it does not belong to the links that come now."""
        for kind in self._joined:
            (self.experiment.results / f"{kind}.{frame}").unlink(missing_ok=True)

    def _refuse_links(self) -> None:
        """The project's own folders are its own: a link in their place would let a run write, or clean, elsewhere."""
        passes = (self.home / "forward", self.home / "backward", self.home / "dense", self.parts)
        for folder in (self.home, self._pristine, self._states, self.home / "stages", self.home / "journal", *passes):
            if folder.is_symlink():
                raise ProcessingError(f"{folder}: found a link, expected a folder of this program: remove the link")


def _joined_files(experiment: Experiment) -> tuple[str, ...]:
    """The kinds of results that are made of two passes, as far as there may be any."""
    if experiment.goes_backward:
        return ()
    if experiment.links is not None:
        return ("ptv_is", "added", "passes")
    return ("passes",) if (experiment.results / ".pyptv" / "forward").is_dir() else ()
