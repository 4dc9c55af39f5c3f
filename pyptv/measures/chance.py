"""Matches of chance: how many of the particles that were found are none.

Frames are put together anew, so that it is known what belongs together (:mod:`pyptv.measures.anew`). What is matched there and
is no particle is an accident. How many particles seen by 4, 3, 2 cameras are put in is not known, for accidents are among those
found, and others are missing: hidden by overlap or ambiguity, or completed by a wrong target. Nor is the number of strays known:
targets of no particle, some of which are in accidents. So all these numbers are changed until as many of each kind are found, and
as many targets of each camera left unused, as in the real frames: the method of simulated moments (McFadden 1989, Econometrica
57, 995).

A particle that was found is true where its targets are those of one particle, as in ``tests/benchmarks/advice_truth.py``: two of
them at least within 2 px of where it appears, and the root mean square of all distances, counted up to 20 px, below 3 px. A
second find of the same particle is a ghost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pyptv.measures.anew import Anew, pixel_in_space, put_together, take_apart, told_apart
from pyptv.measures.frames import MatchedFrame
from pyptv.measures.pairs import accidental_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.measures.bench import Workbench

    Floats = NDArray[np.float64]

_ROUNDS = 6
_SETTLING = 2
"""Rounds before the counts agree; the accidents of those after them are averaged."""
_MOST_PUT_IN, _FEWEST_SURVIVE = 5.0, 0.3
"""Of a kind: particles put in over those found; share of them that is found again, as far as it counts for the next round."""
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
    rng = np.random.default_rng(seed)
    scale = pixel_in_space(bench.experiment, frames)
    spots = told_apart([targets for frame in frames for targets in frame.targets])
    apart = [take_apart(bench.experiment, frame, scale, spots, rng) for frame in frames]
    found, unused = _kinds(frames), _unused(frames)
    put_in, strays = found.copy(), unused.copy()
    accidents: list[Floats] = []
    for _ in range(rounds):
        share = put_in / np.maximum(found, 1.0)
        anew = [put_together(bench.experiment, apart, which, share, strays[which], rng=rng) for which in range(len(frames))]
        matched = [bench.match(frame.targets) for frame in anew]
        got, ghosts = _kinds(matched), _kinds(matched, [~_true(*pair) for pair in zip(matched, anew, strict=True)])
        accidents.append(ghosts)
        survive = np.clip((got - ghosts) / np.maximum(put_in, 1.0), _FEWEST_SURVIVE, 1.0)
        put_in = np.clip(put_in + (found - got) / survive, 0, _MOST_PUT_IN * found)
        strays = np.maximum(strays + (unused - _unused(matched)).mean(axis=0), 0.0)
    settled = np.array(accidents[_SETTLING:] or accidents[-1:] or [np.zeros_like(found)])
    expected: Floats = np.minimum(settled.mean(axis=0), found)
    if rounds > _SETTLING:
        # pairs of strays that lie where strays crowd look like pairs of particles here, but not by how far their rays miss
        measured, error = accidental_pairs(bench.experiment, frames)
        expected[-1] = max(float(expected[-1]), measured - error)
    return Ghosts(len(frames), tuple(found.astype(int).tolist()), tuple(expected.tolist()))


def _kinds(frames: Sequence[MatchedFrame], which: Sequence[NDArray[np.bool_]] | None = None) -> Floats:
    """Particles seen by all cameras, by one less, ..., by two, in all frames: (kinds,); or of some of them (n,) each."""
    views = [frame.views if which is None else frame.views[which[index]] for index, frame in enumerate(frames)]
    together = np.concatenate(views)
    return np.array([np.count_nonzero(together == kind) for kind in range(frames[0].n_cams, 1, -1)], np.float64)


def _unused(frames: Sequence[MatchedFrame]) -> Floats:
    """(frames, n_cams) targets that no particle has."""
    return np.array([[len(frame.unused(camera)) for camera in range(frame.n_cams)] for frame in frames], np.float64)


def _true(matched: MatchedFrame, anew: Anew) -> NDArray[np.bool_]:
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
