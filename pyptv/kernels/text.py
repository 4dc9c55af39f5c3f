"""Text tables, parsed and rendered: whole and decimal numbers in columns, exact to the last bit and byte.

Both kernels handle only the usual case, and report any other: the caller then uses the slow code, which handles
all cases and has the error messages.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.jit import entry, inner, number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_NEWLINE, _SPACE, _PLUS, _MINUS, _POINT, _ZERO, _NINE = b"\n +-.09"
_POWERS = np.array([float(10**power) for power in range(19)])
"""Exact, like all powers of ten up to 10**22."""
_TENS = 10 ** np.arange(19, dtype=np.int64)
_WHOLE = -1
_COUNT_DIGITS = 9
_NUMBER_DIGITS = 18
_EXACT = 2**53
_INT_LIMIT = 2**31
_SPLITTER = 2.0**27 + 1.0
_ROUNDABLE = 2.0**51
_FIELD = 24
"""Bytes of a number below 2**51 with its sign, point, leading zeros and separator, with a margin."""
_COUNT_FIELD = 20


@inner
def _digits(data: Bytes, at: int) -> tuple[int, int, int]:
    """The digits from ``at`` as one whole number, the number of decimals (-1: no point), and the place after."""
    mantissa = 0
    point = -1
    while True:
        byte = int(data[at])
        if _ZERO <= byte <= _NINE:
            mantissa = 10 * mantissa + (byte - _ZERO)
        elif byte == _POINT and point < 0:
            point = at
        else:
            return mantissa, (at - point - 1 if point >= 0 else -1), at
        at += 1


@inner
def _number(data: Bytes, at: int, whole: bool) -> tuple[float, int]:  # noqa: FBT001
    """The number that begins at ``at``, and the place after it, or -1."""
    negative = data[at] == _MINUS
    if negative or data[at] == _PLUS:
        at += 1
    mantissa, places, after = _digits(data, at)
    n_digits = after - at - (places >= 0)
    if n_digits < 1 or n_digits > _NUMBER_DIGITS or mantissa >= _EXACT:
        return 0.0, -1
    if whole:
        if places >= 0 or mantissa >= _INT_LIMIT:
            return 0.0, -1
        return float(-mantissa if negative else mantissa), after
    value = mantissa / _POWERS[max(places, 0)]
    return (-value if negative else value), after


@inner
def _count(data: Bytes, row_bytes: int) -> tuple[int, int]:
    """The number in the first line, and the start of the second line, or -1 if no such table fits into the data.

    From here on the last byte is known to be a line end, at which every loop over bytes stops.
    """
    if len(data) == 0 or data[-1] != _NEWLINE:
        return 0, -1
    count = 0
    at = 0
    while at < _COUNT_DIGITS and _ZERO <= data[at] <= _NINE:
        count = 10 * count + (int(data[at]) - _ZERO)
        at += 1
    if at == 0 or data[at] != _NEWLINE or count * row_bytes > len(data):
        return 0, -1
    return count, at + 1


@inner
def _row(data: Bytes, at: int, decimals: Ints, values: Floats) -> int:
    """Read the line that begins at ``at`` into ``values``; returns the start of the next line, or -1."""
    if at == len(data):
        return -1
    last = len(decimals) - 1
    for column in range(last + 1):
        while data[at] == _SPACE:
            at += 1
        values[column], at = _number(data, at, decimals[column] == _WHOLE)
        if at < 0 or data[at] != (_NEWLINE if column == last else _SPACE):
            return -1
        at += 1
    return at


@entry("float64[:, ::1](Array(uint8, 1, 'C', readonly=True), int64[::1])")
def parse(data: Bytes, decimals: Ints) -> Floats:
    """The numbers in a table's bytes: a count, then that many lines of numbers between spaces.

    A decimal number is read as ``mantissa / 10**k``, both exact in float64, so that the quotient is the correctly rounded
    value, as from ``float``.

    Args:
        data: the file's bytes.
        decimals: (m,) per column: -1 for whole numbers (int32), any other value for decimal ones.

    Returns:
        (n, m); (0, 0) for unusual bytes: another count, line or character than the C library writes, too
        many digits, an exponent.
    """
    refused = np.empty((0, 0))
    count, at = _count(data, 2 * len(decimals))
    if at < 0:
        return refused
    columns = np.empty((count, len(decimals)))
    for row in range(count):
        at = _row(data, at, decimals, columns[row])
        if at < 0:
            return refused
    return columns if at == len(data) else refused


@inner
def _rounded(value: float, places: int) -> int:
    """``value * 10**places`` rounded to the nearest whole number, exact ties to even; -1 if that is too large.

    The rounded product may be on the other side of a tie. Its error is known exactly (Dekker 1971, from halves
    of 26 bits); the distance from the tie is also exact, so a comparison of both decides.
    """
    if places == _WHOLE:
        return int(value) if value < _ROUNDABLE else -1
    power = _POWERS[places]
    scaled = value * power
    if not scaled < _ROUNDABLE:
        return -1
    carry = _SPLITTER * value
    high = carry - (carry - value)
    carry = _SPLITTER * power
    power_high = carry - (carry - power)
    low, power_low = value - high, power - power_high
    error = ((high * power_high - scaled) + high * power_low + low * power_high) + low * power_low
    whole = int(scaled)
    beyond_tie = scaled - whole - 0.5
    if beyond_tie > -error or (beyond_tie == -error and whole % 2 == 1):
        whole += 1
    return whole


@inner
def _write(out: Bytes, at: int, digits: int, width: int, negative: int, places: int) -> int:
    """Write the digits of one number from ``at``, with the point before the last ``places``; the place after it.

    ``negative`` is 1 for a number with a minus.
    """
    length = 1
    while length < _NUMBER_DIGITS and digits >= _TENS[length]:
        length += 1
    length = max(length, places + 1) + (places > 0) + negative
    end = at + max(length, width)
    start = end - length
    out[at:start] = _SPACE
    if negative:
        out[start] = _MINUS
    place = end
    for _ in range(places):
        place -= 1
        out[place] = _ZERO + digits % 10
        digits //= 10
    if places > 0:
        place -= 1
        out[place] = _POINT
    while place > start + negative:
        place -= 1
        out[place] = _ZERO + digits % 10
        digits //= 10
    return end


@entry("uint8[::1](float64[:, ::1], int64[::1], int64[::1])")
def render(columns: Floats, widths: Ints, decimals: Ints) -> Bytes:
    """The bytes of a table, as written by C's ``printf``: the count, then one line per row, one space between columns.

    Args:
        columns: (n, m) values; those of whole-number columns are truncated.
        widths: (m,) minimum number of characters of a column, padded with spaces on the left.
        decimals: (m,) digits after the point, at most 18; -1 for ``%d``.

    Returns:
        The file's bytes; empty if a value is not finite or too large to be rounded exactly.
    """
    longest = 0
    for width in widths:
        longest += max(width, _FIELD) + 1
    out = np.empty(_COUNT_FIELD + len(columns) * longest, np.uint8)
    at = _write(out, number(0), len(columns), number(0), number(0), number(_WHOLE))
    out[at] = _NEWLINE
    at += 1
    for row in range(len(columns)):
        for column in range(len(widths)):
            value = columns[row, column]
            digits = _rounded(abs(value), decimals[column])
            if digits < 0:
                return out[:0]
            negative = int(math.copysign(1.0, value) < 0.0 and (digits > 0 or decimals[column] != _WHOLE))
            at = _write(out, at, digits, widths[column], negative, decimals[column])
            out[at] = _SPACE
            at += 1
        out[at - 1] = _NEWLINE
    return out[:at]
