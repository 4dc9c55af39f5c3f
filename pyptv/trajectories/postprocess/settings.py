"""What post-processing is asked to do."""

from __future__ import annotations

from dataclasses import dataclass

MOST_GAP = 20


@dataclass(frozen=True)
class PostProcessing:
    """The steps, in their order. Checked: a wrong value is a ``ValueError``."""

    cut: bool = True
    """Cut trajectories at links that the motion model calls impossible."""
    max_gap: int | None = 2
    """Largest number of missing frames that a join bridges; 0: only links that are missing; None: nothing is joined."""
    fill: bool = False
    """Seek the missing particles of joined trajectories among the targets of their frames."""
    remove_stationary: bool = False
    """Leave out trajectories that do not move: reflections, stuck pixels."""
    smooth: bool = False
    """Positions, velocities and accelerations as the motion model estimates them, with their errors."""

    def __post_init__(self) -> None:
        gap = self.max_gap
        if gap is not None and (isinstance(gap, bool) or not isinstance(gap, int) or not 0 <= gap <= MOST_GAP):
            raise ValueError(f"max_gap: found {gap!r}, expected 0 to {MOST_GAP} frames, or None")
        if self.fill and not gap:
            raise ValueError(f"fill: found a max_gap of {gap}, expected at least 1 frame: only joined trajectories have gaps")
