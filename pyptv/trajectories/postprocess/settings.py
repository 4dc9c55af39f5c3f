"""The settings of post-processing."""

from __future__ import annotations

from dataclasses import dataclass

MOST_GAP = 20


@dataclass(frozen=True)
class PostProcessing:
    """The steps, in their order. A wrong value raises a ``ValueError``."""

    cut: bool = True
    """Cut trajectories at links that are impossible according to the motion model."""
    max_gap: int | None = 2
    """Maximum number of missing frames that a join bridges; 0: only missing links; None: nothing is joined."""
    fill: bool = False
    """Search for the missing particles of joined trajectories among the targets of their frames."""
    remove_stationary: bool = False
    """Leave out trajectories that do not move: reflections, stuck pixels."""
    smooth: bool = False
    """Positions, velocities and accelerations estimated by the motion model, with their errors."""

    def __post_init__(self) -> None:
        gap = self.max_gap
        if gap is not None and (isinstance(gap, bool) or not isinstance(gap, int) or not 0 <= gap <= MOST_GAP):
            raise ValueError(f"max_gap: found {gap!r}, expected 0 to {MOST_GAP} frames, or None")
        if self.fill and not gap:
            raise ValueError(f"fill: found a max_gap of {gap}, expected at least 1 frame: only joined trajectories have gaps")
