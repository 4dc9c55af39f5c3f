"""Compare the results of a run with the truth, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.base.errors import FormatError, ProcessingError
from pyptv.core.experiment.output import recorded_experiment
from pyptv.core.files.formats import LINKS, PARTICLES
from pyptv.evaluate.matching import NO_PARTICLE, follow, match
from pyptv.evaluate.scores import FrameScore, Score
from pyptv.synthetic.truth import FILE_NAME, Truth, read_truth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

_UNKNOWNS = 4
"""Number of terms of a linear map from x, y, z to a pixel coordinate."""
DEFAULT_TOLERANCE_PX = 3.0
"""Maximum error of a true detection, in pixels: depth is several times less accurate than the directions in the image."""


def evaluate(
    exp_path: str | Path, first: int | None = None, last: int | None = None, *, tolerance_mm: float | None = None
) -> Score:
    """Score the results in ``exp_path/res`` against ``exp_path/truth.csv``.

    Args:
        exp_path: the experiment folder, or the output folder of a run.
        first: first frame to score; default: the first of the truth.
        last: last frame to score; default: the last of the truth. Frames without results count as not found.
        tolerance_mm: maximum error of a true detection; default: the size of 3 px in the volume.

    Raises:
        ProcessingError: no truth, no results at all in these frames, or scipy is not installed.
        FormatError: a result file is damaged.
    """
    folder = Path(exp_path)
    file = truth_folder(folder) / FILE_NAME
    if not file.is_file():
        raise ProcessingError(f"{file}: not found; only a synthetic experiment can be scored")
    truth = read_truth(file)
    numbers = _frame_numbers(truth, first, last)
    if tolerance_mm is None:
        tolerance_mm = DEFAULT_TOLERANCE_PX * pixel_in_space(truth)
    frames = [_read_frame(folder / "res", truth, number, tolerance_mm) for number in numbers]
    if all(frame.missing for frame in frames):
        raise ProcessingError(f"{folder / 'res'}: no rt_is file of frames {numbers[0]} to {numbers[-1]}; run the batch first")
    return score(frames, tolerance_mm)


def truth_folder(exp_path: Path) -> Path:
    """The folder of the truth: the experiment's folder, even if its results are in an output folder."""
    recorded = recorded_experiment(exp_path.absolute())
    return exp_path if recorded is None else recorded.parent


def pixel_in_space(truth: Truth) -> float:
    """The size of a pixel in the measuring volume [mm]: from a linear fit of pixels to positions, mean of the cameras."""
    if len(truth.frame) < _UNKNOWNS:
        raise ProcessingError(
            "the truth has too few particles to determine the size of a pixel: give a tolerance in mm (--tolerance)"
        )
    design = np.column_stack([truth.position, np.ones(len(truth.position))])
    pixels_per_mm = [
        np.linalg.svd(np.linalg.lstsq(design, pixels, rcond=None)[0][:3], compute_uv=False).mean() for pixels in truth.pixels
    ]
    return float(1 / np.mean(pixels_per_mm))


@dataclass(frozen=True)
class Frame:
    """Truth and result of a frame, and their assignment."""

    number: int
    identity: Indices
    """(m,) the true particles."""
    true: Array
    """(m, 3) true positions [mm]."""
    found: Array
    """(n, 3) measured positions [mm]."""
    pairs: Indices
    """(n,) row of the true particle, or -1."""
    following: Indices | None
    """(n,) row in the results of the next frame, or -1; None without ``ptv_is``."""
    missing: bool
    """No results: no particle was found."""

    @cached_property
    def found_identity(self) -> Indices:
        """(n,) the true particle of each measured one, or -1."""
        result = np.full(len(self.pairs), NO_PARTICLE, dtype=np.int64)
        matched = self.pairs >= 0
        result[matched] = self.identity[self.pairs[matched]]
        return result


def score(frames: list[Frame], tolerance_mm: float) -> Score:
    """The score of consecutive frames.

    Raises:
        FormatError: a link refers to a row that the next frame does not have.
    """
    links = [_links(frame, after) for frame, after in pairwise(frames)]
    links.append(np.full(len(frames[-1].found), NO_PARTICLE, dtype=np.int64))
    after: list[Frame | None] = [*frames[1:], None]
    scores = tuple(_frame_score(*parts) for parts in zip(frames, after, links, strict=True))
    tracked = any(frame.following is not None for frame in frames)
    tracks = follow(links, [frame.found_identity for frame in frames])
    return Score(tolerance_mm, scores, tracked, tracks, _true_lengths(frames))


def _frame_numbers(truth: Truth, first: int | None, last: int | None) -> range:
    if not len(truth.frame):
        raise ProcessingError(f"{FILE_NAME}: holds no particle")
    first = int(truth.frame[0]) if first is None else first
    last = int(truth.frame[-1]) if last is None else last
    if first > last:
        raise ProcessingError(f"first frame ({first}) must be <= last frame ({last})")
    return range(first, last + 1)


def _read_frame(folder: Path, truth: Truth, number: int, tolerance: float) -> Frame:
    rows = truth.rows_of(number)
    identity, true = truth.identity[rows], truth.position[rows]
    rt_is, ptv_is = folder / f"rt_is.{number}", folder / f"ptv_is.{number}"
    if not rt_is.exists():
        nothing = np.empty(0, np.int64)
        return Frame(number, identity, true, np.empty((0, 3)), nothing, following=None, missing=True)
    particles = PARTICLES.read(rt_is)
    found = np.column_stack([particles[axis] for axis in "xyz"])
    following = None
    if ptv_is.exists():
        following = LINKS.read(ptv_is)["next"].astype(np.int64)
        if len(following) != len(particles):
            raise FormatError(
                f"{ptv_is}: {len(following)} rows, but {rt_is.name} has {len(particles)}: they are from different runs"
            )
    return Frame(number, identity, true, found, match(found, true, tolerance), following, missing=False)


def _links(frame: Frame, after: Frame) -> Indices:
    """(n,) row in the next frame, or -1. Links into a missing frame cannot be scored and are left out."""
    if frame.following is None or after.missing:
        return np.full(len(frame.found), NO_PARTICLE, dtype=np.int64)
    if frame.following.max(initial=NO_PARTICLE) >= len(after.found):
        raise FormatError(
            f"ptv_is.{frame.number}: links to row {frame.following.max()}, but frame {after.number} has {len(after.found)} rows"
        )
    return np.maximum(frame.following, NO_PARTICLE)


def _frame_score(frame: Frame, after: Frame | None, links: Indices) -> FrameScore:
    matched = frame.pairs >= 0
    errors = frame.found[matched] - frame.true[frame.pairs[matched]]
    x, y, z = (float(total) for total in (errors**2).sum(axis=0))
    linked = np.flatnonzero(links >= 0)
    owner = frame.found_identity[linked]
    true_links = 0
    if after is not None and len(linked):
        true_links = int(np.count_nonzero((owner != NO_PARTICLE) & (owner == after.found_identity[links[linked]])))
    return FrameScore(
        frame=frame.number,
        missing=frame.missing,
        particles=len(frame.identity),
        found=len(frame.found),
        true=int(np.count_nonzero(matched)),
        squares=(x, y, z),
        links=0 if after is None else len(np.intersect1d(frame.identity, after.identity)),
        links_found=len(linked),
        links_true=true_links,
    )


def _true_lengths(frames: list[Frame]) -> tuple[int, ...]:
    """Durations of each true particle's stays in the volume [frames], without stays of a single frame."""
    number = np.concatenate([np.full(len(frame.identity), frame.number) for frame in frames])
    identity = np.concatenate([frame.identity for frame in frames])
    order = np.lexsort((number, identity))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (np.diff(identity[order]) != 0) | (np.diff(number[order]) != 1)
    lengths = np.bincount(np.cumsum(new) - 1, minlength=1)
    return tuple(lengths[lengths > 1].tolist())
