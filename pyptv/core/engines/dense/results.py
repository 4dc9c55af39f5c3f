"""Particles of the dense method as the rows of OpenPTV's files.

Each particle has a target of its own in each camera that sees it, also inside a blob that it shares with others: the
projection by the calibration alone, so that ``_targets`` and ``.ori`` files agree, with the size and grey values of its spot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.core.engines.compiled.text import as_columns, render_columns
from pyptv.core.engines.matches import Matches, particle_rows
from pyptv.core.files.formats import PARTICLES, TARGETS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.files.formats import Rows

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]

_WIDTH = 4.0
"""Width of a spot in sigmas: to exp(-2) of its peak."""
_FITS, _BRIGHT = 16.0, 0.3
"""Of the frame's medians: largest misfit and smallest intensity of a particle that is believed without a track."""
_FITS_ALONE, _BRIGHT_ALONE = 8.0, 0.5
"""The same where sizes differ, of a particle without any link: there false ones lie on the slopes of large spots. On synthetic
images with mixed sizes and brightness at a signal to noise ratio of 7 (0.028 particles per pixel, first pass, 5 frames), of those
without a link, 159 of 1272 true and 326 of 2479 false ones are on the wrong side of it."""
_UNLIKE = 0.1
"""Standard deviation of the logarithm of spots' sizes from which on they differ."""
_LARGEST_INT = 2**31 - 1


def order_of(seen: Flags, kept: Flags) -> Ints:
    """(m,) the rows of particles that are kept, in the order of ``rt_is``: those that more cameras see first.

    Args:
        seen: (n, n_cams) which cameras see each.
        kept: (n,) which are kept.
    """
    rows = np.flatnonzero(kept)
    return rows[np.argsort(-seen[rows].sum(axis=1), kind="stable")]


def confirmed(arrays: Mapping[str, NDArray[Any]], linked: Flags) -> Flags:
    """(n,) which particles need no track to be believed: seen by all cameras, bright, and with spots that fit the images.

    A ghost takes what other particles leave of their spots: it is faint, or does not look like a particle in one of the images.

    Args:
        arrays: of a table of particles.
        linked: (n,) which have a link.
    """
    intensities, misfit = arrays["intensities"], arrays["misfit"]
    if not len(misfit):
        return np.zeros(0, bool)
    mean, size = intensities.mean(axis=1), np.log(arrays["sigma"]).mean(axis=(1, 2))
    bright, fits = mean / np.median(mean), misfit / max(float(np.median(misfit)), 1e-12)
    believed: Flags = (intensities > 0).all(axis=1) & (bright >= _BRIGHT) & (fits <= _FITS)
    if size.std() > _UNLIKE:
        believed &= linked | ((bright >= _BRIGHT_ALONE) & (fits <= _FITS_ALONE))
    return believed


def seen_in(arrays: Mapping[str, NDArray[Any]], size: tuple[int, int]) -> Flags:
    """(n, n_cams) which cameras have a target of each particle: those that see it inside their image of (width, height) px."""
    pixels = arrays["pixels"]
    inside = (pixels >= 0).all(axis=2) & (pixels[:, :, 0] < size[0]) & (pixels[:, :, 1] < size[1])
    seen: Flags = inside & (arrays["intensities"] > 0)
    return seen


class Found(Matches):
    """The rows of ``rt_is`` and ``_targets``, as structured arrays."""

    def files(self) -> dict[str, bytes]:
        """Short name -> bytes of the frame's result files; ``rt_is`` last."""
        files = {f"targets{camera + 1}": render_columns(TARGETS, as_columns(rows)) for camera, rows in enumerate(self.targets)}
        return files | {"rt_is": render_columns(PARTICLES, as_columns(self.particles))}


def matches_of(arrays: Mapping[str, NDArray[Any]], rows: Ints, size: tuple[int, int]) -> Found:
    """The rows of ``rt_is`` and ``_targets``.

    Args:
        arrays: of a table of particles.
        rows: of :func:`order_of`.
        size: width and height of an image [px].
    """
    seen = seen_in(arrays, size)[rows]
    n_cams = seen.shape[1]
    pointers = np.full((n_cams, len(rows)), -1, np.intp)
    targets = []
    for camera in range(n_cams):
        here = np.flatnonzero(seen[:, camera])
        here = here[np.argsort(arrays["pixels"][rows[here], camera, 1], kind="stable")]
        pointers[camera, here] = np.arange(len(here))
        targets.append(_target_rows(arrays, rows[here], here, camera))
    views = seen.sum(axis=1)
    counts = tuple(int((views == n).sum()) for n in range(n_cams, min(n_cams, 2) - 1, -1))
    return Found(particle_rows(arrays["positions"][rows], pointers), targets, counts)


def _target_rows(arrays: Mapping[str, NDArray[Any]], rows: Ints, particle: Ints, camera: int) -> Rows:
    table = np.zeros(len(rows), TARGETS.dtype)
    sigma = arrays["sigma"][rows, camera].astype(np.float64)
    width = np.maximum(np.rint(_WIDTH * sigma), 1)
    grey = 2 * np.pi * sigma[:, 0] * sigma[:, 1] * arrays["intensities"][rows, camera]
    table["pnr"] = np.arange(len(rows))
    table["x"], table["y"] = arrays["pixels"][rows, camera, 0], arrays["pixels"][rows, camera, 1]
    table["nx"], table["ny"] = width[:, 0], width[:, 1]
    table["n"] = np.maximum(np.rint(np.pi / 4 * width[:, 0] * width[:, 1]), 1)
    table["sumg"] = np.clip(np.rint(grey), 1, _LARGEST_INT)
    table["tnr"] = particle
    return table
