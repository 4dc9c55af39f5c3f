"""One particle against the residual images: sums over its windows, the step that fits it, its old spots for new ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyptv.kernels.dense.spots import MARGIN, blocks_of, draw, first_of, is_drawn, profile
from pyptv.kernels.dense.windows import window_exchange, window_fetch, window_spread, window_sums
from pyptv.kernels.jit import piece

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Image = NDArray[np.float32]
    Flags = NDArray[np.uint8]

N_SUMS = 10
_D, _G, _DX, _DY, _GX, _GY, _XX, _XY, _YY, _RS = range(N_SUMS)
"""Sums over a window, g being the spot of peak 1, x and y its logarithmic derivatives by its place, d the data, r the residual,
s the derivative by the logarithm of the size where the sum of g g is kept, (q / sigma)^2 - 1, q being the distance of a pixel:
d g, g g, d g x, d g y, g g x, g g y, g g x x, g g x y, g g y y, r g s. That of g g s is 0, that of g g s s is that of g g."""
_LARGEST_GROWTH = 0.2
"""Of the logarithm of a size in a visit."""
_FARTHEST_SIZE = 3.0
"""Of the scatter of sizes: no size is farther from the usual one."""
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
    noise: Floats
    scatter: float
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
    scale: Floats


class Work(NamedTuple):
    """Working memory of a visit."""

    sums: Floats
    """(n_cams, N_SUMS)."""
    profiles: Image
    """(n_cams + 1, 2, PROFILE) across and down of the spots as they are drawn; last of a new one."""
    pixels: NDArray[np.int64]
    """(n_cams, 2) of the window's middle; NOT_SEEN."""
    before: Image
    """(n_cams,) intensities that are drawn."""


@piece
def measure(data: Data, rows: Rows, work: Work, p: int, c: int) -> None:
    """The sums of a particle in a camera; all 0 where its centre is not in the image."""
    sums, r = work.sums[c], data.radius
    for k in range(N_SUMS):
        sums[k] = 0.0
    work.before[c] = rows.intensities[p, c]
    shape = data.residual.shape
    height, width = shape[1] - 2 * MARGIN, shape[2] - 2 * MARGIN
    u, v = rows.projections[p, c, 0], rows.projections[p, c, 1]
    if not is_drawn(u, v, width, height):
        work.pixels[c, 0] = NOT_SEEN
        return
    twice_ax, twice_ay = 2.0 * rows.sharpness[p, c, 0], 2.0 * rows.sharpness[p, c, 1]
    across, down = work.profiles[c, 0], work.profiles[c, 1]
    x, a0, a1, a2 = profile(u, rows.sharpness[p, c, 0], r, width, across)
    y, b0, b1, b2 = profile(v, rows.sharpness[p, c, 1], r, height, down)
    work.pixels[c, 0], work.pixels[c, 1] = x, y
    dx, dy = u - x - 0.5, v - y - 0.5
    if data.near_saturated.size > 0 and data.near_saturated[c, y, x]:
        _measure_each(data, work, c, dx, dy, twice_ax, twice_ay)
    else:
        first = first_of(shape, c, x, y, r)
        if data.scatter <= 0.0:
            s, sx, sy = window_sums(data.flat, first, shape[2], 2 * r + 1, blocks_of(r), across, down)
        else:
            s, sx, sy, sxx, syy = window_spread(data.flat, first, shape[2], 2 * r + 1, blocks_of(r), across, down)
            spread = (sxx - (r + dx) * (2 * sx - (r + dx) * s)) * twice_ax + (syy - (r + dy) * (2 * sy - (r + dy) * s)) * twice_ay
            sums[_RS] = spread - s
        sums[_D], sums[_DX], sums[_DY] = s, (sx - (r + dx) * s) * twice_ax, (sy - (r + dy) * s) * twice_ay
        sums[_G], sums[_GX], sums[_GY] = a0 * b0, a1 * b0 * twice_ax, a0 * b1 * twice_ay
        sums[_XX], sums[_YY] = a2 * b0 * twice_ax * twice_ax, a0 * b2 * twice_ay * twice_ay
        sums[_XY] = a1 * b1 * twice_ax * twice_ay
    e = work.before[c]
    sums[_D] += e * sums[_G]
    sums[_DX] += e * sums[_GX]
    sums[_DY] += e * sums[_GY]


@piece
def _measure_each(data: Data, work: Work, c: int, dx: float, dy: float, twice_ax: float, twice_ay: float) -> None:
    """The sums, pixel by pixel, without saturated ones."""
    x, y = work.pixels[c, 0], work.pixels[c, 1]
    sums, r = work.sums[c], data.radius
    for i in range(2 * r + 1):
        for j in range(2 * r + 1):
            g = work.profiles[c, 1, i] * work.profiles[c, 0, j]
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
            sums[_RS] += gd * (qx * qx / twice_ax + qy * qy / twice_ay - 1.0)


@piece
def joint_intensity(data: Data, work: Work) -> float:
    """The intensity that fits all cameras best, their gains considered; not below 0."""
    above = below = 0.0
    for c in range(len(data.gains)):
        gain = data.gains[c]
        above += gain * work.sums[c, _D]
        below += gain * gain * work.sums[c, _G]
    return max(above / below, 0.0) if below > 0.0 else 0.0


@piece
def fit(data: Data, rows: Rows, work: Work, p: int, joint: float) -> tuple[float, float, float]:
    """New intensities of a particle; returns the step in position that fits best [mm].

    The normal equations a step = b of least squares over all cameras, slightly damped.
    """
    a00 = a01 = a02 = a11 = a12 = a22 = b0 = b1 = b2 = 0.0
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
        x0, x1, x2, y0, y1, y2 = j[0, 0], j[0, 1], j[0, 2], j[1, 0], j[1, 1], j[1, 2]
        b0, b1, b2 = b0 + x0 * bx + y0 * by, b1 + x1 * bx + y1 * by, b2 + x2 * bx + y2 * by
        f0, f1, f2 = xx * x0 + xy * y0, xx * x1 + xy * y1, xx * x2 + xy * y2
        g0, g1, g2 = xy * x0 + yy * y0, xy * x1 + yy * y1, xy * x2 + yy * y2
        a00, a01, a02 = a00 + f0 * x0 + g0 * y0, a01 + f0 * x1 + g0 * y1, a02 + f0 * x2 + g0 * y2
        a11, a12, a22 = a11 + f1 * x1 + g1 * y1, a12 + f1 * x2 + g1 * y2, a22 + f2 * x2 + g2 * y2
    damping = _SMALL * (a00 + a11 + a22) + 1e-12
    a00, a11, a22 = a00 + damping, a11 + damping, a22 + damping
    c00, c01, c02 = a11 * a22 - a12 * a12, a02 * a12 - a01 * a22, a01 * a12 - a02 * a11
    c11, c12, c22 = a00 * a22 - a02 * a02, a01 * a02 - a00 * a12, a00 * a11 - a01 * a01
    inverse = 1.0 / (a00 * c00 + a01 * c01 + a02 * c02)
    return (
        (c00 * b0 + c01 * b1 + c02 * b2) * inverse,
        (c01 * b0 + c11 * b1 + c12 * b2) * inverse,
        (c02 * b0 + c12 * b1 + c22 * b2) * inverse,
    )


@piece
def grow(data: Data, rows: Rows, work: Work, p: int) -> float:
    """Fit a particle's size, the same factor in all cameras, tied to the usual one by the scatter of sizes.

    One Gauss-Newton step of its logarithm. A camera knows that to noise / (intensity sqrt(sum g g)). Returns the step.
    """
    weight = pull = 0.0
    for c in range(len(data.gains)):
        if work.sums[c, _G] > _TOO_LITTLE:
            e, variance = work.before[c], data.noise[c] * data.noise[c]
            weight += e * e * work.sums[c, _G] / variance
            pull += e * work.sums[c, _RS] / variance
    if weight <= 0.0:
        return 0.0
    size, most = math.log(rows.scale[p]), _FARTHEST_SIZE * data.scatter
    step = min(max(pull / weight, -_LARGEST_GROWTH), _LARGEST_GROWTH)
    wanted = weight * (size + step) / (weight + 1.0 / (data.scatter * data.scatter))
    step = min(max(wanted, -most), most) - size
    factor = math.exp(step)
    rows.scale[p] *= factor
    for c in range(len(data.gains)):
        rows.intensities[p, c] /= factor
        rows.sharpness[p, c, 0] /= factor * factor
        rows.sharpness[p, c, 1] /= factor * factor
    return step


@piece
def move(data: Data, rows: Rows, p: int, x: float, y: float, z: float) -> float:
    """Move a particle by a step [mm], by at most the largest step in any image; returns how far [px]."""
    farthest = 0.0
    for c in range(len(data.gains)):
        j = rows.derivatives[p, c]
        du, dv = j[0, 0] * x + j[0, 1] * y + j[0, 2] * z, j[1, 0] * x + j[1, 1] * y + j[1, 2] * z
        farthest = max(farthest, du * du + dv * dv)
    farthest = math.sqrt(farthest)
    factor = 1.0 if farthest <= data.largest_step else data.largest_step / farthest
    x, y, z = x * factor, y * factor, z * factor
    rows.positions[p, 0] += x
    rows.positions[p, 1] += y
    rows.positions[p, 2] += z
    for c in range(len(data.gains)):
        j = rows.derivatives[p, c]
        rows.projections[p, c, 0] += j[0, 0] * x + j[0, 1] * y + j[0, 2] * z
        rows.projections[p, c, 1] += j[1, 0] * x + j[1, 1] * y + j[1, 2] * z
    return min(farthest, data.largest_step)


@piece
def exchange(data: Data, rows: Rows, work: Work, p: int, c: int) -> None:
    """Put the old spot of a particle back into the residual image and subtract the new one."""
    images, r = data.residual, data.radius
    height, width = images.shape[1] - 2 * MARGIN, images.shape[2] - 2 * MARGIN
    before, after = work.before[c], rows.intensities[p, c]
    is_there = before != 0.0 and work.pixels[c, 0] != NOT_SEEN
    old, new = work.profiles[c], work.profiles[-1]
    x, y = work.pixels[c, 0], work.pixels[c, 1]
    u, v = rows.projections[p, c, 0], rows.projections[p, c, 1]
    if after != 0.0 and is_drawn(u, v, width, height):
        new_x = profile(u, rows.sharpness[p, c, 0], r, width, new[0])[0]
        new_y = profile(v, rows.sharpness[p, c, 1], r, height, new[1])[0]
        if is_there and new_x == x and new_y == y:
            first = first_of(images.shape, c, x, y, r)
            window_exchange(data.flat, first, images.shape[2], 2 * r + 1, blocks_of(r), before, old, after, new)
            return
        draw(images, data.flat, c, new_x, new_y, r, -after, new[0], new[1])
    if is_there:
        draw(images, data.flat, c, x, y, r, before, old[0], old[1])


@piece
def fetch(data: Data, rows: Rows, p: int) -> None:
    """Have the windows of a particle brought into the processor's cache: waiting for them takes as long as the sums."""
    shape, r = data.residual.shape, data.radius
    for c in range(len(data.gains)):
        u, v = rows.projections[p, c, 0], rows.projections[p, c, 1]
        if is_drawn(u, v, shape[2] - 2 * MARGIN, shape[1] - 2 * MARGIN):
            window_fetch(data.flat, first_of(shape, c, int(u), int(v), r), shape[2], 2 * r + 1)
