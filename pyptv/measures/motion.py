"""Displacements and accelerations that are above the chance level, and the noise of a position. No tracker, no limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pyptv.measures.frames import MatchedFrame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Motion:
    """What particles do from frame to frame, as far as it can be told from chance."""

    displacement: Floats
    """(n, 3) of chains of frames that go on smoothly [mm/frame]."""
    displacement_chance: Floats
    """(k, 3) the same of chains that chance makes: from frames that do not belong together."""
    acceleration: Floats
    """(n,) length of the second difference [mm/frame^2]."""
    acceleration_chance: Floats
    """(k,)"""
    angle: Floats
    """(n,) change of direction [gon]."""
    noise: tuple[float, float, float]
    """Standard deviation of a position along x, y, z [mm], by the lag covariances of second differences; NaN: too few."""
    spacing: float
    """Mean distance of neighbouring particles, (volume / number)^(1/3) [mm]."""
    chains: int
    """Chains looked at; ``displacement`` has one row for each."""
    chance_chains: float
    """How many of them are expected to be accidents."""


def measure_motion(runs: Sequence[Sequence[MatchedFrame]], seed: int = 0) -> Motion:
    """Displacements, accelerations and noise from runs of consecutive frames of four or more.

    Raises:
        ProcessingError: scipy is not installed.
    """
    raise NotImplementedError
