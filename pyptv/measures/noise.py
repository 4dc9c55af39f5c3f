"""The noise of a position, from differences of positions in time.

The difference of order k of independent errors has the variance (2k)! / (k!)^2 times theirs, and of smooth motion it holds less
the higher its order. The third difference is that of two neighbouring second differences: its variance is 2 (C0 - C1), the lag-0
minus the lag-1 covariance of accelerations; that of the fourth one is 6 C0 - 8 C1 + 2 C2; and so on. The result is that of the
first order whose next two give no less.

Errors have no single width: where spots overlap they are five to ten times as large. A step between two frames mixes two errors,
a fourth difference five, so one large error in it is five times as frequent, and any robust scale of high differences is too
large. So the distribution of an error is modelled as a mixture of two normal distributions, that of a difference follows (a sum
over which of its errors are large), and the mixture is fitted to the differences by maximum likelihood. From it follows the
scatter of ordinary steps: 1.4826 times the median of absolute values, over the square root of two.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from math import comb
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

CHAIN = 4
"""Frames of a chain."""
_ORDERS = range(CHAIN - 1, 9)
_ENOUGH = 50
"""Differences of an order that noise is measured by."""
_LESS = 0.93
"""Noise by the next order of differences over that by this one: below, this one still holds motion."""
_NEXT = 2
"""Number of next orders that must give no less: with few tracks a single one may do so by chance."""
_SCALE = 1.4826
"""Standard deviation of a normal distribution over the median of absolute values."""
_MOST_LARGE = 0.35
"""Share of large errors; with more of them it is not clear which ones are the usual errors."""
_EXPECTED = np.array([-0.1, -2.0, 1.2])
"""Where the fit begins: logarithm of the usual error over the robust scale, logit of the share of large errors within the maximum
(4 %), logarithm of how many times larger they are, minus 1 (4.3 times)."""
_WEAK = np.array([0.0, 0.25, 1.0])
"""Weights that hold the last two there, where differences are too few to tell."""
_EDGES = np.concatenate([[0.0], np.geomspace(0.1, 30.0, 40)])
"""Of the bins of absolute differences, in medians."""


class Errors(NamedTuple):
    """Distribution of an error: a mixture of two normal distributions around 0."""

    usual: float
    """Standard deviation of the usual errors [mm]."""
    share: float
    """Share of the large ones."""
    times: float
    """Standard deviation of the large ones over that of the usual ones."""

    def below(self, x: Floats, order: int) -> Floats:
        """Probability that the absolute difference of an order is below x (n,) [mm]."""
        from scipy.special import erf  # an extra

        large, of_large, ways, of_all = _subsets(order)
        weight = ways * self.share**large * (1.0 - self.share) ** (order + 1 - large)
        width = self.usual * np.sqrt(2.0 * (of_all + (self.times**2 - 1.0) * of_large))
        result: Floats = erf(x[:, np.newaxis] / width) @ weight
        return result

    @property
    def of_steps(self) -> float:
        """Robust standard deviation of an error, by the scatter of steps between two frames [mm]."""
        from scipy.optimize import brentq  # an extra

        if self.usual == 0:
            return 0.0

        def more(x: float) -> float:
            """0 at the median of absolute values."""
            return float(self.below(np.array([x]), 1)[0]) - 0.5

        return _SCALE * float(brentq(more, 0.0, 4.0 * self.usual * self.times)) / 2**0.5


@lru_cache
def _subsets(order: int) -> tuple[Integers, Floats, Integers, float]:
    """Which errors of a difference may be large: how many, the sum of their squared weights, in how many ways; the sum of all."""
    squares = np.array([comb(order, place) ** 2 for place in range(order + 1)])
    which = (np.arange(2 ** len(squares))[:, np.newaxis] >> np.arange(len(squares))) & 1
    kinds, ways = np.unique(np.column_stack([which.sum(axis=1), which @ squares]), axis=0, return_counts=True)
    return kinds[:, 0], kinds[:, 1].astype(np.float64), ways, float(squares.sum())


def fit_errors(differences: Floats, order: int) -> Errors:
    """The distribution of the errors that differences (n,) of an order are made of."""
    from scipy.optimize import minimize  # an extra

    size = np.abs(differences)
    median = float(np.median(size))
    if median == 0:
        return Errors(0.0, 0.0, 1.0)
    count = np.histogram(size, np.append(median * _EDGES, np.inf))[0]
    scale = _SCALE * median / _subsets(order)[3] ** 0.5

    def errors(x: Floats) -> Errors:
        """The distribution of the three numbers that are fitted."""
        return Errors(scale * float(np.exp(x[0])), _MOST_LARGE / (1.0 + float(np.exp(-x[1]))), 1.0 + float(np.exp(x[2])))

    def unlikely(x: Floats) -> float:
        """Minus the logarithm of the likelihood."""
        share = np.diff(errors(x).below(median * _EDGES, order), append=1.0)
        return float(0.5 * (_WEAK * (x - _EXPECTED) ** 2).sum() - (count * np.log(np.maximum(share, 1e-12))).sum())

    found = minimize(unlikely, _EXPECTED, method="Nelder-Mead", options={"maxiter": 200, "xatol": 0.01, "fatol": 0.1})
    return errors(found.x)


def position_noise(rows: Sequence[Integers], points: Sequence[Floats]) -> tuple[Floats, NDArray[np.bool_]]:
    """Noise of a position along x, y, z [mm], NaN where there are too few chains; and whether it has settled.

    Args:
        rows: of the four particles of each chain (n, 4), one array for each set of four consecutive frames, in order of time.
        points: their positions (n, 4, 3) [mm].
    """
    follow = [_continuations(*both) for both in pairwise(zip(rows, points, strict=True))]
    tracks, last = list(points), [np.arange(len(one)) for one in rows]
    by_order: list[Floats] = []
    for order in _ORDERS:
        together = np.concatenate([np.empty((0, order + 1, 3)), *tracks])
        if len(together) < _ENOUGH:
            break
        measured = _of_steps(together, order)
        if by_order:  # relative to the order before on the same tracks: longer ones are of better particles
            before = _of_steps(together, order - 1)
            measured = by_order[-1] * np.divide(measured, before, out=np.ones(3), where=before > 0)
        by_order.append(measured)
        if all(_first_settled(axis)[0] + _NEXT < len(by_order) for axis in np.array(by_order).T):
            break
        tracks, last = _one_longer(tracks, last, points, follow, order - CHAIN + 1)
    if not by_order:
        return np.full(3, np.nan), np.zeros(3, np.bool_)
    chosen = [_first_settled(axis) for axis in np.array(by_order).T]
    noise = np.array([by_order[place][axis] for axis, (place, _) in enumerate(chosen)])
    return noise, np.array([settled for _, settled in chosen])


def _first_settled(noise: Floats) -> tuple[int, bool]:
    """The first order whose next two give no less, or the last one; and whether there is a next one."""
    place = next(place for place, value in enumerate(noise) if (noise[place + 1 : place + 1 + _NEXT] >= _LESS * value).all())
    return place, place + 1 < len(noise)


def _of_steps(tracks: Floats, order: int) -> Floats:
    """Noise along x, y, z, by the differences of an order of some tracks (n, frames, 3)."""
    differences = np.diff(tracks, order, axis=1).reshape(-1, 3)
    return np.array([fit_errors(axis, order).of_steps for axis in differences.T])


def _continuations(before: tuple[Integers, Floats], after: tuple[Integers, Floats]) -> Integers:
    """For each chain the one of the next set of four frames that begins at its second particle, or -1.

    The next set may be of another run: there the places do not agree.
    """
    (rows, points), (next_rows, next_points) = before, after
    result = np.full(len(rows), -1)
    if len(rows) and len(next_rows):
        by_b = np.full(int(next_rows[:, 1].max()) + 1, -1)
        by_b[next_rows[:, 1]] = np.arange(len(next_rows))
        c = rows[:, 2]
        which = np.where(c < len(by_b), by_b[np.minimum(c, len(by_b) - 1)], -1)
        same = (points[:, 1:] == next_points[which, :-1]).all(axis=(1, 2))
        result[same & (which >= 0)] = which[same & (which >= 0)]
    return result


def _one_longer(
    tracks: Sequence[Floats], last: Sequence[Integers], points: Sequence[Floats], follow: Sequence[Integers], ahead: int
) -> tuple[list[Floats], list[Integers]]:
    """Tracks with one more frame at their end, as far as they go on; ``ahead``: sets between a track's first and its last one."""
    longer, ends = [], []
    for start in range(len(tracks) - 1):
        if start + ahead >= len(follow):
            break
        following = follow[start + ahead][last[start]]
        on = following >= 0
        new = points[start + ahead + 1][following[on], -1:]
        longer.append(np.concatenate([tracks[start][on], new], axis=1))
        ends.append(following[on])
    return longer, ends
