"""Recall and rms error over the frames, as a picture."""

from __future__ import annotations

from pathlib import Path

from pyptv.core.base.errors import ProcessingError
from pyptv.evaluate.scores import Score


def plot(score: Score, path: Path) -> None:
    """Draw recall and rms error over the frames into an image file; its suffix determines the format.

    Raises:
        ProcessingError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # an extra; no pyplot: no display, no global state
    except ImportError as error:
        raise ProcessingError('a plot needs matplotlib: pip install "pyptv-batch[plot]"') from error
    frames = [frame.frame for frame in score.frames]
    figure = Figure(figsize=(8, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot(frames, [frame.recall for frame in score.frames], ".-", label="3-D recall")
    if score.tracked:
        recalls = [frame.links_true / frame.links if frame.links else float("nan") for frame in score.frames]
        upper.plot(frames, recalls, ".-", label="link recall")
    upper.set_ylabel("recall")
    upper.set_ylim(top=1.005)
    for axis, errors in zip("xyz", zip(*(frame.rms for frame in score.frames), strict=True), strict=True):
        lower.plot(frames, errors, ".-", label=axis)
    lower.set_ylabel("rms error [mm]")
    lower.set_ylim(bottom=0)
    lower.set_xlabel("frame")
    lower.ticklabel_format(axis="x", useOffset=False, style="plain")
    for axes in (upper, lower):
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
