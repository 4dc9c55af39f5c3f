"""The record of a run: from ``res/run_report.json``, and from the result files for missing information."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.core.base.errors import FormatError, ProcessingError
from pyptv.core.base.regular_files import open_regular
from pyptv.core.experiment.folder import Experiment
from pyptv.core.experiment.parameters.schema import MAX_CAMERAS
from pyptv.core.files.formats import LINKS, PARTICLES, TARGET_COLUMNS, announced
from pyptv.core.files.result_names import frames_with
from pyptv.core.record.run_report import FILE_NAME, read_run_report

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]

KINDS = ("quadruplets", "triplets", "pairs")
"""Correspondences of four, three and two targets."""

MOST_FRAMES_READ = 1000
"""Maximum number of frames read of a run without a run report, evenly spread."""

MOST_MISSING = 100_000
"""Maximum number of listed missing frames: a stray file may have any number."""

_LONGEST_COUNT = 20
_LARGEST = 9_999_999_999


@dataclass(frozen=True)
class Failure:
    """A frame without results, with the reason."""

    frame: int
    step: str
    reason: str


@dataclass(frozen=True)
class SequenceSeries:
    """The sequence step over the frames; NaN if a file cannot be read."""

    frame: Integers
    """(n,) ascending."""
    targets: Floats
    """(n_cameras, n) number of targets."""
    kinds: dict[str, Floats]
    """Kind of correspondence -> (n,) number; only the kinds possible with these cameras."""
    particles: Floats
    """(n,)"""


@dataclass(frozen=True)
class TrackingSeries:
    """The tracking step over the frames that have a next frame."""

    frame: Integers
    """(n,) ascending."""
    particles: Floats
    links: Floats
    """(n,) particles linked to the next frame."""
    lost: Floats
    """(n,) particles that are not linked."""
    added: Floats | None
    """(n,) particles added by the tracker; None: not recorded."""


@dataclass(frozen=True)
class Record:
    """A run: the request, the results, and the series over its frames."""

    experiment: Experiment
    first: int
    last: int
    done: int
    sequence: SequenceSeries
    tracking: TrackingSeries
    failures: tuple[Failure, ...] = ()
    missing: tuple[int, ...] = ()
    """Frames inside the range without results, for reasons that were not recorded."""
    every: int = 1
    """The series contain every n-th frame, n being this number."""
    damaged: tuple[str, ...] = ()
    """Problems of result files that were read."""
    run: dict[str, Any] | None = field(default=None, compare=False)
    """``run_report.json``; None: no report."""

    @property
    def asked(self) -> int:
        """Number of frames of the range."""
        return self.last - self.first + 1

    @property
    def values(self) -> dict[str, Any]:
        """The parameters of the run as a tree with the names of the YAML dialect; the present ones if there is no record."""
        values = self.run["inputs"]["values"] if self.run is not None else None
        return values if isinstance(values, dict) else self.experiment.parameters.as_tree()

    @property
    def dense(self) -> bool:
        """Whether the method ``dense`` was used: its targets are projections of its particles; it has no eps0, no dacc."""
        return self.run is not None and self.run["command"].get("method") == "dense"

    @property
    def num_cams(self) -> int:
        """Number of cameras."""
        return self.experiment.num_cams


def read_record(experiment: Experiment) -> Record:
    """The record of the last run.

    Raises:
        ProcessingError: the experiment has not been processed.
        FormatError: ``run_report.json`` is damaged.
    """
    run = read_run_report(experiment.results)
    there = frames_with(experiment.results, "rt_is")
    if run is None and not there:
        raise ProcessingError(f"{experiment.results}: no run_report.json and no rt_is file; process the experiment first")
    return _from_files(experiment, there) if run is None else _from_run(experiment, run, there)


def _from_run(experiment: Experiment, run: dict[str, Any], there: list[int]) -> Record:
    """The record of a run with a run report; missing series are read from the files of its frames."""
    frames = run["frames"]
    first, last = int(frames["first"]), int(frames["last"])
    sequence, tracking = _sequence_of(run["sequence"], experiment.num_cams), _tracking_of(run["tracking"])
    every = 1
    damaged: tuple[str, ...] = ()
    if not len(sequence.frame) or sequence.targets.shape[0] != experiment.num_cams:
        derived = _from_files(experiment, [frame for frame in there if first <= frame <= last])
        sequence, every, damaged = derived.sequence, derived.every, derived.damaged
    failures = tuple(Failure(int(one["frame"]), str(one["step"]), str(one["reason"])) for one in frames["failed"])
    done = int(frames["done"])
    return Record(experiment, first, last, done, sequence, tracking, failures, every=every, damaged=damaged, run=run)


def _sequence_of(columns: dict[str, Any], num_cams: int) -> SequenceSeries:
    frame = _frames(columns["frame"])
    targets = np.asarray(columns["targets"], dtype=np.float64).reshape(-1, len(frame)) if len(frame) else np.empty((num_cams, 0))
    kinds = {kind: np.asarray(columns[kind], dtype=np.float64) for kind in KINDS if columns[kind] is not None}
    return SequenceSeries(frame, targets, kinds, np.asarray(columns["particles"], dtype=np.float64))


def _tracking_of(columns: dict[str, Any]) -> TrackingSeries:
    """The series without the last frame of each stretch, which has no next one."""
    frame = _frames(columns["frame"])
    particles, links, lost, added = (
        np.asarray(columns[name], dtype=np.float64) for name in ("particles", "links", "lost", "added")
    )
    stepped = links + lost > 0
    return TrackingSeries(frame[stepped], particles[stepped], links[stepped], lost[stepped], added[stepped])


def _frames(column: list[int]) -> Integers:
    """Ascending frame numbers."""
    if column and column[-1] > _LARGEST:
        raise FormatError(f"{FILE_NAME}: found frame {column[-1]}, expected at most {_LARGEST}: remove the file")
    return np.array(column, dtype=np.int64)


# -- from the result files ---------------------------------------------------------------------------------------------


def _from_files(experiment: Experiment, there: Sequence[int]) -> Record:
    first, last = (there[0], there[-1]) if there else (0, -1)
    every = max(1, -(-(last - first + 1) // MOST_FRAMES_READ))
    chosen = [frame for frame in there if (frame - first) % every == 0]
    damaged: list[str] = []
    targets = [[_first_line(experiment.targets_path(camera, frame)) for frame in chosen] for camera in range(experiment.num_cams)]
    seen = np.array([_seen_by(experiment, frame, damaged) for frame in chosen]).reshape(-1, MAX_CAMERAS + 1)
    sequence = SequenceSeries(
        frame=np.array(chosen, dtype=np.int64),
        targets=np.array(targets, dtype=np.float64).reshape(experiment.num_cams, len(chosen)),
        kinds={
            kind: seen[:, cameras] for kind, cameras in zip(KINDS, (4, 3, 2), strict=True) if cameras <= experiment.num_cams > 1
        },
        particles=seen.sum(axis=1),
    )
    missing = tuple(islice((f for before, after in pairwise(there) for f in range(before + 1, after)), MOST_MISSING))
    tracking = _links(experiment, chosen, set(there), damaged)
    return Record(experiment, first, last, len(there), sequence, tracking, (), missing, every, tuple(damaged))


def _first_line(path: Path) -> float:
    """The number of rows stated in a result file; NaN if it cannot be read."""
    try:
        with open_regular(path) as file:
            text = file.readline(_LONGEST_COUNT)
    except OSError:
        return float("nan")
    count = announced(text)
    return float("nan") if count is None else count


def _seen_by(experiment: Experiment, frame: int, damaged: list[str]) -> list[float]:
    """Number of particles of a frame seen by 0, 1, ... 4 cameras; NaN if the file is damaged."""
    try:
        rows = PARTICLES.read(experiment.result_path("rt_is", frame))
    except FormatError as error:
        damaged.append(str(error))
        return [float("nan")] * (MAX_CAMERAS + 1)
    columns = TARGET_COLUMNS[: experiment.num_cams]
    cameras = np.sum([rows[column] >= 0 for column in columns], axis=0, dtype=np.int64)
    return [float(n) for n in np.bincount(cameras, minlength=MAX_CAMERAS + 1)]


def _links(experiment: Experiment, chosen: Sequence[int], there: set[int], damaged: list[str]) -> TrackingSeries:
    rows = []
    for frame in chosen:
        path = experiment.result_path("ptv_is", frame)
        if frame + 1 not in there or not path.exists():
            continue
        try:
            links = LINKS.read(path)
        except FormatError as error:
            damaged.append(str(error))
            continue
        linked = int(np.count_nonzero(links["next"] >= 0))
        rows.append((frame, len(links), linked, len(links) - linked))
    table = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    return TrackingSeries(table[0].astype(np.int64), table[1], table[2], table[3], added=None)
