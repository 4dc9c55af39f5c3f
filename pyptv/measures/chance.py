"""Matches of chance: how many of the particles that were found are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyptv.measures.frames import MatchedFrame

if TYPE_CHECKING:
    from pyptv.measures.bench import Workbench


@dataclass(frozen=True)
class Ghosts:
    """Matches that were found, and those among them that are expected to be accidents; sums over the frames looked at.

    Per kind: seen by all cameras, by one less, ..., by two.
    """

    frames: int
    found: tuple[int, ...]
    expected: tuple[float, ...]

    @property
    def share(self) -> float:
        """Expected ghosts over all that was found; 0 where nothing was."""
        return sum(self.expected) / sum(self.found) if sum(self.found) else 0.0

    @property
    def true(self) -> float:
        """What is left: found minus expected ghosts."""
        return sum(self.found) - sum(self.expected)


def expected_ghosts(bench: Workbench, frames: Sequence[MatchedFrame], seed: int = 0) -> Ghosts:
    """Estimate the ghosts among the matches of some frames, with the parameters of the workbench.

    Args:
        bench: matches as the experiment does.
        frames: at least two, better from several times; as that workbench matched them.
        seed: of the random numbers.
    """
    raise NotImplementedError
