"""The part of an experiment that a tracking step needs: cameras, limits, and the measuring volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import boolean, float64
from numba.types import NamedTuple as NamedTupleType

from pyptv.kernels import geometry
from pyptv.kernels.jit import entry
from pyptv.kernels.tracking.reach import reach_bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pyptv.core.experiment.calibration import Calibration
    from pyptv.core.experiment.parameters.schema import Parameters

    Floats = NDArray[np.float64]


class Scene(NamedTuple):
    """Cameras, and the limits of tracking."""

    cameras: Floats
    """(n_cams, K) from :func:`pyptv.kernels.geometry.camera_rows`."""
    optics: Floats
    """(K2,) from :func:`pyptv.kernels.geometry.optics_row`."""
    displacement: Floats
    """(3, 2) minimum and maximum displacement along x, y, z [mm/frame]."""
    volume: Floats
    """(3, 2) limits of the positions of added particles along x, y, z [mm]."""
    span: Floats
    """(3, 2) limits of the table of reaches along x, y, z [mm]: the volume and all positions that can be reached from it."""
    reach: Floats
    """(cells in x, in y, in z, n_cams, 2, 4) from :func:`pyptv.kernels.tracking.reach.reach_bounds`."""
    size: Floats
    """(2,) width and height of the images [px]."""
    angle: float
    """Maximum change of direction [gon]."""
    acceleration: float
    """Maximum acceleration [mm/frame^2]."""
    diagonal: float
    """Diagonal of the box of displacements [mm/frame]."""
    add: bool
    """Whether particles are added."""


SCENE = NamedTupleType(
    (
        *(float64[:, ::1], float64[::1], float64[:, ::1], float64[:, ::1]),
        *(float64[:, ::1], float64[:, :, :, :, :, ::1], float64[::1], float64, float64, float64, boolean),
    ),
    Scene,
)
"""The type of :class:`Scene` in signatures."""


def make_scene(parameters: Parameters, calibrations: Sequence[Calibration], corners: Floats) -> Scene:
    """The scene of an experiment.

    Args:
        parameters: of the experiment.
        calibrations: of its cameras.
        corners: (n_cams, 4, 2) flat coordinates of the images' corners [mm].
    """
    track, criteria = parameters.track, parameters.criteria
    cameras = geometry.camera_rows(parameters, calibrations)
    optics = geometry.optics_row(parameters)
    displacement = np.array(
        [(track.dvxmin, track.dvxmax), (track.dvymin, track.dvymax), (track.dvzmin, track.dvzmax)], dtype=np.float64
    )
    x_layers, z_layers = np.array(criteria.X_lay, np.float64), np.array([*criteria.Zmin_lay, *criteria.Zmax_lay], np.float64)
    volume = measuring_volume(cameras, optics, corners, x_layers, z_layers)
    size = np.array([parameters.ptv.imx, parameters.ptv.imy], dtype=np.float64)
    farthest = np.abs(displacement).max(axis=1)
    span = volume + np.column_stack([-farthest, farthest])
    return Scene(
        cameras=cameras,
        optics=optics,
        displacement=displacement,
        volume=volume,
        span=span,
        reach=reach_bounds(cameras, optics, displacement, span, size.max()),
        size=size,
        angle=float(track.angle),
        acceleration=float(track.dacc),
        diagonal=float(np.sqrt(np.sum(np.diff(displacement) ** 2))),
        add=track.add,
    )


@entry("float64[:, ::1](float64[:, ::1], float64[::1], float64[:, :, ::1], float64[::1], float64[::1])")
def measuring_volume(cameras: Floats, optics: Floats, corners: Floats, x_layers: Floats, z_layers: Floats) -> Floats:
    """The volume (3, 2) [mm] of added particles: from minimum to maximum z, and in x and y the whole field of view.

    x and y are widened, from ``X_lay`` and from 0, to the intersections of the image corners' rays with both planes of z.

    Args:
        cameras: (n_cams, K).
        optics: (K2,).
        corners: (n_cams, 4, 2) flat coordinates of the images' corners [mm].
        x_layers: (2,) ``X_lay`` [mm].
        z_layers: (4,) ``Zmin_lay`` and ``Zmax_lay`` [mm].
    """
    volume = np.zeros((3, 2))
    volume[0, 0], volume[0, 1] = x_layers[0], x_layers[1]
    volume[2, 0] = min(z_layers[0], z_layers[1], z_layers[2], z_layers[3])
    volume[2, 1] = max(z_layers[0], z_layers[1], z_layers[2], z_layers[3])
    for camera in range(len(cameras)):
        for corner in range(corners.shape[1]):
            x, y, z, dx, dy, dz = geometry.ray(cameras[camera], optics, corners[camera, corner, 0], corners[camera, corner, 1])
            for plane in range(2):
                way = (volume[2, plane] - z) / dz
                volume[0, 0], volume[0, 1] = min(volume[0, 0], x + way * dx), max(volume[0, 1], x + way * dx)
                volume[1, 0], volume[1, 1] = min(volume[1, 0], y + way * dy), max(volume[1, 1], y + way * dy)
    return volume
