"""What a reconstruction starts from and what it gives: spots, particles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.engines.disparity import TERMS, design

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Image = NDArray[np.float32]

SMALLEST_SIGMA, LARGEST_SIGMA = 0.4, 4.0
"""[px] Limits of what is believed of a spot."""
LARGEST_CHANGE = 1.5
"""By which factor, at most, spots are larger or smaller somewhere than in the middle of the image."""


@dataclass(frozen=True)
class Spots:
    """How particles look in the images: fitted to the data, not asked for."""

    sigma: Floats
    """(n_cams, 2, TERMS) [px] standard deviation in x and y, a polynomial of the place as that of a disparity."""
    gains: Floats
    """(n_cams,) brightness of the cameras relative to their mean."""
    level: float
    """Median intensity (peak of the spot, mean of the cameras) of a particle [grey values]; NaN: each frame has its own."""
    scatter: float = 0.0
    """Standard deviation of the logarithm of particles' sizes; 0: all are alike."""
    covered: float = 0.0
    """Share of an image that the spots cover, discs of 2 sigma; where they overlap each counts."""

    @staticmethod
    def round(n_cams: int, sigma: float, level: float = np.nan) -> Spots:
        """Equal, round spots everywhere."""
        terms = np.zeros((n_cams, 2, TERMS))
        terms[:, :, 0] = sigma
        return Spots(terms, np.ones(n_cams), level)

    def sigma_at(self, projections: Floats, size: tuple[int, int]) -> Floats:
        """Sigma (n, n_cams, 2) [px] at places (n, n_cams, 2) [px]."""
        if not self.sigma[:, :, 1:].any():
            return np.broadcast_to(self.sigma[None, :, :, 0], projections.shape)
        edge = np.array(size, np.float64)
        places = np.nan_to_num(np.clip(projections, 0.0, edge))
        values = np.stack([design(places[:, c], size) @ terms.T for c, terms in enumerate(self.sigma)], axis=1)
        middle = self.sigma[:, :, 0]
        values = np.clip(values, middle / LARGEST_CHANGE, middle * LARGEST_CHANGE)
        return np.asarray(np.clip(values, SMALLEST_SIGMA, LARGEST_SIGMA), np.float64)

    def sharpness_at(self, projections: Floats, size: tuple[int, int], scale: Floats | None = None) -> Image:
        """1 / (2 sigma^2) (n, n_cams, 2) [1/px^2] at places (n, n_cams, 2) [px], of spots ``scale`` (n,) as large."""
        sigma = self.sigma_at(projections, size)
        if scale is not None:
            sigma = sigma * scale[:, None, None]
        return np.ascontiguousarray(0.5 / sigma**2, dtype=np.float32)

    @property
    def largest(self) -> float:
        """The largest sigma in any image [px]."""
        middle, rest = self.sigma[:, :, 0], np.abs(self.sigma[:, :, 1:])
        reach = np.minimum(middle + rest @ np.array([0.5, 0.5, 0.25, 0.25, 0.25]), LARGEST_CHANGE * middle)
        return float(np.clip(reach, SMALLEST_SIGMA, LARGEST_SIGMA).max())


@dataclass(frozen=True)
class Particles:
    """The particles of a frame, a row each."""

    positions: Floats
    """(n, 3) [mm]."""
    projections: Floats
    """(n, n_cams, 2) where each camera sees them [px], corrections included; may lie outside of its image."""
    intensities: Image
    """(n, n_cams) peaks of the spots [grey values]; 0 where a camera does not see the particle."""
    misfit: Image
    """(n,) energy of the residual over that of the spots in 3 x 3 px, mean of the cameras; 0 is perfect."""
    scale: Floats
    """(n,) size of the spots relative to the usual one."""
    origin: NDArray[np.int64]
    """(n,) row of the particle among those that the reconstruction started from; -1: found in this frame."""

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(n, n_cams) which cameras see them."""
        return self.intensities > 0

    @staticmethod
    def none(n_cams: int) -> Particles:
        """No particle."""
        return Particles(
            np.empty((0, 3)),
            np.empty((0, n_cams, 2)),
            np.empty((0, n_cams), np.float32),
            np.empty(0, np.float32),
            np.empty(0),
            np.empty(0, np.int64),
        )


@dataclass(frozen=True)
class Start:
    """What a reconstruction begins with."""

    positions: Floats
    """(n, 3) [mm]."""
    intensities: Image
    """(n, n_cams) of those that an earlier reconstruction of the frame has fitted; then rows of 0, which are fitted first."""
    scale: Floats
    """(n,) size of the spots relative to the usual one."""
    left_out: Floats
    """(m, 3) [mm] particles of the earlier reconstruction that are not among these: near them the others are fitted again."""
    ground: Image | None = None
    """(n_cams, rows, columns) background at the middles of tiles that it had in the end; None: it is measured."""
    noise: Floats | None = None
    """(n_cams,) and noise."""

    @staticmethod
    def at(positions: Floats, n_cams: int) -> Start:
        """Places (n, 3) [mm] and nothing else."""
        n = len(positions)
        return Start(positions, np.zeros((n, n_cams), np.float32), np.ones(n), np.empty((0, 3)))

    def again(self, kept: NDArray[np.bool_], places: Floats) -> Start:
        """Those particles of an earlier reconstruction that are kept (n,), and other places (m, 3) [mm]."""
        others = Start.at(places, self.intensities.shape[1])
        return replace(
            self,
            positions=np.concatenate([self.positions[kept], others.positions]),
            intensities=np.concatenate([self.intensities[kept], others.intensities]),
            scale=np.concatenate([self.scale[kept], others.scale]),
            left_out=self.positions[~kept],
        )

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True)
class Iteration:
    """What an outer iteration did."""

    cameras: int
    """Cameras that had to have a peak; 0 for what it began with."""
    added: int
    """New particles."""
    dropped: int
    """Particles that did not survive it, new and old."""
    total: int
    """Particles after it."""


@dataclass(frozen=True)
class Reconstruction:
    """What :func:`pyptv.core.engines.dense.reconstruct.reconstruct` finds in a frame."""

    particles: Particles
    residual: Image
    """(n_cams, height, width) what is left of the images, background and particles subtracted."""
    ground: Image
    """(n_cams, rows, columns) background, at the middles of tiles."""
    iterations: tuple[Iteration, ...]
    noise: Floats
    """(n_cams,) robust standard deviation of the residual [grey values]."""
    energy_left: Floats
    """(n_cams,) energy of the residual over that of the image, both above the background and without the noise's; 0 to 1."""
    spots: Spots
    """The spots that were used."""
