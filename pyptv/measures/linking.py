"""The tracker's own links in a few frames, and how many of them it makes by chance.

The chance level: the same frames, each displaced as a whole by a vector of its own, so that nothing in one belongs to anything
in the next; targets move with their particles, and those without a particle on their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.engines.optv.backend import project
from pyptv.measures.frames import MatchedFrame, X, Y
from pyptv.measures.motion import expected_false

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.experiment.folder import Experiment
    from pyptv.measures.bench import TrackedFrame, Workbench

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LinkChance:
    """Links of a sample, and what chance makes with the same limits. Sums over the steps looked at."""

    particles: int
    """That could be linked to the next frame."""
    links: int
    by_chance: int
    """Links between the same frames torn apart: nothing there belongs together."""
    expected_false: float
    """Wrong links among ``links``: ``by_chance`` scaled by what the true links leave over."""
    added: int
    """Particles that the tracker added."""

    @property
    def true(self) -> float:
        """Links minus those that are expected to be wrong."""
        return self.links - self.expected_false


def link_chance(bench: Workbench, runs: Sequence[Sequence[MatchedFrame]], seed: int = 0) -> LinkChance:
    """Track runs of consecutive frames with the parameters of the workbench, and once more with the frames torn apart.

    Raises:
        ProcessingError: the tracker failed.
    """
    rng = np.random.default_rng(seed)
    particles = links = by_chance = added = 0
    for run in runs:
        if len(run) < 2:
            continue
        real = bench.track(run)
        torn = bench.track([displaced(bench.experiment, frame, rng) for frame in run])
        particles += sum(len(frame.position) for frame in run[:-1])
        links += count(real)
        by_chance += count(torn)
        added += sum(len(after.position) - len(before.position) for before, after in zip(run, real, strict=True))
    return LinkChance(particles, links, by_chance, expected_false(links, by_chance, particles), added)


@dataclass(frozen=True)
class BothWays:
    """Links of the same frames tracked forward and backward. Sums over the steps looked at."""

    forward: int
    backward: int
    agree: int
    """Links that both make."""

    @property
    def share(self) -> float:
        """Of the forward links those that tracking backward makes as well; NaN without any."""
        return self.agree / self.forward if self.forward else float("nan")


def both_ways(bench: Workbench, runs: Sequence[Sequence[MatchedFrame]]) -> BothWays:
    """Track runs of consecutive frames forward and backward, the velocity limits mirrored.

    Raises:
        ProcessingError: the tracker failed.
    """
    limits = bench.experiment.parameters.track
    mirrored = {f"dv{axis}min": -getattr(limits, f"dv{axis}max") for axis in "xyz"}
    mirrored |= {f"dv{axis}max": -getattr(limits, f"dv{axis}min") for axis in "xyz"}
    back = bench.with_track(replace(limits, **mirrored))
    forward = backward = agree = 0
    for run in runs:
        if len(run) < 2:
            continue
        there, again = bench.track(run), back.track(run[::-1])[::-1]
        for step in range(len(run) - 1):
            ahead = {(row, int(to)) for row, to in enumerate(there[step].following) if to >= 0}
            behind = {(int(to), row) for row, to in enumerate(again[step + 1].following) if to >= 0}
            forward, backward, agree = forward + len(ahead), backward + len(behind), agree + len(ahead & behind)
    return BothWays(forward, backward, agree)


def count(run: Sequence[TrackedFrame]) -> int:
    """Links in a tracked run."""
    return sum(int(np.count_nonzero(frame.following >= 0)) for frame in run[:-1])


def displaced(experiment: Experiment, frame: MatchedFrame, rng: np.random.Generator) -> MatchedFrame:
    """A frame whose particles are displaced together, at random; what leaves the box around them enters at the other side."""
    ptv = experiment.parameters.ptv
    finite = np.isfinite(frame.position).all(axis=1)
    position = frame.position.copy()
    if finite.any():
        low, high = np.percentile(position[finite], (0.5, 99.5), axis=0)
        side = np.maximum(high - low, 1e-9)
        position[finite] = low + (position[finite] - low + rng.uniform(0.2, 0.8, 3) * side) % side
    places = project(position, experiment.parameters, experiment.calibrations)
    targets, pointers = [], frame.target.copy()
    for camera, rows in enumerate(frame.targets):
        moved = rows.copy()
        shift = rng.uniform(0.2, 0.8, 2) * (ptv.imx, ptv.imy)
        moved[:, X : Y + 1] = (moved[:, X : Y + 1] + shift) % (ptv.imx, ptv.imy)
        own = np.flatnonzero((frame.target[:, camera] >= 0) & finite)
        moved[frame.target[own, camera], X : Y + 1] = places[camera, own]
        order = np.argsort(moved[:, Y], kind="stable")
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        targets.append(moved[order])
        seen = frame.target[:, camera] >= 0
        pointers[seen, camera] = back[frame.target[seen, camera]]
    return MatchedFrame(frame.number, tuple(targets), position, pointers)
