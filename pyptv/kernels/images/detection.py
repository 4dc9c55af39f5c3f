"""Targets in a high-pass filtered image, as optv's ``target_recognition`` finds them, without its fixed buffers.

Row by row, a pixel above the threshold that none of its eight neighbours exceeds begins a target, which then grows
over sides. Pixels of a target are dark for all later ones, whether the target is kept or not. The image's outermost rows and
columns are examined, but never belong to a target. These rules were derived from optv's output for artificial images.

Pixels are counted row by row, and by unsigned numbers: numba then needs no test for negative indices, which takes a fifth
of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.jit import entry, inner
from pyptv.kernels.ordering import descending

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_WORD = 8
_BRIGHTEST = 255
_CENTRE = 0.5
_ONE = np.uint64(1)
_N_COLUMNS = 8
_PNR, _X, _Y, _N, _NX, _NY, _SUMG, _TNR = range(_N_COLUMNS)
_THRESHOLD, _DISCO, _NN_MIN, _NN_MAX, _NX_MIN, _NX_MAX, _NY_MIN, _NY_MAX, _SUMG_MIN = range(9)


@inner
def _bright_pixels(image: Pixels, threshold: int) -> tuple[Pixels, int]:
    """A copy of the pixels above the threshold, all others 0, and their number."""
    pixels = np.empty_like(image)
    limit = np.uint8(threshold)
    count = 0
    for at in range(len(image)):
        bright = image[at] > limit
        pixels[at] = image[at] if bright else np.uint8(0)
        count += bright
    return pixels, count


@inner
def _find_peaks(above: Pixels, here: Pixels, below: Pixels, highest: Pixels, peaks: Pixels) -> None:
    """Set ``peaks[x]`` where a pixel of the row ``here`` is bright and none of its eight neighbours is brighter.

    ``highest`` is working memory. Both loops are written so that the compiler can vectorise them.
    """
    width = len(here)
    for x in range(width):
        highest[x] = max(above[x], here[x], below[x])
    left, middle, right = highest[: width - 2], highest[1 : width - 1], highest[2:width]
    values, found = here[1 : width - 1], peaks[1 : width - 1]
    for x in range(width - 2):
        found[x] = (values[x] > 0) & (values[x] >= max(left[x], middle[x], right[x]))


@inner
def _is_peak(pixels: Pixels, at: np.uint64, width: np.uint64) -> bool:
    """The same for one pixel."""
    value = pixels[at]
    above, below = at - width, at + width
    highest = max(pixels[above - _ONE], pixels[above], pixels[above + _ONE])
    highest = max(highest, pixels[at - _ONE], pixels[at + _ONE])
    return bool(value >= max(highest, pixels[below - _ONE], pixels[below], pixels[below + _ONE]))


@inner
def _grow(pixels: Pixels, image: Pixels, shape: tuple[int, int], limits: Ints, queue: NDArray[np.uint32], target: Floats) -> int:
    """Collect the pixels of the target that begins at ``queue[0]``, and measure it. Returns its last column.

    From each pixel it takes the neighbours at its four sides unless these, or one at their sides, are brighter than the
    pixel by more than the discontinuity. The order makes no difference: a pixel left out because of a neighbour
    is finally taken from the brightest of its neighbours.
    """
    height, width = shape
    stride, inverse = np.uint64(width), 1.0 / width
    threshold, disco = limits[_THRESHOLD], limits[_DISCO]
    left, right, top, bottom = width, 0, height, 0
    sumg, weight, weighted_x, weighted_y = 0, 0, 0, 0
    pixels[queue[0]] = 0
    n, n_seen = 0, 1
    while n < n_seen:
        place = int(np.int64(queue[n]))
        n += 1
        y = int((place + _CENTRE) * inverse)
        x = place - y * width
        left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
        at = np.uint64(place)
        value = int(np.int64(image[at]))
        above = value - threshold
        sumg += value
        weight += above
        weighted_x += above * x
        weighted_y += above * y
        limit = np.uint8(min(value + disco, _BRIGHTEST))
        sides = (y > 1, at - stride), (x > 1, at - _ONE), (x < width - 2, at + _ONE), (y < height - 2, at + stride)
        for inside, side in sides:
            if inside and pixels[side] > 0 and _highest(pixels, side, stride) <= limit:
                pixels[side] = 0
                queue[n_seen] = side
                n_seen += 1
    target[_X], target[_Y] = weighted_x / weight + _CENTRE, weighted_y / weight + _CENTRE
    target[_N], target[_NX], target[_NY] = n, right - left + 1, bottom - top + 1
    target[_SUMG], target[_TNR] = sumg, -1
    return right


@inner
def _highest(pixels: Pixels, at: np.uint64, width: np.uint64) -> np.uint8:
    """The brightest of a pixel and those at its sides."""
    return max(pixels[at], pixels[at - width], pixels[at + width], pixels[at - _ONE], pixels[at + _ONE])


@inner
def _is_kept(target: Floats, limits: Ints) -> bool:
    return bool(
        limits[_NN_MIN] <= target[_N] <= limits[_NN_MAX]
        and limits[_NX_MIN] <= target[_NX] <= limits[_NX_MAX]
        and limits[_NY_MIN] <= target[_NY] <= limits[_NY_MAX]
        and target[_SUMG] > limits[_SUMG_MIN]
    )


@inner
def _search(image: Pixels, shape: tuple[int, int], limits: Ints) -> Floats:
    """All targets within the limits, in the order of their first peaks: (n, 8)."""
    height, width = shape
    stride = np.uint64(width)
    pixels, n_bright = _bright_pixels(image, limits[_THRESHOLD])
    queue = np.empty(n_bright + 1, np.uint32)
    found = np.empty((n_bright // max(limits[_NN_MIN], 1) + 1, _N_COLUMNS))
    n_found = 0
    highest = np.empty(width, np.uint8)
    peaks = np.zeros((width + _WORD - 1) // _WORD * _WORD, np.uint8)
    words = peaks.view(np.uint64)
    for start in range(width, (height - 1) * width, width):
        end = start + width
        _find_peaks(pixels[start - width : start], pixels[start:end], pixels[end : end + width], highest, peaks)
        for word in range(len(words)):
            if words[word] == 0:
                continue
            for x in range(word * _WORD, (word + 1) * _WORD):
                if peaks[x] and pixels[start + x] > 0:
                    queue[0] = start + x
                    right = _grow(pixels, image, shape, limits, queue, found[n_found])
                    n_found += _is_kept(found[n_found], limits)
                    for beside in range(x + 1, min(right + 2, width - 1)):
                        if pixels[start + beside] > 0:
                            peaks[beside] = _is_peak(pixels, np.uint64(start + beside), stride)
    return found[:n_found]


@entry("int64[::1](float64[:, ::1])")
def order_by_y(targets: Floats) -> Ints:
    """The rows of targets (n, 8) in the order in which optv sorts them by y."""
    minus_y = np.empty(len(targets))
    for row in range(len(targets)):
        minus_y[row] = -targets[row, _Y]
    return descending(minus_y)


@entry("float64[:, ::1](Array(uint8, 2, 'C', readonly=True), int64[::1])")
def detect(image: Pixels, limits: Ints) -> Floats:
    """The targets of an image, sorted by y as in optv, including equal y.

    Args:
        image: (h, w) uint8, high-pass filtered.
        limits: (9,) threshold (0 to 255) and discontinuity of grey values, minimum and maximum n, nx, ny, and a sum of grey
            values that a target must exceed.

    Returns:
        (n, 8), the columns of a ``_targets`` file: pnr from 0, x, y [px] of the centroid (weights: grey values above the
        threshold; the centre of the first pixel is at 0.5, 0.5), n, nx, ny, sumg, tnr = -1.
    """
    found = _search(image.reshape(image.size), image.shape, limits)
    targets = np.empty(found.shape)
    for place, index in enumerate(order_by_y(found)):
        targets[place, _PNR] = place
        for column in range(_X, _N_COLUMNS):
            targets[place, column] = found[index, column]
    return targets
