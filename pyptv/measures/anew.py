"""A frame taken apart and put together anew, so that it is known what belongs together.

Each particle moves in a direction of its own by some tens of pixels and is projected there; its targets stay as far beside its
projections, and as large and bright, as they were, and it is missing in the cameras that did not see it. Targets that come nearer
than spots can be told apart become one. The other targets come from another frame for each camera and are displaced one by one:
they belong to nothing. Density, scatter and losses are those of the real frame, and true matches take their targets away before
accidents can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.engines.optv.backend import project
from pyptv.measures.frames import SUMG, MatchedFrame, N, X, Y

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.experiment.folder import Experiment

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

_SHORTEST, _LONGEST = 20.0, 45.0
"""[px] How far things are displaced: beyond what belongs together, within what is equally dense."""
_NEIGHBOURS = 8.0
"""[px] Neighbours that are counted to see from where on spots are told apart; the ring of twice that width beside them."""


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
class Apart:
    """A frame taken apart."""

    frame: MatchedFrame
    rows: Integers
    """(n,) particles whose position is known."""
    off: Floats
    """(n_cams, n, 2) targets - projections [px]; 0 where a camera does not see the particle."""
    order: tuple[Integers, ...]
    """Per kind of particle their places in ``rows``, what is likely to be true first."""
    scale: float
    """What a pixel covers [mm]."""
    spots: tuple[float, ...]
    """Per camera the distance below which two spots are one target [px]."""


def take_apart(
    experiment: Experiment, frame: MatchedFrame, scale: float, spots: tuple[float, ...], rng: np.random.Generator
) -> Apart:
    """Take a frame apart.

    Args:
        experiment: whose calibrations project.
        frame: as it was matched.
        scale: what a pixel covers [mm].
        spots: per camera the distance below which two spots are one target [px].
        rng: which of the pairs are taken first; nothing tells which of them are likely to be true.
    """
    rows = np.flatnonzero(np.isfinite(frame.position).all(axis=1))
    off = frame.pixels(rows) - project(frame.position[rows], experiment.parameters, experiment.calibrations)
    beside = np.nanmean((off**2).sum(axis=2), axis=0) if len(rows) else np.empty(0)
    views = frame.views[rows]
    pairs = views == 2
    beside[pairs] = rng.random(np.count_nonzero(pairs))  # a pair's targets are hardly beside: any may be the accident
    kinds = [np.flatnonzero(views == kind) for kind in range(frame.n_cams, 1, -1)]
    order = tuple(which[np.argsort(beside[which], kind="stable")] for which in kinds)
    return Apart(frame, rows, np.nan_to_num(off), order, scale, spots)


@dataclass(frozen=True, eq=False)
class Anew:
    """A frame of which it is known what belongs together."""

    targets: list[Floats]
    """Per camera, by y."""
    owner: list[Integers]
    """Per camera the particle of each target; -1: none."""
    places: Floats
    """(n_cams, n, 2) where the particles appear [px]."""


def put_together(experiment: Experiment, apart: Sequence[Apart], which: int, share: Floats, rng: np.random.Generator) -> Anew:
    """A frame anew, with a share of its particles of each kind (more than 1: some of them twice, at different places)."""
    one = apart[which]
    chosen = np.concatenate([_some(order, wanted, rng) for order, wanted in zip(one.order, share, strict=True)])
    target = one.frame.target[one.rows[chosen]]
    places = _displaced_particles(experiment, one, chosen, rng)
    targets, owner = [], []
    for camera, found in enumerate(one.frame.targets):
        seen = np.flatnonzero(target[:, camera] >= 0)
        own = found[target[seen, camera]].copy()
        own[:, X : Y + 1] = places[camera, seen]
        own, seen = _merged(own, seen, one.spots[camera])
        other = apart[(which + camera * max(1, len(apart) // len(places))) % len(apart)].frame
        rest = _displaced(experiment, _left_over(other, camera, len(found) - len(own), rng), rng)
        mixed, seen = _merged(np.concatenate([own, rest]), np.concatenate([seen, np.full(len(rest), -1)]), one.spots[camera])
        order = np.argsort(mixed[:, Y], kind="stable")
        targets.append(mixed[order])
        owner.append(seen[order])
    return Anew(targets, owner, places)


def _merged(targets: Floats, owner: Integers, distance: float) -> tuple[Floats, Integers]:
    """Targets that are nearer to each other than spots can be told apart are one: in the middle, weighted by brightness.

    It belongs to the brightest one's particle.
    """
    from scipy.sparse import coo_array  # an extra
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    pairs = KDTree(targets[:, X : Y + 1]).query_pairs(distance, output_type="ndarray") if len(targets) else np.empty((0, 2), int)
    if not len(pairs):
        return targets, owner
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(targets),) * 2)
    n, blob = connected_components(graph, directed=False)
    weight = np.maximum(targets[:, SUMG], 1.0)
    bright = np.argsort(weight, kind="stable")
    first = np.empty(n, np.int64)
    first[blob[bright]] = bright
    result = targets[first]
    for column in (X, Y):
        result[:, column] = np.bincount(blob, weight * targets[:, column]) / np.bincount(blob, weight)
    result[:, N] = np.bincount(blob, targets[:, N])
    result[:, SUMG] = np.bincount(blob, targets[:, SUMG])
    return result, owner[first]


def told_apart(images: Sequence[Floats]) -> float:
    """The distance [px] below which two spots are one target: what is missing of near neighbours, beside those farther off.

    Args:
        images: of one camera, targets (n, 8) each.
    """
    from scipy.spatial import KDTree  # an extra

    near = far = 0
    for targets in images:
        if len(targets) > 1:
            distance = KDTree(targets[:, X : Y + 1]).sparse_distance_matrix(
                KDTree(targets[:, X : Y + 1]), 2 * _NEIGHBOURS, output_type="ndarray"
            )["v"]
            near += int(np.count_nonzero(distance <= _NEIGHBOURS)) - len(targets)
            far += len(distance) - len(targets)
    expected = (far - near) / 3.0  # in a circle of the smaller radius, by the density of the ring around it
    return float(_NEIGHBOURS * np.sqrt(np.clip(1.0 - near / expected, 0.0, 1.0))) if expected > 0 else 0.0


def _some(order: Integers, share: float, rng: np.random.Generator) -> Integers:
    """The first ones up to a share, or all of them and some again."""
    wanted = round(len(order) * float(share))
    again = rng.choice(order, max(wanted - len(order), 0)) if len(order) else order
    return np.concatenate([order[:wanted], again])


def _displaced_particles(experiment: Experiment, one: Apart, which: Integers, rng: np.random.Generator) -> Floats:
    """(n_cams, n, 2) where some particles appear [px], each displaced by a random vector or its opposite.

    They stay where they are where both lead out of the volume or of an image.
    """
    position, off = one.frame.position[one.rows[which]], one.off[:, which]
    direction = rng.standard_normal(position.shape)
    length = rng.uniform(_SHORTEST, _LONGEST, len(position)) * one.scale
    direction *= (length / np.linalg.norm(direction, axis=1))[:, np.newaxis]
    places = np.empty(off.shape)
    todo = np.arange(len(position))
    for step in (direction, -direction, np.zeros_like(direction)):
        moved = position[todo] + step[todo]
        there = project(moved, experiment.parameters, experiment.calibrations) + off[:, todo]
        good = _inside(experiment, moved, there) | (not step.any())
        places[:, todo[good]] = there[:, good]
        todo = todo[~good]
    return places


def _inside(experiment: Experiment, position: Floats, places: Floats) -> NDArray[np.bool_]:
    """Which positions (n, 3) lie within the Z limits, and their targets in all images."""
    ptv, criteria = experiment.parameters.ptv, experiment.parameters.criteria
    share = (position[:, 0] - criteria.X_lay[0]) / (criteria.X_lay[1] - criteria.X_lay[0])
    low = criteria.Zmin_lay[0] + share * (criteria.Zmin_lay[1] - criteria.Zmin_lay[0])
    high = criteria.Zmax_lay[0] + share * (criteria.Zmax_lay[1] - criteria.Zmax_lay[0])
    outside = (places < 0).any(axis=2) | (places > [ptv.imx, ptv.imy]).any(axis=2)
    inside: NDArray[np.bool_] = (low < position[:, 2]) & (position[:, 2] < high) & ~outside.any(axis=0)
    return inside


def _left_over(frame: MatchedFrame, camera: int, wanted: int, rng: np.random.Generator) -> Floats:
    """So many targets of a camera, of those that no particle has; the rest of the others."""
    unused = frame.unused(camera)
    used = np.setdiff1d(np.arange(len(frame.targets[camera])), unused)
    which = np.concatenate([rng.permutation(unused), rng.permutation(used)])[: max(wanted, 0)]
    chosen: Floats = frame.targets[camera][which]
    return chosen


def _displaced(experiment: Experiment, targets: Floats, rng: np.random.Generator) -> Floats:
    """Targets displaced, each by a vector of its own; what leaves the image enters at the other side."""
    ptv = experiment.parameters.ptv
    length, angle = rng.uniform(_SHORTEST, _LONGEST, len(targets)), rng.uniform(0, 2 * np.pi, len(targets))
    moved = targets.copy()
    moved[:, X] = (moved[:, X] + length * np.cos(angle)) % ptv.imx
    moved[:, Y] = (moved[:, Y] + length * np.sin(angle)) % ptv.imy
    return moved
