"""Spots in images: Gaussians, sampled at the middles of pixels, added and subtracted.

A spot is peak * exp(-sharpness_x dx^2 - sharpness_y dy^2), sharpness = 1 / (2 sigma^2) [1/px^2]. It is drawn in a window of whole
pixels around the one in which its centre lies.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.jit import entry, inner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Image = NDArray[np.float32]

LARGEST_RADIUS = 15
PROFILE = 2 * LARGEST_RADIUS + 2


@inner
def profile(centre: float, sharpness: float, radius: int, out: Image) -> int:
    """The Gaussian along an axis at the pixels -radius..radius around the one that holds ``centre``, which is returned.

    Each value follows from the one before it: exp(-a (k - d)^2) changes by a factor which itself changes by exp(-2 a).
    """
    pixel = math.floor(centre)
    d = centre - pixel - 0.5
    side = math.exp(2.0 * sharpness * d)
    factor = math.exp(-sharpness)
    square = factor * factor
    value = math.exp(-sharpness * d * d)
    out[radius] = value
    right, up = value, factor * side
    left, down = value, factor / side
    for k in range(1, radius + 1):
        right *= up
        left *= down
        up *= square
        down *= square
        out[radius + k] = right
        out[radius - k] = left
    return pixel


@inner
def add(image: Image, x: int, y: int, peak: float, across: Image, down: Image, radius: int) -> None:
    """Add ``peak`` times the product of two profiles around a pixel; what is outside of the image is left out."""
    height, width = image.shape
    x0, x1 = max(x - radius, 0), min(x + radius + 1, width)
    factor = np.float32(peak)
    for i in range(max(y - radius, 0), min(y + radius + 1, height)):
        row = factor * down[i - y + radius]
        for j in range(x0, x1):
            image[i, j] += row * across[j - x + radius]


@entry("void(float32[:, :, ::1], float64[:, :, ::1], float32[:, ::1], float32[:, :, ::1], int64)")
def subtract(images: Image, projections: Floats, intensities: Image, sharpness: Image, radius: int) -> None:
    """Subtract the spots of all particles from the images, in place.

    Args:
        images: (n_cams, height, width).
        projections: (n, n_cams, 2) x, y [px].
        intensities: (n, n_cams) peaks; 0: the camera does not see the particle.
        sharpness: (n, n_cams, 2) in x and y [1/px^2].
        radius: of the window [px].
    """
    across, down = np.empty(PROFILE, np.float32), np.empty(PROFILE, np.float32)
    for p in range(len(projections)):
        for c in range(len(images)):
            if intensities[p, c] != 0.0:
                x = profile(projections[p, c, 0], sharpness[p, c, 0], radius, across)
                y = profile(projections[p, c, 1], sharpness[p, c, 1], radius, down)
                add(images[c], x, y, -intensities[p, c], across, down, radius)


@entry("float32[:, ::1](float32[:, :, ::1], float64[:, :, ::1], float32[:, ::1], float32[:, :, ::1])")
def misfit(residual: Image, projections: Floats, intensities: Image, sharpness: Image) -> Image:
    """What is left of each particle's 3 x 3 pixels: energy of the residual over that of its spot, (n, n_cams).

    -1 where a camera does not see it.
    """
    n_cams, height, width = residual.shape
    out = np.full((len(projections), n_cams), -1.0, np.float32)
    across, down = np.empty(PROFILE, np.float32), np.empty(PROFILE, np.float32)
    for p in range(len(projections)):
        for c in range(n_cams):
            if intensities[p, c] == 0.0:
                continue
            x = profile(projections[p, c, 0], sharpness[p, c, 0], 1, across)
            y = profile(projections[p, c, 1], sharpness[p, c, 1], 1, down)
            left = spot = 0.0
            for i in range(max(y - 1, 0), min(y + 2, height)):
                for j in range(max(x - 1, 0), min(x + 2, width)):
                    g = intensities[p, c] * down[i - y + 1] * across[j - x + 1]
                    left += residual[c, i, j] * residual[c, i, j]
                    spot += g * g
            if spot > 0.0:
                out[p, c] = left / spot
    return out
