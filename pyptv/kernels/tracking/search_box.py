"""The rectangle of an image in which a particle is searched: the projection of the possible displacements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyptv.kernels.jit import leaf
from pyptv.kernels.tracking.reach import covered
from pyptv.kernels.tracking.scene import Scene

if TYPE_CHECKING:
    from pyptv.kernels.tracking.reach import Cell, Point
    from pyptv.kernels.tracking.search import Pixel, Rectangle


@leaf
def exact_rectangle(scene: Scene, camera: int, point: Point, seen: Pixel, centre: Pixel) -> Rectangle:
    """The rectangle in which a particle is searched.

    Args:
        scene: the experiment.
        camera: its number.
        point: the predicted position [mm].
        seen: the projection of ``point`` [px].
        centre: the centre of the search [px].
    """
    left, right, up, down = covered(scene.cameras[camera], scene.optics, scene.displacement, point)
    first_x, last_x = _moved(left, right, seen[0], centre[0], scene.size[0])
    first_y, last_y = _moved(up, down, seen[1], centre[1], scene.size[1])
    return first_x, last_x, first_y, last_y


@leaf
def bounding_rectangle(scene: Scene, camera: int, cell: Cell, bound: int, seen: Pixel, centre: Pixel) -> Rectangle:
    """A rectangle that is certainly inside that of :func:`exact_rectangle`, or contains it.

    Args:
        scene: the experiment.
        camera: its number.
        cell: of the table of reaches, with the predicted position.
        bound: LOWER or UPPER of :mod:`pyptv.kernels.tracking.reach`.
        seen: as there.
        centre: as there.
    """
    i, j, k = cell
    reach = scene.reach
    left, right = seen[0] - reach[i, j, k, camera, bound, 0], seen[0] + reach[i, j, k, camera, bound, 1]
    up, down = seen[1] - reach[i, j, k, camera, bound, 2], seen[1] + reach[i, j, k, camera, bound, 3]
    first_x, last_x = _moved(left, right, seen[0], centre[0], scene.size[0])
    first_y, last_y = _moved(up, down, seen[1], centre[1], scene.size[1])
    return first_x, last_x, first_y, last_y


@leaf
def _moved(first: float, last: float, seen: float, centre: float, size: float) -> Pixel:
    """Limits along an axis, moved from ``seen`` to ``centre`` and clipped to the image before and after."""
    before = seen - min(max(first, 0.0), size)
    behind = max(min(last, size), 0.0) - seen
    return max(centre - before, 0.0), min(centre + behind, size)
