"""From links to identities: one pass over the ``ptv_is`` files gives each row the id of its trajectory.

``ptv_is`` states each link twice: as ``next`` in the first row, and as ``previous`` in the second row. A link
is valid only if both agree. So no particle has two successors or two predecessors, whatever the files contain. ``optv``
writes both consistently; files that disagree are from two runs, and a warning states how many links were left out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.base.errors import FormatError, ProcessingError
from pyptv.core.base.frames import describe
from pyptv.core.experiment.folder import Experiment
from pyptv.core.files.formats import LINKS
from pyptv.core.files.result_names import frames_with

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]
    Rows = NDArray[np.void]

logger = logging.getLogger(__name__)

_NONE = -2
"""Minimum value of a pointer: -1 (no previous) and -2 (no next) both mean "no link"."""


@dataclass(frozen=True)
class LinkedFrame:
    """A frame with the trajectory of each particle."""

    number: int
    identity: Indices
    """(n,) id of the trajectory of each row."""
    position: Array
    """(n, 3) [mm]."""


def tracked_frames(experiment: Experiment, first: int | None = None, last: int | None = None) -> list[int]:
    """The frames that have a ``ptv_is`` file, ascending, from ``first`` to ``last`` (None: no limit).

    Raises:
        ProcessingError: there are none.
    """
    numbers = frames_with(experiment.results, "ptv_is")
    found = [number for number in numbers if (first is None or number >= first) and (last is None or number <= last)]
    if not found:
        limits = (f" {name} {limit}" for name, limit in (("from", first), ("to", last)) if limit is not None)
        there = f"; there are those of {describe(numbers)}" if numbers else ": run the tracking step first"
        raise ProcessingError(f"{experiment.results}: no ptv_is file{''.join(limits)}{there}")
    return found


def linked_frames(experiment: Experiment, numbers: list[int]) -> Iterator[LinkedFrame]:
    """Read the ``ptv_is`` files of some frames, ascending, and number their trajectories.

    All trajectories end before a missing number. Links from the first frame backward, from the last one forward, and
    into a missing frame leave the range and are ignored.

    Raises:
        FormatError: with the file, the line, what was found and what was expected.
    """
    before: tuple[int, Rows, Indices] | None = None
    next_id = 0
    one_sided = 0
    for number in numbers:
        rows = _read(experiment, number)
        identity = np.full(len(rows), -1, dtype=np.int64)
        if before is not None and before[0] == number - 1:
            leaving, arriving, disagreeing = _links(experiment, number, before[1], rows)
            identity[arriving] = before[2][leaving]
            one_sided += disagreeing
        new = identity < 0
        n_new = int(np.count_nonzero(new))
        identity[new] = np.arange(next_id, next_id + n_new)
        next_id += n_new
        before = number, rows, identity
        yield LinkedFrame(number, identity, np.column_stack([rows[axis] for axis in "xyz"]))
    if one_sided:
        logger.warning(
            "%s: %d links are in only one of two ptv_is files and were left out: are these files from one run?",
            experiment.results,
            one_sided,
        )


def _read(experiment: Experiment, number: int) -> Rows:
    path = experiment.result_path("ptv_is", number)
    rows = LINKS.read(path)
    for column in ("previous", "next"):
        wrong = rows[column] < _NONE
        if wrong.any():
            row = int(np.argmax(wrong))
            raise FormatError(
                f"{path}, line {row + 2}, column {column}: found {rows[column][row]}, expected a row, or -1 or -2 for none"
            )
    return rows


def _links(experiment: Experiment, number: int, before: Rows, rows: Rows) -> tuple[Indices, Indices, int]:
    """Linked rows of the previous frame and of this one, and the number of links that only one of them has."""
    forward, backward = before["next"], rows["previous"]
    _check(experiment.result_path("ptv_is", number - 1), "next", forward, len(rows))
    _check(experiment.result_path("ptv_is", number), "previous", backward, len(before))
    leaving = np.flatnonzero(forward >= 0)
    agreed = leaving[backward[forward[leaving]] == leaving]
    sides = len(leaving) + int(np.count_nonzero(backward >= 0))
    return agreed, forward[agreed].astype(np.int64), sides - 2 * len(agreed)


def _check(path: Path, column: str, pointers: NDArray[np.int32], size: int) -> None:
    wrong = pointers >= size
    if wrong.any():
        row = int(np.argmax(wrong))
        raise FormatError(
            f"{path}, line {row + 2}, column {column}: found row {pointers[row]}, but the {column} frame has {size} rows"
        )
