"""The tasks of a worker. A task is a value: bounded, and nothing is sent to it while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from pyptv.core.base.events import StepDone
from pyptv.core.base.frames import FrameRange
from pyptv.core.base.options import Engine
from pyptv.core.experiment.folder import Experiment, ImageSettings
from pyptv.core.plugins.hook_specs import HookSpec
from pyptv.core.plugins.plugin_specs import PluginSpec


@dataclass(frozen=True)
class DenseJob:
    """Additional data of the dense method."""

    frames: FrameRange
    """Frames of the run: others do not exist for it."""
    sample: tuple[int, ...] = ()
    """Frames that the self-calibration uses: the same for every processed range."""
    self_calibration: bool = True
    passes: int = 0
    """0: the sample of frames decides."""
    min_track: int = 3
    resume: bool = False
    """Tables that an earlier run has made from the same inputs are kept."""
    only_found: bool = False
    """Frames fail whose particles no part of a job array has found."""


@dataclass(frozen=True)
class Job:
    """The data shared by all tasks of a run. It is sent to each worker once."""

    experiment: Experiment
    images: ImageSettings
    scratch: Path | None = None
    """A short ASCII path, where the tracker's C code works. None: no C code tracks."""
    stop_at_failure: bool = True
    engine: Engine = "optv"
    """The engine that the run begins with; each task has its own."""
    processes: bool = True
    """The run makes the sequence results; otherwise it uses existing ones."""
    tracks: bool = False
    """The run links frames."""
    journal: Path | None = None
    """Folder of the journal; None: nothing is recorded."""
    serial: int = 0
    """Number of the run in the journal."""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """Stage -> fingerprint of its inputs, except the images."""
    hooks: tuple[HookSpec, ...] = ()
    """External code in the sequence step."""
    plugins: tuple[PluginSpec, ...] = ()
    """External code in place of a step."""
    dense: DenseJob | None = None
    """The dense method is used."""
    part: str = ""
    """The part of a job array that this run processes; empty: an ordinary run."""
    absent: Absent | None = None
    """Why frames are missing, for a run that only uses results of other runs."""
    claim: Path | None = None
    """The file that the run keeps locked until it ends."""
    refreshes: bool = False
    """Other machines write to the same disk during the run: folders are opened again before each task."""


@dataclass(frozen=True)
class Absent:
    """Why frames that the parts of a job array should have processed are missing."""

    reasons: Mapping[int, str]
    """Frame -> why it failed in its part: a whole sentence."""
    ranges: tuple[tuple[int, int, str], ...]
    """(first, last, outcome of the part with these frames)."""

    def reason(self, frame: int) -> str:
        """Why a frame is missing."""
        if frame in self.reasons:
            return self.reasons[frame]
        part = next((text for first, last, text in self.ranges if first <= frame <= last), "no part has it")
        return f"frame {frame}: not done: {part}"


FramesKind = Literal["process", "check", "probe", "keep", "join"]
"""``process`` frames; ``check`` existing results as tracking requires; ``probe``: process, but write nothing; ``keep``
results of earlier runs: a frame without them fails; ``join`` the links of two passes."""


class Entry(NamedTuple):
    """The place of a line of the journal: file and first byte."""

    file: str
    start: int


class Past(NamedTuple):
    """The journal's lines of a frame: of its sequence step, of its tracking step, of its links made ahead."""

    frame: Entry | None = None
    step: Entry | None = None
    guess: Entry | None = None


@dataclass(frozen=True)
class FramesTask:
    """The sequence step of the frames ``first..last``."""

    id: int
    first: int
    last: int
    kind: FramesKind = "process"
    past: Mapping[int, Past] = field(default_factory=dict)
    """Frames that an earlier run may have done: the worker checks them, and keeps what is still valid."""
    engine: Engine = "optv"


class Known(NamedTuple):
    """The quantities that must be equal if two tracker runs have reached the same state."""

    state: str
    digest: str
    added: int


@dataclass(frozen=True)
class TrackTask:
    """The frames ``first..last`` of a tracker run."""

    id: int
    run: int
    first: int
    last: int
    stretch: int
    """The first frame of the unbroken stretch that the run is in."""
    end: int | None
    """The last frame of the stretch; None: beyond all frames that the task uses."""
    begins: bool
    """The run starts here without earlier frames; otherwise it continues from its state after ``first - 1``."""
    saved: Path | None = None
    """The file of that state, for a worker that does not have it in memory."""
    stage: Path | None = None
    """Folder for frames that are not proven; None: they are valid and published at once."""
    meets: Mapping[int, Known] = field(default_factory=dict)
    """States of the next run after some frames: where both are the same, the task ends."""
    compares: bool = False
    """Other runs will be compared with this run: its states are needed."""
    engine: Engine = "optv"
    keeps: bool = False
    """Staged frames are recorded, so that a later run can prove and publish them: the run of a part of a job array."""


@dataclass(frozen=True)
class PublishTask:
    """Publishing of staged frames that have been proven."""

    id: int
    stage: Path
    steps: tuple[StepDone, ...]


DenseKind = Literal["optics", "find", "link", "publish", "take"]
"""Steps of the dense method: ``optics`` is the self-calibration; ``find`` particles, ``link`` them, ``publish`` both as result
files; ``take`` the particles from existing result files."""


OPTICS = "optics"
"""Name of the table and the event of the self-calibration."""


def table_name(kind: DenseKind, number: int) -> str:
    """The name of the tables and events of a step: ``found-1``."""
    names = {"find": "found", "take": "found", "link": "links", "publish": "published", "optics": OPTICS}
    return f"{names[kind]}-{number}" if kind in {"find", "take", "link"} else names[kind]


@dataclass(frozen=True)
class DenseTask:
    """A step of the dense method for the frames ``first..last``."""

    id: int
    kind: DenseKind
    number: int
    """The pass, counted from 1."""
    first: int
    last: int


Task = FramesTask | TrackTask | PublishTask | DenseTask

Announce = Callable[[int, str], None]
"""Called with (frame, part of the work) before each part of the work, so that a crash can be described."""


def silent(_frame: int, _what: str) -> None:
    """An :data:`Announce` that does nothing."""
