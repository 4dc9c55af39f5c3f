"""What a run did: sums up its events, and is the one place that decides about the exit code."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyptv.core.results import Event, FrameDone, FrameFailed, StepDone

DONE, FAILED, INVALID, INCOMPLETE, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143
"""Exit codes: all done; a step failed; bad usage or experiment; frames were skipped; Ctrl-C; SIGTERM."""


@dataclass
class Report:
    """Counts of a run; told of every event that is reported."""

    frames: int = 0
    """Frames whose sequence step is done."""
    kept: int = 0
    """Of these, how many were done by an earlier run (``--resume``)."""
    steps: int = 0
    """Frames whose links are final."""
    targets: int = 0
    particles: int = 0
    links: int = 0
    lost: int = 0
    added: int = 0
    failed: dict[int, str] = field(default_factory=dict)
    """Frame -> why it failed."""
    chunks: int = 0
    failed_chunks: int = 0
    skipping: bool = False
    """Failed frames are left out; otherwise the first one ends the run."""

    def record(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, FrameDone):
            self.frames += 1
            self.targets += sum(event.targets)
            self.particles += event.particles
        elif isinstance(event, StepDone):
            self.steps += 1
            self.links += event.links
            self.lost += event.lost
            self.added += event.added
        elif isinstance(event, FrameFailed):
            self.failed[event.frame] = event.reason

    @property
    def exit_code(self) -> int:
        """What the command line returns for a run that came to its end."""
        if not self.failed:
            return DONE
        return INCOMPLETE if self.skipping else FAILED

    def lines(self) -> list[str]:
        """A summary, a fact a line."""
        lines = [f"Frames: {self.frames} done" + (f" ({self.kept} kept from the run before)" if self.kept else "")]
        if self.frames:
            lines.append(
                f"Targets per frame: {self.targets / self.frames:.1f}, particles per frame: {self.particles / self.frames:.1f}"
            )
        if self.steps:
            ratio = self.links / max(1, self.links + self.lost)
            lines.append(
                f"Tracking: {self.steps} frames, links {self.links}, lost {self.lost}, added {self.added}, link ratio {ratio:.3f}"
            )
        return lines
