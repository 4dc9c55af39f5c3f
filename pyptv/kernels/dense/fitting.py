"""One particle against the residual images: sums over its windows, the step that fits it, its old spots for new ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyptv.kernels.dense.spots import MARGIN, WIDE, add, blocks_of, first_of, is_drawn, profile
from pyptv.kernels.jit import routine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Image = NDArray[np.float32]
    Flags = NDArray[np.uint8]

N_SUMS = 9
_D, _G, _DX, _DY, _GX, _GY, _XX, _XY, _YY = range(N_SUMS)
"""Sums over a window, g being the spot of peak 1, x and y its logarithmic derivatives by its place, d the data:
d g, g g, d g x, d g y, g g x, g g y, g g x x, g g x y, g g y y."""
_TOO_LITTLE = 0.05
"""A camera with less of a spot (sum g g) in its image does not see the particle."""
_SMALL = 1e-4
"""Of the trace, added to the diagonal: keeps a step finite where the cameras see a particle from one side only."""
NOT_SEEN = -1


class Data(NamedTuple):
    """What particles are fitted to, and how; as in :func:`pyptv.kernels.dense.shake.shake`."""

    residual: Image
    flat: Image
    """The same, flattened."""
    saturated: Flags
    near_saturated: Flags
    gains: Floats
    radius: int
    tie: float
    largest_step: float


class Rows(NamedTuple):
    """The particles; as in :func:`pyptv.kernels.dense.shake.shake`."""

    positions: Floats
    intensities: Image
    own: Image
    projections: Floats
    derivatives: Image
    sharpness: Image


class Work(NamedTuple):
    """Working memory of a visit."""

    sums: Floats
    """(n_cams, N_SUMS)."""
    across: Image
    """(n_cams, PROFILE) of the spot as it is drawn; and so on."""
    down: Image
    pixels: NDArray[np.int64]
    """(n_cams, 2) of the window's middle; NOT_SEEN."""
    before: Image
    """(n_cams,) intensities that are drawn."""
    new_across: Image
    new_down: Image
    matrix: Floats
    vector: Floats
    step: Floats


@routine
def _data_sums(flat: Image, start: int, stride: int, across: Image, down: Image, radius: int, sums: Floats) -> None:
    """Sums of r g, r g (j - radius) and r g (i - radius), r being the residual at column j and row i of the window."""
    s = sx = sy = np.float32(0.0)
    for i in range(2 * radius + 1):
        at = np.uint64(start + i * stride)
        row = row_x = np.float32(0.0)
        for block in range(blocks_of(radius)):
            for k in range(WIDE):
                j = np.uint64(block * WIDE + k)
                value = across[j] * flat[at + j]
                row += value
                row_x += value * np.float32(block * WIDE + k)
        s += down[i] * row
        sx += down[i] * row_x
        sy += down[i] * row * np.float32(i)
    sums[_D], sums[_DX], sums[_DY] = s, sx - radius * s, sy - radius * s


@routine
def _axis_sums(values: Image, d: float, twice: float, radius: int) -> tuple[float, float, float]:
    """Sums of g g, g g q and g g q q along an axis, q = 2 a (k - d)."""
    s0 = s1 = s2 = 0.0
    for k in range(2 * radius + 1):
        q = (k - radius - d) * twice
        gg = values[k] * values[k]
        s0 += gg
        s1 += gg * q
        s2 += gg * q * q
    return s0, s1, s2


@routine
def measure(data: Data, rows: Rows, work: Work, p: int, c: int) -> None:
    """The sums of a particle in a camera; all 0 where its centre is not in the image."""
    sums, r = work.sums[c], data.radius
    for k in range(N_SUMS):
        sums[k] = 0.0
    work.before[c] = rows.intensities[p, c]
    height, width = data.residual.shape[1] - 2 * MARGIN, data.residual.shape[2] - 2 * MARGIN
    u, v = rows.projections[p, c]
    if not is_drawn(u, v, width, height):
        work.pixels[c, 0] = NOT_SEEN
        return
    ax, ay = rows.sharpness[p, c]
    across, down = work.across[c], work.down[c]
    x, y = profile(u, ax, r, width, across), profile(v, ay, r, height, down)
    work.pixels[c, 0], work.pixels[c, 1] = x, y
    dx, dy = u - x - 0.5, v - y - 0.5
    if data.near_saturated[c, y, x]:
        _measure_each(data, work, c, dx, dy, 2.0 * ax, 2.0 * ay)
    else:
        shape = data.residual.shape
        _data_sums(data.flat, first_of(shape, c, x, y, r), shape[2], across, down, r, sums)
        sums[_DX] = (sums[_DX] - dx * sums[_D]) * 2.0 * ax
        sums[_DY] = (sums[_DY] - dy * sums[_D]) * 2.0 * ay
        a0, a1, a2 = _axis_sums(across, dx, 2.0 * ax, r)
        b0, b1, b2 = _axis_sums(down, dy, 2.0 * ay, r)
        sums[_G], sums[_GX], sums[_GY] = a0 * b0, a1 * b0, a0 * b1
        sums[_XX], sums[_XY], sums[_YY] = a2 * b0, a1 * b1, a0 * b2
    e = work.before[c]
    sums[_D] += e * sums[_G]
    sums[_DX] += e * sums[_GX]
    sums[_DY] += e * sums[_GY]


@routine
def _measure_each(data: Data, work: Work, c: int, dx: float, dy: float, twice_ax: float, twice_ay: float) -> None:
    """The sums, pixel by pixel, without saturated ones."""
    x, y = work.pixels[c]
    sums, r = work.sums[c], data.radius
    for i in range(2 * r + 1):
        for j in range(2 * r + 1):
            g = work.down[c, i] * work.across[c, j]
            if g == 0.0 or data.saturated[c, y - r + i, x - r + j]:
                continue
            qx, qy = (j - r - dx) * twice_ax, (i - r - dy) * twice_ay
            gd, gg = g * data.residual[c, y - r + i + MARGIN, x - r + j + MARGIN], g * g
            sums[_D] += gd
            sums[_G] += gg
            sums[_DX] += gd * qx
            sums[_DY] += gd * qy
            sums[_GX] += gg * qx
            sums[_GY] += gg * qy
            sums[_XX] += gg * qx * qx
            sums[_XY] += gg * qx * qy
            sums[_YY] += gg * qy * qy


@routine
def joint_intensity(data: Data, work: Work) -> float:
    """The intensity that fits all cameras best, their gains considered; not below 0."""
    above = below = 0.0
    for c in range(len(data.gains)):
        gain = data.gains[c]
        above += gain * work.sums[c, _D]
        below += gain * gain * work.sums[c, _G]
    return max(above / below, 0.0) if below > 0.0 else 0.0


@routine
def equations(data: Data, rows: Rows, work: Work, p: int, joint: float) -> None:
    """New intensities, and the normal equations of the step in position (upper triangle)."""
    a, b = work.matrix, work.vector
    for k in range(3):
        b[k] = 0.0
        for m in range(3):
            a[k, m] = 0.0
    for c in range(len(data.gains)):
        s = work.sums[c]
        tied = data.gains[c] * joint
        if s[_G] <= _TOO_LITTLE:
            rows.intensities[p, c] = 0.0 if s[_G] <= 0.0 else tied
            rows.own[p, c] = np.nan
            continue
        own = s[_D] / s[_G]
        e = max((own + data.tie * tied) / (1.0 + data.tie), 0.0)
        rows.own[p, c] = own
        rows.intensities[p, c] = e
        bx, by = e * s[_DX] - e * e * s[_GX], e * s[_DY] - e * e * s[_GY]
        xx, xy, yy = e * e * s[_XX], e * e * s[_XY], e * e * s[_YY]
        j = rows.derivatives[p, c]
        for k in range(3):
            b[k] += j[0, k] * bx + j[1, k] * by
            for m in range(k, 3):
                a[k, m] += xx * j[0, k] * j[0, m] + xy * (j[0, k] * j[1, m] + j[1, k] * j[0, m]) + yy * j[1, k] * j[1, m]


@routine
def solve(a: Floats, b: Floats, out: Floats) -> None:
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


@routine
def _in_image(derivatives: Image, step: Floats) -> tuple[float, float]:
    """What a step (mm) is in an image (px)."""
    du = derivatives[0, 0] * step[0] + derivatives[0, 1] * step[1] + derivatives[0, 2] * step[2]
    dv = derivatives[1, 0] * step[0] + derivatives[1, 1] * step[1] + derivatives[1, 2] * step[2]
    return du, dv


@routine
def move(data: Data, rows: Rows, p: int, step: Floats) -> float:
    """Move a particle, by at most the largest step in any image; returns how far [px]."""
    farthest = 0.0
    for c in range(len(data.gains)):
        du, dv = _in_image(rows.derivatives[p, c], step)
        farthest = max(farthest, du * du + dv * dv)
    farthest = math.sqrt(farthest)
    factor = 1.0 if farthest <= data.largest_step else data.largest_step / farthest
    for k in range(3):
        step[k] *= factor
        rows.positions[p, k] += step[k]
    for c in range(len(data.gains)):
        du, dv = _in_image(rows.derivatives[p, c], step)
        rows.projections[p, c, 0] += du
        rows.projections[p, c, 1] += dv
    return min(farthest, data.largest_step)


@routine
def exchange(data: Data, rows: Rows, work: Work, p: int, c: int) -> None:
    """Put the old spot of a particle back into the residual image and subtract the new one."""
    height, width = data.residual.shape[1] - 2 * MARGIN, data.residual.shape[2] - 2 * MARGIN
    flat, shape, r = data.flat, data.residual.shape, data.radius
    before, after = work.before[c], rows.intensities[p, c]
    u, v = rows.projections[p, c]
    x, y = work.pixels[c]
    old = before != 0.0 and x != NOT_SEEN
    if after != 0.0 and is_drawn(u, v, width, height):
        new_x = profile(u, rows.sharpness[p, c, 0], r, width, work.new_across)
        new_y = profile(v, rows.sharpness[p, c, 1], r, height, work.new_down)
        if old and new_x == x and new_y == y:
            _replace(flat, first_of(shape, c, x, y, r), shape[2], before, after, c, work, r)
            return
        add(flat, first_of(shape, c, new_x, new_y, r), shape[2], -after, work.new_across, work.new_down, r)
    if old:
        add(flat, first_of(shape, c, x, y, r), shape[2], before, work.across[c], work.down[c], r)


@routine
def _replace(flat: Image, start: int, stride: int, before: float, after: float, c: int, work: Work, radius: int) -> None:
    """Both at once, in the same window."""
    across, new_across = work.across[c], work.new_across
    for i in range(2 * radius + 1):
        at = np.uint64(start + i * stride)
        old, new = np.float32(before) * work.down[c, i], np.float32(after) * work.new_down[i]
        for block in range(blocks_of(radius)):
            for k in range(WIDE):
                j = np.uint64(block * WIDE + k)
                flat[at + j] += old * across[j] - new * new_across[j]
