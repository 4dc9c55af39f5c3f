"""A frame while it is worked on: images, residual, particles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.core.engines.dense.background import ground, noise
from pyptv.core.engines.dense.cameras import Cameras
from pyptv.core.engines.dense.particles import Spots, Start
from pyptv.core.engines.dense.settings import Settings
from pyptv.core.images.full_depth import Views
from pyptv.kernels.dense import pairs, shake, spots
from pyptv.kernels.dense.pixels import subtract_ground
from pyptv.kernels.dense.spots import LARGEST_RADIUS, MARGIN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Image = NDArray[np.float32]
    Flags = NDArray[np.uint8]

_WINDOW = 3.3
"""Half the window of a spot, in sigmas. Up to a radius of 3 px a row is one vector, and takes half of the time."""
_ALONE = 50
"""A median of fewer particles is not believed where there is an earlier one."""
_SAME_PLACE = 0.01
"""[px] What is placed anew by less does not count as moved."""
_GROUND_STILL = 0.1
"""A background that changes by less than that share of the noise moves no particle."""
_GROUND_SAME, _MOST = 0.003, 0.95
"""A background stays that changes by less than the first share of the median intensity, in the second share of the tiles."""
_FEW_MORE = 0.01
"""Share of the particles that says nothing new of a background."""
_BLOCK = 64.0
"""[px] Particles are kept in the order of blocks of the first image: near ones use the same parts of all images."""
_HOPELESS = 0.9
"""A new particle with less than that share of the significance that it needs does not reach it by being moved."""
_FEW = 0.05
"""A smaller share of new particles may stand at the end."""
_ROWS = ("positions", "intensities", "own", "projections", "derivatives", "scale", "sharpness", "origin", "sure")


class Model:
    """Images of a frame, the particles in them, and the residual: images - background - spots of the particles.

    ``data`` and ``residual`` have margins. All arrays of particles have a row for each; they are described where
    :mod:`pyptv.kernels.dense.shake` takes them.
    """

    def __init__(self, views: Views, cameras: Cameras, spots_: Spots, settings: Settings, start: Start | None = None) -> None:
        """``start``: of an earlier reconstruction, of which background and noise are taken."""
        self.cameras, self.settings, self.spots = cameras, settings, spots_
        n_cams, height, width = views.values.shape
        known = start.ground if start is not None else None
        self.ground = ground(views.values, settings.tile) if known is None else known.copy()
        self.data = with_margins(views.values)
        subtract_ground(self.data, self.ground, settings.tile, 1.0, MARGIN)
        self.residual = self.data.copy()
        self.saturated = views.saturated
        measured = start.noise if start is not None else None
        self.noise = noise(without_margins(self.residual)) if measured is None else measured
        self.level = spots_.level
        self.hot = np.ones((n_cams, height // shake.CELL + 3, width // shake.CELL + 3), np.uint8)
        self.positions = np.empty((0, 3))
        self.intensities = self.own = np.empty((0, n_cams), np.float32)
        self.projections = np.empty((0, n_cams, 2))
        self.derivatives = np.empty((0, n_cams, 2, 3), np.float32)
        self.scale = np.empty(0)
        self.sharpness = np.empty((0, n_cams, 2), np.float32)
        self.origin = np.empty(0, np.int64)
        self.sure = np.empty(0, np.uint8)
        """1 for those that may be nearer to each other than a new one to an old one: fitted before, or halves of one."""
        self._even = 0
        self.use(spots_)

    def use(self, spots_: Spots) -> None:
        """Draw with other spots from now on. The residual is made anew by :meth:`redraw`."""
        self.spots = spots_
        self.sharpness = spots_.sharpness_at(self.projections, self.cameras.size, self.scale)
        self.radius = min(max(3, math.ceil(_WINDOW * spots_.largest)), LARGEST_RADIUS)
        self.near_saturated = dilated(self.saturated, self.radius)

    def add(self, positions: Floats) -> int:
        """New particles at positions (n, 3) [mm]: their intensities are fitted, they are not moved.

        Those that have no hope of being more than noise go at once, before anything is shaken because of them. Returns how many
        stay.
        """
        n, n_cams, first = len(positions), self.cameras.n_cams, len(self.positions)
        self._append(positions, np.zeros((n, n_cams), np.float32), np.ones(n), np.full(n, -1))
        self._fit_new(first)
        self._drop((np.arange(first + n) >= first) & (self.significance() < _HOPELESS * self.settings.unsure))
        self._heat_new(first)
        if n > _FEW * first:
            self._take(self._order())
        return len(self.positions) - first

    def begin(self, start: Start) -> None:
        """Take over what is known; what was fitted before is fitted again only where something has changed."""
        n = len(start)
        fitted = np.any(start.intensities > 0, axis=1)
        self._append(start.positions, start.intensities, start.scale, np.arange(n), fitted)
        if fitted.any():
            self.hot[:] = 0
            everywhere = np.ones(len(start.left_out), np.uint8)
            shake.heat(self.cameras.project(start.left_out), everywhere, self.hot, self.radius)
            spots.subtract(self.residual, self.projections, self.intensities, self.sharpness, self.radius)
        self._fit_new(int(fitted.sum()))
        self._heat_new(int(fitted.sum()))
        self._take(self._order())

    def _append(
        self, positions: Floats, intensities: Image, scale: Floats, origin: Ints, sure: NDArray[np.bool_] | None = None
    ) -> None:
        projections = self.cameras.project(positions)
        new = (
            np.array(positions),
            intensities,
            np.where(intensities > 0, intensities, np.nan).astype(np.float32),
            projections,
            self.cameras.derivatives(positions, projections),
            scale,
            self.spots.sharpness_at(projections, self.cameras.size, scale),
            origin,
            np.zeros(len(positions), np.uint8) if sure is None else sure.astype(np.uint8),
        )
        self._extend(dict(zip(_ROWS, new, strict=True)))

    def _extend(self, rows: Mapping[str, NDArray[Any]]) -> None:
        for name, values in rows.items():
            setattr(self, name, np.concatenate([getattr(self, name), values]))

    def take_out(self, which: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        """Take particles (n,) out, their spots put back into the residual; returns their rows, for :meth:`put_back`."""
        rows = {name: getattr(self, name)[which] for name in _ROWS}
        shake.heat(self.projections, which.astype(np.uint8), self.hot, self.radius)
        self._drop(which)
        return rows

    def put_back(self, rows: Mapping[str, NDArray[Any]]) -> None:
        """Put particles back, after all others."""
        first = len(self.positions)
        self._extend(rows)
        spots.subtract(self.residual, rows["projections"], rows["intensities"], rows["sharpness"], self.radius)
        self._heat_new(first)

    def put_halves(self, rows: Mapping[str, NDArray[Any]], away: Floats) -> None:
        """Put back in place of each particle two of the usual size and half its intensity, at ``away`` (n, 3) [mm] either side.

        First all of one side, then those of the other, after all others.
        """
        first, both = len(self.positions), np.concatenate([away, -away])
        n, twice = len(both), {name: np.concatenate([values, values]) for name, values in rows.items()}
        halves, sure = twice["intensities"] * np.float32(0.5), np.ones(n, bool)
        self._append(twice["positions"] + both, halves, np.ones(n), twice["origin"], sure)
        spots.subtract(self.residual, self.projections[first:], halves, self.sharpness[first:], self.radius)
        self._heat_new(first)

    def _fit_new(self, first: int) -> None:
        """Fit the intensities of the particles from a row on."""
        self._shake(np.ones_like(self.hot), first, 1, moves=False)

    def _heat_new(self, first: int) -> None:
        shake.heat(self.projections, (np.arange(len(self.positions)) >= first).astype(np.uint8), self.hot, self.radius)

    def _order(self) -> Ints:
        column, row = np.floor(self.projections[:, 0] / _BLOCK).T
        return np.lexsort((self.positions[:, 2], column, row))

    def _take(self, which: Ints | NDArray[np.bool_]) -> None:
        for name in _ROWS:
            setattr(self, name, getattr(self, name)[which])

    def place(self) -> None:
        """Projections anew: shaking moves them along the derivatives, which do not change over some pixels."""
        places = self.cameras.project(self.positions)
        moved = np.flatnonzero((np.abs(places - self.projections) > _SAME_PLACE).any(axis=(1, 2)))
        spots.subtract(self.residual, self.projections[moved], -self.intensities[moved], self.sharpness[moved], self.radius)
        self.projections[moved] = places[moved]
        self.sharpness[moved] = self.spots.sharpness_at(places[moved], self.cameras.size, self.scale[moved])
        spots.subtract(self.residual, places[moved], self.intensities[moved], self.sharpness[moved], self.radius)
        shake.heat(places[moved], np.ones(len(moved), np.uint8), self.hot, self.radius)

    def redraw(self) -> None:
        """The residual anew."""
        self.residual[:] = self.data
        spots.subtract(self.residual, self.projections, self.intensities, self.sharpness, self.radius)

    def renew_background(self) -> None:
        """Take what is smooth in the residual for background, and measure the noise anew.

        Where nothing was left of it last time, it is not looked for again until there are more particles, or fewer.
        """
        n = len(self.positions)
        if self._even and abs(n - self._even) <= _FEW_MORE * n:
            return
        left, tile = without_margins(self.residual), self.settings.tile
        more = ground(left, tile)
        if np.quantile(np.abs(more), _MOST) <= _GROUND_SAME * self.level:
            self._even = n
            return
        self.ground += more
        for images in (self.data, self.residual):
            subtract_ground(images, more, tile, 1.0, MARGIN)
        self.noise = noise(left)
        change = np.zeros(self.hot.shape, np.float32)
        subtract_ground(change, more, tile, shake.CELL, 1)
        self.hot |= np.abs(change) > _GROUND_STILL * self.noise[:, None, None]

    def shake(self, rounds: int) -> int:
        """Shake the particles near which something has changed; returns the number of visits."""
        return self._shake(self.hot, 0, rounds, moves=True)

    def _shake(self, hot: Flags, first: int, rounds: int, *, moves: bool) -> int:
        settings = self.settings
        return shake.shake(
            self.positions,
            self.intensities,
            self.own,
            self.projections,
            self.derivatives,
            self.sharpness,
            self.scale,
            self.residual,
            self.saturated,
            self.near_saturated,
            self.spots.gains,
            self.noise,
            hot,
            first,
            rounds,
            self.radius,
            settings.tie,
            self.spots.scatter,
            settings.largest_step,
            settings.still,
            moves,
        )

    def joint(self) -> tuple[Floats, Floats, Ints]:
        """Of each particle (n,): mean intensity, that of the weakest camera, both by gains, and how many cameras see it."""
        seen = ~np.isnan(self.own)
        relative = np.where(seen, self.own / self.spots.gains, 0.0)
        n_seen = seen.sum(axis=1)
        mean = np.maximum(relative, 0.0).sum(axis=1) / np.maximum(n_seen, 1)
        return mean, np.where(seen, relative, np.inf).min(axis=1, initial=np.inf), n_seen

    def significance(self) -> Floats:
        """(n,) the particles' joint intensities over the error that noise gives them.

        A camera knows the peak of a spot to noise / (sigma sqrt(pi)); joined by least squares.
        """
        seen = self.intensities > 0
        weight = np.where(seen, (np.pi / 2) / np.sqrt(self.sharpness.prod(axis=2)) * (self.spots.gains / self.noise) ** 2, 0.0)
        joint = (weight * (self.intensities / self.spots.gains)).sum(axis=1)
        significance: Floats = joint / np.sqrt(np.maximum(weight.sum(axis=1), 1e-12))
        return significance

    def prune(self, weakest: float, surest: float) -> int:
        """Drop particles that are too weak, doubles, or outside of the volume; returns how many.

        Too weak: an intensity below ``weakest`` of the median one, or below ``surest`` times its error. Of particles that were
        known the settings' ``unsure`` is enough: there are as many places where noise looks like a particle as there are pixels,
        and few where one is expected.

        Their spots are put back into the residual.
        """
        mean, least, n_seen = self.joint()
        kept = n_seen >= min(self.cameras.n_cams, 3)
        if np.isnan(self.spots.level) and kept.any() and (np.isnan(self.level) or len(mean) > _ALONE):
            self.level = float(np.median(mean[kept]))
        if not np.isnan(self.level):
            kept &= (mean > weakest * self.level) & (least > self.settings.weakest_camera * self.level)
        least_sure = np.where(self.origin >= 0, self.settings.unsure, surest)
        kept &= (self.significance() > least_sure) & self.cameras.inside(self.positions)
        flags = kept.astype(np.uint8)
        width, height = self.cameras.size
        strength = self.intensities.sum(axis=1, dtype=np.float64)
        merge = (self.settings.merge, self.settings.merge_sure)
        pairs.drop_doubles(self.projections, strength, self.sure, flags, *merge, width, height)
        gone = flags == 0
        self.take_out(gone)
        return int(gone.sum())

    def _drop(self, gone: NDArray[np.bool_]) -> None:
        """Put the spots of particles back into the residual."""
        if gone.any():
            spots.subtract(self.residual, self.projections[gone], -self.intensities[gone], self.sharpness[gone], self.radius)
            self._take(~gone)


def with_margins(images: Image) -> Image:
    """Images (n, height, width) in a frame of zeros, as the kernels take them."""
    n, height, width = images.shape
    out = np.zeros((n, height + 2 * MARGIN, width + 2 * MARGIN), np.float32)
    without_margins(out)[:] = images
    return out


def without_margins(images: Image) -> Image:
    """The images in their frames: a view."""
    return images[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


def dilated(flags: Flags, radius: int) -> Flags:
    """1 wherever there is a 1 within ``radius`` px in x and y; flags (n, height, width)."""
    if not flags.any():
        return flags
    out = flags.copy()
    flat, (_, height, width) = out.reshape(-1), out.shape
    for stride, length in ((width, height), (1, width)):
        places = np.flatnonzero(flat.view(np.bool_))  # they are few
        along = places // stride % length
        for distance in range(-radius, radius + 1):
            flat[places + stride * (np.clip(along + distance, 0, length - 1) - along)] = 1
    return out
