"""The short table that ends a run on a terminal, from its report."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

WIDTH = 80
_NAMES = 12
_MOST_FAILURES = 3
_UNBROKEN = "\N{NO-BREAK SPACE}"


def summary_lines(report: dict[str, Any], files: Sequence[Path] = ()) -> list[str]:
    """One fact per row; only a long path or word makes a row wider than 80 columns.

    Args:
        report: as in ``run_report.json``.
        files: paths of the written reports.
    """
    lines = []
    for name, value in _rows(report, files):
        wrapped = textwrap.wrap(value, WIDTH - _NAMES - 1, break_long_words=False, break_on_hyphens=False)
        lines += [f"{'' if number else name:<{_NAMES}} {line}".replace(_UNBROKEN, " ") for number, line in enumerate(wrapped)]
    return lines


def _rows(report: dict[str, Any], files: Sequence[Path]) -> Iterator[tuple[str, str]]:
    frames, particles, tracking = report["frames"], report["sequence"]["particles"], report["tracking"]
    yield "Frames", ", ".join(_frames(frames))
    if particles:
        targets = sum(map(sum, report["sequence"]["targets"]))
        yield "Per frame", f"{targets / len(particles):.1f} targets, {sum(particles) / len(particles):.1f} particles"
    if tracking["frame"]:
        links, lost, added = (sum(tracking[name]) for name in ("links", "lost", "added"))
        yield "Link ratio", f"{links / max(1, links + lost):.3f} ({links} links, {lost} lost, {added} added)"
    if times := _milliseconds(report["seconds"]):
        yield "ms per frame", ", ".join(f"{stage}{_UNBROKEN}{ms:.1f}" for stage, ms in times)
    yield "Time", f"{report['run']['seconds']:.1f} s, engine {report['command']['engine']}"
    for number, failed in enumerate(frames["failed"][:_MOST_FAILURES]):
        yield "" if number else "Failed", failed["reason"]
    if len(frames["failed"]) > _MOST_FAILURES:
        yield "", f"and {len(frames['failed']) - _MOST_FAILURES} more: see frames.failed in the run report"
    if (output := report["command"].get("output")) is not None:
        yield "Results", str(Path(output) / "res")
    for number, path in enumerate(files):
        yield "" if number else "Reports", str(path)


def _frames(frames: dict[str, Any]) -> Iterator[str]:
    yield f"{frames['done']} of {frames['asked']} done" + (f" ({frames['kept']} kept)" if frames["kept"] else "")
    yield f"{len(frames['failed'])} failed"
    if frames["tracked"]:
        yield f"{frames['tracked']} tracked"
    if frames["not_reached"]:
        yield f"{frames['not_reached']} not reached"


def _milliseconds(seconds: dict[str, Any]) -> list[tuple[str, float]]:
    """Stage -> milliseconds per frame of this run, for the stages that occurred."""
    done = {name: sum(worker[name] for worker in seconds["workers"]) for name in ("frames", "steps")}
    per = {stage: done["steps" if stage == "tracking" else "frames"] for stage in seconds["stages"]}
    return [(stage, 1000 * spent / per[stage]) for stage, spent in seconds["stages"].items() if spent and per[stage]]
