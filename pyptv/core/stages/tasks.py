"""What a worker is asked to do, and how it is told more while it does it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from pyptv.core.base.options import Engine
from pyptv.core.experiment.folder import Experiment, ImageSettings


@dataclass(frozen=True)
class Job:
    """What all tasks of a run share. It is sent to each worker once."""

    experiment: Experiment
    images: ImageSettings
    scratch: Path | None = None
    """A short ASCII path: the tracker's C code works in there. None: no C code tracks."""
    stop_at_failure: bool = True
    engine: Engine = "optv"


SequenceKind = Literal["process", "check", "probe"]
"""``process`` frames; ``check`` results that are there, as tracking needs them; ``probe``: process, but write nothing."""


@dataclass(frozen=True)
class SequenceTask:
    """The sequence step of the frames ``first..last``, or less of it."""

    id: int
    first: int
    last: int
    kind: SequenceKind = "process"


@dataclass(frozen=True)
class TrackingTask:
    """A run of the tracker that starts at ``first`` and goes on until it is told to stop, or the stretch ends."""

    id: int
    first: int
    stretch: int
    """The first frame of the unbroken stretch that the run is in."""
    frontier: int
    """Frames up to here are ready to be tracked."""
    end: int | None
    """The last frame of the unbroken stretch, None as long as it is not known."""
    limit: int
    """The last frame of the whole run: the stretch cannot reach further."""
    stage: Path
    """Where the run puts its frames until they are known to be right."""


Task = SequenceTask | TrackingTask


@dataclass(frozen=True)
class Frontier:
    """To a tracking run: more frames are ready, and where the stretch ends, once that is known."""

    task: int
    frontier: int
    end: int | None


@dataclass(frozen=True)
class Stop:
    """To a tracking run: what follows is not needed."""

    task: int


Message = Frontier | Stop


class Control(Protocol):
    """The worker's end of the line on which messages about its task arrive."""

    def messages(self) -> list[Message]:
        """Those that have arrived since the last call."""


class Mailbox:
    """A :class:`Control` within one process."""

    def __init__(self) -> None:
        self._waiting: deque[Message] = deque()

    def post(self, message: Message) -> None:
        """Leave a message."""
        self._waiting.append(message)

    def messages(self) -> list[Message]:
        """Take what is there."""
        taken = list(self._waiting)
        self._waiting.clear()
        return taken


Announce = Callable[[int, str], None]
"""Told (frame, what is being done to it) before each stage, so that a crash can be named."""


def silent(_frame: int, _what: str) -> None:
    """An :data:`Announce` that tells nobody."""
