"""Candidate partners of every target in the other cameras: targets along its epipolar line.

The targets of all cameras are in one array, camera after camera, those of a camera sorted by x of their flat coordinates. The
candidates of all pairs of cameras are in compressed rows that grow as needed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from pyptv.kernels.geometry import project_flat
from pyptv.kernels.jit import inner, leaf, number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Flags = NDArray[np.bool_]
    Values = TypeVar("Values", Floats, Integers)

X0, X1, ZMIN0, ZMIN1, ZMAX0, ZMAX1, EPS0, CN, CNX, CNY, CSUMG, CORRMIN = range(12)
"""Columns of the criteria row."""
N, NX, NY, SUMG = range(4)
"""Columns of the sizes."""

_STEPS_BACK = 12
"""Number of places before the result of its bisection where optv begins its scan."""

MOST = 10_000_000
"""Candidates of a frame, and as many correspondences of a kind to choose from: several hundred MB."""


class TooManyError(ValueError):
    """More candidates, or correspondences to choose from, than :data:`MOST`."""


MOST_TRIED = 2_000_000_000
"""Comparisons for each kind of correspondence of a frame, whether anything is found to match or not: some seconds."""
COMBINATION = 8
"""Cost of one combination of targets, in comparisons of two numbers."""


class TooMuchWorkError(TooManyError):
    """More comparisons than :data:`MOST_TRIED`, even if few of them match."""


class Seen(NamedTuple):
    """The targets of all cameras, camera after camera, sorted by x of their flat coordinates."""

    base: Integers
    """(n_cams + 1,) start of each camera's targets."""
    flat: Floats
    """(n, 2) flat coordinates, mm."""
    rays: Floats
    """(n, 6) point where the ray leaves the glass, mm, and its direction."""
    sizes: Floats
    """(n, 4) pixel counts n, nx, ny and sum of grey values."""


class Strips(NamedTuple):
    """The targets of all cameras divided into strips of neighbours in x, each strip sorted by y."""

    by_y: Integers
    """(n,) targets, strip after strip."""
    x: Floats
    y: Floats
    """(n,) flat coordinates of ``by_y``."""
    width: Integers
    """(n_cams,) targets in a strip of each camera."""
    sound: Flags
    """(n_cams,) whether all flat coordinates of a camera are numbers."""


class Candidates(NamedTuple):
    """Compressed rows: the candidates of a target in a camera, by x."""

    first: Integers
    """(n_cams, n_cams, longest) start of the row of a camera pair a < b and a's target."""
    last: Integers
    """Its end (excluded)."""
    partner: Integers
    """The candidate, counted within its camera."""
    distance: Floats
    """Distance from the epipolar line, mm."""
    grade: Floats


@inner
def cut_in_strips(seen: Seen) -> Strips:
    """Strips of about the square root of the number of targets."""
    n_cams = len(seen.base) - 1
    width, sound = np.empty(n_cams, np.int64), np.ones(n_cams, np.bool_)
    by_y = np.arange(len(seen.flat))
    for camera in range(n_cams):
        begin, end = seen.base[camera], seen.base[camera + 1]
        width[camera] = max(8, int(math.sqrt(end - begin)))
        for target in range(begin, end):
            sound[camera] &= math.isfinite(seen.flat[target, 0]) and math.isfinite(seen.flat[target, 1])
        for start in range(begin, end, width[camera]):
            _sort_by_y(by_y, seen.flat, start, min(start + width[camera], end))
    x, y = np.empty(len(by_y)), np.empty(len(by_y))
    for index in range(len(by_y)):
        x[index], y[index] = seen.flat[by_y[index], 0], seen.flat[by_y[index], 1]
    return Strips(by_y, x, y, width, sound)


@leaf
def _sort_by_y(by_y: Integers, flat: Floats, begin: int, end: int) -> None:
    for index in range(begin + 1, end):
        target = by_y[index]
        y = flat[target, 1]
        place = index
        while place > begin and flat[by_y[place - 1], 1] > y:
            by_y[place] = by_y[place - 1]
            place -= 1
        by_y[place] = target


@inner
def find_candidates(cameras: Floats, optics: Floats, criteria: Floats, sensors: Floats, seen: Seen) -> Candidates:
    """The candidates of all targets in all later cameras; :class:`TooManyError` if there are more than :data:`MOST`.

    Targets along the lines that are not similar enough also count as work.
    """
    n_cams, base = len(cameras), seen.base
    strips = cut_in_strips(seen)
    longest = 0
    for camera in range(n_cams):
        longest = max(longest, base[camera + 1] - base[camera])
    first, last = np.zeros((n_cams, n_cams, longest), np.int64), np.zeros((n_cams, n_cams, longest), np.int64)
    partner, distance, grade = np.empty(longest, np.int64), np.empty(longest), np.empty(longest)
    end, tried = number(0), 0
    for a in range(n_cams):
        for b in range(a + 1, n_cams):
            for target in range(base[a], base[a + 1]):
                if end > MOST:
                    raise TooManyError
                if tried > MOST_TRIED:
                    raise TooMuchWorkError
                while end + base[b + 1] - base[b] >= len(partner):
                    partner, distance, grade = grown(partner), grown(distance), grown(grade)
                first[a, b, target - base[a]] = end
                line = _epipolar_line(cameras[b], optics, criteria, seen.rays[target])
                if _touches(line, sensors[b]):
                    along = _along(line, criteria, seen, strips, b, end, partner, distance)
                    tried += COMBINATION * (along - end)
                    end = _grade_all(criteria, seen.sizes, base[b], target, end, along, partner, distance, grade)
                last[a, b, target - base[a]] = end
    return Candidates(first, last, partner, distance, grade)


@inner
def grown(values: Values) -> Values:
    """A copy (2 n + 1,) of an array (n,) with room at its end."""
    longer = np.empty(2 * len(values) + 1, values.dtype)
    for index in range(len(values)):
        longer[index] = values[index]
    return longer


@leaf
def _z_limits(criteria: Floats, ray: Floats) -> tuple[float, float]:
    """The Z limits (mm) where a ray leaves the glass."""
    share = (ray[0] - criteria[X0]) / (criteria[X1] - criteria[X0])
    zmin = criteria[ZMIN0] + share * (criteria[ZMIN1] - criteria[ZMIN0])
    zmax = criteria[ZMAX0] + share * (criteria[ZMAX1] - criteria[ZMAX0])
    return zmin, zmax


@leaf
def half_way(criteria: Floats, ray: Floats) -> tuple[float, float, float]:
    """The point (mm) of a ray halfway between the Z limits."""
    zmin, zmax = _z_limits(criteria, ray)
    z = (zmin + zmax) / 2
    along = (z - ray[2]) / ray[5]
    return ray[0] + along * ray[3], ray[1] + along * ray[4], z


@leaf
def _epipolar_line(camera: Floats, optics: Floats, criteria: Floats, ray: Floats) -> tuple[float, float, float, float]:
    """The ends x0, y0, x1, y1 (flat coordinates in ``camera``, mm) of a ray between the Z limits."""
    zmin, zmax = _z_limits(criteria, ray)
    low, high = (zmin - ray[2]) / ray[5], (zmax - ray[2]) / ray[5]
    x0, y0 = project_flat(camera, optics, ray[0] + low * ray[3], ray[1] + low * ray[4], zmin)
    x1, y1 = project_flat(camera, optics, ray[0] + high * ray[3], ray[1] + high * ray[4], zmax)
    if x0 == x1:
        x1 += 1e-10
    return x0, y0, x1, y1


@leaf
def _touches(line: tuple[float, float, float, float], sensor: Floats) -> bool:
    """Whether the segment's bounding box reaches into the sensor: left, bottom, right, top."""
    x0, y0, x1, y1 = line
    left, right = (x1, x0) if x0 > x1 else (x0, x1)
    bottom, top = (y1, y0) if y0 > y1 else (y0, y1)
    beside: bool = right <= sensor[0] or left >= sensor[2] or top <= sensor[1] or bottom >= sensor[3]  # False for NaN
    return not beside


@leaf
def _along(
    line: tuple[float, float, float, float],
    criteria: Floats,
    seen: Seen,
    strips: Strips,
    camera: int,
    n: int,
    found: Integers,
    off: Floats,
) -> int:
    """Targets of ``camera`` along a line: by x to ``found``, from place ``n`` on, their distances to ``off``; returns the end."""
    x0, y0, x1, y1 = line
    slope = (y1 - y0) / (x1 - x0)
    intercept = y0 - slope * x0
    eps = criteria[EPS0]
    if not (strips.sound[camera] and math.isfinite(slope) and math.isfinite(intercept)):
        return _along_one_by_one(line, eps, seen, camera, n, found, off)
    left, right = min(x0, x1) - eps, max(x0, x1) + eps
    bottom, top = min(y0, y1) - eps, max(y0, y1) + eps
    slant = math.sqrt(slope * slope + 1.0)
    begin, end, width = seen.base[camera], seen.base[camera + 1], strips.width[camera]
    strip = begin + width * _first_strip(seen.flat, begin, end, width, left)
    while strip < end and seen.flat[strip, 0] < right:
        stop = min(strip + width, end)
        y_left, y_right = slope * seen.flat[strip, 0] + intercept, slope * seen.flat[stop - 1, 0] + intercept
        margin = eps * slant + 1e-9 * (abs(y_left) + abs(y_right) + abs(intercept))  # rounding must not lose one
        low, high = max(bottom, min(y_left, y_right) - margin), min(top, max(y_left, y_right) + margin)
        alone = n
        index = _first_from(strips.y, strip, stop, low)
        while index < stop and strips.y[index] <= high:
            x, y = strips.x[index], strips.y[index]
            distance = abs(y - slope * x - intercept) / slant
            found[n], off[n] = strips.by_y[index], distance
            n += (left < x) & (x < right) & (bottom < y) & (y < top) & (distance < eps)
            index += 1
        _sort_by_x(found, off, alone, n)
        strip = stop
    return n


@leaf
def _along_one_by_one(
    line: tuple[float, float, float, float], eps: float, seen: Seen, camera: int, n: int, found: Integers, off: Floats
) -> int:
    """:func:`_along` with NaN coordinates: the targets that optv's comparisons then accept, in its order."""
    x0, y0, x1, y1 = line
    slope = (y1 - y0) / (x1 - x0)
    intercept = y0 - slope * x0
    left, right = (x1, x0) if x0 > x1 else (x0, x1)
    bottom, top = (y1, y0) if y0 > y1 else (y0, y1)
    begin, end = seen.base[camera], seen.base[camera + 1]
    start, step = (end - begin) // 2, (end - begin) // 4
    while step > 1:
        start += step if seen.flat[begin + start, 0] < left - eps else -step
        step //= 2
    for target in range(begin + max(start - _STEPS_BACK, 0), end):
        x, y = seen.flat[target, 0], seen.flat[target, 1]
        if x > right + eps:
            break
        distance = abs(y - slope * x - intercept) / math.sqrt(slope * slope + 1.0)
        found[n], off[n] = target, distance
        n += not (y <= bottom - eps or y >= top + eps or x <= left - eps or x >= right + eps or distance >= eps)
    return n


@leaf
def _sort_by_x(found: Integers, off: Floats, begin: int, end: int) -> None:
    for index in range(begin + 1, end):
        target, distance = found[index], off[index]
        place = index
        while place > begin and found[place - 1] > target:
            found[place], off[place] = found[place - 1], off[place - 1]
            place -= 1
        found[place], off[place] = target, distance


@leaf
def _first_from(y: Floats, begin: int, end: int, low: float) -> int:
    """The first of the ascending ``y[begin:end]`` that is not below ``low``, without unpredictable branches."""
    left = end - begin
    while left > 0:
        half = (left + 1) // 2
        begin += half * (y[begin + half - 1] < low)
        left -= half
    return begin


@leaf
def _first_strip(flat: Floats, begin: int, end: int, width: int, left: float) -> int:
    """The first strip that reaches beyond ``left``."""
    low, high = 0, (end - begin + width - 1) // width
    while low < high:
        middle = (low + high) // 2
        if flat[min(begin + (middle + 1) * width, end) - 1, 0] > left:
            high = middle
        else:
            low = middle + 1
    return low


@leaf
def _grade_all(
    criteria: Floats,
    sizes: Floats,
    base: int,
    target: int,
    begin: int,
    end: int,
    partner: Integers,
    distance: Floats,
    grade: Floats,
) -> int:
    """Grade candidates, and move those that are similar enough together, numbered within their camera; returns their end."""
    n, nx, ny, sumg = sizes[target, N], sizes[target, NX], sizes[target, NY], sizes[target, SUMG]
    cn, cnx, cny, csumg = criteria[CN], criteria[CNX], criteria[CNY], criteria[CSUMG]
    place = begin
    for index in range(begin, end):
        other = partner[index]
        qn, qnx = _ratio(n, sizes[other, N]), _ratio(nx, sizes[other, NX])
        qny, qsum = _ratio(ny, sizes[other, NY]), _ratio(sumg, sizes[other, SUMG])
        partner[place], distance[place] = other - base, distance[index]
        grade[place] = (4.0 * qsum + 2.0 * qn + qnx + qny) * (sumg + sizes[other, SUMG])
        place += (qn >= cn) & (qnx >= cnx) & (qny >= cny) & (qsum > csumg)
    return place


@leaf
def _ratio(one: float, other: float) -> float:
    """The smaller divided by the larger."""
    smaller, larger = (one, other) if one < other else (other, one)
    return smaller / larger
