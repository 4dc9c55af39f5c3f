"""Search for a particle that the run has missed among the targets of its frame, at its predicted position.

Unused targets have priority; a target of another particle may be used if two spots overlap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.core.base.errors import FormatError
from pyptv.core.experiment.folder import Experiment
from pyptv.core.files.formats import PARTICLES, TARGET_COLUMNS, TARGETS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]
    Flags = NDArray[np.bool_]

_NARROWEST, _WIDEST = 1.0, 4.0
"""Radius [px] around the predicted position in an image: the first is added to the uncertainty of the prediction; the second
is the maximum of the sum."""
_LEAST_OFF, _MOST_OFF = 0.3, 2.0
"""Limits [px] of the distance of a target from the projection of its point; between them ``eps0`` is used."""
NOT_SEEN = -1


@dataclass(frozen=True)
class _Camera:
    place: Array
    """(n, 2) positions of the targets [px]."""
    used: Flags


class FrameTargets:
    """The targets of one frame, with marks on used ones."""

    def __init__(self, experiment: Experiment, frame: int, claimed: list[Indices]) -> None:
        """Read the targets.

        Args:
            experiment: of the targets.
            frame: number of the frame.
            claimed: targets (n_cameras,) of each particle found already; new ones are added.

        Raises:
            FormatError: a file is missing or damaged, or the files are inconsistent.
        """
        self._experiment = experiment
        path = experiment.result_path("rt_is", frame)
        particles = PARTICLES.read(path)
        self._cameras: list[_Camera] = []
        for camera in range(experiment.num_cams):
            targets = TARGETS.read(experiment.targets_path(camera, frame))
            pointers = particles[TARGET_COLUMNS[camera]]
            pointers = pointers[pointers >= 0]
            if pointers.max(initial=-1) >= len(targets):
                raise FormatError(f"{path}: found target {pointers.max()} of camera {camera + 1}, which has {len(targets)}")
            used = np.zeros(len(targets), dtype=bool)
            used[pointers] = True
            taken = np.array([one[camera] for one in claimed], dtype=np.int64)
            used[taken[taken != NOT_SEEN]] = True
            self._cameras.append(_Camera(np.column_stack([targets["x"], targets["y"]]), used))
        self._claimed = claimed

    def seek(self, expected: Array, spread: Array) -> tuple[Array, Indices]:
        """Search for particles.

        Args:
            expected: (n, 3) predicted positions [mm].
            spread: (n, 3) their standard deviations [mm].

        Returns:
            Their positions (n, 3) [mm], NaN if not found; and (n_cameras, n) their targets, or :data:`NOT_SEEN`.
        """
        places, radius = self._expected(expected, spread)
        chosen = np.array([_nearest(*pair) for pair in zip(self._cameras, zip(places, radius, strict=True), strict=True)])
        point, off = self._points(chosen)
        worst = off.argmax(axis=0)
        bad = np.flatnonzero(~(off.max(axis=0) <= self._tolerance))
        chosen[worst[bad], bad] = NOT_SEEN  # the target of one camera may be wrong: try without it
        point[bad], off[:, bad] = self._points(chosen[:, bad])
        good = (off.max(axis=0) <= self._tolerance) & self._enough(chosen)
        point[~good], chosen[:, ~good] = np.nan, NOT_SEEN
        return point, chosen

    def claim(self, chosen: Indices) -> bool:
        """Mark the targets (n_cameras,) of a particle as used; False if another particle has taken them."""
        if not self._enough(chosen[:, None])[0]:
            return False
        for camera, target in zip(self._cameras, chosen.tolist(), strict=True):
            if target != NOT_SEEN:
                camera.used[target] = True
        self._claimed.append(chosen)
        return True

    @property
    def _tolerance(self) -> float:
        parameters = self._experiment.parameters
        return min(max(parameters.criteria.eps0 / parameters.ptv.pix_x, _LEAST_OFF), _MOST_OFF)

    def _project(self, points: Array) -> Array:
        from pyptv.core.engines.optv.backend import project  # loads optv

        return project(points, self._experiment.parameters, self._experiment.calibrations)

    def _expected(self, expected: Array, spread: Array) -> tuple[Array, Array]:
        """Positions (n_cameras, n, 2) [px] and radii (n_cameras, n) [px] of the search."""
        places = self._project(expected)
        shifts = [self._project(expected + spread * axis) - places for axis in np.eye(3)]
        uncertain = np.sqrt(np.sum([(shift**2).sum(axis=2) for shift in shifts], axis=0))
        return places, np.minimum(_NARROWEST + 3 * uncertain, _WIDEST)

    def _points(self, chosen: Indices) -> tuple[Array, Array]:
        """Points (n, 3) [mm] of some targets, and their distances (n_cameras, n) [px] from the projections; 0: unseen."""
        from pyptv.core.engines.optv.backend import triangulate  # loads optv

        pixels = np.full((*chosen.shape, 2), np.nan)
        for number, (camera, targets) in enumerate(zip(self._cameras, chosen, strict=True)):
            seen = targets != NOT_SEEN
            pixels[number, seen] = camera.place[targets[seen]]
        points = triangulate(pixels, self._experiment.parameters, self._experiment.calibrations)
        known = np.flatnonzero(np.isfinite(points).all(axis=1))
        off = np.full(chosen.shape, math.inf)
        off[:, known] = np.nan_to_num(np.linalg.norm(self._project(points[known]) - pixels[:, known], axis=2))
        return points, off

    def _enough(self, chosen: Indices) -> Flags:
        """Which particles (n,) have two unshared targets, or one unshared and two shared ones."""
        seen = np.count_nonzero(chosen != NOT_SEEN, axis=0)
        free = np.zeros(chosen.shape[1], dtype=np.int64)
        for camera, targets in zip(self._cameras, chosen, strict=True):
            at = np.flatnonzero(targets != NOT_SEEN)
            free[at] += ~camera.used[targets[at]]
        enough: Flags = (free >= 2) | ((free >= 1) & (seen >= 3))
        return enough


def _nearest(camera: _Camera, where: tuple[Array, Array]) -> Indices:
    """(n,) the nearest target within the radius (n,) of each position (n, 2): an unused one, if there is any."""
    from scipy.spatial import KDTree  # an extra

    places, radius = where
    found = np.full(len(places), NOT_SEEN, dtype=np.int64)
    sound = np.flatnonzero(np.isfinite(places).all(axis=1))
    for used in (True, False):
        targets = np.flatnonzero(camera.used == used)
        if len(targets) and len(sound):
            tree: Any = KDTree(camera.place[targets])
            distance, nearest = tree.query(places[sound])
            near = distance <= radius[sound]
            found[sound[near]] = targets[nearest[near]]
    return found
