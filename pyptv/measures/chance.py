"""Matches of chance: how many of the particles that were found are none.

A frame is taken apart and put together anew, so that what belongs together is known: each particle moves into a direction of
its own by some tens of pixels, and is projected there; its targets stay as far beside its projections, and as large and bright,
as they were, and it is missing in the cameras that did not see it. Targets that no particle had come from another frame for
each camera, and are displaced one by one: they belong to nothing. Density, scatter and losses are those of the real frame, and
true matches take their targets away before accidents can. What is matched there and lies beside all particles is an accident.

Accidents among the particles that are put into such a frame make it too full, and their targets too far apart. So the estimate
is repeated without the share of each kind (seen by 4, 3, 2 cameras) that it says are accidents: those whose targets lie farthest
beside their projections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.engines.optv.backend import project
from pyptv.measures.frames import MatchedFrame, X, Y

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.experiment.folder import Experiment
    from pyptv.measures.bench import Workbench

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

_ROUNDS = 3
_SHORTEST, _LONGEST = 20.0, 45.0
"""[px] How far things are displaced: beyond what belongs together, within what is equally dense."""
_NEAR = 3.0
"""[px] An accident is farther from all particles than that; as in the score against a truth."""


@dataclass(frozen=True)
class Ghosts:
    """Matches that were found, and those among them that are expected to be accidents; sums over the frames looked at.

    Per kind: seen by all cameras, by one less, ..., by two.
    """

    frames: int
    found: tuple[int, ...]
    expected: tuple[float, ...]

    @property
    def share(self) -> float:
        """Expected ghosts over all that was found; 0 where nothing was."""
        return sum(self.expected) / sum(self.found) if sum(self.found) else 0.0

    @property
    def true(self) -> float:
        """What is left: found minus expected ghosts."""
        return sum(self.found) - sum(self.expected)


def expected_ghosts(bench: Workbench, frames: Sequence[MatchedFrame], seed: int = 0, rounds: int = _ROUNDS) -> Ghosts:
    """Estimate the ghosts among the matches of some frames, with the parameters of the workbench.

    Args:
        bench: matches as the experiment does.
        frames: as that workbench matched them; better several, from several times.
        seed: of the random numbers.
        rounds: how often the estimate is repeated.

    Raises:
        FrameError: the engine cannot match a frame.
    """
    found = np.sum([frame.counts() for frame in frames], axis=0, dtype=np.float64)
    expected = np.zeros_like(found)
    rng = np.random.default_rng(seed)
    tolerance = _NEAR * pixel_in_space(bench.experiment, frames)
    apart = [_take_apart(bench.experiment, frame, tolerance / _NEAR, rng) for frame in frames]
    for _ in range(rounds):
        share = np.divide(expected, found, out=np.zeros_like(found), where=found > 0)
        parts = [(one, _likely_true(one, share)) for one in apart]
        counts = [_accidents(bench, parts, which, tolerance, rng) for which in range(len(frames))]
        expected = np.minimum(np.sum(counts, axis=0), found)
    return Ghosts(len(frames), tuple(found.astype(int).tolist()), tuple(expected.tolist()))


def pixel_in_space(experiment: Experiment, frames: Sequence[MatchedFrame]) -> float:
    """What a pixel covers where the particles are [mm]; NaN without particles."""
    positions = [frame.position[np.isfinite(frame.position).all(axis=1)] for frame in frames]
    together = np.concatenate([*positions, np.empty((0, 3))])
    if not len(together):
        return float("nan")
    centre = np.median(together, axis=0)
    step = 1.0  # mm
    places = np.array([centre, *(centre + step * np.eye(3))])
    pixels = project(places, experiment.parameters, experiment.calibrations)
    per_mm = np.linalg.svd((pixels[:, 1:] - pixels[:, :1]) / step, compute_uv=False).mean()
    return float(1.0 / per_mm)


@dataclass(frozen=True, eq=False)
class _Apart:
    """A frame taken apart: its particles displaced, each by a vector of its own."""

    frame: MatchedFrame
    rows: Integers
    """(n,) particles whose position is known."""
    position: Floats
    """(n, 3) where they are moved to [mm]."""
    places: Floats
    """(n_cams, n, 2) where their targets are then [px]."""
    beside: Floats
    """(n,) by how much targets are beside projections [px^2]."""


def _take_apart(experiment: Experiment, frame: MatchedFrame, scale: float, rng: np.random.Generator) -> _Apart:
    rows = np.flatnonzero(np.isfinite(frame.position).all(axis=1))
    position = frame.position[rows]
    off = frame.pixels(rows) - project(position, experiment.parameters, experiment.calibrations)
    beside = np.nanmean((off**2).sum(axis=2), axis=0) if len(rows) else np.empty(0)
    pairs = frame.views[rows] == 2
    beside[pairs] = rng.random(np.count_nonzero(pairs))  # a pair's targets are hardly beside: any may be the accident
    moved, places = _moved_inside(experiment, position, off, scale, rng)
    return _Apart(frame, rows, moved, places, beside)


def _moved_inside(
    experiment: Experiment, position: Floats, off: Floats, scale: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Positions displaced by a random vector or its opposite, and the places of their targets.

    They stay where they are where both lead out of the volume or of an image.
    """
    length = rng.uniform(_SHORTEST, _LONGEST, len(position)) * scale
    direction = rng.standard_normal(position.shape)
    direction *= (length / np.linalg.norm(direction, axis=1))[:, np.newaxis]
    result = position.copy()
    places = np.empty(off.shape)
    todo = np.ones(len(position), np.bool_)
    for step in (direction, -direction, np.zeros_like(direction)):
        moved = position[todo] + step[todo]
        there = project(moved, experiment.parameters, experiment.calibrations) + off[:, todo]
        good = _inside(experiment, moved, there) | (not step.any())
        rows = np.flatnonzero(todo)[good]
        result[rows], places[:, rows] = moved[good], there[:, good]
        todo[rows] = False
    return result, places


def _inside(experiment: Experiment, position: Floats, places: Floats) -> NDArray[np.bool_]:
    """Which positions (n, 3) lie within the Z limits, and their targets in the images of the cameras that see them."""
    ptv, criteria = experiment.parameters.ptv, experiment.parameters.criteria
    share = (position[:, 0] - criteria.X_lay[0]) / (criteria.X_lay[1] - criteria.X_lay[0])
    low = criteria.Zmin_lay[0] + share * (criteria.Zmin_lay[1] - criteria.Zmin_lay[0])
    high = criteria.Zmax_lay[0] + share * (criteria.Zmax_lay[1] - criteria.Zmax_lay[0])
    outside = (places < 0).any(axis=2) | (places > [ptv.imx, ptv.imy]).any(axis=2)  # NaN, unseen, is not outside
    inside: NDArray[np.bool_] = (low < position[:, 2]) & (position[:, 2] < high) & ~outside.any(axis=0)
    return inside


def _likely_true(apart: _Apart, share: Floats) -> Integers:
    """Which of the particles count as true: of each kind all but a share, those farthest beside their projections."""
    kept = []
    views, n_cams = apart.frame.views[apart.rows], apart.frame.n_cams
    for kind in range(n_cams, 1, -1):
        which = np.flatnonzero(views == kind)
        order = which[np.argsort(apart.beside[which])]
        kept.append(order[: round(len(order) * (1 - share[n_cams - kind]))])
    return np.concatenate(kept)


def _accidents(
    bench: Workbench, parts: Sequence[tuple[_Apart, Integers]], which: int, tolerance: float, rng: np.random.Generator
) -> Floats:
    """How many accidents of each kind there are in a frame that is put together anew.

    Args:
        bench: matches.
        parts: frames taken apart, and which of the particles of each count as true.
        which: the frame.
        tolerance: [mm] from a particle.
        rng: for what is displaced.
    """
    apart, kept = parts[which]
    frame = apart.frame
    targets = []
    for camera, found in enumerate(frame.targets):
        rows = frame.target[apart.rows[kept], camera]
        own = found[rows[rows >= 0]].copy()
        own[:, X : Y + 1] = apart.places[camera, kept[rows >= 0]]
        other, others = parts[(which + camera * max(1, len(parts) // frame.n_cams)) % len(parts)]
        left_over = _left_over(other.frame, other.rows[others], camera)
        together = np.concatenate([own, _displaced(bench.experiment, left_over, rng)])
        targets.append(together[np.argsort(together[:, Y], kind="stable")])
    matched = bench.match(targets)
    accident = _beside_all(matched.position, apart.position[kept], tolerance)
    return np.array([np.count_nonzero(accident & (matched.views == kind)) for kind in range(frame.n_cams, 1, -1)], np.float64)


def _left_over(frame: MatchedFrame, kept: Integers, camera: int) -> Floats:
    """The targets of a camera that no kept particle has."""
    used = np.zeros(len(frame.targets[camera]), np.bool_)
    rows = frame.target[kept, camera]
    used[rows[rows >= 0]] = True
    return frame.targets[camera][~used]


def _displaced(experiment: Experiment, targets: Floats, rng: np.random.Generator) -> Floats:
    """Targets displaced, each by a vector of its own; what leaves the image enters at the other side."""
    ptv = experiment.parameters.ptv
    length, angle = rng.uniform(_SHORTEST, _LONGEST, len(targets)), rng.uniform(0, 2 * np.pi, len(targets))
    moved = targets.copy()
    moved[:, X] = (moved[:, X] + length * np.cos(angle)) % ptv.imx
    moved[:, Y] = (moved[:, Y] + length * np.sin(angle)) % ptv.imy
    return moved


def _beside_all(found: Floats, true: Floats, tolerance: float) -> NDArray[np.bool_]:
    """Which positions found are no true particle: these are each other's nearest, and not farther apart than the tolerance."""
    beside = np.ones(len(found), np.bool_)
    finite = np.flatnonzero(np.isfinite(found).all(axis=1))
    if len(finite) and len(true):
        from scipy.spatial import KDTree  # an extra

        distance, nearest = map(np.asarray, KDTree(true).query(found[finite]))
        back = np.asarray(KDTree(found[finite]).query(true)[1])
        beside[finite[(back[nearest] == np.arange(len(finite))) & (distance <= tolerance)]] = False
    return beside
