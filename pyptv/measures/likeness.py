"""How alike the targets of a particle are in the cameras, and how large and bright they are: what limits must let pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pyptv.measures.frames import NX, NY, SUMG, MatchedFrame, N

_COLUMNS = {"n": N, "nx": NX, "ny": NY, "sumg": SUMG}


@dataclass(frozen=True)
class Likeness:
    """Targets of the particles that all cameras see."""

    ratio: dict[str, float]
    """Smaller over larger value of n, nx, ny, sumg in two cameras: what 99 % of all pairs of targets reach; NaN without any."""
    extent: dict[str, tuple[float, float]]
    """0.5 and 99.5 % of n, nx, ny [px] and sumg; NaN without any."""


def likeness(frames: Sequence[MatchedFrame]) -> Likeness:
    """Of some matched frames. What limits have cut off already is not in it."""
    ratio, extent = {}, {}
    for name, column in _COLUMNS.items():
        parts = [np.empty((0, frames[0].n_cams if frames else 2))]
        for frame in frames:
            rows = frame.target[frame.views == frame.n_cams]
            parts.append(np.column_stack([targets[rows[:, camera], column] for camera, targets in enumerate(frame.targets)]))
        values = np.concatenate(parts)
        pairs = [values[:, couple] for couple in combinations(range(values.shape[1]), 2)]
        alike = np.concatenate([pair.min(axis=1) / np.maximum(pair.max(axis=1), 1e-9) for pair in pairs])
        ratio[name] = float(np.percentile(alike, 1)) if len(alike) else float("nan")
        low, high = np.percentile(values, (0.5, 99.5)).tolist() if len(values) else (float("nan"),) * 2
        extent[name] = low, high
    return Likeness(ratio, extent)
