"""The tracker's own links in a few frames, and how many of them it makes by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyptv.measures.frames import MatchedFrame

if TYPE_CHECKING:
    from pyptv.measures.bench import Workbench


@dataclass(frozen=True)
class LinkChance:
    """Links of a sample, and what chance makes with the same limits. Sums over the steps looked at."""

    particles: int
    """That could be linked to the next frame."""
    links: int
    by_chance: int
    """Links between the same frames with all particles displaced at random: nothing there belongs together."""
    expected_false: float
    """Wrong links among ``links``: ``by_chance`` scaled by what the true links leave over."""

    @property
    def true(self) -> float:
        """Links minus those that are expected to be wrong."""
        return self.links - self.expected_false


def link_chance(bench: Workbench, runs: Sequence[Sequence[MatchedFrame]], seed: int = 0) -> LinkChance:
    """Track runs of consecutive frames with the parameters of the workbench, and once more with the frames torn apart."""
    raise NotImplementedError
