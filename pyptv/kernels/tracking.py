"""One tracking step: every particle of a frame is linked to one of the next frame, or to none.

The rules are those of optv's tracker (Willneff 2003, "A spatio-temporal matching algorithm for 3D particle tracking
velocimetry", ETH Zurich, describes the method); its result is met to the byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import int64
from numba.types import UniTuple

from pyptv.kernels.choices import cheapest, choose, new_choices
from pyptv.kernels.frames import FRAME, NEXT, NO_NEXT, NONE, PREVIOUS, Frame
from pyptv.kernels.jit import entry, inner
from pyptv.kernels.scene import SCENE, Scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Costs = NDArray[np.float32]


@inner
def _claim(current: Frame, following: Frame, row: int, target: int, cost: Costs) -> bool:
    """Link two particles, unless the one of the next frame is linked to another at the same cost or less; whether they are."""
    other = following.link[target, PREVIOUS]
    if other != NONE:
        if not cost[other] > cost[row]:
            return False
        current.link[other, NEXT] = NO_NEXT
    current.link[row, NEXT] = target
    following.link[target, PREVIOUS] = row
    return True


@entry(UniTuple(int64, 2)(SCENE, FRAME, FRAME, FRAME, FRAME))
def link(scene: Scene, previous: Frame, current: Frame, following: Frame, after: Frame) -> tuple[int, int]:
    """Link the particles of ``current`` to those of ``following``.

    Args:
        scene: the experiment.
        previous: the frame before, which ``current`` has links to.
        current: given links to the next frame.
        following: given links back, and perhaps particles.
        after: the frame after it; given particles perhaps.

    Returns:
        How many links were made, those that later gave way to cheaper ones included, and how many particles were added.
    """
    n = current.size[0]
    choices = new_choices(len(scene.cameras))
    choice = np.full(n, NO_NEXT)
    cost = np.empty(n, np.float32)
    links = added = 0
    for row in range(n):
        added += choose(scene, previous, current, following, after, row, choices)
        best = cheapest(choices)
        if best != NONE:
            choice[row], cost[row] = choices.row[best], choices.cost[best]
    for row in range(n):
        if choice[row] != NO_NEXT:
            links += _claim(current, following, row, choice[row], cost)
    return links, added
