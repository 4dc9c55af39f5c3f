"""Displacements and accelerations that are above the chance level, and the noise of a position. No tracker, no limits.

A chain is four particles a, b, c, d in consecutive frames that go on nearly evenly: b and c are not farther apart than some
reach, and where b and c point to, backward and forward, there is a particle within some tolerance. Each b has its best chain, and
each c has only one. Chance makes chains, too: how many, and what they look like, shows where a and d are taken from frames that
are displaced as a whole. Reach and tolerance are those with the most chains above chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyptv.measures.frames import MatchedFrame
from pyptv.measures.noise import CHAIN, position_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

_REACHES = (0.15, 0.3, 0.6, 1.0, 1.6, 2.5)
_TOLERANCES = (0.03, 0.06, 0.12, 0.2, 0.3, 0.45)
"""In mean distances of neighbouring particles."""
_MOST = 2_000
"""Particles of a frame that chains are looked for from."""
_MOST_FOR_LIMITS = 3
"""Sets of four frames that reach and tolerance are chosen by."""
_MEDIAN_NEAREST = 0.5495
"""Median distance of the nearest neighbour over (volume / number)^(1/3), where particles are spread at random."""


@dataclass(frozen=True, eq=False)
class Motion:
    """What particles do from frame to frame, as far as it can be told from chance."""

    displacement: Floats
    """(n, 3) of chains: from b to c [mm/frame]."""
    displacement_chance: Floats
    """(k, 3) the same of chains that chance makes."""
    acceleration: Floats
    """(n,) length of the second difference a - 2 b + c [mm/frame^2]."""
    acceleration_chance: Floats
    """(k,)"""
    angle: Floats
    """(n,) change of direction from a-b to b-c [gon]."""
    noise: tuple[float, float, float]
    """Standard deviation of a position along x, y, z [mm]; NaN: too few chains."""
    noise_settled: tuple[bool, bool, bool]
    """Whether a higher order of differences gave no less; if not, motion may still be in it, and the noise is at most that."""
    spacing: float
    """Mean distance of neighbouring particles, (volume / number)^(1/3) [mm]; NaN without particles."""
    reach: float
    """Largest displacement that was looked for [mm]."""
    tolerance: float
    """How far from even motion [mm]."""
    particles: int
    """From which chains were looked for."""
    chance_chains: float
    """How many of the chains are expected to be accidents."""

    @property
    def chains(self) -> int:
        """Chains that were found."""
        return len(self.displacement)

    @property
    def true_share(self) -> float:
        """Share of the particles with a chain above chance."""
        return max(self.chains - self.chance_chains, 0.0) / self.particles if self.particles else 0.0


class _Chains(NamedTuple):
    """Candidates for chains, of one set of four frames: rows, and how far from even motion they are."""

    rows: Integers
    """(n, 4) of a, b, c, d."""
    points: Floats
    """(n, 4, 3) [mm]."""
    reach: Floats
    """(n,) distance b to c [mm]."""
    off: Floats
    """(n,) the larger of the distances of a and d from where they are expected [mm]."""
    cost: Floats
    """(n,) their sum."""


def measure_motion(runs: Sequence[Sequence[MatchedFrame]], seed: int = 0) -> Motion:
    """Displacements, accelerations and noise from runs of consecutive frames.

    Args:
        runs: those of four or more frames count.
        seed: of the random displacements.
    """
    rng = np.random.default_rng(seed)
    positions = [[_finite(frame) for frame in run] for run in runs]
    spacing = mean_spacing([frame for run in positions for frame in run])
    vectors, numbers, nan = np.empty((0, 3)), np.empty(0), float("nan")
    noise, settled = (nan, nan, nan), (False, False, False)
    nothing = Motion(vectors, vectors, numbers, numbers, numbers, noise, settled, spacing, nan, nan, 0, 0.0)
    windows = [list(window) for run in positions for window in _windows(run)]
    windows = [window for window in windows if min(map(len, window)) > 1]
    if not windows or not np.isfinite(spacing):
        return nothing
    farthest, widest = _REACHES[-1] * spacing, _TOLERANCES[-1] * spacing
    some = windows[:: -(-len(windows) // _MOST_FOR_LIMITS)]
    reach, tolerance = _best_limits(
        [_candidates(window, farthest, widest, rng) for window in some],
        [_candidates(_torn(window, rng), farthest, widest, rng) for window in some],
        spacing,
    )
    chosen, chance = [
        [_select(_candidates(window, reach, tolerance, rng), reach, tolerance) for window in sets]
        for sets in (windows, [_torn(window, rng) for window in windows])
    ]
    particles = sum(min(len(window[1]), _MOST) for window in windows)
    points, by_chance = _points(chosen), _points(chance)
    expected = expected_false(len(points), len(by_chance), particles)
    noise_of, settled_of = position_noise([one.rows for one in chosen], [one.points for one in chosen])
    return Motion(
        displacement=points[:, 2] - points[:, 1],
        displacement_chance=by_chance[:, 2] - by_chance[:, 1],
        acceleration=np.linalg.norm(_second(points), axis=1),
        acceleration_chance=np.linalg.norm(_second(by_chance), axis=1),
        angle=_angles(points),
        noise=(float(noise_of[0]), float(noise_of[1]), float(noise_of[2])),
        noise_settled=(bool(settled_of[0]), bool(settled_of[1]), bool(settled_of[2])),
        spacing=spacing,
        reach=reach,
        tolerance=tolerance,
        particles=particles,
        chance_chains=expected,
    )


def mean_spacing(positions: Sequence[Floats]) -> float:
    """(volume / number)^(1/3) [mm] of particles (n, 3) in some frames, by the median distance to the nearest one; NaN: none."""
    from scipy.spatial import KDTree  # an extra

    nearest = [np.asarray(KDTree(frame).query(frame, k=2)[0])[:, 1] for frame in positions if len(frame) > 1]
    return float(np.median(np.concatenate(nearest)) / _MEDIAN_NEAREST) if nearest else float("nan")


def expected_false(found: int, by_chance: int, room: int) -> float:
    """How many of the links found are accidents, if there are ``by_chance`` where nothing belongs together.

    Accidents need a place that no true link takes, at both ends: F = by_chance (1 - (found - F) / room)^2, solved for F.
    """
    false = 0.0
    for _ in range(50):
        free = 1.0 - (found - false) / room if room else 0.0
        false = 0.5 * (false + min(by_chance * max(free, 0.0) ** 2, float(found)))
    return false


def _finite(frame: MatchedFrame) -> Floats:
    position: Floats = frame.position[np.isfinite(frame.position).all(axis=1)]
    return position


def _windows(run: Sequence[Floats]) -> Iterator[Sequence[Floats]]:
    return (run[start : start + CHAIN] for start in range(len(run) - CHAIN + 1))


def _torn(window: Sequence[Floats], rng: np.random.Generator) -> list[Floats]:
    """The four frames with the outer ones displaced as a whole, each by a vector of its own; what leaves the box enters again."""
    together = np.concatenate(list(window))
    low, high = together.min(axis=0), together.max(axis=0)
    side = np.maximum(high - low, 1e-9)
    moved = [low + (frame - low + rng.uniform(0.2, 0.8, 3) * side) % side for frame in (window[0], window[3])]
    return [moved[0], window[1], window[2], moved[1]]


def _candidates(window: Sequence[Floats], farthest: float, widest: float, rng: np.random.Generator) -> _Chains:
    """All chains within the widest limits."""
    from scipy.spatial import KDTree  # an extra

    a, b, c, d = window
    some = np.arange(len(b)) if len(b) <= _MOST else np.sort(rng.choice(len(b), _MOST, replace=False))
    near: list[list[int]] = list(KDTree(c).query_ball_point(b[some], farthest))  # type: ignore[arg-type]
    count = np.array([len(which) for which in near])
    row_b = np.repeat(some, count)
    row_c = np.concatenate([np.array(which, np.int64) for which in near]) if count.sum() else np.empty(0, np.int64)
    off_a, row_a = map(np.asarray, KDTree(a).query(2 * b[row_b] - c[row_c], distance_upper_bound=widest))
    off_d, row_d = map(np.asarray, KDTree(d).query(2 * c[row_c] - b[row_b], distance_upper_bound=widest))
    good = np.flatnonzero(np.isfinite(off_a) & np.isfinite(off_d))
    rows = np.column_stack([row_a[good], row_b[good], row_c[good], row_d[good]]).astype(np.int64)
    points = np.stack([frame[rows[:, place]] for place, frame in enumerate(window)], axis=1)
    reach = np.linalg.norm(points[:, 2] - points[:, 1], axis=1)
    return _Chains(rows, points, reach, np.maximum(off_a[good], off_d[good]), off_a[good] + off_d[good])


def _best_limits(real: Sequence[_Chains], torn: Sequence[_Chains], spacing: float) -> tuple[float, float]:
    """Reach and tolerance [mm] with the most chains above chance; of nearly equal ones the narrower."""
    best, limits = -np.inf, (_REACHES[0] * spacing, _TOLERANCES[0] * spacing)
    for reach in _REACHES:
        for tolerance in _TOLERANCES:
            found = sum(len(one.rows) for one in _select_all(real, reach * spacing, tolerance * spacing))
            chance = sum(len(one.rows) for one in _select_all(torn, reach * spacing, tolerance * spacing))
            if found - 2 * chance > 1.01 * best:
                best, limits = found - 2 * chance, (reach * spacing, tolerance * spacing)
    return limits


def _select_all(candidates: Sequence[_Chains], reach: float, tolerance: float) -> list[_Chains]:
    return [_select(one, reach, tolerance) for one in candidates]


def _select(candidates: _Chains, reach: float, tolerance: float) -> _Chains:
    """Within the limits the best chain of each b, and of each c."""
    within = np.flatnonzero((candidates.reach <= reach) & (candidates.off <= tolerance))
    order = within[np.argsort(candidates.cost[within], kind="stable")]
    for column in (1, 2):
        order = order[np.sort(np.unique(candidates.rows[order, column], return_index=True)[1])]
    c = candidates
    return _Chains(c.rows[order], c.points[order], c.reach[order], c.off[order], c.cost[order])


def _points(chains: Sequence[_Chains]) -> Floats:
    return np.concatenate([np.empty((0, CHAIN, 3)), *(one.points for one in chains)])


def _second(points: Floats) -> Floats:
    second: Floats = points[:, 0] - 2 * points[:, 1] + points[:, 2]
    return second


def _angles(points: Floats) -> Floats:
    """Change of direction at b [gon]; NaN where something did not move."""
    one, other = points[:, 1] - points[:, 0], points[:, 2] - points[:, 1]
    length = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosine = np.divide((one * other).sum(axis=1), length, out=np.full(len(points), np.nan), where=length > 0)
    angles: Floats = np.arccos(np.clip(cosine, -1, 1)) * 200 / np.pi
    return angles
