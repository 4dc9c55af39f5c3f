"""For ParaView: a ``.vtp`` file per frame, a ``.pvd`` that lists them with their times, and all paths as lines.

``.pvd`` is ParaView's list of files (https://www.paraview.org/Wiki/ParaView/Data_formats#PVD_File_Format). Neither VTK nor
pyvista writes it, so the standard library does.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np

from pyptv.export.by_frame import by_frame, rows_of
from pyptv.export.data import Dataset
from pyptv.trajectories.arrays import offsets_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.export.by_frame import Rows

    Indices = NDArray[np.int64]

SERIES = "trajectories.pvd"
PATHS = "paths"


def write(dataset: Dataset, path: Path) -> None:
    """Write the folder. Particles without a link are in their frame, but are no path; those at NaN are nowhere."""
    path.mkdir()
    metadata = json.dumps(dataset.metadata)
    rate = dataset.fit.frame_rate
    series = _Series()
    for number, rows in by_frame(dataset, path):
        name = f"frame_{number}.vtp"
        _save(_points(rows), path / name, metadata)
        series.add(name, number if rate is None else number / rate, part=0)
    series.save(path / SERIES)
    _write_paths(dataset, path, metadata)


class _Series:
    """A ``.pvd`` file."""

    def __init__(self) -> None:
        self._root = ET.Element("VTKFile", type="Collection", version="0.1", byte_order="LittleEndian")
        self._files = ET.SubElement(self._root, "Collection")

    def add(self, name: str, time: float, part: int) -> None:
        """Add a file, with the time that it belongs to."""
        ET.SubElement(self._files, "DataSet", timestep=repr(time), group="", part=str(part), file=name)

    def save(self, path: Path) -> None:
        """Write the list of files."""
        ET.indent(self._root)
        ET.ElementTree(self._root).write(path, encoding="utf-8", xml_declaration=True)


def _points(rows: Rows, lines: Indices | None = None) -> Any:
    """``pyvista.PolyData`` of some rows: points with id, frame, velocity and acceleration; vertices where no lines are."""
    mesh = import_module("pyvista").PolyData(np.ascontiguousarray(rows["position"]), lines=lines)
    for name in (name for name in rows.dtype.names or () if name != "position"):
        mesh.point_data[name] = np.ascontiguousarray(rows[name])
    return mesh


def _write_paths(dataset: Dataset, path: Path, metadata: str) -> None:
    """Write the trajectories that have at least two rows with a position, a polyline each; no file where there are none.

    VTK holds a file in memory. So more than a block makes several files, and a ``.pvd`` that shows them as one.
    """
    names: list[str] = []
    for block in dataset.blocks():
        rows = rows_of(block)
        all_lengths = np.diff(offsets_of(rows["id"]))
        lengths = all_lengths[all_lengths > 1]
        if not len(lengths):
            continue
        starts = np.cumsum(lengths) - lengths
        cells = np.insert(np.arange(int(lengths.sum())), starts, lengths)  # as VTK lists cells: size, points, size, points ...
        names.append(f"{PATHS}_{len(names) + 1}.vtp")
        _save(_points(rows[np.repeat(all_lengths > 1, all_lengths)], cells), path / names[-1], metadata)
    if len(names) == 1:
        (path / names[0]).rename(path / f"{PATHS}.vtp")
    elif names:
        series = _Series()
        for part, name in enumerate(names):
            series.add(name, 0, part)
        series.save(path / f"{PATHS}.pvd")


def _save(mesh: Any, path: Path, metadata: str) -> None:
    """Write a mesh. VTK makes the text, Python the file: VTK crashes where the disk is full."""
    mesh.field_data["metadata"] = [metadata]
    writer = import_module("vtkmodules.vtkIOXML").vtkXMLPolyDataWriter()
    writer.SetInputDataObject(mesh)
    writer.WriteToOutputStringOn()
    writer.Write()
    path.write_text(writer.GetOutputString(), encoding="utf-8")
