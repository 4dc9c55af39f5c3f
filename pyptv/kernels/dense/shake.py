"""Shaking: position and intensities of each particle in turn are fitted to the residual images (Wieneke 2013).

The particle's own spots are put back, one damped Gauss-Newton step of least squares gives position (3) and intensities (one per
camera), and the new spots are subtracted: Gauss-Seidel. With separable spots all sums over a window are made of sums along
rows; only windows with saturated pixels, which are left out, need each pixel by itself.

A camera's intensity is tied to the joint one of all cameras: a spot on top of another one must not take its light. How
strongly decides how dense a seeding the method bears.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.dense.fitting import (
    N_SUMS,
    Data,
    Rows,
    Work,
    exchange,
    fetch,
    fit,
    grow,
    joint_intensity,
    measure,
    move,
)
from pyptv.kernels.dense.spots import PROFILE
from pyptv.kernels.jit import entry, piece, routine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Image = NDArray[np.float32]
    Flags = NDArray[np.uint8]

CELL = 4
"""[px] Cells of the map of what has changed."""
_REACH = 0.8
"""Share of the radius of its window up to which a spot reaches others."""


@piece
def _is_hot(projections: Floats, hot: Flags, p: int) -> bool:
    """Whether anything has changed near a particle, in any camera."""
    for c in range(len(hot)):
        x, y = int(projections[p, c, 0]) // CELL + 1, int(projections[p, c, 1]) // CELL + 1
        if 0 <= x < hot.shape[2] and 0 <= y < hot.shape[1] and hot[c, y, x]:
            return True
    return False


@routine
def _heat(projections: Floats, hot: Flags, p: int, radius: int) -> None:
    """Note that a particle has changed: in the cells that its spots reach. The map has a margin of one cell."""
    reach, height, width = _REACH * radius, (hot.shape[1] - 2) * CELL, (hot.shape[2] - 2) * CELL
    for c in range(len(hot)):
        u, v = projections[p, c, 0], projections[p, c, 1]
        if -reach < u < width and -reach < v < height:
            for i in range(int(v - reach) // CELL + 1, min(int(v + reach) // CELL + 2, hot.shape[1])):
                for j in range(int(u - reach) // CELL + 1, min(int(u + reach) // CELL + 2, hot.shape[2])):
                    hot[c, i, j] = 1


@entry("void(float64[:, :, ::1], uint8[::1], uint8[:, :, ::1], int64)")
def heat(projections: Floats, which: Flags, hot: Flags, radius: int) -> None:
    """Note in the map (n_cams, rows + 2, columns + 2) that the particles with ``which`` other than 0 have changed.

    ``radius``: half the window of a spot [px].
    """
    for p in range(len(which)):
        if which[p]:
            _heat(projections, hot, p, radius)


@piece
def _visit(data: Data, rows: Rows, work: Work, p: int, moves: bool) -> float:  # noqa: FBT001 -- compiled
    """Fit one particle; returns by how much it has changed: px, or the share of its intensity or size."""
    for c in range(len(data.gains)):
        measure(data, rows, work, p, c)
    joint = joint_intensity(data, work)
    x, y, z = fit(data, rows, work, p, joint)
    changed = move(data, rows, p, x, y, z) if moves and joint > 0.0 else 0.0
    if moves and data.scatter > 0.0:
        changed = max(changed, abs(grow(data, rows, work, p)))
    for c in range(len(data.gains)):
        exchange(data, rows, work, p, c)
        before, after = work.before[c], rows.intensities[p, c]
        if abs(after - before) > changed * after:
            changed = abs(after - before) / after if after > 0.0 else 1.0
    return changed


@routine
def _next_hot(rows: Rows, hot: Flags, p: int) -> int:
    """The first particle from ``p`` on near which anything has changed."""
    while p < len(rows.positions) and not _is_hot(rows.projections, hot, p):
        p += 1
    return p


@piece
def _round(data: Data, rows: Rows, work: Work, maps: tuple[Flags, Flags], first: int, still: float, moves: bool) -> int:  # noqa: FBT001
    """Visit the particles near which something has changed; returns how many these are."""
    hot, now = maps
    visits, p = 0, _next_hot(rows, now, first)
    while p < len(rows.positions):
        after = _next_hot(rows, now, p + 1)
        if after < len(rows.positions):
            fetch(data, rows, after)
        visits += 1
        if _visit(data, rows, work, p, moves) > still:
            _heat(rows.projections, hot, p, data.radius)
        p = after
    return visits


@entry(
    "int64(float64[:, ::1], float32[:, ::1], float32[:, ::1], float64[:, :, ::1], float32[:, :, :, ::1], float32[:, :, ::1],"
    "float64[::1], float32[:, :, ::1], uint8[:, :, ::1], uint8[:, :, ::1], float64[::1], float64[::1], uint8[:, :, ::1],"
    "int64, int64, int64, float64, float64, float64, float64, boolean)"
)
def shake(
    positions: Floats,
    intensities: Image,
    own: Image,
    projections: Floats,
    derivatives: Image,
    sharpness: Image,
    scale: Floats,
    residual: Image,
    saturated: Flags,
    near_saturated: Flags,
    gains: Floats,
    noise: Floats,
    hot: Flags,
    first: int,
    rounds: int,
    radius: int,
    tie: float,
    scatter: float,
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
        scale: (n,) sizes of the spots relative to the usual one.
        residual: (n_cams, height, width) images without the spots of all particles, margins included.
        saturated: (n_cams, height, width) without margins, 1 where a pixel is left out.
        near_saturated: likewise, 1 where there is such a pixel within ``radius`` in x and y.
        gains: (n_cams,) relative brightness of the cameras.
        noise: (n_cams,) of the images [grey values].
        hot: (n_cams, rows + 2, columns + 2) cells in which something has changed; the others' particles are not visited.
        first: particles from there on are shaken.
        rounds: how often.
        radius: half the window in which spots are drawn and fitted [px].
        tie: weight of the joint intensity over a camera's own.
        scatter: standard deviation of the logarithm of sizes; 0: they are alike, and not fitted.
        largest_step: in any image [px].
        still: who moves less [px] (or changes less, relative to intensity and size) does not count as changed.
        moves: fit positions and sizes, too.
    """
    n_cams = len(residual)
    flat = residual.reshape(residual.size)
    data = Data(residual, flat, saturated, near_saturated, gains, noise, scatter, radius, tie, largest_step)
    rows = Rows(positions, intensities, own, projections, derivatives, sharpness, scale)
    work = Work(
        np.empty((n_cams, N_SUMS)),
        np.empty((n_cams + 1, 2, PROFILE), np.float32),
        np.empty((n_cams, 2), np.int64),
        np.empty(n_cams, np.float32),
    )
    visits = 0
    for _ in range(rounds):
        now = hot.copy()
        hot[:] = 0
        visits += _round(data, rows, work, (hot, now), first, still, moves)
    return visits
