"""A frame taken apart and put together anew, so that it is known what belongs together.

Each particle moves in a direction of its own by some tens of pixels and is projected there; its targets stay as far beside its
projections, and as large and bright, as they were, and it is missing in the cameras that did not see it. Targets that come nearer
than spots can be separated become one. The other targets come from another frame for each camera and are displaced one by one:
they belong to nothing, and stay where such targets crowd. Density, scatter and losses are those of the real frame, and true
matches take their targets away before accidents can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.engines.optv.backend import project
from pyptv.measures.frames import NX, NY, SUMG, MatchedFrame, N, X, Y

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.experiment.folder import Experiment

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

_SHORTEST, _LONGEST = 20.0, 45.0
"""[px] How far things are displaced: beyond what belongs together, within what is equally dense."""
_NEARER, _FARTHER = 0.75, 1.25
"""How far a target is moved towards a neighbour, over the distance."""
_MOST_OTHERS = 500
"""Maximum number of targets among which neighbours are looked for."""
_RING = 4.0
"""Spots nearer than their extent may be one target: neighbours are counted within it, and out to this multiple of it."""


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
    spots: float
    """The distance below which two spots are one target [px]."""


def take_apart(experiment: Experiment, frame: MatchedFrame, scale: float, spots: float, rng: np.random.Generator) -> Apart:
    """Take a frame apart.

    Args:
        experiment: whose calibrations project.
        frame: as it was matched.
        scale: what a pixel covers [mm].
        spots: the distance below which two spots are one target [px].
        rng: which of the pairs are taken first: a single one hardly tells whether it is true.
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


def put_together(
    experiment: Experiment, apart: Sequence[Apart], which: int, share: Floats, strays: Floats, *, rng: np.random.Generator
) -> Anew:
    """A frame anew.

    Args:
        experiment: whose calibrations project.
        apart: the frames that were taken apart.
        which: of them.
        share: of its particles of each kind (more than 1: some of them twice, at different places).
        strays: (n_cams,) targets of no particle to put in.
        rng: displaces.
    """
    one = apart[which]
    chosen = np.concatenate([_some(order, wanted, rng) for order, wanted in zip(one.order, share, strict=True)])
    target = one.frame.target[one.rows[chosen]]
    places = _displaced_particles(experiment, one, chosen, rng)
    targets, owner = [], []
    for camera, found in enumerate(one.frame.targets):
        seen = np.flatnonzero(target[:, camera] >= 0)
        own = found[target[seen, camera]].copy()
        own[:, X : Y + 1] = places[camera, seen]
        own, seen = _merged(own, seen, one.spots)
        rest = _strays(experiment, apart, (which, camera), round(float(strays[camera])), rng)
        mixed, seen = _merged(np.concatenate([own, rest]), np.concatenate([seen, np.full(len(rest), -1)]), one.spots)
        order = np.argsort(mixed[:, Y], kind="stable")
        targets.append(mixed[order])
        owner.append(seen[order])
    return Anew(targets, owner, places)


def _merged(targets: Floats, owner: Integers, distance: float) -> tuple[Floats, Integers]:
    """Merge targets that are nearer to each other than spots can be separated: in the middle, weighted by brightness.

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
        images: targets (n, 8) each, of all cameras and frames: a single one has too few near neighbours.
    """
    from scipy.spatial import KDTree  # an extra

    images = [targets for targets in images if len(targets) > 1]
    if not images:
        return 0.0
    extent = float(np.median(np.concatenate([targets[:, NX : NY + 1].mean(axis=1) for targets in images])))
    near = far = 0
    for targets in images:
        tree = KDTree(targets[:, X : Y + 1])
        within = np.asarray(tree.count_neighbors(tree, [extent, _RING * extent])) - len(targets)
        near, far = near + int(within[0]), far + int(within[1])
    expected = (far - near) / (_RING**2 - 1)  # within the extent, by the density of the ring around it
    return extent * float(np.sqrt(np.clip(1.0 - near / expected, 0.0, 1.0))) if expected > 0 else 0.0


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


def _strays(experiment: Experiment, apart: Sequence[Apart], of: tuple[int, int], wanted: int, rng: np.random.Generator) -> Floats:
    """The wanted number of strays for a frame and a camera: from another frame for each camera, each displaced."""
    which, camera = of
    other = apart[(which + camera * max(1, len(apart) // experiment.num_cams)) % len(apart)].frame
    like = np.concatenate([_left_over(each.frame, camera, wanted, rng) for each in apart])
    return _displaced(experiment, _left_over(other, camera, wanted, rng), like, rng)


def _left_over(frame: MatchedFrame, camera: int, wanted: int, rng: np.random.Generator) -> Floats:
    """The wanted number of targets of a camera: those of no particle, then those of pairs, of triplets, and so on."""
    views = np.zeros(len(frame.targets[camera]), np.int64)
    seen = frame.target[:, camera] >= 0
    views[frame.target[seen, camera]] = frame.views[seen]
    which = np.lexsort((rng.random(len(views)), views))[: max(wanted, 0)]
    chosen: Floats = frame.targets[camera][which]
    return chosen


def _displaced(experiment: Experiment, targets: Floats, like: Floats, rng: np.random.Generator) -> Floats:
    """Targets displaced, each by a vector of its own, to where others ``like`` them are; what leaves the image enters again.

    Noise is not spread evenly: it crowds at the edge of an image, for example, where a filter ends. So a target is moved towards
    one of its neighbours among the others, about as far as that is; only where there is none, in any direction.
    """
    ptv = experiment.parameters.ptv
    length, angle = rng.uniform(_SHORTEST, _LONGEST, len(targets)), rng.uniform(0, 2 * np.pi, len(targets))
    step = length[:, np.newaxis] * np.column_stack([np.cos(angle), np.sin(angle)])
    row, neighbour = _neighbours(targets[:, X : Y + 1], like[:, X : Y + 1], rng)
    way = like[neighbour, X : Y + 1] - targets[row, X : Y + 1]
    step[row] = way * rng.uniform(_NEARER, _FARTHER, (len(row), 1))
    moved = targets.copy()
    moved[:, X : Y + 1] = (moved[:, X : Y + 1] + step) % (ptv.imx, ptv.imy)
    return moved


def _neighbours(places: Floats, others: Floats, rng: np.random.Generator) -> tuple[Integers, Integers]:
    """The places that have others at the distance of a displacement, and for each one of these at random: rows of both."""
    from scipy.spatial import KDTree  # an extra

    if not len(places) or not len(others):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    kept = rng.permutation(len(others))[:_MOST_OTHERS]
    near = KDTree(places).sparse_distance_matrix(KDTree(others[kept]), _LONGEST, output_type="ndarray")
    near = rng.permutation(near[near["v"] >= _SHORTEST])
    row, first = np.unique(near["i"], return_index=True)
    return row, kept[near["j"][first]]
