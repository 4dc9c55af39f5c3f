"""The trajectories as a table: one row per particle and frame, one column per number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyptv.export.data import Dataset
from pyptv.trajectories.arrays import Trajectories

if TYPE_CHECKING:
    from numpy.typing import NDArray

AXES = "xyz"
PREFIXES = {"position": "", "velocity": "v", "acceleration": "a"}
"""Quantity -> prefix of its column names, before the axis."""


def column_units(dataset: Dataset) -> dict[str, str]:
    """Column -> its unit, empty for numbers without a unit; in the order of the table."""
    units = {"id": "", "frame": ""} | ({} if dataset.fit.frame_rate is None else {"time": "s"})
    units |= {f"{prefix}{axis}": dataset.units[name] for name, prefix in PREFIXES.items() for axis in AXES}
    if dataset.processed is None:
        return units
    units |= {"source": "", "origin": ""}
    if dataset.processed.settings.smooth:
        units |= {f"{prefix}{axis}_error": dataset.units[name] for name, prefix in PREFIXES.items() for axis in AXES}
    return units


def columns_of(block: Trajectories) -> dict[str, NDArray[Any]]:
    """Column -> (n,) numbers, in the order of :func:`column_units`."""
    columns: dict[str, NDArray[Any]] = {"id": block.id, "frame": block.frame}
    if block.frame_rate is not None:
        columns["time"] = block.frame / block.frame_rate  # [s], 0 at frame 0
    for name, prefix in PREFIXES.items():
        columns |= {f"{prefix}{axis}": getattr(block, name)[:, index] for index, axis in enumerate(AXES)}
    details = details_of(block)
    columns |= {name: details.pop(name) for name in ("source", "origin") if name in details}
    for name, values in details.items():
        prefix = PREFIXES[name.removesuffix("_error")]
        columns |= {f"{prefix}{axis}_error": values[:, index] for index, axis in enumerate(AXES)}
    return columns


def details_of(block: Trajectories) -> dict[str, NDArray[Any]]:
    """Details of post-processing for the rows: name -> (n,) or (n, 3); empty without post-processing."""
    if block.detail is None:
        return {}
    details: dict[str, NDArray[Any]] = {"source": block.detail.source, "origin": block.detail.origin}
    if block.detail.smoothed is not None:
        details |= {f"{name}_error": getattr(block.detail.smoothed, f"{name}_error") for name in PREFIXES}
    return details
