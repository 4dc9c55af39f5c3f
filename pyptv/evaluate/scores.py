"""The score of a run: counts per frame, and derived ratios."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.evaluate.matching import Tracks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Indices = NDArray[np.int64]


@dataclass(frozen=True)
class FrameScore:
    """Counts of one frame. Links are those to the next frame, 0 if that is not scored."""

    frame: int
    missing: bool
    """No rt_is file: all its particles and links count as not found."""
    particles: int
    found: int
    true: int
    squares: tuple[float, float, float]
    """Sum of squared errors of the true detections, per axis [mm^2]."""
    links: int
    links_found: int
    links_true: int

    @property
    def recall(self) -> float:
        """True detections over true particles; NaN without particles."""
        return _ratio(self.true, self.particles)

    @property
    def rms(self) -> tuple[float, float, float]:
        """Root mean square error of x, y, z [mm] of the true detections; NaN without any."""
        x, y, z = (math.sqrt(_ratio(total, self.true)) for total in self.squares)
        return x, y, z


@dataclass(frozen=True)
class Score:
    """The score of a run. Ratios are NaN if there is nothing to count."""

    tolerance_mm: float
    frames: tuple[FrameScore, ...]
    tracked: bool
    """Whether there are ``ptv_is`` files; without them links and trajectories are not scored."""
    tracks: Tracks
    true_lengths: tuple[int, ...]
    """Number of frames of each true particle's stays, without single frames."""

    def total(self, name: str) -> int:
        """The sum of a count of :class:`FrameScore` over the frames."""
        return sum(getattr(frame, name) for frame in self.frames)

    @property
    def missing_frames(self) -> tuple[int, ...]:
        """Frames of the truth without results."""
        return tuple(frame.frame for frame in self.frames if frame.missing)

    @property
    def ghosts(self) -> int:
        """Measured particles that are not true."""
        return self.total("found") - self.total("true")

    @property
    def recall(self) -> float:
        """True detections over true particles."""
        return _ratio(self.total("true"), self.total("particles"))

    @property
    def precision(self) -> float:
        """True detections over measured particles."""
        return _ratio(self.total("true"), self.total("found"))

    @property
    def rms(self) -> tuple[float, float, float]:
        """Root mean square error of x, y, z [mm] of the true detections."""
        sums = np.sum([frame.squares for frame in self.frames], axis=0)
        x, y, z = (math.sqrt(_ratio(float(total), self.total("true"))) for total in sums)
        return x, y, z

    @property
    def link_recall(self) -> float:
        """True links over links of true particles."""
        return _ratio(self.total("links_true"), self.total("links")) if self.tracked else math.nan

    @property
    def link_precision(self) -> float:
        """True links over measured links."""
        return _ratio(self.total("links_true"), self.total("links_found"))

    @property
    def pure_tracks(self) -> float:
        """Trajectories that follow one true particle from end to end, over all measured trajectories."""
        return _ratio(int(self.tracks.pure.sum()), len(self.tracks.pure))

    @property
    def pure_lengths(self) -> Indices:
        """(n,) lengths of the pure trajectories [frames]."""
        return self.tracks.lengths[self.tracks.pure]

    def as_tree(self) -> dict[str, Any]:
        """All values, for JSON; NaN becomes None."""
        names = ("recall", "precision", "ghosts", "link_recall", "link_precision", "pure_tracks", "missing_frames")
        totals = ("particles", "found", "true", "links", "links_found", "links_true")
        tree = {
            "tolerance_mm": self.tolerance_mm,
            "tracked": self.tracked,
            **{name: self.total(name) for name in totals},
            **{name: getattr(self, name) for name in names},
            "rms_mm": self.rms,
            "tracks": len(self.tracks.lengths),
            "pure_length_mean": _mean(self.pure_lengths),
            "pure_length_max": int(self.pure_lengths.max(initial=0)),
            "true_length_mean": _mean(self.true_lengths),
            "frames": [asdict(frame) for frame in self.frames],
        }
        cleaned: dict[str, Any] = _without_nan(tree)
        return cleaned


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _mean(values: Indices | Sequence[int]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _without_nan(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
