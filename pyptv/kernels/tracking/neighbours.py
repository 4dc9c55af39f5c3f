"""The particles of a frame near a position in space, found in the images of all cameras."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyptv.kernels import geometry
from pyptv.kernels.jit import inner, leaf, number, shared
from pyptv.kernels.tracking.frames import NONE, Frame
from pyptv.kernels.tracking.reach import LOWER, UPPER, cell_at
from pyptv.kernels.tracking.scene import Scene
from pyptv.kernels.tracking.search import MOST_FOUND, Found, inside, nearest_free, nearest_used
from pyptv.kernels.tracking.search_box import bounding_rectangle, exact_rectangle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.kernels.tracking.reach import Cell, Point

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_FREE_RADIUS = 3.0
"""Search radius [px] around the predicted position for a target without a particle."""
_FLATTENING_STEP = 1e-4
"""The correction of the distortion ends here at a ten times larger step [mm] than in correspondence."""
_PAIR = 2


class Neighbours(NamedTuple):
    """Particles found near a position, and working memory of the search."""

    row: Ints
    """(n_cams * MOST_FOUND,) rows of the frame."""
    views: Ints
    """(n_cams * MOST_FOUND,) number of cameras that see each near the position."""
    seen: Floats
    """(n_cams, 2) the projections of the position [px]."""
    centre: Floats
    """(n_cams, 2) start of the search [px]."""
    found: Found
    """Targets of one camera."""


@inner
def new_neighbours(n_cams: int) -> Neighbours:
    """Memory for a search."""
    most = n_cams * MOST_FOUND
    return Neighbours(
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty((n_cams, 2)),
        np.empty((n_cams, 2)),
        Found(np.empty(MOST_FOUND, np.int64), np.empty(MOST_FOUND)),
    )


@leaf
def project(scene: Scene, point: Point, near: Neighbours) -> None:
    """Project a position [mm] into all cameras; the search begins there."""
    for camera in range(len(scene.cameras)):
        x, y = geometry.project_pixel(scene.cameras[camera], scene.optics, point[0], point[1], point[2])
        near.seen[camera, 0], near.seen[camera, 1] = x, y
        near.centre[camera, 0], near.centre[camera, 1] = x, y


@shared
def search(scene: Scene, frame: Frame, point: Point, near: Neighbours) -> int:
    """Find the particles around the centres, in the rectangle of possible displacements from ``point`` [mm].

    Particles seen by at least two cameras are kept, sorted by the number of cameras; without any, the first one found is kept.

    Returns:
        How many there are.
    """
    n = number(0)
    cell = cell_at(scene.span, point)
    for camera in range(len(scene.cameras)):
        before = n
        for k in range(_find(scene, frame, camera, point, cell, near)):
            n = _count(near.row, near.views, n, before, frame.particle[near.found.target[k]])
    return _order(near.row, near.views, n)


@leaf
def _find(scene: Scene, frame: Frame, camera: int, point: Point, cell: Cell, near: Neighbours) -> int:
    """Find the nearest targets of one camera; returns their number.

    Targets found in a rectangle that is slightly too large are valid if they are also in one that is slightly too small.
    """
    seen = near.seen[camera, 0], near.seen[camera, 1]
    centre = near.centre[camera, 0], near.centre[camera, 1]
    if not _in_image(scene, centre[0], centre[1]) or math.isnan(seen[0]) or math.isnan(seen[1]):
        return 0
    if cell[0] >= 0:
        limits = bounding_rectangle(scene, camera, cell, number(UPPER), seen, centre)
        n_found = nearest_used(frame, camera, centre, limits, near.found)
        limits = bounding_rectangle(scene, camera, cell, number(LOWER), seen, centre)
        certain = 0
        while certain < n_found:
            target = near.found.target[certain]
            if not inside(limits, frame.pixel[target, 0], frame.pixel[target, 1]):
                break
            certain += 1
        if certain == n_found:
            return n_found
    limits = exact_rectangle(scene, camera, point, seen, centre)
    return nearest_used(frame, camera, centre, limits, near.found)


@leaf
def _in_image(scene: Scene, x: float, y: float) -> bool:
    """Whether a position is in the image; False for NaN."""
    within: bool = 0.0 <= x <= scene.size[0] and 0.0 <= y <= scene.size[1]
    return within


@leaf
def _count(row: Ints, views: Ints, n: int, before: int, particle: int) -> int:
    """Count a camera's view of a particle; returns the new number of particles."""
    for k in range(n):
        if row[k] == particle:
            views[k] += k < before
            return n
    row[n], views[n] = particle, 1
    return n + 1


@leaf
def _order(row: Ints, views: Ints, n: int) -> int:
    """Sort stably by views; drop particles with a single view, unless only the first one remains. Returns their number."""
    for k in range(1, n):
        particle, many = row[k], views[k]
        place = k
        while place > 0 and views[place - 1] < many:
            row[place], views[place] = row[place - 1], views[place - 1]
            place -= 1
        row[place], views[place] = particle, many
    kept = 0
    while kept < n and views[kept] >= _PAIR:
        kept += 1
    return kept if kept > 0 else min(n, 1)


@shared
def find_free(scene: Scene, frame: Frame, near: Neighbours, targets: Ints, rays: Floats) -> int:
    """Find the nearest target without a particle in each camera, within _FREE_RADIUS of ``near.seen``.

    Args:
        scene: the experiment.
        frame: to search.
        near: with the projections of the position.
        targets: (n_cams,) output: the target's row in each camera, -1 for none.
        rays: (n_cams, 6) output: the rays of the targets found, in the first rows.

    Returns:
        How many there are.
    """
    views = 0
    for camera in range(len(scene.cameras)):
        targets[camera] = NONE
        x, y = near.seen[camera, 0], near.seen[camera, 1]
        if not _in_image(scene, x, y):
            continue
        left, right = max(x - _FREE_RADIUS, 0.0), min(x + _FREE_RADIUS, scene.size[0])
        up, down = max(y - _FREE_RADIUS, 0.0), min(y + _FREE_RADIUS, scene.size[1])
        target = nearest_free(frame, camera, (x, y), (left, right, up, down))
        if target != NONE:
            targets[camera] = target - frame.first[camera]
            _trace(scene, camera, frame.pixel[target, 0], frame.pixel[target, 1], rays[views])
            views += 1
    return views


@leaf
def _trace(scene: Scene, camera: int, px: float, py: float, ray: Floats) -> None:
    """Write the ray of a position in an image [px] to ``ray`` (6,)."""
    x, y = geometry.pixel_to_flat(scene.cameras[camera], scene.optics, px, py, _FLATTENING_STEP)
    ray[0], ray[1], ray[2], ray[3], ray[4], ray[5] = geometry.ray(scene.cameras[camera], scene.optics, x, y)
