"""The trajectories as a table for pandas: one row a particle and frame, one column a number."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pyptv.export.data import Dataset

AXES = "xyz"
PREFIXES = {"position": "", "velocity": "v", "acceleration": "a"}
"""Quantity -> what stands before the axis in the name of its columns."""


def column_units(dataset: Dataset) -> dict[str, str]:
    """Column -> its unit, empty for numbers that have none; in the order of the table."""
    units = {"id": "", "frame": ""} | ({} if dataset.seconds is None else {"time": "s"})
    return units | {f"{prefix}{axis}": dataset.units[name] for name, prefix in PREFIXES.items() for axis in AXES}


def table(dataset: Dataset) -> Any:
    """A ``pandas.DataFrame``; its ``attrs`` are the metadata."""
    data = dataset.trajectories
    columns: dict[str, Any] = {"id": data.id, "frame": data.frame}
    if dataset.seconds is not None:
        columns["time"] = dataset.seconds
    for name, prefix in PREFIXES.items():
        columns |= {f"{prefix}{axis}": getattr(data, name)[:, index] for index, axis in enumerate(AXES)}
    frame = import_module("pandas").DataFrame(columns)
    frame.attrs = {**dataset.metadata, "column_units": column_units(dataset)}
    return frame
