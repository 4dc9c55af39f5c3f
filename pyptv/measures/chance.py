"""Matches of chance: how many of the particles that were found are none.

A frame is taken apart and put together anew, so that what belongs together is known. Each particle moves in a direction of its
own by some tens of pixels and is projected there; its targets stay as far beside its projections, and as large and bright, as
they were, and it is missing in the cameras that did not see it. The other targets come from another frame for each camera and
are displaced one by one: they belong to nothing. Density, scatter and losses are those of the real frame, and true matches take
their targets away before accidents can. What is matched there and is no particle is an accident.

Accidents among the particles that are put in would make such a frame too full; particles that a wrong target completes, and
those that ambiguity hides, would be missing in it. So the number of particles seen by 4, 3, 2 cameras that is put in is changed
until as many are found as in the real frame: the method of simulated moments (McFadden 1989, Econometrica 57, 995). Particles
that two of four cameras see are hardly ever found as pairs where the band is wide: one of their targets is in most cases taken
by a triplet with a wrong one. Their number follows from how often each camera misses what the others see.

A particle that was found is true where its targets are those of one particle, as in ``tests/benchmarks/advice_truth.py``: two of
them at least within 2 px of where it appears, and the root mean square of all distances, counted up to 20 px, below 3 px. A
second find of the same particle is a ghost.
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
    from pyptv.measures.bench import Workbench

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

_ROUNDS = 6
_SETTLING = 2
"""Rounds before the counts agree; the accidents of those after them are averaged."""
_MOST_PUT_IN, _FEWEST_SURVIVE = 5.0, 0.3
"""Of a kind: particles put in over those found; share of them that is found again, as far as it counts for the next round."""
_SHORTEST, _LONGEST = 20.0, 45.0
"""[px] How far things are displaced: beyond what belongs together, within what is equally dense."""
_NEIGHBOURS = 8.0
"""[px] Neighbours that are counted to see from where on spots are told apart; the ring of twice that width beside them."""
_SURE, _NEAR, _FAR = 2.0, 3.0, 20.0
"""[px] A target that is surely the particle's; root mean square of a true particle; distances count up to that."""


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
        rounds: how often frames are put together anew; from three on the estimate is a mean.

    Raises:
        FrameError: the engine cannot match a frame.
    """
    found = np.sum([frame.counts() for frame in frames], axis=0, dtype=np.float64)
    rng = np.random.default_rng(seed)
    scale = pixel_in_space(bench.experiment, frames)
    spots = tuple(told_apart([frame.targets[camera] for frame in frames]) for camera in range(bench.experiment.num_cams))
    apart = [_take_apart(bench.experiment, frame, scale, spots, rng) for frame in frames]
    put_in = found.copy()
    accidents = []
    for _ in range(rounds):
        got, ghosts = np.zeros_like(found), np.zeros_like(found)
        for which in range(len(frames)):
            anew = _put_together(bench.experiment, apart, which, np.divide(put_in, found, where=found > 0, out=0 * found), rng)
            matched = bench.match(anew.targets)
            accident = ~_true(matched, anew)
            got += matched.counts()
            ghosts += [np.count_nonzero(accident & (matched.views == kind)) for kind in range(matched.n_cams, 1, -1)]
        accidents.append(ghosts)
        survive = np.clip((got - ghosts) / np.maximum(put_in, 1.0), _FEWEST_SURVIVE, 1.0)
        put_in = np.clip(put_in + (found - got) / survive, 0, _MOST_PUT_IN * found)
    settled = accidents[_SETTLING:] or accidents[-1:]
    expected = np.minimum(np.mean(settled, axis=0), found) if settled else 0 * found
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


# -- taken apart ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Apart:
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


def _take_apart(
    experiment: Experiment, frame: MatchedFrame, scale: float, spots: tuple[float, ...], rng: np.random.Generator
) -> _Apart:
    rows = np.flatnonzero(np.isfinite(frame.position).all(axis=1))
    off = frame.pixels(rows) - project(frame.position[rows], experiment.parameters, experiment.calibrations)
    beside = np.nanmean((off**2).sum(axis=2), axis=0) if len(rows) else np.empty(0)
    views = frame.views[rows]
    pairs = views == 2
    beside[pairs] = rng.random(np.count_nonzero(pairs))  # a pair's targets are hardly beside: any may be the accident
    kinds = [np.flatnonzero(views == kind) for kind in range(frame.n_cams, 1, -1)]
    order = tuple(which[np.argsort(beside[which], kind="stable")] for which in kinds)
    return _Apart(frame, rows, np.nan_to_num(off), order, scale, spots)


# -- put together --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Anew:
    """A frame of which it is known what belongs together."""

    targets: list[Floats]
    """Per camera, by y."""
    owner: list[Integers]
    """Per camera the particle of each target; -1: none."""
    places: Floats
    """(n_cams, n, 2) where the particles appear [px]."""


def _put_together(experiment: Experiment, apart: Sequence[_Apart], which: int, share: Floats, rng: np.random.Generator) -> _Anew:
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
    return _Anew(targets, owner, places)


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


def _displaced_particles(experiment: Experiment, one: _Apart, which: Integers, rng: np.random.Generator) -> Floats:
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
    return frame.targets[camera][which]


def _displaced(experiment: Experiment, targets: Floats, rng: np.random.Generator) -> Floats:
    """Targets displaced, each by a vector of its own; what leaves the image enters at the other side."""
    ptv = experiment.parameters.ptv
    length, angle = rng.uniform(_SHORTEST, _LONGEST, len(targets)), rng.uniform(0, 2 * np.pi, len(targets))
    moved = targets.copy()
    moved[:, X] = (moved[:, X] + length * np.cos(angle)) % ptv.imx
    moved[:, Y] = (moved[:, Y] + length * np.sin(angle)) % ptv.imy
    return moved


# -- judged --------------------------------------------------------------------------------------------------------------------


def _true(matched: MatchedFrame, anew: _Anew) -> NDArray[np.bool_]:
    """Which matches are a particle: each particle once, by the match whose targets lie nearest."""
    n = len(matched.position)
    pixels = matched.pixels(np.arange(n))
    best, distance = np.full(n, -1), np.full(n, np.inf)
    for camera, owner in enumerate(anew.owner):
        seen = np.flatnonzero(matched.target[:, camera] >= 0)
        who = owner[matched.target[seen, camera]]
        seen, who = seen[who >= 0], who[who >= 0]
        off = np.linalg.norm(pixels[:, seen] - anew.places[:, who], axis=2)
        rms = np.sqrt(np.nanmean(np.minimum(off, _FAR) ** 2, axis=0)) if len(seen) else np.empty(0)
        rms[np.count_nonzero(off < _SURE, axis=0) < 2] = np.inf
        better = rms < distance[seen]
        best[seen[better]], distance[seen[better]] = who[better], rms[better]
    order = np.argsort(distance, kind="stable")
    order = order[distance[order] < _NEAR]
    true = np.zeros(n, np.bool_)
    true[order[np.unique(best[order], return_index=True)[1]]] = True
    return true
