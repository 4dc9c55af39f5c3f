"""Collects the events of a run, sums them up, and is the only place that determines the exit code."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyptv.core.base.errors import ProcessingError, Terminated
from pyptv.core.base.events import Event, FrameDone, FrameFailed, LinksJoined, StepDone
from pyptv.core.base.options import Engine
from pyptv.core.record.measures import Columns

DONE, FAILED, INVALID, INCOMPLETE, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143
"""Exit codes: all done; a step failed; bad usage or experiment; frames were skipped; Ctrl-C; SIGTERM."""

_OUTCOMES = {
    DONE: "done",
    FAILED: "failed",
    INCOMPLETE: "incomplete",
    INTERRUPTED: "interrupted",
    TERMINATED: "terminated",
}


@dataclass
class PassCounts:
    """Numbers of links found by the two passes of ``--tracking both``."""

    confirmed: int = 0
    forward: int = 0
    backward: int = 0
    contradicted: int = 0

    def add(self, event: LinksJoined) -> None:
        """Add the links of a frame."""
        self.confirmed += event.confirmed
        self.forward += event.forward
        self.backward += event.backward
        self.contradicted += event.contradicted


@dataclass
class Tally:
    """The state of the frames of a run; receives every reported event."""

    columns: Columns
    """The finished frames, with their numbers."""
    kept: int = 0
    """Number of them done by an earlier run (``--resume``)."""
    kept_steps: int = 0
    """Likewise, for their links."""
    failed: dict[int, FrameFailed] = field(default_factory=dict)
    """Frame -> why it failed."""
    chunks: int = 0
    failed_chunks: int = 0
    skipping: bool = False
    """Failed frames are left out; otherwise the first one ends the run."""
    engine: Engine = "optv"
    passes: PassCounts | None = None
    """None: one pass."""

    def record(self, event: Event) -> None:
        """Process an event."""
        self.columns.record(event)
        if isinstance(event, FrameDone):
            self.kept += event.kept
        elif isinstance(event, StepDone):
            self.kept_steps += event.kept
        elif isinstance(event, LinksJoined):
            self.passes = self.passes or PassCounts()
            self.passes.add(event)
        if isinstance(event, FrameFailed):
            self.failed[event.frame] = event

    @property
    def frames(self) -> int:
        """Frames whose sequence step is done."""
        return len(self.columns.sequence()["frame"])

    @property
    def steps(self) -> int:
        """Frames whose links are final."""
        return len(self.columns.tracking()["frame"])

    @property
    def exit_code(self) -> int:
        """The exit code of the command line for a run that reached its end."""
        if not self.failed:
            return DONE
        return INCOMPLETE if self.skipping else FAILED

    def exit_code_after(self, error: BaseException | None) -> int:
        """The exit code of the command line for a run ended by an exception; None: it reached its end."""
        if error is None:
            return self.exit_code
        if isinstance(error, Exception):
            return FAILED
        return TERMINATED if isinstance(error, Terminated) else INTERRUPTED

    def outcome(self, error: BaseException | None) -> str:
        """The outcome in a word: done, failed, incomplete, interrupted, terminated."""
        return _OUTCOMES[self.exit_code_after(error)]

    def error_text(self, error: BaseException | None) -> str | None:
        """The error that made a run fail; None if it did not fail."""
        if self.exit_code_after(error) != FAILED:
            return None
        if error is None:
            return next(iter(self.failed.values())).reason
        return str(error) if isinstance(error, ProcessingError) else f"{type(error).__name__}: {error}"

    def lines(self) -> list[str]:
        """A summary, one fact per line."""
        sequence, tracking = self.columns.sequence(), self.columns.tracking()
        frames, steps = len(sequence["frame"]), len(tracking["frame"])
        lines = [f"Frames: {frames} done" + (f" ({self.kept} kept from the run before)" if self.kept else "")]
        if frames:
            targets, particles = sum(map(sum, sequence["targets"])) / frames, sum(sequence["particles"]) / frames
            lines.append(f"Targets per frame: {targets:.1f}, particles per frame: {particles:.1f}")
        if steps:
            links, lost, added = (sum(tracking[name]) for name in ("links", "lost", "added"))
            ratio = links / max(1, links + lost)
            lines.append(f"Tracking: {steps} frames, links {links}, lost {lost}, added {added}, link ratio {ratio:.3f}")
        if (passes := self.passes) is not None:
            lines.append(
                f"Both passes: {passes.confirmed} links confirmed, {passes.forward} of the forward pass alone, "
                f"{passes.backward} of the backward pass alone, {passes.contradicted} contradicted and left out"
            )
        return [*lines, f"Engine: {self.engine}"]
