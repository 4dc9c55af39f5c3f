"""What happens in a run, as values: the events that a worker sends and that everything else is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Step = Literal["sequence", "tracking"]

NO_RUN = -1
"""The run of links that no tracker has made: those of a frame without particles, or of an earlier run."""

ImageStamp = tuple[int, int, int]
"""(size in bytes, time of last change in ns, CRC-32 of the bytes) of an image file, or of a ``_targets`` file read in place of
it: that it is still the same one."""


class StepNumbers(NamedTuple):
    """What a tracking step counts: particles in this frame and the next, links between them, lost and added particles.

    A tracker counts each claim of a particle of the next frame as a link, also one that a cheaper claim replaced.
    """

    current: int
    next: int
    links: int
    lost: int
    added: int


@dataclass(frozen=True)
class FrameDone:
    """The sequence step of a frame is done, and its files are in place."""

    frame: int
    targets: tuple[int, ...]
    """Number of targets in each camera."""
    counts: tuple[int, ...]
    """Correspondences of as many targets as there are cameras, of one less, ..., of two."""
    particles: int
    digest: str
    """Fingerprint of the frame's files."""
    particles_digest: str = ""
    """Fingerprint of ``rt_is`` alone."""
    size: int = 0
    """Bytes of the frame's files."""
    images: tuple[ImageStamp, ...] = ()
    neighbours: str = ""
    """What the images of other frames are that hooks may have looked at."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time of each stage."""
    worker: int = 1
    """Which worker process did it, counted from 1; one that takes a dead one's place takes its number, too."""
    kept: bool = False
    """An earlier run did it, and its files and inputs are still the same."""


@dataclass(frozen=True)
class FrameFailed:
    """A frame cannot be processed; it has no result files."""

    frame: int
    reason: str
    step: Step = "sequence"
    limit: bool = False
    """It is too much for optv alone."""


@dataclass(frozen=True)
class StepDone:
    """The tracker has linked a frame to the next one."""

    run: int
    """Which run of the tracker."""
    frame: int
    digest: str
    """Fingerprint of the frame's files, the sequence step's included."""
    current: int = 0
    """Particles in the frame."""
    next: int = 0
    """Particles in the next frame."""
    links: int = 0
    lost: int = 0
    added: int = 0
    stretch: int = -1
    """The first frame of the unbroken stretch that the frame belongs to."""
    last: int | None = None
    """The end of the unbroken stretch, where the run knew it; None: it was not near."""
    seconds: float = 0.0
    worker: int = 1
    """Which worker process did it."""
    state: str = ""
    """Fingerprint of the tracker's state after the step; empty where the tracker has none, or it is not needed."""
    published: bool = False
    """Its files are in place. Otherwise they lie in the stage folder of their run."""
    kept: bool = False
    """An earlier run did it, and its files are still the same."""
    sequence: str = ""
    """Fingerprint of the frame's sequence results, where it is not recorded elsewhere."""
    part: str = ""
    """The part of a job array that has tracked it ahead, and in whose folder its files lie; empty: none."""


@dataclass(frozen=True)
class PassDone:
    """A step of the dense method is done for a frame; its table is in place."""

    frame: int
    step: str
    """``found-1``, ``links-1``, ``found-2``, ..., ``published``; ``optics``: the self-calibration, of the run's first frame."""
    particles: int = 0
    numbers: Mapping[str, float] = field(default_factory=dict)
    """What the step counts: see :mod:`pyptv.core.record.dense`."""
    iterations: tuple[tuple[int, int, int, int], ...] = ()
    """Of a reconstruction, each: cameras that had to have a peak, particles added, dropped, and there then."""
    seconds: float = 0.0
    worker: int = 1
    kept: bool = False
    """An earlier run did it, from the same inputs."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Of the self-calibration: what it found."""


@dataclass(frozen=True)
class LinksJoined:
    """The links of a frame to the next one have been made of those of two passes."""

    frame: int
    particles: int = 0
    confirmed: int = 0
    """Links that both passes have found."""
    forward: int = 0
    """Those of the forward pass alone."""
    backward: int = 0
    """Those of the backward pass alone."""
    contradicted: int = 0
    """Links of either pass that contradict the other one, and do not count."""
    last: bool = False
    """There is no next frame."""

    @property
    def links(self) -> int:
        """All links to the next frame."""
        return self.confirmed + self.forward + self.backward


@dataclass(frozen=True)
class TaskDone:
    """A task came to its end: ``interrupted`` where it had to stop before its range was through."""

    task: int
    interrupted: bool = False
    taint: bool = False
    """The process may have a damaged heap and must not be used again."""
    saved: str | None = None
    """Tracking: the file that the tracker's state was saved to, None where it was not."""
    lost: str = ""
    """Tracking: why the state that the task was to go on from could not be had; nothing was done then."""


@dataclass(frozen=True)
class TaskFailed:
    """A task cannot be done at all; ``frame`` is where it stood."""

    task: int
    reason: str
    frame: int | None = None


@dataclass(frozen=True)
class WorkerDied:
    """A worker process is gone in the middle of a task."""

    task: int
    cause: str
    """``"killed by signal 11 (SIGSEGV)"`` or ``"ended with exit status 1"``."""
    frame: int | None
    """The frame it worked at, None where it had not begun."""
    doing: str = ""
    """What it did to that frame."""
    lost: bool = False
    """Its machine is gone, or the way to it: nothing that it did is to blame."""


@dataclass(frozen=True)
class Note:
    """A log record of a worker."""

    logger: str
    level: int
    message: str


Event = FrameDone | FrameFailed | StepDone | LinksJoined | PassDone | TaskDone | TaskFailed | WorkerDied | Note
