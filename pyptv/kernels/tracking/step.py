"""One tracking step: every particle of a frame is linked to one of the next frame, or to none.

The rules are those of optv's tracker (Willneff 2003, "A spatio-temporal matching algorithm for 3D particle tracking
velocimetry", ETH Zurich, describes the method); the result is the same to the byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import int64
from numba.types import UniTuple

from pyptv.kernels.jit import entry, leaf
from pyptv.kernels.tracking.choices import cheapest, choose, new_choices
from pyptv.kernels.tracking.frames import FRAMES, NEXT, NO_NEXT, NONE, PREVIOUS, Frame, Frames
from pyptv.kernels.tracking.scene import SCENE, Scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Costs = NDArray[np.float32]


@leaf
def _claim(current: Frame, following: Frame, row: int, target: int, cost: Costs) -> bool:
    """Link two particles, unless the one of the next frame has a link with the same or lower cost; returns whether linked."""
    other = following.link[target, PREVIOUS]
    if other != NONE:
        if not cost[other] > cost[row]:
            return False
        current.link[other, NEXT] = NO_NEXT
    current.link[row, NEXT] = target
    following.link[target, PREVIOUS] = row
    return True


@entry(UniTuple(int64, 2)(SCENE, FRAMES))
def link(scene: Scene, frames: Frames) -> tuple[int, int]:
    """Link the particles of the current frame to those of the following one.

    Args:
        scene: the experiment.
        frames: links are written to ``current``, back links to ``following``; particles may be added to the last two.

    Returns:
        The number of links made, including those replaced by cheaper ones, and the number of added particles.
    """
    n = frames.current.size[0]
    choices = new_choices(len(scene.cameras))
    choice = np.full(n, NO_NEXT)
    cost = np.empty(n, np.float32)
    links = added = 0
    for row in range(n):
        added += choose(scene, frames, row, choices)
        best = cheapest(choices)
        if best != NONE:
            choice[row], cost[row] = choices.row[best], choices.cost[best]
    for row in range(n):
        if choice[row] != NO_NEXT:
            links += _claim(frames.current, frames.following, row, choice[row], cost)
    return links, added
