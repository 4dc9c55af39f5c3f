"""Joins pieces of one trajectory across the frames in which its particle was not found.

A join must pass two tests. *It fits*: the positions after the gap deviate from the prediction no more than in
:data:`~pyptv.trajectories.postprocess.model.LIKELY` of artificial gaps in complete trajectories; this limit grows with
the noise, with the gap, and for short pieces. One position beside the gap may be left out. *It is not by chance*: the odds that
the piece is the same particle, against an unrelated one that begins there, are high enough; they fall with the number of
trajectories that begin anywhere. If two pieces fit in the same frame, one must be much better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.trajectories.postprocess.model import HEAD, TAIL, Bridges
from pyptv.trajectories.postprocess.tracks import Pieces, TrackTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Indices = NDArray[np.int64]

ODDS = math.log(20.0)
"""Logarithm of the odds that a join needs, and of its advantage over the next one in the same frame."""
_COMES_BACK = 0.3
"""Prior probability that an ended trajectory continues within the gap; it has little influence beside the odds."""
_FEWEST = 3
"""Minimum number of positions on both sides together."""


@dataclass(frozen=True)
class Candidates:
    """n pairs of pieces that fit."""

    before: Indices
    after: Indices
    odds: Array
    """Logarithm."""


def join(table: TrackTable, pieces: Pieces, bridges: Bridges, max_gap: int) -> tuple[Indices, Indices]:
    """The joins between pieces.

    Args:
        table: the positions.
        pieces: that may be joined, each at most once at each end.
        bridges: of the motion model.
        max_gap: maximum number of missing frames.

    Returns:
        (k,) pieces and (k,) the pieces that continue them.
    """
    found = [_in_frame(table, *group, max_gap=max_gap, bridges=bridges) for group in _meetings(pieces, max_gap)]
    before = np.concatenate([np.empty(0, np.int64), *(one.before for one in found)])
    after = np.concatenate([np.empty(0, np.int64), *(one.after for one in found)])
    odds = np.concatenate([np.empty(0), *(one.odds for one in found)])
    return _best_first(before, after, odds)


@dataclass(frozen=True)
class _Ends:
    """n ends, or beginnings, of pieces in one frame."""

    piece: Indices
    row: Indices
    """Row of the last position, or the first."""
    size: Indices
    """Number of positions to use."""


def _meetings(pieces: Pieces, max_gap: int) -> Iterator[tuple[_Ends, _Ends, int]]:
    """Ends, beginnings, and the missing frames between them: for all frames and gaps."""
    by_last = np.argsort(pieces.last, kind="stable")
    by_first = np.argsort(pieces.first, kind="stable")
    last, first = pieces.last[by_last], pieces.first[by_first]
    opening = int(pieces.first.min())
    for frame in np.unique(first).tolist():
        if frame == opening:
            continue
        begin = by_first[np.searchsorted(first, frame) : np.searchsorted(first, frame + 1)]
        heads = _Ends(begin, pieces.start[begin], np.minimum(pieces.length[begin], HEAD))
        for gap in range(max_gap + 1):
            end = by_last[np.searchsorted(last, frame - gap - 1) : np.searchsorted(last, frame - gap)]
            if len(end):
                tails = _Ends(end, pieces.start[end] + pieces.length[end] - 1, np.minimum(pieces.length[end], TAIL))
                yield tails, heads, gap


def _in_frame(table: TrackTable, tails: _Ends, heads: _Ends, gap: int, *, max_gap: int, bridges: Bridges) -> Candidates:
    """The pairs of one frame and gap that pass both tests."""
    a, b = _near(table, tails, heads, gap, bridges)
    fits, gain = np.zeros(len(a), dtype=bool), np.full(len(a), -np.inf)
    kinds = tails.size[a] * (HEAD + 1) + heads.size[b]
    for kind in np.unique(kinds).tolist():
        tail, head = divmod(kind, HEAD + 1)
        some = np.flatnonzero(kinds == kind)
        rows = np.concatenate(
            [tails.row[a[some], None] + np.arange(-tail + 1, 1), heads.row[b[some], None] + np.arange(head)], axis=1
        )
        around = table.position[rows]
        fits[some], gain[some] = _gain(bridges, around, tail, gap)
    odds = gain - math.log(len(heads.piece) / table.volume) + math.log(_COMES_BACK / (max_gap + 1))
    fits &= odds > ODDS
    a, b, odds = a[fits], b[fits], odds[fits]
    clear = _much_better(a, odds) & _much_better(b, odds)
    return Candidates(tails.piece[a[clear]], heads.piece[b[clear]], odds[clear])


def _gain(bridges: Bridges, around: Array, tail: int, gap: int) -> tuple[Flags, Array]:
    """Which positions (n, tail + head, 3) at a gap fit together (n,), and the evidence for one particle (n,).

    A trajectory often ends because its last position is badly measured: two spots overlapped. So the last position before
    the gap, or the first one after it, may be left out; the odds are reduced according to how rare that is.
    """
    head = around.shape[1] - tail
    squared, gain = _likeness(bridges, around, tail, gap)
    fits = squared <= bridges.limits[head]
    gain[~fits] = -np.inf
    for left_out, before, after in ((tail - 1, tail - 1, head), (tail, tail, head - 1)):
        if min(before, after) < 1 or before + after < _FEWEST:
            continue
        less, without = _likeness(bridges, np.delete(around, left_out, axis=1), before, gap + 1)
        off = squared - less  # only of the position that is left out
        if left_out < tail:
            off = off + bridges.together(around[:, :tail], before, 0)[0]
        some = (less <= bridges.narrow[after]) & (off <= bridges.widest)
        fits |= some
        gain = np.where(some, np.maximum(gain, without + math.log(bridges.model.outliers)), gain)
    return fits, gain


def _likeness(bridges: Bridges, around: Array, tail: int, gap: int) -> tuple[Array, Array]:
    """Squared mismatch (n,) of positions (n, tail + head, 3) at a gap, and the evidence for one particle (n,).

    The evidence is the log density, per mm^3, of the first position after the gap as predicted by the longer side. Neighbours
    have similar velocities: agreement of velocities is no evidence for a join, disagreement is evidence against it.
    """
    head = around.shape[1] - tail
    squared, together = bridges.together(around, tail, gap)
    first = bridges.together(around[:, : tail + 1], tail, gap)[1]
    place = first if tail >= head else bridges.backward.together(around[:, tail - 1 :][:, ::-1], head, gap)[1]
    return squared, place + np.minimum(together - first - bridges.alone(around[:, tail:]), 0.0)


def _near(table: TrackTable, tails: _Ends, heads: _Ends, gap: int, bridges: Bridges) -> tuple[Indices, Indices]:
    """Pairs of ends and beginnings, indices into both, that may fit: searched from the side with a known velocity."""
    forward = _reached(table, tails, heads, gap, bridges=bridges, sign=1)
    single = np.flatnonzero(tails.size == 1)
    alone = _Ends(tails.piece[single], tails.row[single], tails.size[single])
    back_b, back_a = _reached(table, heads, alone, gap, bridges=bridges, sign=-1)
    a, b = np.concatenate([forward[0], single[back_a]]), np.concatenate([forward[1], back_b])
    enough = tails.size[a] + heads.size[b] >= _FEWEST
    return a[enough], b[enough]


def _reached(
    table: TrackTable, origins: _Ends, goals: _Ends, gap: int, *, bridges: Bridges, sign: int
) -> tuple[Indices, Indices]:
    """Origins with at least two positions, and the goals within their reach; ``sign``: 1 forward in time, -1 backward."""
    from scipy.spatial import KDTree  # an extra

    places: list[Array] = []
    radii: list[Array] = []
    chosen: list[Indices] = []
    for size in np.unique(origins.size[origins.size > 1]).tolist():
        some = np.flatnonzero(origins.size == size)
        steps = np.arange(size - 1, -1, -1) * -sign
        around = table.position[origins.row[some, None] + steps]
        bridge = (bridges if sign > 0 else bridges.backward)(size, gap, 1)
        places.append(bridge.expected(around))
        radii.append(np.full(len(some), math.sqrt(float(bridges.limits[1]) * float(bridge.variance.max()))))
        chosen.append(some)
    if not chosen or not len(goals.row):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    there = table.position[goals.row]
    known = np.flatnonzero(np.isfinite(there).all(axis=1))
    place, radius, origin = np.concatenate(places), np.concatenate(radii), np.concatenate(chosen)
    sound = np.isfinite(place).all(axis=1)
    place, radius, origin = place[sound], radius[sound], origin[sound]
    if not len(known) or not len(place):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    near: Any = KDTree(there[known]).query_ball_point(place, radius)
    counts = np.array([len(one) for one in near])
    hits = np.array([index for one in near for index in one], dtype=np.int64)
    return np.repeat(origin, counts), known[hits]


def _much_better(group: Indices, odds: Array) -> Any:
    """(n,) bool: whether each is the best of its group, with no other one close to it."""
    order = np.lexsort((-odds, group))
    sorted_group, sorted_odds = group[order], odds[order]
    same = np.zeros(len(order), dtype=bool)
    same[:-1] = sorted_group[1:] == sorted_group[:-1]
    first = np.ones(len(order), dtype=bool)
    first[1:] = sorted_group[1:] != sorted_group[:-1]
    lead = np.full(len(order), np.inf)
    lead[:-1][same[:-1]] = (sorted_odds[:-1] - sorted_odds[1:])[same[:-1]]
    result = np.zeros(len(order), dtype=bool)
    result[order] = first & (lead > ODDS)
    return result


def _best_first(before: Indices, after: Indices, odds: Array) -> tuple[Indices, Indices]:
    """Select the pairs with the best odds first; each piece is continued by at most one and continues at most one."""
    order = np.lexsort((after, before, -odds))
    goes_on: dict[int, int] = {}
    taken: set[int] = set()
    for a, b in zip(before[order].tolist(), after[order].tolist(), strict=True):
        if a not in goes_on and b not in taken:
            goes_on[a] = b
            taken.add(b)
    pairs = np.array(list(goes_on.items()), dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]
