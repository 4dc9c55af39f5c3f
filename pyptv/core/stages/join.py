"""Combining the links of two passes: ``--tracking both``.

Of the pairs of rows (i, j) of two successive frames that the passes link:

- a pair that both link is *confirmed*;
- a pair that one links, while the other links neither of its rows, is *joined*;
- all others *contradict* each other: the other pass links i, or j, to another row. None of them is used.

So no row has two links, and both passes have equal weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyptv.core.base.errors import FormatError
from pyptv.core.base.events import LinksJoined
from pyptv.core.experiment.folder import Experiment
from pyptv.core.experiment.passes import backward_pass, forward_pass, mirrored
from pyptv.core.files.atomic import write_atomic
from pyptv.core.files.formats import ADDED, LINKS, PASSES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.files.formats import Rows

    Pointers = NDArray[np.int64]

NO_ROW, NO_NEXT = -1, -2
FORWARD, BACKWARD, BOTH = 1, 2, 3


class Joined(NamedTuple):
    """The links from one frame to the next; -1 for none."""

    rows: Pointers
    """(n,) the row of the next frame that each row is linked to."""
    forward: Pointers
    """(n,) the same, for the forward pass."""
    backward: Pointers
    """(n,) the same, for the backward pass."""
    found_by: Pointers
    """(n,) 3 both, 1 the forward pass, 2 the backward pass, 0 no link."""


def join(forward: Pointers, backward: Pointers, n_next: int) -> Joined:
    """Combine two sets of links.

    Args:
        forward: (n,) row of the next frame that the forward pass links each row to, -1 for none; no row twice.
        backward: (n,) likewise, of the backward pass.
        n_next: particles of the next frame.
    """
    confirmed = (forward >= 0) & (forward == backward)
    alone = [_unopposed(one, other, n_next) for one, other in ((forward, backward), (backward, forward))]
    found_by = np.select([confirmed, *alone], [BOTH, FORWARD, BACKWARD], 0)
    rows = np.select([confirmed | alone[0], alone[1]], [forward, backward], NO_ROW)
    return Joined(rows, forward, backward, found_by)


def _unopposed(one: Pointers, other: Pointers, n_next: int) -> NDArray[np.bool_]:
    """Which links of one pass have two rows without a link in the other pass."""
    taken = np.zeros(n_next + 1, bool)
    taken[other] = True
    taken[NO_ROW] = False
    return (one >= 0) & (other < 0) & ~taken[one]


def stated_twice(out: Pointers, back: Pointers) -> Pointers:
    """(n,) the links stated by both of their rows, -1 for none; in consistent ``ptv_is`` files these are all links.

    Args:
        out: (n,) row of the other frame, below 0 for none.
        back: (m,) row of this frame that each row of the other one states.
    """
    inside = (out >= 0) & (out < len(back))
    links = np.where(inside, out, NO_ROW)
    agree = np.zeros(len(out), bool)
    agree[inside] = back[links[inside]] == np.flatnonzero(inside)
    return np.where(agree, links, NO_ROW)


@dataclass(frozen=True)
class _Frame:
    """The results of both passes for a frame: rows of ``ptv_is``, and the forward pass's file ``added``."""

    forward: Rows
    backward: Rows
    added: Rows


class Joiner:
    """Combines the links of frames in succession."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._forward, self._backward = forward_pass(experiment), backward_pass(experiment)
        self._frames: dict[int, _Frame | None] = {}

    def frame(self, number: int) -> LinksJoined:
        """Write the combined links of a frame, if both passes have results of it.

        Raises:
            FormatError: a file of a pass is damaged.
        """
        before, now, after = (self._read(frame) for frame in (number - 1, number, number + 1))
        self._frames = {frame: self._frames[frame] for frame in (number - 1, number, number + 1)}
        if now is None:
            return LinksJoined(number)
        links = _between(now, after)
        arriving = np.full(len(now.forward), NO_ROW)
        if before is not None:
            leaving = _between(before, now).rows
            arriving[leaving[leaving >= 0]] = np.flatnonzero(leaving >= 0)
        leaving = np.where(links.rows >= 0, links.rows, NO_NEXT)
        results = self._experiment.results
        passes = np.column_stack([links.forward, links.backward, links.found_by])
        write_atomic(results / f"passes.{number}", PASSES.render([tuple(row) for row in passes.tolist()]))
        for table, of_the_pass in ((ADDED, now.added), (LINKS, now.forward)):
            rows = of_the_pass.copy()  # the next frame still needs it
            rows["previous"], rows["next"] = arriving, leaving
            write_atomic(results / f"{table.name}.{number}", table.render(rows))
        alone = links.found_by == 0
        return LinksJoined(
            frame=number,
            particles=len(now.forward),
            confirmed=int(np.sum(links.found_by == BOTH)),
            forward=int(np.sum(links.found_by == FORWARD)),
            backward=int(np.sum(links.found_by == BACKWARD)),
            contradicted=int(np.sum(alone & (links.forward >= 0)) + np.sum(alone & (links.backward >= 0))),
            last=after is None,
        )

    def _read(self, number: int) -> _Frame | None:
        if number not in self._frames:
            self._frames[number] = self._read_anew(number)
        return self._frames[number]

    def _read_anew(self, number: int) -> _Frame | None:
        path = self._forward.result_path("ptv_is", number)
        if not path.exists():
            return None
        forward = LINKS.read(path)
        added = ADDED.read(self._forward.result_path("added", number))
        path = self._backward.result_path("ptv_is", mirrored((number, number))[0])
        # none if the backward pass failed at the frame
        backward = LINKS.read(path) if path.exists() else _unlinked(len(forward))
        for rows in (backward, added):
            if len(rows) != len(forward):
                raise FormatError(f"{path}: found {len(rows)} particles, expected those {len(forward)} of the forward pass")
        return _Frame(forward, backward, added)


def _between(now: _Frame, after: _Frame | None) -> Joined:
    """The links from a frame to the next one. In the files of the backward pass the next frame is the previous one."""
    if after is None:
        none = np.full(len(now.forward), NO_ROW)
        return join(none, none, 0)
    forward = stated_twice(now.forward["next"], after.forward["previous"])
    backward = stated_twice(now.backward["previous"], after.backward["next"])
    return join(forward, backward, len(after.forward))


def _unlinked(n: int) -> Rows:
    rows = np.zeros(n, LINKS.dtype)
    rows["previous"], rows["next"] = NO_ROW, NO_NEXT
    return rows
