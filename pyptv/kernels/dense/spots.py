"""Spots in images: Gaussians, sampled at the middles of pixels, added and subtracted.

A spot is peak * exp(-sharpness_x dx^2 - sharpness_y dy^2), sharpness = 1 / (2 sigma^2) [1/px^2]. It is drawn in a window of whole
pixels around the one in which its centre lies.

Images here have a margin of MARGIN pixels on each side, so that no window needs to be cut: outside of the image the profile of a
spot is 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.dense.windows import WIDE, window_add, window_profile
from pyptv.kernels.jit import entry, routine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Image = NDArray[np.float32]

LARGEST_RADIUS = 15
PROFILE = 2 * (LARGEST_RADIUS + 1)
"""Room that a profile needs."""
MARGIN = 24
"""[px] More than the largest radius and a vector."""


@routine
def blocks_of(radius: int) -> int:
    """Vectors that a window needs in a row."""
    return (2 * radius + WIDE) // WIDE


@routine
def profile(centre: float, sharpness: float, radius: int, size: int, out: Image) -> tuple[int, float, float, float]:
    """The Gaussian along an axis, at the pixels -radius..radius around the one that holds ``centre``.

    Beyond the radius, and at pixels that are not between 0 and ``size``, it is 0.

    Returns:
        The pixel; the sums of g g, g g q and g g q q, q being the distance from ``centre`` [px].
    """
    pixel = math.floor(centre)
    middle = radius + (centre - pixel - 0.5)
    first, last = max(0, radius - pixel), min(2 * radius + 1, size - pixel + radius)
    s0, s1, s2 = window_profile(out, blocks_of(radius), middle, sharpness, first, last)
    return pixel, s0, s1, s2


@routine
def first_of(shape: tuple[int, int, int], c: int, x: int, y: int, radius: int) -> int:
    """Where the window around a pixel of image c starts in the flattened images (n_cams, height, width), margins included."""
    return (c * shape[1] + y - radius + MARGIN) * shape[2] + x - radius + MARGIN


@routine
def draw(images: Image, flat: Image, c: int, x: int, y: int, radius: int, peak: float, across: Image, down: Image) -> None:
    """Add ``peak`` times the product of two profiles to image c, around a pixel; ``flat`` are the images, flattened."""
    start, stride = first_of(images.shape, c, x, y, radius), images.shape[2]
    window_add(flat, start, stride, 2 * radius + 1, blocks_of(radius), peak, across, down)


@routine
def is_drawn(u: float, v: float, width: int, height: int) -> bool:
    """Whether a spot is drawn: its centre is in the image."""
    return 0.0 <= u < width and 0.0 <= v < height


@entry("void(float32[:, :, ::1], float64[:, :, ::1], float32[:, ::1], float32[:, :, ::1], int64)")
def subtract(images: Image, projections: Floats, intensities: Image, sharpness: Image, radius: int) -> None:
    """Subtract the spots of particles from the images, in place.

    Args:
        images: (n_cams, height, width), margins included.
        projections: (n, n_cams, 2) x, y [px].
        intensities: (n, n_cams) peaks; 0: the camera does not see the particle.
        sharpness: (n, n_cams, 2) in x and y [1/px^2].
        radius: of the window [px].
    """
    width, height = images.shape[2] - 2 * MARGIN, images.shape[1] - 2 * MARGIN
    across, down = np.empty(PROFILE, np.float32), np.empty(PROFILE, np.float32)
    flat = images.reshape(images.size)
    for p in range(len(projections)):
        for c in range(len(images)):
            u, v = projections[p, c, 0], projections[p, c, 1]
            if intensities[p, c] != 0.0 and is_drawn(u, v, width, height):
                x = profile(u, sharpness[p, c, 0], radius, width, across)[0]
                y = profile(v, sharpness[p, c, 1], radius, height, down)[0]
                draw(images, flat, c, x, y, radius, -intensities[p, c], across, down)


@entry("float32[:, ::1](float32[:, :, ::1], float64[:, :, ::1], float32[:, ::1], float32[:, :, ::1])")
def misfit(residual: Image, projections: Floats, intensities: Image, sharpness: Image) -> Image:
    """What is left of each particle's 3 x 3 pixels: energy of the residual over that of its spot, (n, n_cams).

    -1 where a camera does not see it. ``residual`` has margins.
    """
    n_cams = len(residual)
    width, height = residual.shape[2] - 2 * MARGIN, residual.shape[1] - 2 * MARGIN
    out = np.empty((len(projections), n_cams), np.float32)
    across, down = np.empty(PROFILE, np.float32), np.empty(PROFILE, np.float32)
    for p in range(len(projections)):
        for c in range(n_cams):
            out[p, c] = -1.0
            u, v = projections[p, c, 0], projections[p, c, 1]
            if intensities[p, c] == 0.0 or not is_drawn(u, v, width, height):
                continue
            x = profile(u, sharpness[p, c, 0], 1, width, across)[0]
            y = profile(v, sharpness[p, c, 1], 1, height, down)[0]
            left = spot = 0.0
            for i in range(3):
                for j in range(3):
                    g = intensities[p, c] * down[i] * across[j]
                    r = residual[c, y - 1 + i + MARGIN, x - 1 + j + MARGIN] if g != 0.0 else 0.0
                    left += r * r
                    spot += g * g
            if spot > 0.0:
                out[p, c] = left / spot
    return out
