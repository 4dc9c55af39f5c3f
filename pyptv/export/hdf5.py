"""HDF5 as flowtracks writes and reads it: the tables ``/particles`` and ``/bounds``, by PyTables.

Y. Meller, A. Liberzon, "Particle Data Management Software for 3D Particle Tracking Velocimetry and Related Applications -
The Flowtracks Package", Journal of Open Research Software 4 (2016) e23.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from pyptv.export.data import Dataset


def write(dataset: Dataset, path: Path) -> None:
    """Write the file; its ``time`` is the frame number. The metadata are attributes of the root group."""
    tables = import_module("tables")
    try:
        import_module("flowtracks.io").save_particles_table(str(path), _trajectories(dataset))
        with tables.open_file(str(path), mode="a") as file:
            for name, value in dataset.metadata.items():
                file.set_node_attr("/", name, value)
        with tables.open_file(str(path)) as file:
            _check(file.root, dataset)
    except (tables.HDF5ExtError, tables.NodeError) as error:
        raise OSError(errno.EIO, "HDF5 could not write all of it; is the disk full?") from error


def _check(root: Any, dataset: Dataset) -> None:
    """Raise ``OSError`` unless every row is in the file: PyTables passes over some failures to write."""
    start = 0
    for block in dataset.ordered.blocks():
        stop = start + len(block.id)
        if not np.array_equal(root.particles.read(start, stop, field="trajid"), block.id):
            raise OSError(errno.EIO, "HDF5 lost rows; is the disk full?")
        start = stop


def _trajectories(dataset: Dataset) -> Iterator[Any]:
    """One trajectory at a time: flowtracks' own objects are large."""
    trajectory = import_module("flowtracks.trajectory").Trajectory
    for block in dataset.blocks():
        for start, stop in pairwise(block.offsets.tolist()):
            rows = slice(start, stop)
            yield trajectory(
                block.position[rows],
                block.velocity[rows],
                block.frame[rows],
                int(block.id[start]),
                accel=block.acceleration[rows],
            )
