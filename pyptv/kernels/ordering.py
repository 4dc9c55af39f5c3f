"""The quicksort whose order of equal keys is part of optv's results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.jit import inner, leaf

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_DEPTH = 64


@leaf
def _partition(keys: NDArray[np.float64], order: NDArray[np.int64], first: int, last: int) -> tuple[int, int]:
    """Swap in both arrays until no key up to ``high`` is below the pivot and none from ``low`` is above: (low, high)."""
    pivot = keys[(first + last) // 2]
    low, high = first, last
    while low <= high:
        while keys[low] > pivot:
            low += 1
        while pivot > keys[high]:
            high -= 1
        if low <= high:
            keys[low], keys[high] = keys[high], keys[low]
            order[low], order[high] = order[high], order[low]
            low += 1
            high -= 1
    return low, high


@inner
def descending(keys: NDArray[np.float64]) -> NDArray[np.int64]:
    """The indices (n,) that sort ``keys`` (n,) descending.

    The pivot is the middle element, the partition Hoare's with > on both sides: this determines the order of equal keys,
    which is neither stable nor random. Ascending order is that of the negative keys.
    """
    work, order = np.empty(len(keys)), np.empty(len(keys), np.int64)
    for index in range(len(keys)):
        work[index], order[index] = keys[index], index
    bounds = np.empty((_MAX_DEPTH, 2), np.int64)
    bounds[0, 0], bounds[0, 1] = 0, len(keys) - 1
    depth = 1
    while depth:
        depth -= 1
        first, last = bounds[depth, 0], bounds[depth, 1]
        if first >= last:
            continue
        low, high = _partition(work, order, first, last)
        long_first = high - first > last - low  # the longer part is done later: the depth stays below log2 of the length
        for part in (long_first, not long_first):
            bounds[depth, 0] = first if part else low
            bounds[depth, 1] = high if part else last
            depth += 1
    return order
