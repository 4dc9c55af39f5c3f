"""A frame while it is worked on: images, residual, particles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.engines.dense.background import background, noise
from pyptv.core.engines.dense.cameras import Cameras
from pyptv.core.engines.dense.particles import Spots
from pyptv.core.engines.dense.settings import Settings
from pyptv.core.images.full_depth import Views
from pyptv.kernels.dense import pairs, shake, spots
from pyptv.kernels.dense.spots import LARGEST_RADIUS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Image = NDArray[np.float32]
    Flags = NDArray[np.uint8]

_FIT_WINDOW, _WINDOW = 2.2, 3.5
"""Half the windows of a fit and of a drawn spot, in sigmas."""
_ALONE = 50
"""A median of fewer particles is not believed where there is an earlier one."""


class Model:
    """Images of a frame, the particles in them, and the residual: images - background - spots of the particles.

    All arrays of particles have a row for each; they are described where :mod:`pyptv.kernels.dense.shake` takes them.
    """

    def __init__(self, views: Views, cameras: Cameras, spots_: Spots, settings: Settings) -> None:
        self.cameras, self.settings, self.spots = cameras, settings, spots_
        n_cams, height, width = views.values.shape
        self.background = background(views.values, settings.tile)
        self.data = views.values - self.background
        self.residual = self.data.copy()
        self.saturated = views.saturated
        self.noise = noise(self.residual)
        self.level = spots_.level
        self.hot = np.ones((n_cams, height // shake.CELL + 3, width // shake.CELL + 3), np.uint8)
        self.positions = np.empty((0, 3))
        self.intensities = self.own = np.empty((0, n_cams), np.float32)
        self.projections = np.empty((0, n_cams, 2))
        self.derivatives = np.empty((0, n_cams, 2, 3), np.float32)
        self.sharpness = np.empty((0, n_cams, 2), np.float32)
        self.use(spots_)

    def use(self, spots_: Spots) -> None:
        """Draw with other spots from now on. The residual is made anew by :meth:`redraw`."""
        self.spots = spots_
        self.sharpness = spots_.sharpness_at(self.projections, self.cameras.size)
        sigma = spots_.largest
        self.fit_radius = min(max(2, math.ceil(_FIT_WINDOW * sigma)), LARGEST_RADIUS)
        self.radius = min(max(3, math.ceil(_WINDOW * sigma)), LARGEST_RADIUS)
        self.near_saturated = dilated(self.saturated, self.fit_radius + 1)

    def add(self, positions: Floats) -> None:
        """New particles at positions (n, 3) [mm], of no intensity yet, at the end."""
        n, n_cams = len(positions), self.cameras.n_cams
        projections = self.cameras.project(positions)
        self.positions = np.concatenate([self.positions, positions])
        self.intensities = np.concatenate([self.intensities, np.zeros((n, n_cams), np.float32)])
        self.own = np.concatenate([self.own, np.full((n, n_cams), np.nan, np.float32)])
        self.projections = np.concatenate([self.projections, projections])
        self.derivatives = np.concatenate([self.derivatives, self.cameras.derivatives(positions)])
        self.sharpness = np.concatenate([self.sharpness, self.spots.sharpness_at(projections, self.cameras.size)])

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Drop all other particles. What they leave in the residual is put right by :meth:`redraw`."""
        shake.heat(self.projections, (~kept).astype(np.uint8), self.hot)
        for name in ("positions", "intensities", "own", "projections", "derivatives", "sharpness"):
            setattr(self, name, getattr(self, name)[kept])

    def place(self) -> None:
        """Projections and derivatives anew: shaking moves the first along the second."""
        self.projections = self.cameras.project(self.positions)
        self.derivatives = self.cameras.derivatives(self.positions)
        self.sharpness = self.spots.sharpness_at(self.projections, self.cameras.size)

    def redraw(self) -> None:
        """The residual anew."""
        self.residual[:] = self.data
        spots.subtract(self.residual, self.projections, self.intensities, self.sharpness, self.radius)

    def renew_background(self) -> None:
        """Take what is smooth in the residual for background, and measure the noise anew."""
        more = background(self.residual, self.settings.tile)
        self.background += more
        self.data -= more
        self.residual -= more
        self.noise = noise(self.residual)
        self.hot[:] = 1

    def shake(self, rounds: int) -> None:
        """Shake the particles near which something has changed."""
        self._shake(self.hot, 0, rounds, moves=True)

    def brighten(self, first: int, rounds: int = 2) -> None:
        """Fit the intensities of the particles from row ``first`` on, which stay where they are."""
        self._shake(np.ones_like(self.hot), first, rounds, moves=False)
        new = np.zeros(len(self.positions), np.uint8)
        new[first:] = 1
        shake.heat(self.projections, new, self.hot)

    def _shake(self, hot: Flags, first: int, rounds: int, *, moves: bool) -> None:
        settings = self.settings
        for _ in range(rounds if not moves else 1):
            shake.shake(
                self.positions,
                self.intensities,
                self.own,
                self.projections,
                self.derivatives,
                self.sharpness,
                self.residual,
                self.saturated,
                self.near_saturated,
                self.spots.gains,
                hot,
                first,
                rounds if moves else 1,
                self.fit_radius,
                self.radius,
                settings.tie,
                settings.largest_step,
                settings.still,
                moves,
            )
            if not moves:
                hot[:] = 1

    def joint(self) -> tuple[Floats, Floats, NDArray[np.int64]]:
        """Of each particle (n,): mean intensity, that of the weakest camera, both by gains, and how many cameras see it."""
        seen = ~np.isnan(self.own)
        relative = np.where(seen, self.own / self.spots.gains, 0.0)
        n_seen = seen.sum(axis=1)
        mean = np.maximum(relative, 0.0).sum(axis=1) / np.maximum(n_seen, 1)
        return mean, np.where(seen, relative, np.inf).min(axis=1, initial=np.inf), n_seen

    def prune(self, weakest: float) -> int:
        """Drop particles that are too weak, doubles, or outside of the volume; returns how many."""
        mean, least, n_seen = self.joint()
        kept = n_seen >= min(self.cameras.n_cams, 3)
        if np.isnan(self.spots.level) and kept.any() and (np.isnan(self.level) or len(mean) > _ALONE):
            self.level = float(np.median(mean[kept]))
        if not np.isnan(self.level):
            kept &= (mean > weakest * self.level) & (least > self.settings.weakest_camera * self.level)
        kept &= self.cameras.inside(self.positions)
        flags = kept.astype(np.uint8)
        width, height = self.cameras.size
        strength = self.intensities.sum(axis=1, dtype=np.float64)
        pairs.drop_doubles(self.projections, strength, flags, self.settings.merge, width, height)
        self.keep(flags.astype(np.bool_))
        return int(len(flags) - flags.sum())


def dilated(flags: Flags, radius: int) -> Flags:
    """1 wherever there is a 1 within ``radius`` px in x and y; flags (n, height, width)."""
    if not flags.any():
        return flags
    out = flags.copy()
    for axis in (1, 2):
        once = out.copy()
        length = out.shape[axis]
        for distance in range(1, min(radius, length - 1) + 1):
            near, far = [slice(None)] * 3, [slice(None)] * 3
            near[axis], far[axis] = slice(None, -distance), slice(distance, None)
            out[tuple(near)] |= once[tuple(far)]
            out[tuple(far)] |= once[tuple(near)]
    return out
