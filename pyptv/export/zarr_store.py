"""A Zarr store in the layout of flowtracks: the group ``trajectories`` with an array a quantity, one row a particle and frame."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from pyptv.export.data import Dataset

_ROWS_A_CHUNK = 100_000


def write(dataset: Dataset, path: Path) -> None:
    """Write the store; its ``time`` is the frame number. The metadata are attributes of the root group."""
    data, units = dataset.trajectories, dataset.units
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
    arrays = {
        "trajid": data.id,
        "time": data.frame,
        "pos": data.position,
        "vel": data.velocity,
        "accel": data.acceleration,
    }
    for name, values in arrays.items():
        chunk = (min(len(values), _ROWS_A_CHUNK), *values.shape[1:])
        group.create_array(name, data=values, chunks=chunk)
