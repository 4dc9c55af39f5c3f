"""The return value of ``main()``: the numbers of a run, and the paths of its results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pyptv.core.base.frames import FrameRange
from pyptv.core.base.options import Engine
from pyptv.core.record.tally import Tally


@dataclass(frozen=True)
class RunResult:
    """The result of a run. Paths are absolute or relative, as the experiment was given."""

    first: int
    last: int
    frames: int
    """Frames whose sequence step is done; with ``mode="tracking"``: frames whose sequence results existed."""
    kept: int
    """Number of them done by an earlier run (``resume``)."""
    tracked: int
    """Frames whose links are final."""
    failed: Mapping[int, str]
    """Frame -> why it failed; empty unless ``on_error="skip"``."""
    targets: int
    """Targets in all frames and cameras."""
    particles: int
    links: int
    lost: int
    """Particles without a link to the next frame."""
    added: int
    """Particles added by tracking."""
    seconds: float
    """Wall time."""
    engine: Engine
    results: Path
    """The folder with ``rt_is``, ``ptv_is`` and ``added``."""
    run_report: Path
    """``run_report.json``."""
    html_report: Path | None
    """``report.html``, if it was requested and made."""
    exit_code: int
    """The exit code of the command line for this run: 0, or 3 if frames were left out."""

    @property
    def link_ratio(self) -> float:
        """Links over links and losses; 0 if nothing was tracked."""
        return self.links / max(1, self.links + self.lost)

    def __repr__(self) -> str:
        parts = [f"frames {self.first}-{self.last}: {self.frames} done" + (f" ({self.kept} kept)" if self.kept else "")]
        parts.append(f"{len(self.failed)} failed")
        if self.frames:
            parts.append(f"{self.targets / self.frames:.1f} targets and {self.particles / self.frames:.1f} particles per frame")
        if self.tracked:
            parts.append(f"{self.tracked} tracked, link ratio {self.link_ratio:.3f}")
        return f"<RunResult {', '.join(parts)}; {self.seconds:.1f} s; results in {self.results}>"


def result_of(tally: Tally, frames: FrameRange, seconds: float, results: Path, run_report: Path) -> RunResult:
    """The result of a finished run."""
    sequence, tracking = tally.columns.sequence(), tally.columns.tracking()
    return RunResult(
        first=frames[0],
        last=frames[1],
        frames=tally.frames,
        kept=tally.kept,
        tracked=tally.steps,
        failed={frame: event.reason for frame, event in sorted(tally.failed.items())},
        targets=sum(map(sum, sequence["targets"])),
        particles=sum(sequence["particles"]),
        links=sum(tracking["links"]),
        lost=sum(tracking["lost"]),
        added=sum(tracking["added"]),
        seconds=seconds,
        engine=tally.engine,
        results=results,
        run_report=run_report,
        html_report=None,
        exit_code=tally.exit_code,
    )
