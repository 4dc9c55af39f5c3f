"""The possible links of a particle, and the cost of each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyptv.kernels.geometry import triangulate
from pyptv.kernels.jit import inner, leaf, part
from pyptv.kernels.tracking.frames import NONE, PREVIOUS, Frame, Frames, append, position_of
from pyptv.kernels.tracking.motion import distance, in_box, turn, within
from pyptv.kernels.tracking.neighbours import Neighbours, find_free, new_neighbours, project, search
from pyptv.kernels.tracking.scene import Scene
from pyptv.kernels.tracking.search import MOST_FOUND

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

    from pyptv.kernels.tracking.reach import Point

_STEADY = 10.0
"""An acceleration this many times below its limit is accepted at any angle."""
_PAIR = 2
_MARGIN = 1e-9
"""Margin of comparisons that only save work, so that rounding has no effect: a share of the lengths."""


class Choices(NamedTuple):
    """The possible links of one particle, in the order of finding, and working memory."""

    row: Ints
    """(room,) rows of the next frame."""
    cost: NDArray[np.float32]
    """(room,) costs in single precision, which decides between nearly equal ones."""
    n: Ints
    """(1,) their number."""
    following: Neighbours
    """Particles of the next frame."""
    after: Neighbours
    """Particles of the frame after the next one."""
    targets: Ints
    """(n_cams,) targets without a particle."""
    rays: Floats
    """(n_cams, 6) their rays."""


class Path(NamedTuple):
    """The previous, current and predicted positions of a particle [mm]."""

    linked: bool
    """Whether the previous position is known."""
    x0: Point
    """In the previous frame; equal to ``x1`` if not known."""
    x1: Point
    """Now."""
    x2: Point
    """Predicted in the next frame."""


@inner
def new_choices(n_cams: int) -> Choices:
    """Memory for the choices of a particle: each candidate may be registered with each particle after it, and once more."""
    most = n_cams * MOST_FOUND
    room = most * (most + 1) + 1
    return Choices(
        np.empty(room, np.int64),
        np.empty(room, np.float32),
        np.zeros(1, np.int64),
        new_neighbours(n_cams),
        new_neighbours(n_cams),
        np.empty(n_cams, np.int64),
        np.empty((n_cams, 6)),
    )


@leaf
def cheapest(choices: Choices) -> int:
    """The index of the cheapest choice, the first of equals; -1 if there is none.

    The choices are ordered by a bubble sort that exchanges two if the first costs more. So a NaN never moves, and
    nothing passes it: only choices before the first NaN can come to the front.
    """
    best = 0 if choices.n[0] > 0 else NONE
    for place in range(1, choices.n[0]):
        if math.isnan(choices.cost[place]):
            break
        if choices.cost[best] > choices.cost[place]:
            best = place
    return best


@leaf
def choose(scene: Scene, frames: Frames, row: int, choices: Choices) -> int:
    """Find the possible links of a particle of ``current``; particles may be added to the following frames.

    Args:
        scene: the experiment.
        frames: the particle's frame, and those around it.
        row: of the particle.
        choices: output.

    Returns:
        The number of added particles.
    """
    choices.n[0] = 0
    following = frames.following
    path = _path(frames.previous, frames.current, row)
    project(scene, path.x2, choices.following)
    if not path.linked:
        _centre_on_targets(frames.current, row, choices.following.centre)
    added = 0
    n = search(scene, following, path.x2, choices.following)
    for k in range(n):
        candidate = choices.following.row[k]
        added += _look_ahead(scene, frames, path, k, choices)
        if choices.n[0] == 0 and path.linked:
            x3 = position_of(following, candidate)
            if within(scene.displacement, path.x1, x3):
                _look_back(scene, path, x3, candidate, choices.following.views[k], choices)
    if scene.add and n > 0 and choices.n[0] == 0 and path.linked:  # optv continues only if it found anything at all
        added += _add_next(scene, following, path, choices)
    return added


@part
def _path(previous: Frame, current: Frame, row: int) -> Path:
    """The previous and the predicted position of a particle; without a previous link, the current position."""
    x1 = position_of(current, row)
    before = current.link[row, PREVIOUS]
    if before == NONE:
        return Path(False, x1, x1, x1)  # noqa: FBT003 -- numba knows no keywords here
    x0 = position_of(previous, before)
    return Path(True, x0, x1, (2.0 * x1[0] - x0[0], 2.0 * x1[1] - x0[1], 2.0 * x1[2] - x0[2]))  # noqa: FBT003


@part
def _centre_on_targets(frame: Frame, row: int, centre: Floats) -> None:
    """Start a search at the particle's own targets, in the cameras where it has one."""
    for camera in range(len(centre)):
        if frame.target[row, camera] != NONE:
            target = frame.first[camera] + frame.target[row, camera]
            centre[camera, 0], centre[camera, 1] = frame.pixel[target, 0], frame.pixel[target, 1]


@leaf
def _expected_after(path: Path, x3: Point) -> Point:
    """The predicted position [mm] after ``x3``."""
    x0, x1 = path.x0, path.x1
    if not path.linked:
        return 2.0 * x3[0] - x1[0], 2.0 * x3[1] - x1[1], 2.0 * x3[2] - x1[2]
    return (
        0.5 * (5.0 * x3[0] - 4.0 * x1[0] + x0[0]),
        0.5 * (5.0 * x3[1] - 4.0 * x1[1] + x0[1]),
        0.5 * (5.0 * x3[2] - 4.0 * x1[2] + x0[2]),
    )


@part
def _look_ahead(scene: Scene, frames: Frames, path: Path, k: int, choices: Choices) -> int:
    """Register candidate number ``k`` with every particle of the frame after it that continues it, and with a new one.

    Neither is searched if no displacement within the limits could end near enough to the predicted position.

    Returns:
        The number of added particles, 1 or 0.
    """
    x3 = position_of(frames.following, choices.following.row[k])
    x5 = _expected_after(path, x3)
    before = turn(path.x1, path.x2, x3) if path.linked else (0.0, 0.0)
    step = x5[0] - x3[0], x5[1] - x3[1], x5[2] - x3[2]
    enough = scene.acceleration + _MARGIN * (abs(scene.acceleration) + abs(step[0]) + abs(step[1]) + abs(step[2]))
    goes_on = not _outside(scene.displacement, step) > (2.0 * enough - before[1] if path.linked else enough)
    begins = not _outside(scene.displacement, (-step[0], -step[1], -step[2])) > enough
    if goes_on or begins:
        project(scene, x5, choices.after)
    if goes_on:
        _go_on(scene, frames.after, path, k, x3, x5, before, choices)
    return _begin(scene, frames.after, path, k, x3, x5, choices) if begins else 0


@leaf
def _outside(limits: Floats, step: Point) -> float:
    """Distance of a displacement from its limits (3, 2) [mm]; 0 inside."""
    x = max(step[0] - limits[0, 1], limits[0, 0] - step[0], 0.0)
    y = max(step[1] - limits[1, 1], limits[1, 0] - step[1], 0.0)
    z = max(step[2] - limits[2, 1], limits[2, 0] - step[2], 0.0)
    return math.sqrt(x * x + y * y + z * z)


@part
def _go_on(
    scene: Scene, after: Frame, path: Path, k: int, x3: Point, x5: Point, before: tuple[float, float], choices: Choices
) -> None:
    """Register a candidate, at ``x3`` [mm], with every particle of the frame after it near ``x5`` [mm].

    ``before``: angle [gon] and acceleration [mm] up to the candidate, if the particle is linked.
    """
    for j in range(search(scene, after, x5, choices.after)):
        x4 = position_of(after, choices.after.row[j])
        if within(scene.displacement, x3, x4):
            angle, acceleration = turn(x3, x4, x5)
            if path.linked:
                angle, acceleration = (before[0] + angle) / 2, (before[1] + acceleration) / 2
            length = (distance(path.x1, x3) + distance(x3, x4)) / 2
            views = choices.following.views[k] + choices.after.views[j]
            _register(scene, choices.following.row[k], length, angle, acceleration, views, choices)


@part
def _begin(scene: Scene, after: Frame, path: Path, k: int, x3: Point, x5: Point, choices: Choices) -> int:
    """Register a candidate with a new particle near ``x5``, if there are targets for it; returns how many are added."""
    more = find_free(scene, after, choices.after, choices.targets, choices.rays)
    if more >= _PAIR:
        x4 = triangulate(choices.rays, more)
        if in_box(scene.volume, x4) and within(scene.displacement, x4, x3):
            angle, acceleration = turn(x3, x4, x5)
            length = (distance(path.x1, x3) + distance(x3, x4)) / 2
            views = choices.following.views[k] + more
            if _register(scene, choices.following.row[k], length, angle, acceleration, views, choices) and scene.add:
                append(after, x4, choices.targets)
                return 1
    return 0


@leaf
def _look_back(scene: Scene, path: Path, x3: Point, row: int, views: int, choices: Choices) -> bool:
    """Register a row of the next frame, at ``x3`` [mm], by the motion up to it; returns whether it is accepted."""
    angle, acceleration = turn(path.x1, path.x2, x3)
    length = (distance(path.x1, x3) + distance(path.x0, path.x1)) / 2
    return _register(scene, row, length, angle, acceleration, views, choices)


@part
def _add_next(scene: Scene, following: Frame, path: Path, choices: Choices) -> int:
    """Add a particle at the predicted position, if there are targets for it, and register it; returns the number added."""
    views = find_free(scene, following, choices.following, choices.targets, choices.rays)
    if views >= _PAIR:
        x3 = triangulate(choices.rays, views)
        possible = in_box(scene.volume, x3) and within(scene.displacement, x3, path.x2)
        if possible and _look_back(scene, path, x3, following.size[0], views, choices):
            append(following, x3, choices.targets)
            return 1
    return 0


@leaf
def _register(scene: Scene, row: int, length: float, angle: float, acceleration: float, views: int, choices: Choices) -> bool:
    """Add a choice if angle and acceleration are within their limits (NaN is not). Returns whether they are.

    Args:
        scene: the experiment.
        row: of the next frame.
        length: mean displacement [mm].
        angle: change of direction [gon].
        acceleration: [mm].
        views: number of cameras that see the particles of the choice.
        choices: output.
    """
    accepted = acceleration < scene.acceleration and angle < scene.angle
    if not accepted and not acceleration < scene.acceleration / _STEADY:
        return False
    place = choices.n[0]
    choices.row[place] = row
    choices.cost[place] = (length / scene.diagonal + acceleration / scene.acceleration + angle / scene.angle) / views
    choices.n[0] = place + 1
    return True
