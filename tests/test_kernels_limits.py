"""Motion that lies exactly at a limit, where the last bit of a number decides: the compiled tracker decides as optv does.

Particles stand far apart on a lattice and move on their own, each by some thousandths of a millimetre, so that every one of
them is a trial of the same decision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pyptv.core.engines.optv.backend import project
from pyptv.core.files.formats import PARTICLES, TARGETS

pytest.importorskip("numba")
from test_kernels_tracking import assert_as_optv, frame_of, limits, setting, total

N_FRAMES = 6
LATTICE = np.array([(x, y, z) for x in range(-36, 37, 9) for y in range(-27, 28, 9) for z in (-12, 0, 12)], float)
AXES = np.vstack([np.eye(3), -np.eye(3)])
DIAGONALS = np.array([step for step in np.ndindex(3, 3, 3) if 0 < np.count_nonzero(np.array(step) - 1) < 3]) - 1.0
UNIT_STEPS = np.vstack([AXES, [(0.6, 0.8, 0), (0, -0.6, 0.8)]])
Motion = tuple[list[np.ndarray], dict[str, Any]]


def thousandths(rng: np.random.Generator, most: int = 40) -> np.ndarray:
    return rng.integers(-most, most + 1, LATTICE.shape) / 1000


def straight(rng: np.random.Generator) -> Motion:
    """Forwards and backwards along a line: cosines of 1 and -1, or just beyond, where there is no angle."""
    along = thousandths(rng)
    lengths = rng.integers(1, 12, (N_FRAMES - 1, len(LATTICE), 1)) * rng.choice([1, -1], (N_FRAMES - 1, 1, 1))
    return list(along * lengths), {"angle": float(rng.choice([50, 200])), "dacc": float(rng.choice([0.05, 0.5]))}


def square(rng: np.random.Generator) -> Motion:
    """Turns of 0, 100 and 200 gon, with a limit of 100."""
    lengths = rng.integers(1, 900, (N_FRAMES - 1, len(LATTICE), 1)) / 1000
    return list(AXES[rng.integers(0, 6, lengths.shape[:2])] * lengths), {"angle": 100.0, "dacc": 8.0}


def diagonal(rng: np.random.Generator) -> Motion:
    """Turns of 50 gon, with that limit, and others."""
    lengths = rng.integers(1, 900, (N_FRAMES - 1, len(LATTICE), 1)) / 1000
    return list(DIAGONALS[rng.integers(0, len(DIAGONALS), lengths.shape[:2])] * lengths), {"angle": 50.0, "dacc": 8.0}


def accelerated(rng: np.random.Generator) -> Motion:
    """Accelerations at the limit, and at the tenth of it below which the angle does not matter."""
    dacc = float(rng.choice([0.1, 0.25, 0.3, 0.5]))
    steps = [5 * thousandths(rng)]
    for _ in range(N_FRAMES - 2):
        share = rng.choice([1.0, 1.0, 0.1], (len(LATTICE), 1))
        steps.append(steps[-1] + UNIT_STEPS[rng.integers(0, len(UNIT_STEPS), len(LATTICE))] * dacc * share)
    return steps, {"angle": 200.0, "dacc": dacc}


def fast(rng: np.random.Generator) -> Motion:
    """Displacements at the limits of their axes."""
    ends = np.array([(0.5, 0, 0), (0, -0.3, 0), (0, 0, 0.7), (-0.5, 0, 0), (0, 0.9, 0), (0, 0, -0.1), (0.2, 0.1, 0.1)])
    names = ("dvxmax", "dvymin", "dvzmax", "dvxmin", "dvymax", "dvzmin")
    box = {name: float(end[np.flatnonzero(end)[0]]) for name, end in zip(names, ends, strict=False)}
    return [ends[rng.integers(0, len(ends), len(LATTICE))] for _ in range(N_FRAMES - 1)], {"angle": 200.0, "dacc": 8.0, **box}


@pytest.mark.parametrize("add", [False, True], ids=["", "add"])
@pytest.mark.parametrize("motion", [straight, square, diagonal, accelerated, fast], ids=lambda motion: motion.__name__)
def test_the_last_bit(motion: Callable[[np.random.Generator], Motion], add: bool, tmp_path) -> None:
    links = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        steps, track = motion(rng)
        of = setting(flagNewParticles=add, **(limits(4) | track))
        places = [LATTICE + rng.integers(-1000, 1001, LATTICE.shape) / 1000]
        for step in steps:
            places.append(places[-1] + step)
        matched = [rng.random(len(LATTICE)) > 0.05 * add for _ in places]
        frames = [frame_of(of, np.round(place, 3), found) for place, found in zip(places, matched, strict=True)]
        links += total(assert_as_optv(of, frames, tmp_path / f"s{seed}", seed), "links")
    assert links > 1000


@pytest.mark.parametrize("second", [(-1, -1), (1, -1)], ids=["opposite", "mirrored"])
def test_targets_at_equal_distances(second: tuple[int, int], tmp_path) -> None:
    """Two targets as far from where the search begins, but for the last bit or not even that: then only the first counts."""
    links = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        of = setting(flagNewParticles=False, **limits(0.4), dacc=5.0, angle=250.0)
        places = LATTICE[LATTICE[:, 2] == 0] + rng.integers(-1000, 1001, (63, 3)) / 1000
        step = rng.integers(-150, 151, places.shape) / 1000
        start = np.round(project(places, of.parameters, of.calibrations), 4)
        shift = np.round(rng.uniform(-2.5, 2.5, start.shape), 1 if seed % 2 else 4)
        order = rng.permutation(2 * len(places))
        frames = [frame_at(places, start)]
        for times in (1, 2, 3):
            both = np.vstack([places + times * step, places - times * step])[order]
            seen = np.concatenate([start + times * shift, start + times * shift * second], axis=1)[:, order]
            frames.append(frame_at(both, np.round(seen, 4)))
        links += total(assert_as_optv(of, frames, tmp_path / f"s{seed}", seed), "links")
    assert links > 500


def frame_at(places: np.ndarray, pixels: np.ndarray) -> dict[str, bytes]:
    """The files of a frame whose particles are seen at given places in the images, (n_cams, n, 2), wherever they are."""
    targets = np.empty(pixels.shape[:2], int)
    files = {}
    for camera, xy in enumerate(pixels):
        by_y = np.argsort(xy[:, 1], kind="stable")
        targets[camera, by_y] = np.arange(len(xy))
        rows = [(n, *xy[row].tolist(), 9, 3, 3, 200, int(row)) for n, row in enumerate(by_y)]
        files[f"targets{camera + 1}"] = TARGETS.render(rows)
    rows = [(n + 1, *place, *seen) for n, (place, seen) in enumerate(zip(places.tolist(), targets.T.tolist(), strict=True))]
    return files | {"rt_is": PARTICLES.render(rows)}
