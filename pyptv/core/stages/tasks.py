"""What a worker is asked to do. A task is a value: bounded, and nothing is sent to it once it runs."""

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
    """What the dense method needs besides."""

    frames: FrameRange
    """Of the run: what is outside does not exist for it."""
    sample: tuple[int, ...] = ()
    """Frames that the self-calibration looks at: the same ones whatever range is processed."""
    self_calibration: bool = True
    passes: int = 2
    min_track: int = 3
    resume: bool = False
    """Tables that an earlier run has made from the same inputs are kept."""
    only_found: bool = False
    """Frames whose particles no part of a job array has found fail."""


@dataclass(frozen=True)
class Job:
    """What all tasks of a run share. It is sent to each worker once."""

    experiment: Experiment
    images: ImageSettings
    scratch: Path | None = None
    """A short ASCII path: the tracker's C code works in there. None: no C code tracks."""
    stop_at_failure: bool = True
    engine: Engine = "optv"
    """The engine that the run begins with; each task names its own."""
    processes: bool = True
    """The run makes the sequence results; otherwise it takes those that are there."""
    tracks: bool = False
    """The run links frames."""
    journal: Path | None = None
    """Folder of the journal; None: nothing is noted."""
    serial: int = 0
    """Number of the run in the journal."""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """Stage -> fingerprint of everything but the images that its results depend on."""
    hooks: tuple[HookSpec, ...] = ()
    """Code of others in the sequence step."""
    plugins: tuple[PluginSpec, ...] = ()
    """Code of others in place of a step."""
    dense: DenseJob | None = None
    """The method is the dense one."""
    part: str = ""
    """The part of a job array that this run is; empty: it is a run of its own."""
    absent: Absent | None = None
    """Why frames are not there, for a run that only takes what others have done."""
    claim: Path | None = None
    """The file that the run keeps locked as long as it lives."""
    refreshes: bool = False
    """Other machines write to the same disk during the run: it is looked at anew before each task."""


@dataclass(frozen=True)
class Absent:
    """Why frames that the parts of a job array should have done are not there."""

    reasons: Mapping[int, str]
    """Frame -> why it failed in its part: a whole sentence."""
    ranges: tuple[tuple[int, int, str], ...]
    """(first, last, what became of the part that has these frames)."""

    def reason(self, frame: int) -> str:
        """Why a frame is not there."""
        if frame in self.reasons:
            return self.reasons[frame]
        part = next((text for first, last, text in self.ranges if first <= frame <= last), "no part has it")
        return f"frame {frame}: not done: {part}"


FramesKind = Literal["process", "check", "probe", "keep", "join"]
"""``process`` frames; ``check`` results that are there, as tracking needs them; ``probe``: process, but write nothing; ``keep``
what earlier runs have done: a frame that they have not done fails; ``join`` the links of two passes."""


class Entry(NamedTuple):
    """Where a line of the journal is: file and first byte."""

    file: str
    start: int


class Past(NamedTuple):
    """What the journal says of a frame: where the line of its sequence step is, of its tracking step, of its links in advance."""

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
    """Frames that an earlier run may have done: the worker looks, and keeps what is still right."""
    engine: Engine = "optv"


class Known(NamedTuple):
    """What must be equal where two tracker runs have reached the same state."""

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
    """The last frame of the stretch; None: beyond all frames that the task looks at."""
    begins: bool
    """The run starts here with empty hands; otherwise it goes on from its state after ``first - 1``."""
    saved: Path | None = None
    """Where that state is, for a worker that does not have it in memory."""
    stage: Path | None = None
    """Where frames are put that may not be right; None: they are, and go to their places."""
    meets: Mapping[int, Known] = field(default_factory=dict)
    """What the next run had after some frames: where both are the same, the task ends."""
    compares: bool = False
    """Others will be compared with this run: its states are wanted."""
    engine: Engine = "optv"
    keeps: bool = False
    """What it stages is noted, so that a later run can prove it and put it in place: the run of a part of a job array."""


@dataclass(frozen=True)
class PublishTask:
    """Staged frames that have turned out to be right: to be moved into their places."""

    id: int
    stage: Path
    steps: tuple[StepDone, ...]


DenseKind = Literal["optics", "find", "link", "publish", "take"]
"""Steps of the dense method: ``optics`` is the self-calibration; ``find`` particles, ``link`` them, ``publish`` both as result
files; ``take`` the particles from result files that are there."""


OPTICS = "optics"
"""Name of the table and the event of the self-calibration."""


def table_name(kind: DenseKind, number: int) -> str:
    """What the tables and events of a step are called: ``found-1``."""
    names = {"find": "found", "take": "found", "link": "links", "publish": "published", "optics": OPTICS}
    return f"{names[kind]}-{number}" if kind in {"find", "take", "link"} else names[kind]


@dataclass(frozen=True)
class DenseTask:
    """A step of the dense method for the frames ``first..last``."""

    id: int
    kind: DenseKind
    number: int
    """Which pass, counted from 1."""
    first: int
    last: int


Task = FramesTask | TrackTask | PublishTask | DenseTask

Announce = Callable[[int, str], None]
"""Called with (frame, what is being done to it) before each part of the work, so that a crash can be named."""


def silent(_frame: int, _what: str) -> None:
    """An :data:`Announce` that does nothing."""
