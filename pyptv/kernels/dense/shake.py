"""Shaking: position and intensities of each particle in turn are fitted to the residual images (Wieneke 2013).

The particle's own spots are put back, one damped Gauss-Newton step of least squares gives position (3) and intensities (one a
camera), and the new spots are subtracted: Gauss-Seidel. With separable spots all sums over a window are made of sums along
rows; only windows with saturated pixels, which are left out, need each pixel by itself.

A camera's intensity is tied to the joint one of all cameras: a spot on top of another one must not take its light. How
strongly decides how dense a seeding the method bears.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyptv.kernels.dense.spots import PROFILE, add, profile
from pyptv.kernels.jit import entry, inner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Image = NDArray[np.float32]
    Flags = NDArray[np.uint8]

CELL = 4
"""[px] Cells of the map of what has changed."""
_N_SUMS = 9
_D, _G, _DX, _DY, _GX, _GY, _XX, _XY, _YY = range(_N_SUMS)
"""Sums over a window, g being the spot of peak 1, x and y its logarithmic derivatives by its place, d the data:
d g, g g, d g x, d g y, g g x, g g y, g g x x, g g x y, g g y y."""
_TOO_LITTLE = 0.05
"""A camera with less of a spot (sum g g) in its image does not see the particle."""
_SMALL = 1e-4
"""Of the trace, added to the diagonal: keeps a step finite where the cameras see a particle from one side only."""


class Data(NamedTuple):
    """What particles are fitted to, and how."""

    residual: Image
    saturated: Flags
    near_saturated: Flags
    gains: Floats
    fit_radius: int
    radius: int
    tie: float
    largest_step: float


class Model(NamedTuple):
    """The particles."""

    positions: Floats
    intensities: Image
    own: Image
    projections: Floats
    derivatives: Image
    sharpness: Image


class Work(NamedTuple):
    """Working memory, and sums of each camera."""

    sums: Floats
    across: Image
    down: Image
    pixels: NDArray[np.int64]
    new_across: Image
    new_down: Image


@inner
def _axis_sums(values: Image, first: int, last: int, d: float, twice: float, radius: int) -> tuple[float, float, float]:
    """Sums of g g, g g q and g g q q along an axis, q = 2 a (k - d)."""
    s0 = s1 = s2 = 0.0
    for k in range(first, last):
        q = (k - radius - d) * twice
        gg = values[k] * values[k]
        s0 += gg
        s1 += gg * q
        s2 += gg * q * q
    return s0, s1, s2


@inner
def _measure(data: Data, model: Model, work: Work, p: int, c: int) -> None:
    """The sums of a particle in a camera; all 0 where its centre is not in the image."""
    sums = work.sums[c]
    sums[:] = 0.0
    height, width = data.residual.shape[1:]
    u, v = model.projections[p, c]
    if not (0.0 <= u < width and 0.0 <= v < height):
        work.pixels[c, 0] = -1
        return
    ax, ay = model.sharpness[p, c]
    across, down = work.across[c], work.down[c]
    r, rf = data.radius, data.fit_radius
    x, y = profile(u, ax, r, across), profile(v, ay, r, down)
    work.pixels[c, 0], work.pixels[c, 1] = x, y
    x0, x1, y0, y1 = max(x - rf, 0), min(x + rf + 1, width), max(y - rf, 0), min(y + rf + 1, height)
    dx, dy = u - x - 0.5, v - y - 0.5
    if data.near_saturated[c, y, x]:
        _measure_each(data, work, c, (x0, x1, y0, y1), (dx, dy, 2.0 * ax, 2.0 * ay))
    else:
        residual = data.residual[c]
        for i in range(y0, y1):
            s0 = s1 = np.float32(0.0)
            for j in range(x0, x1):
                gd = across[j - x + r] * residual[i, j]
                s0 += gd
                s1 += gd * np.float32(j - x)
            g = down[i - y + r]
            sums[_D] += g * s0
            sums[_DX] += g * s1
            sums[_DY] += g * s0 * (i - y)
        sums[_DX] = (sums[_DX] - dx * sums[_D]) * 2.0 * ax
        sums[_DY] = (sums[_DY] - dy * sums[_D]) * 2.0 * ay
        a0, a1, a2 = _axis_sums(across, x0 - x + r, x1 - x + r, dx, 2.0 * ax, r)
        b0, b1, b2 = _axis_sums(down, y0 - y + r, y1 - y + r, dy, 2.0 * ay, r)
        sums[_G], sums[_GX], sums[_GY] = a0 * b0, a1 * b0, a0 * b1
        sums[_XX], sums[_XY], sums[_YY] = a2 * b0, a1 * b1, a0 * b2
    e = model.intensities[p, c]
    sums[_D] += e * sums[_G]
    sums[_DX] += e * sums[_GX]
    sums[_DY] += e * sums[_GY]


@inner
def _measure_each(
    data: Data, work: Work, c: int, window: tuple[int, int, int, int], shape: tuple[float, float, float, float]
) -> None:
    """The sums, pixel by pixel, without saturated ones."""
    x0, x1, y0, y1 = window
    dx, dy, twice_ax, twice_ay = shape
    x, y = work.pixels[c]
    sums, r = work.sums[c], data.radius
    for i in range(y0, y1):
        for j in range(x0, x1):
            if data.saturated[c, i, j]:
                continue
            g = work.down[c, i - y + r] * work.across[c, j - x + r]
            qx, qy = (j - x - dx) * twice_ax, (i - y - dy) * twice_ay
            gd, gg = g * data.residual[c, i, j], g * g
            sums[_D] += gd
            sums[_G] += gg
            sums[_DX] += gd * qx
            sums[_DY] += gd * qy
            sums[_GX] += gg * qx
            sums[_GY] += gg * qy
            sums[_XX] += gg * qx * qx
            sums[_XY] += gg * qx * qy
            sums[_YY] += gg * qy * qy


@inner
def _joint(data: Data, work: Work) -> float:
    """The intensity that fits all cameras best, their gains considered; not below 0."""
    above = below = 0.0
    for c in range(len(work.sums)):
        above += data.gains[c] * work.sums[c, _D]
        below += data.gains[c] * data.gains[c] * work.sums[c, _G]
    return max(above / below, 0.0) if below > 0.0 else 0.0


@inner
def _equations(data: Data, model: Model, work: Work, p: int, joint: float, a: Floats, b: Floats) -> None:
    """New intensities, and the normal equations of the step in position."""
    a[:], b[:] = 0.0, 0.0
    for c in range(len(work.sums)):
        s = work.sums[c]
        tied = data.gains[c] * joint
        if s[_G] <= _TOO_LITTLE:
            model.intensities[p, c] = 0.0 if s[_G] <= 0.0 else tied
            model.own[p, c] = np.nan
            continue
        own = s[_D] / s[_G]
        e = max((own + data.tie * tied) / (1.0 + data.tie), 0.0)
        model.own[p, c] = own
        model.intensities[p, c] = e
        bx, by = e * s[_DX] - e * e * s[_GX], e * s[_DY] - e * e * s[_GY]
        xx, xy, yy = e * e * s[_XX], e * e * s[_XY], e * e * s[_YY]
        for k in range(3):
            ju, jv = model.derivatives[p, c, 0, k], model.derivatives[p, c, 1, k]
            b[k] += ju * bx + jv * by
            for m in range(k, 3):
                lu, lv = model.derivatives[p, c, 0, m], model.derivatives[p, c, 1, m]
                a[k, m] += xx * ju * lu + xy * (ju * lv + jv * lu) + yy * jv * lv


@inner
def _solve(a: Floats, b: Floats, out: Floats) -> None:
    """The step of the normal equations (upper triangle), slightly damped."""
    damping = _SMALL * (a[0, 0] + a[1, 1] + a[2, 2]) + 1e-12
    a00, a11, a22 = a[0, 0] + damping, a[1, 1] + damping, a[2, 2] + damping
    a01, a02, a12 = a[0, 1], a[0, 2], a[1, 2]
    c00, c01, c02 = a11 * a22 - a12 * a12, a02 * a12 - a01 * a22, a01 * a12 - a02 * a11
    c11, c12, c22 = a00 * a22 - a02 * a02, a01 * a02 - a00 * a12, a00 * a11 - a01 * a01
    inverse = 1.0 / (a00 * c00 + a01 * c01 + a02 * c02)
    out[0] = (c00 * b[0] + c01 * b[1] + c02 * b[2]) * inverse
    out[1] = (c01 * b[0] + c11 * b[1] + c12 * b[2]) * inverse
    out[2] = (c02 * b[0] + c12 * b[1] + c22 * b[2]) * inverse


@inner
def _move(data: Data, model: Model, p: int, step: Floats) -> float:
    """Move a particle, by at most the largest step in any image; returns how far [px]."""
    farthest = 0.0
    n_cams = len(data.gains)
    for c in range(n_cams):
        j = model.derivatives[p, c]
        du = j[0, 0] * step[0] + j[0, 1] * step[1] + j[0, 2] * step[2]
        dv = j[1, 0] * step[0] + j[1, 1] * step[1] + j[1, 2] * step[2]
        farthest = max(farthest, du * du + dv * dv)
    farthest = math.sqrt(farthest)
    factor = 1.0 if farthest <= data.largest_step else data.largest_step / farthest
    for k in range(3):
        step[k] *= factor
        model.positions[p, k] += step[k]
    for c in range(n_cams):
        j = model.derivatives[p, c]
        model.projections[p, c, 0] += j[0, 0] * step[0] + j[0, 1] * step[1] + j[0, 2] * step[2]
        model.projections[p, c, 1] += j[1, 0] * step[0] + j[1, 1] * step[1] + j[1, 2] * step[2]
    return min(farthest, data.largest_step)


@inner
def _exchange(data: Data, model: Model, work: Work, p: int, c: int, before: float) -> None:
    """Put the old spot back into the residual image and subtract the new one."""
    after = model.intensities[p, c]
    x, y = work.pixels[c]
    r = data.radius
    image = data.residual[c]
    if before != 0.0 and x >= 0:
        add(image, x, y, before, work.across[c], work.down[c], r)
    if after != 0.0:
        new_x = profile(model.projections[p, c, 0], model.sharpness[p, c, 0], r, work.new_across)
        new_y = profile(model.projections[p, c, 1], model.sharpness[p, c, 1], r, work.new_down)
        add(image, new_x, new_y, -after, work.new_across, work.new_down, r)


@inner
def _is_hot(model: Model, hot: Flags, p: int) -> bool:
    """Whether anything has changed near a particle, in any camera."""
    for c in range(len(hot)):
        x, y = int(model.projections[p, c, 0]) // CELL + 1, int(model.projections[p, c, 1]) // CELL + 1
        if 0 <= x < hot.shape[2] and 0 <= y < hot.shape[1] and hot[c, y, x]:
            return True
    return False


@inner
def _heat(projections: Floats, hot: Flags, p: int) -> None:
    """Note that a particle has changed: in its cells and those around them. The map has a margin of one cell."""
    for c in range(len(hot)):
        x, y = int(projections[p, c, 0]) // CELL + 1, int(projections[p, c, 1]) // CELL + 1
        if 0 < x < hot.shape[2] - 1 and 0 < y < hot.shape[1] - 1:
            for i in range(y - 1, y + 2):
                for j in range(x - 1, x + 2):
                    hot[c, i, j] = 1


@entry("void(float64[:, :, ::1], uint8[::1], uint8[:, :, ::1])")
def heat(projections: Floats, which: Flags, hot: Flags) -> None:
    """Note in the map (n_cams, rows + 2, columns + 2) that the particles with ``which`` other than 0 have changed."""
    for p in range(len(which)):
        if which[p]:
            _heat(projections, hot, p)


@inner
def _visit(data: Data, model: Model, work: Work, p: int, moves: bool) -> float:  # noqa: FBT001 -- compiled
    """Fit one particle; returns by how much it has changed: px, or the share of its intensity."""
    n_cams = len(data.gains)
    before = model.intensities[p].copy()
    for c in range(n_cams):
        _measure(data, model, work, p, c)
    joint = _joint(data, work)
    a, b, step = np.empty((3, 3)), np.empty(3), np.empty(3)
    _equations(data, model, work, p, joint, a, b)
    moved = 0.0
    if moves and joint > 0.0:
        _solve(a, b, step)
        moved = _move(data, model, p, step)
    for c in range(n_cams):
        _exchange(data, model, work, p, c, before[c])
        after = model.intensities[p, c]
        if abs(after - before[c]) > moved * after:
            moved = abs(after - before[c]) / after if after > 0.0 else 1.0
    return moved


@entry(
    "int64(float64[:, ::1], float32[:, ::1], float32[:, ::1], float64[:, :, ::1], float32[:, :, :, ::1], float32[:, :, ::1],"
    "float32[:, :, ::1], uint8[:, :, ::1], uint8[:, :, ::1], float64[::1], uint8[:, :, ::1],"
    "int64, int64, int64, int64, float64, float64, float64, boolean)"
)
def shake(
    positions: Floats,
    intensities: Image,
    own: Image,
    projections: Floats,
    derivatives: Image,
    sharpness: Image,
    residual: Image,
    saturated: Flags,
    near_saturated: Flags,
    gains: Floats,
    hot: Flags,
    first: int,
    rounds: int,
    fit_radius: int,
    radius: int,
    tie: float,
    largest_step: float,
    still: float,
    moves: bool,  # noqa: FBT001 -- compiled functions take no keywords
) -> int:
    """Shake particles, in place; returns the number of visits.

    Args:
        positions: (n, 3) [mm].
        intensities: (n, n_cams) peaks of the spots; 0 where a camera does not see the particle.
        own: (n, n_cams) receives what each camera alone says of the intensity, NaN where it does not see the particle.
        projections: (n, n_cams, 2) [px]; moved along with the positions by the derivatives.
        derivatives: (n, n_cams, 2, 3) [px/mm].
        sharpness: (n, n_cams, 2) [1/px^2].
        residual: (n_cams, height, width) images without the spots of all particles.
        saturated: (n_cams, height, width) 1 where a pixel is left out.
        near_saturated: likewise, 1 where there is such a pixel within ``fit_radius``.
        gains: (n_cams,) relative brightness of the cameras.
        hot: (n_cams, rows + 2, columns + 2) cells in which something has changed; the others' particles are not visited.
        first: particles from there on are shaken.
        rounds: how often.
        fit_radius: half the window of the fit [px], at most ``radius``.
        radius: half the window in which spots are drawn [px].
        tie: weight of the joint intensity over a camera's own.
        largest_step: in any image [px].
        still: who moves less [px] (or changes less, relative to the intensity) does not count as changed.
        moves: fit positions, too.
    """
    n_cams = len(residual)
    data = Data(residual, saturated, near_saturated, gains, fit_radius, radius, tie, largest_step)
    model = Model(positions, intensities, own, projections, derivatives, sharpness)
    work = Work(
        np.empty((n_cams, _N_SUMS)),
        np.empty((n_cams, PROFILE), np.float32),
        np.empty((n_cams, PROFILE), np.float32),
        np.empty((n_cams, 2), np.int64),
        np.empty(PROFILE, np.float32),
        np.empty(PROFILE, np.float32),
    )
    visits = 0
    for _ in range(rounds):
        now = hot.copy()
        hot[:] = 0
        for p in range(first, len(positions)):
            if _is_hot(model, now, p):
                visits += 1
                if _visit(data, model, work, p, moves) > still:
                    _heat(projections, hot, p)
    return visits
