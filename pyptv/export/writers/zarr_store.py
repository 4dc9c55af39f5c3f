"""A Zarr store in the layout of flowtracks: the group ``trajectories`` with one array per quantity.

An array has one row per particle and frame, and is written in chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.export.data import Dataset
from pyptv.export.frame_table import details_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Columns = dict[str, NDArray[Any]]
    """Array of the store -> some of its rows."""

_ROWS_A_CHUNK = 100_000


def write(dataset: Dataset, path: Path) -> None:
    """Write the store; its ``time`` is the frame number. The metadata are attributes of the root group."""
    units = dataset.units
    root = import_module("zarr").open_group(str(path), mode="w")
    root.attrs.update(dataset.metadata)
    group = root.create_group("trajectories")
    group.attrs.update(
        {
            "pos_units": units["position"],
            "vel_units": units["velocity"],
            "accel_units": units["acceleration"],
            "time_units": "frame",
        }
    )
    arrays: dict[str, Any] = {}
    start = 0
    for columns in _chunks(dataset):
        for name, values in columns.items():
            if name not in arrays:
                shape, chunk = (dataset.rows, *values.shape[1:]), (min(dataset.rows, _ROWS_A_CHUNK), *values.shape[1:])
                arrays[name] = group.create_array(name, shape=shape, chunks=chunk, dtype=values.dtype)
            arrays[name][start : start + len(values)] = values
        start += len(columns["trajid"])


def _chunks(dataset: Dataset) -> Iterator[Columns]:
    """All rows in pieces of one chunk each: a chunk written in two parts would be compressed twice."""
    left: Columns = {}
    for block in dataset.blocks():
        new = {"trajid": block.id, "time": block.frame, "pos": block.position, "vel": block.velocity, "accel": block.acceleration}
        new |= details_of(block)
        waiting = {name: np.concatenate([left[name], values]) for name, values in new.items()} if left else new
        size = len(waiting["trajid"])
        for start in range(0, size - size % _ROWS_A_CHUNK, _ROWS_A_CHUNK):
            yield {name: values[start : start + _ROWS_A_CHUNK] for name, values in waiting.items()}
        left = {name: values[size - size % _ROWS_A_CHUNK :] for name, values in waiting.items()}
    if len(left["trajid"]):
        yield left
