"""``ptv_is`` and ``rt_is`` files in a separate folder, for PyPTV and for this program.

The folder has the form of an output folder of a run: it records its experiment, so reports, scores and exports can be made from
it. A measured particle keeps its targets; a particle that post-processing added has none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.base.errors import FormatError
from pyptv.core.experiment.output import record_path, record_text
from pyptv.core.files.atomic import write_atomic
from pyptv.core.files.formats import LINKS, PARTICLES, TARGET_COLUMNS
from pyptv.export.by_frame import by_frame, row_type
from pyptv.export.data import LENGTHS, Dataset
from pyptv.trajectories.links import linked_frames, tracked_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.export.by_frame import Rows

    Indices = NDArray[np.int64]

MARK = "export.json"
"""File with the metadata, by which the folder is recognised: no other folder is replaced."""
_NO_TARGET, _NO_PREVIOUS, _NO_NEXT = -1, -1, -2


def write(dataset: Dataset, path: Path) -> None:
    """Write the folder: ``res/ptv_is.FRAME`` and ``res/rt_is.FRAME`` of each tracked frame, positions in mm with 3 decimals."""
    results, record = path / "res", record_path(path)
    record.parent.mkdir(parents=True)
    write_atomic(path / MARK, json.dumps(dataset.metadata, indent=2).encode("ascii") + b"\n")
    before = np.empty(0, np.int64)
    originals = _originals(dataset)
    for (rows, after), (number, identity, particles) in zip(_with_next(dataset, path), originals, strict=True):
        links = np.empty(len(rows), LINKS.dtype)
        new = np.empty(len(rows), PARTICLES.dtype)
        for axis, values in zip("xyz", rows["position"].T * LENGTHS[dataset.length], strict=True):
            links[axis] = new[axis] = values
        links["previous"], links["next"] = _places(rows["id"], before, _NO_PREVIOUS), _places(rows["id"], after, _NO_NEXT)
        new["number"] = np.arange(1, len(rows) + 1)
        source = rows["source"] if dataset.processed is not None else rows["id"]
        row = _places(source, identity, -1)
        for column in TARGET_COLUMNS:
            new[column] = np.where(row >= 0, particles[column][row], _NO_TARGET) if len(particles) else _NO_TARGET
        write_atomic(results / f"rt_is.{number}", PARTICLES.render(new))
        write_atomic(results / f"ptv_is.{number}", LINKS.render(links))
        before = rows["id"]
    write_atomic(record, record_text(dataset.experiment.source))


def _originals(dataset: Dataset) -> Iterator[tuple[int, Indices, Rows]]:
    """For each frame its number, the trajectory of each of the run's particles, and these particles; empty if not tracked."""
    experiment = dataset.experiment
    numbers = tracked_frames(experiment, *dataset.limits)
    tracked = set(numbers)
    frames = linked_frames(experiment, numbers)
    for number in range(numbers[0], numbers[-1] + 1):
        if number not in tracked:
            yield number, np.empty(0, np.int64), np.empty(0, PARTICLES.dtype)
            continue
        identity, path = next(frames).identity, experiment.result_path("rt_is", number)
        if not path.exists():  # trajectories need only links; then their particles have no targets
            yield number, np.empty(0, np.int64), np.empty(0, PARTICLES.dtype)
            continue
        particles = PARTICLES.read(path)
        if len(particles) != len(identity):
            raise FormatError(f"{path}: {len(particles)} rows, but ptv_is has {len(identity)}: they are from different runs")
        yield number, identity, particles


def _with_next(dataset: Dataset, workplace: Path) -> Iterator[tuple[Rows, Indices]]:
    """For each frame its rows, and the ids of the rows of the next frame."""
    nothing = np.empty(0, row_type(processed=dataset.processed is not None))
    numbers = tracked_frames(dataset.experiment, *dataset.limits)
    frames = by_frame(dataset, workplace)
    there = next(frames, None)
    waiting: Rows | None = None
    for number in range(numbers[0], numbers[-1] + 1):
        rows = nothing
        if there is not None and there[0] == number:
            rows, there = there[1], next(frames, None)
        if waiting is not None:
            yield waiting, rows["id"]
        waiting = rows
    yield nothing if waiting is None else waiting, nothing["id"]


def _places(wanted: Indices, ids: Indices, nowhere: int) -> Indices:
    """(n,) the index of each id among other ids (m,), which are unique; ``nowhere`` if it is missing."""
    order = np.argsort(ids, kind="stable")
    found = np.searchsorted(ids[order], wanted)
    hit = np.flatnonzero(found < len(ids))
    hit = hit[ids[order][found[hit]] == wanted[hit]]
    places = np.full(len(wanted), nowhere, dtype=np.int64)
    places[hit] = order[found[hit]]
    return places
