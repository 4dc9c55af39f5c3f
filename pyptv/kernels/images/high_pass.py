"""The high-pass filter: an image minus its mean over a square around each pixel, clipped at 0, as optv computes it.

Towards a border the square loses as much on one side as on the other, so that the pixel remains its centre. The other rules
were derived from optv's output for artificial images: near the left and right border the sum of a row in the window is scaled to
the full width and truncated before rows are added up; and in the last ``span`` rows the sum is divided by the size of a window
two rows higher, so that these rows remain bright in a constant image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.jit import entry, inner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    Sums = NDArray[np.int32]


@inner
def _edge_sums(image: Image, span: int) -> Sums:
    """Per row the sums within the windows that are narrower than 2 * span + 1, scaled to that width, (h, 2 * span).

    First those of the left columns from the border inwards, then of the right ones. Adding half a unit keeps the product
    with an inverse from falling below an exact whole-number quotient.
    """
    height, width = image.shape
    sums = np.empty((height, 2 * span), np.int32)
    inverse = 1.0 / np.arange(1, 2 * span, 2)
    for row in range(height):
        left, right = np.int64(image[row, 0]), np.int64(image[row, width - 1])
        for column in range(span):
            end = 2 * column
            if column > 0:
                left += np.int64(image[row, end - 1]) + np.int64(image[row, end])
                right += np.int64(image[row, width - end]) + np.int64(image[row, width - end - 1])
            sums[row, column] = int((left * (2 * span + 1) + 0.5) * inverse[column])
            sums[row, span + column] = int((right * (2 * span + 1) + 0.5) * inverse[column])
    return sums


@inner
def _add(sums: Sums, row: Image | Sums) -> None:
    for column in range(len(sums)):
        sums[column] += np.int32(row[column])


@inner
def _subtract(sums: Sums, row: Image | Sums) -> None:
    for column in range(len(sums)):
        sums[column] -= np.int32(row[column])


@inner
def _accumulate(sums: Sums, total: Sums) -> None:
    """``total[i]``: the sum of the first i of ``sums``."""
    so_far = np.int32(0)
    total[0] = 0
    for column in range(len(sums)):
        so_far = np.int32(so_far + sums[column])
        total[column + 1] = so_far


@inner
def _inside(image: Image, before: Sums, after: Sums, inverse: np.float32, out: Image) -> None:
    """The pixels of a row with a window of full width, whose sum is ``after - before``.

    Single precision is sufficient: adding half a unit keeps the quotients 1 / (2 * divisor) away from whole numbers, and their
    error is below 256 / 2**23.
    """
    for column in range(len(out)):
        window = np.int32(after[column] - before[column])
        low = np.int32((np.float32(window) + np.float32(0.5)) * inverse)
        out[column] = max(np.int32(np.int32(image[column]) - low), np.int32(0))


@inner
def _edges(image: Image, sums: Sums, divisor: int, out: Image) -> None:
    """The pixels of a row whose window is narrower."""
    span = len(sums) // 2
    for column in range(span):
        mirrored = len(image) - 1 - column
        out[column] = max(int(image[column]) - sums[column] // divisor, 0)
        out[mirrored] = max(int(image[mirrored]) - sums[span + column] // divisor, 0)


@entry("uint8[:, ::1](Array(uint8, 2, 'C', readonly=True), int64)")
def high_pass(image: Image, span: int) -> Image:
    """The high-pass filtered image.

    Args:
        image: (h, w) uint8, both sides at least 2 * span + 1.
        span: half the width of the full window without its centre [px], at most 60.

    Returns:
        (h, w) uint8: the bytes of optv's ``preprocess_image`` without a second filter.
    """
    height, width = image.shape
    out = np.empty((height, width), np.uint8)
    edge_rows = _edge_sums(image, span)
    edges = np.zeros(2 * span, np.int32)
    sums = np.zeros(width, np.int32)
    total = np.empty(width + 1, np.int32)
    first, beyond = 0, 0
    for row in range(height):
        reach = min(span, row, height - 1 - row)
        while beyond <= row + reach:
            _add(sums, image[beyond])
            _add(edges, edge_rows[beyond])
            beyond += 1
        while first < row - reach:
            _subtract(sums, image[first])
            _subtract(edges, edge_rows[first])
            first += 1
        n_rows = 2 * reach + (1 if height - 1 - row >= span else 3)
        divisor = n_rows * (2 * span + 1)
        _accumulate(sums, total)
        inside = slice(span, width - span)
        before, after = total[: width - 2 * span], total[2 * span + 1 :]
        _inside(image[row, inside], before, after, np.float32(1.0 / divisor), out[row, inside])
        _edges(image[row], edges, divisor, out[row])
    return out
