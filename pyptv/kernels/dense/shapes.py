"""The shape of spots: how much wider or narrower than their model they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.dense.spots import MARGIN, PROFILE, is_drawn, profile
from pyptv.kernels.jit import entry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Image = NDArray[np.float32]


@entry("float64[:, :, ::1](float32[:, :, ::1], uint8[:, :, ::1], float64[:, :, ::1], float32[:, ::1], float32[:, :, ::1], int64)")
def widen(
    residual: Image,
    near_saturated: NDArray[np.uint8],
    projections: Floats,
    intensities: Image,
    sharpness: Image,
    radius: int,
) -> Floats:
    """The step of sigma in x and y that would fit each particle best, (n, n_cams, 2) [px].

    One Gauss-Newton step of an axis by itself, the spot's content kept: the derivative of the spot by sigma is
    g (q^2 / sigma^3 - 1 / (2 sigma)), q being the distance of a pixel. NaN where the camera does not see the particle, or
    sees it saturated. ``residual`` has margins.
    """
    n_cams = len(residual)
    width, height = residual.shape[2] - 2 * MARGIN, residual.shape[1] - 2 * MARGIN
    out = np.empty((len(projections), n_cams, 2))
    across, down = np.empty(PROFILE, np.float32), np.empty(PROFILE, np.float32)
    for p in range(len(projections)):
        for c in range(n_cams):
            out[p, c, 0] = out[p, c, 1] = np.nan
            u, v, e = projections[p, c, 0], projections[p, c, 1], intensities[p, c]
            if e == 0.0 or not is_drawn(u, v, width, height):
                continue
            ax, ay = 2.0 * sharpness[p, c, 0], 2.0 * sharpness[p, c, 1]
            x = profile(u, 0.5 * ax, radius, width, across)[0]
            y = profile(v, 0.5 * ay, radius, height, down)[0]
            if near_saturated[c, y, x]:
                continue
            nx = dx = ny = dy = 0.0
            for i in range(max(y - radius, 0), min(y + radius + 1, height)):
                for j in range(max(x - radius, 0), min(x + radius + 1, width)):
                    g = e * down[i - y + radius] * across[j - x + radius]
                    qx, qy = j + 0.5 - u, i + 0.5 - v
                    fx, fy = g * (qx * qx * ax - 0.5), g * (qy * qy * ay - 0.5)
                    r = residual[c, i + MARGIN, j + MARGIN]
                    nx += r * fx
                    dx += fx * fx
                    ny += r * fy
                    dy += fy * fy
            if dx > 0.0 and dy > 0.0:  # derivatives by ln sigma: the step of sigma is sigma times that
                out[p, c, 0], out[p, c, 1] = nx / dx / np.sqrt(ax), ny / dy / np.sqrt(ay)
    return out
