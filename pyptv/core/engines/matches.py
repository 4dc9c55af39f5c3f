"""The result of matching a frame: particles, targets with their particles, and the files of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.core.base.errors import FrameError
from pyptv.core.files.formats import PARTICLES, TARGET_COLUMNS, TARGETS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.files.formats import Rows

    Image = NDArray[np.uint8]

NO_PARTICLE = -1
"""``tnr`` of a target without a particle; a particle's target in a camera that does not see it."""

ADVICE_TOO_MANY = "narrow eps0 or raise corrmin, cn, cnx, cny, csumg in section criteria"


@dataclass(frozen=True)
class Matches:
    """The result of correspondence and triangulation for one frame."""

    particles: NDArray[Any]
    """(n,) rows of ``rt_is``: quadruplets, then triplets, then pairs (one camera: its targets)."""
    targets: Sequence[Any]
    """Per camera the rows of ``_targets``, with ``tnr`` set: tuples, because making an array is slow."""
    counts: tuple[int, ...]
    """Correspondences of as many targets as there are cameras, of one less, ..., of two."""

    def files(self) -> dict[str, bytes]:
        """Short name -> bytes of the frame's result files; ``rt_is`` last."""
        targets = {f"targets{camera + 1}": TARGETS.render(rows) for camera, rows in enumerate(self.targets)}
        return targets | {"rt_is": PARTICLES.render(self.particles)}


def checked_image(image: Image, shape: tuple[int, int]) -> Image:
    """An image in the form for engines: (height, width) uint8, contiguous.

    Raises:
        FrameError: it has another shape or type.
    """
    if image.shape != shape or image.dtype != np.uint8:
        raise FrameError(f"found an image of {image.shape} {image.dtype}, expected {shape} uint8")
    return np.ascontiguousarray(image)


def particle_rows(positions: NDArray[np.float64], pointers: NDArray[np.intp]) -> Rows:
    """The rows of ``rt_is`` (n,).

    Args:
        positions: (n, 3) [mm].
        pointers: (n_cams, n) target in each camera, or -1.
    """
    rows = np.empty(len(positions), PARTICLES.dtype)
    rows["number"] = np.arange(1, len(positions) + 1)
    for axis, name in enumerate("xyz"):
        rows[name] = positions[:, axis]
    for camera, name in enumerate(TARGET_COLUMNS):
        rows[name] = pointers[camera] if camera < len(pointers) else NO_PARTICLE
    return rows
