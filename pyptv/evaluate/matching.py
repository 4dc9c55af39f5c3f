"""Assignment of measured particles to true ones, and of measured links to true ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.core.base.errors import ProcessingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

NO_PARTICLE = -1
"""In place of an identity or a row: a measured particle that is not true, or has no link."""


def match(found: Array, true: Array, tolerance: float) -> Indices:
    """The true particle of each measured one, as in the Lagrangian particle tracking challenge.

    A measured particle is true if it and a true particle are mutual nearest neighbours and not farther apart than the
    tolerance; so none is used twice.

    Args:
        found: (n, 3) measured positions [mm].
        true: (m, 3) true positions [mm].
        tolerance: [mm].

    Returns:
        (n,) index into ``true``, or -1.
    """
    result = np.full(len(found), NO_PARTICLE, dtype=np.int64)
    if not len(found) or not len(true):
        return result
    tree = _kd_tree()
    distance, nearest = tree(true).query(found)
    _, back = tree(found).query(true)
    mutual = (back[nearest] == np.arange(len(found))) & (distance <= tolerance)
    result[mutual] = nearest[mutual]
    return result


@dataclass(frozen=True)
class Tracks:
    """The measured trajectories: chains of links, without single particles."""

    lengths: Indices
    """(n,) particles in each trajectory, at least 2."""
    pure: NDArray[np.bool_]
    """(n,) whether all its particles are true and the same one."""


def follow(links: list[Indices], identities: list[Indices]) -> Tracks:
    """Follow the links from frame to frame.

    Args:
        links: for each frame (n,) the row in the next frame, or -1.
        identities: for each frame (n,) the true particle of each row, or -1.
    """
    starts = np.concatenate([[0], np.cumsum([len(rows) for rows in identities])])
    track = np.full(int(starts[-1]), NO_PARTICLE, dtype=np.int64)
    n_tracks = 0
    for frame, rows in enumerate(links[:-1]):
        linked = np.flatnonzero(rows >= 0) + starts[frame]
        new = linked[track[linked] == NO_PARTICLE]
        track[new] = n_tracks + np.arange(len(new))
        n_tracks += len(new)
        track[starts[frame + 1] + rows[rows >= 0]] = track[linked]
    in_track = track != NO_PARTICLE
    owner, identity = track[in_track], np.concatenate([*identities, np.empty(0, np.int64)])[in_track]
    lengths = np.bincount(owner, minlength=n_tracks)
    first = np.full(n_tracks, NO_PARTICLE, dtype=np.int64)
    first[owner[::-1]] = identity[::-1]
    strangers = np.bincount(owner, weights=(identity != first[owner]) | (identity == NO_PARTICLE), minlength=n_tracks)
    kept = lengths > 1
    return Tracks(lengths[kept], (strangers == 0)[kept])


def _kd_tree() -> Any:
    try:
        from scipy.spatial import KDTree  # an extra
    except ImportError as error:
        raise ProcessingError('scoring needs scipy: pip install "pyptv-batch[evaluate]"') from error
    return KDTree
