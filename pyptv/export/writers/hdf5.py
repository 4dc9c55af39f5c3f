"""HDF5 in the layout of flowtracks, the indexed tables ``/particles`` and ``/bounds``, written by PyTables in blocks.

Y. Meller, A. Liberzon, "Particle Data Management Software for 3D Particle Tracking Velocimetry and Related Applications -
The Flowtracks Package", Journal of Open Research Software 4 (2016) e23.
"""

from __future__ import annotations

import errno
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.export.data import Dataset
from pyptv.export.frame_table import details_of
from pyptv.trajectories.arrays import Trajectories

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PARTICLE = np.dtype([("trajid", "i8"), ("pos", "f8", 3), ("velocity", "f8", 3), ("accel", "f8", 3), ("time", "i8")])
_BOUNDS = np.dtype([("trajid", "i8"), ("first", "i8"), ("last", "i8")])
"""First and last frame of a trajectory."""


def write(dataset: Dataset, path: Path) -> None:
    """Write the file; its ``time`` is the frame number. The metadata are attributes of the root group."""
    tables = import_module("tables")
    try:
        with tables.open_file(str(path), mode="w") as file:
            _fill(file, dataset)
        with tables.open_file(str(path)) as file:
            _check(file.root, dataset)
    except (tables.HDF5ExtError, tables.NodeError) as error:
        raise OSError(errno.EIO, "HDF5 could not write all of it; is the disk full?") from error


def _fill(file: Any, dataset: Dataset) -> None:
    for name, value in dataset.metadata.items():
        file.set_node_attr("/", name, value)
    bounds = file.create_table("/", "bounds", _BOUNDS, expectedrows=dataset.ordered.trajectories)
    particles: Any = None
    for block in dataset.blocks():
        rows = _particles(block)
        if particles is None:
            particles = file.create_table("/", "particles", rows.dtype, expectedrows=dataset.rows)
        particles.append(rows)
        bounds.append(_bounds(block))
    for column in (particles.cols.trajid, particles.cols.time, bounds.cols.trajid):
        column.create_index()


def _particles(block: Trajectories) -> Any:
    details = details_of(block)
    rows = np.empty(len(block.id), _row_type(details))
    rows["trajid"], rows["time"] = block.id, block.frame
    rows["pos"], rows["velocity"], rows["accel"] = block.position, block.velocity, block.acceleration
    for name, values in details.items():
        rows[name] = values
    return rows


def _row_type(details: dict[str, NDArray[Any]]) -> np.dtype[np.void]:
    """A row of the table: flowtracks' columns, followed by details of post-processing."""
    return np.dtype([*_PARTICLE.descr, *((name, values.dtype, values.shape[1:]) for name, values in details.items())])


def _bounds(block: Trajectories) -> Any:
    rows = np.empty(len(block.lengths), _BOUNDS)
    first, last = block.offsets[:-1], block.offsets[1:] - 1
    rows["trajid"], rows["first"], rows["last"] = block.id[first], block.frame[first], block.frame[last]
    return rows


def _check(root: Any, dataset: Dataset) -> None:
    """Raise ``OSError`` unless every row is in the file: PyTables ignores some write errors."""
    start = 0
    for block in dataset.ordered.blocks():
        stop = start + len(block.id)
        if not np.array_equal(root.particles.read(start, stop, field="trajid"), block.id):
            raise OSError(errno.EIO, "HDF5 lost rows; is the disk full?")
        start = stop
