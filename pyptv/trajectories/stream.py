"""Trajectories in succession; memory holds only those that have not ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.base.frames import check_range
from pyptv.core.experiment.folder import Experiment
from pyptv.trajectories.arrays import Trajectory, offsets_of
from pyptv.trajectories.links import LinkedFrame, linked_frames, tracked_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

    Live = dict[int, tuple[int, list[Array]]]
    """Id -> first frame, and the positions so far in pieces."""

ROWS_AT_ONCE = 50_000
"""Rows that are sorted into trajectories at a time: enough that the work per frame is small."""


def stream_trajectories(
    experiment: Experiment, first: int | None = None, last: int | None = None, *, min_length: int = 1
) -> Iterator[Trajectory]:
    """The trajectories of some frames, soon after they end.

    One pass over the ``ptv_is`` files. Memory holds the trajectories that have not ended and at most 50 000 further rows.
    Trajectories that end in the same 50 000 rows are yielded in the order of their ids.

    Args:
        experiment: whose results.
        first: first frame number; default: the first one with a ``ptv_is`` file.
        last: last frame number; default: the last one. Frames without a ``ptv_is`` file end all trajectories.
        min_length: minimum number of frames. 1 also gives the particles without any link. Does not change ids.

    Raises:
        ValueError: a bad argument.
        ProcessingError: no ``ptv_is`` file in the range; a ``FormatError`` if one is damaged.
    """
    check_arguments(first, last, min_length)
    live: Live = {}
    block: list[LinkedFrame] = []
    size = 0
    for frame in linked_frames(experiment, tracked_frames(experiment, first, last)):
        block.append(frame)
        size += len(frame.identity)
        if size >= ROWS_AT_ONCE:
            _add(live, block)
            yield from _ended(live, set(frame.identity.tolist()), min_length)
            block, size = [], 0
    _add(live, block)
    yield from _ended(live, set(), min_length)


def check_arguments(first: int | None, last: int | None, min_length: int) -> None:
    """Raise ``ValueError`` unless ``0 <= first <= last`` and ``min_length >= 1``; None: no limit."""
    low = 0 if first is None else first
    check_range(low, max(low, 0) if last is None else last)
    if min_length < 1:
        raise ValueError(f"min_length: found {min_length}, expected at least 1 frame")


def _add(live: Live, block: list[LinkedFrame]) -> None:
    """Sort the rows of some frames into trajectories, and append them to those that have not ended."""
    if not block:
        return
    identity = np.concatenate([frame.identity for frame in block])
    order = np.argsort(identity, kind="stable")  # keeps the order of frames within a trajectory
    numbers = np.repeat([frame.number for frame in block], [len(frame.identity) for frame in block])[order]
    position = np.concatenate([frame.position for frame in block])[order]
    offsets = offsets_of(identity[order])
    starts = offsets[:-1]
    names, firsts = identity[order][starts].tolist(), numbers[starts].tolist()
    for name, number, start, stop in zip(names, firsts, starts.tolist(), offsets[1:].tolist(), strict=True):
        live.setdefault(name, (number, []))[1].append(position[start:stop])


def _ended(live: Live, goes_on: set[int], min_length: int) -> Iterator[Trajectory]:
    """Remove ended trajectories from ``live`` and yield them; the others keep copies, so that the block can be freed."""
    for name in sorted(live.keys() - goes_on):
        first, pieces = live.pop(name)
        position = np.concatenate(pieces)
        if len(position) >= min_length:
            yield Trajectory(name, first, position)
    for name, (first, pieces) in live.items():
        live[name] = first, [*pieces[:-1], pieces[-1].copy()]
