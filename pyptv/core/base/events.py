"""The events of a run, as values: sent by workers, and the basis of everything that a run records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Step = Literal["sequence", "tracking"]

NO_RUN = -1
"""The run number of links that no tracker has made: those of a frame without particles, or of an earlier run."""

ImageStamp = tuple[int, int, int]
"""(size in bytes, time of last change in ns, CRC-32 of the bytes) of an image file, or of a ``_targets`` file read in its
place, by which a change is detected."""


class StepNumbers(NamedTuple):
    """The counts of a tracking step: particles in this frame and the next, links between them, lost and added particles.

    A tracker also counts links that a cheaper one replaced.
    """

    current: int
    next: int
    links: int
    lost: int
    added: int


@dataclass(frozen=True)
class FrameDone:
    """The sequence step of a frame is done, and its files are published."""

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
    """Stamp of the images of other frames that hooks may have used."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time of each stage."""
    worker: int = 1
    """The number of the worker process, counted from 1; a worker that replaces a dead one keeps its number."""
    kept: bool = False
    """An earlier run did it, and its files and inputs are still the same."""


@dataclass(frozen=True)
class FrameFailed:
    """A frame cannot be processed; it has no result files."""

    frame: int
    reason: str
    step: Step = "sequence"
    limit: bool = False
    """The frame exceeds only optv's limits."""


@dataclass(frozen=True)
class StepDone:
    """The tracker has linked a frame to the next one."""

    run: int
    """The tracker run."""
    frame: int
    digest: str
    """Fingerprint of the frame's files, including those of the sequence step."""
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
    """The end of the unbroken stretch, if the run knew it; None: it was not near."""
    seconds: float = 0.0
    worker: int = 1
    """The number of the worker process."""
    state: str = ""
    """Fingerprint of the tracker's state after the step; empty if the tracker has none, or it is not needed."""
    published: bool = False
    """Its files are published. Otherwise they are in the stage folder of their run."""
    kept: bool = False
    """An earlier run did it, and its files are still the same."""
    sequence: str = ""
    """Fingerprint of the frame's sequence results, if it is not recorded elsewhere."""
    part: str = ""
    """The part of a job array that has tracked it ahead, and whose folder contains its files; empty: none."""


@dataclass(frozen=True)
class PassDone:
    """A step of the dense method is done for a frame; its table is written."""

    frame: int
    step: str
    """``found-1``, ``links-1``, ``found-2``, ..., ``published``; ``optics``: the self-calibration, of the run's first frame."""
    particles: int = 0
    numbers: Mapping[str, float] = field(default_factory=dict)
    """The counts of the step: see :mod:`pyptv.core.record.dense`."""
    iterations: tuple[tuple[int, int, int, int], ...] = ()
    """Iterations of a reconstruction: cameras in which a peak was required, particles added, dropped, and present afterwards."""
    seconds: float = 0.0
    worker: int = 1
    kept: bool = False
    """An earlier run did it, from the same inputs."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Results of the self-calibration."""


@dataclass(frozen=True)
class LinksJoined:
    """The links of a frame to the next one have been combined from two passes."""

    frame: int
    particles: int = 0
    confirmed: int = 0
    """Links that both passes found."""
    forward: int = 0
    """Links of the forward pass alone."""
    backward: int = 0
    """Links of the backward pass alone."""
    contradicted: int = 0
    """Links of either pass that contradict the other one, and are left out."""
    last: bool = False
    """There is no next frame."""

    @property
    def links(self) -> int:
        """All links to the next frame."""
        return self.confirmed + self.forward + self.backward


@dataclass(frozen=True)
class TaskDone:
    """A task has ended; ``interrupted``: before the end of its range."""

    task: int
    interrupted: bool = False
    taint: bool = False
    """The process may have a damaged heap and must not be used again."""
    saved: str | None = None
    """Tracking: the file with the tracker's state; None: it was not saved."""
    lost: str = ""
    """Tracking: why the state that the task should continue from was not available; nothing was done then."""


@dataclass(frozen=True)
class TaskFailed:
    """A task cannot be done at all; ``frame`` is its current frame."""

    task: int
    reason: str
    frame: int | None = None


@dataclass(frozen=True)
class WorkerDied:
    """A worker process was lost in the middle of a task."""

    task: int
    cause: str
    """``"killed by signal 11 (SIGSEGV)"`` or ``"ended with exit status 1"``."""
    frame: int | None
    """The current frame; None: it had not begun."""
    doing: str = ""
    """The part of the work on that frame."""
    lost: bool = False
    """Its machine or the connection was lost: the task is not the cause."""


@dataclass(frozen=True)
class Note:
    """A log record of a worker."""

    logger: str
    level: int
    message: str


Event = FrameDone | FrameFailed | StepDone | LinksJoined | PassDone | TaskDone | TaskFailed | WorkerDied | Note
