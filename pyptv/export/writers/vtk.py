"""For ParaView: a ``.vtp`` file per frame, a ``.pvd`` that lists them with their times, and all paths as lines.

``.pvd`` is ParaView's list of files (https://www.paraview.org/Wiki/ParaView/Data_formats#PVD_File_Format).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np

from pyptv.export.by_frame import by_frame, rows_of
from pyptv.export.data import Dataset
from pyptv.export.writers.vtp import write_lines, write_points
from pyptv.trajectories.arrays import offsets_of

if TYPE_CHECKING:
    from pyptv.export.by_frame import Rows

SERIES = "trajectories.pvd"
PATHS = "paths"


def write(dataset: Dataset, path: Path) -> None:
    """Write the folder. Particles without a link are in their frame only, not in a path; those at NaN are left out."""
    path.mkdir()
    metadata = json.dumps(dataset.metadata)
    rate = dataset.fit.frame_rate
    series = _Series()
    for number, rows in by_frame(dataset, path):
        name = f"frame_{number}.vtp"
        write_points(path / name, rows["position"], _data(rows), metadata)
        series.add(name, number if rate is None else number / rate, part=0)
    series.save(path / SERIES)
    _write_paths(dataset, path, metadata)


class _Series:
    """A ``.pvd`` file."""

    def __init__(self) -> None:
        self._root = ET.Element("VTKFile", type="Collection", version="0.1", byte_order="LittleEndian")
        self._files = ET.SubElement(self._root, "Collection")

    def add(self, name: str, time: float, part: int) -> None:
        """Add a file with its time."""
        ET.SubElement(self._files, "DataSet", timestep=repr(time), group="", part=str(part), file=name)

    def save(self, path: Path) -> None:
        """Write the list of files."""
        ET.indent(self._root)
        ET.ElementTree(self._root).write(path, encoding="utf-8", xml_declaration=True)


def _data(rows: Rows) -> dict[str, Any]:
    """The data of each point."""
    return {name: rows[name] for name in rows.dtype.names or () if name != "position"}


def _write_paths(dataset: Dataset, path: Path, metadata: str) -> None:
    """Write the trajectories that have at least two rows with a position, each as a polyline; no file if there are none.

    Readers hold a file in memory. So more than a block is written as several files, and a ``.pvd`` that shows them as one.
    """
    names: list[str] = []
    for block in dataset.blocks():
        rows = rows_of(block)
        all_lengths = np.diff(offsets_of(rows["id"]))
        lengths = all_lengths[all_lengths > 1]
        if not len(lengths):
            continue
        names.append(f"{PATHS}_{len(names) + 1}.vtp")
        on_lines = rows[np.repeat(all_lengths > 1, all_lengths)]
        write_lines(path / names[-1], on_lines["position"], lengths, _data(on_lines), metadata)
    if len(names) == 1:
        (path / names[0]).rename(path / f"{PATHS}.vtp")
    elif names:
        series = _Series()
        for part, name in enumerate(names):
            series.add(name, 0, part)
        series.save(path / f"{PATHS}.pvd")
