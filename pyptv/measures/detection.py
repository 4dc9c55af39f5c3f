"""Targets: how their number depends on the threshold, how large and bright they are, and where in a pixel they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PeakLocking:
    """Whether the fractions of x and y prefer some places in a pixel."""

    x: float
    y: float
    """Amplitude of the first harmonic of the fractions' distribution: 0 none, 1 all at one place (mean resultant length)."""
    level: float
    """What as many places without preference reach by chance in one case out of a hundred."""

    @property
    def locked(self) -> bool:
        """Whether one of them is above 0.1 and above chance."""
        return max(self.x, self.y) > max(0.1, self.level)


def peak_locking(targets: Sequence[Floats]) -> PeakLocking:
    """Peak locking of the targets of a camera, (n, 8) per frame, columns as in ``_targets``."""
    places = np.concatenate([rows[:, 1:3] for rows in targets]) if targets else np.empty((0, 2))
    if not len(places):
        return PeakLocking(0.0, 0.0, 1.0)
    x, y = np.abs(np.exp(2j * np.pi * places).mean(axis=0)).tolist()
    return PeakLocking(x, y, float(np.sqrt(np.log(100) / len(places))))
