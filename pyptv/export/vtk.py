"""For ParaView: a ``.vtp`` file a frame, a ``.pvd`` that lists them with their times, and all paths as lines.

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

from pyptv.export.data import Dataset
from pyptv.trajectories.arrays import offsets_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Indices = NDArray[np.int64]

SERIES = "trajectories.pvd"
PATHS = "paths.vtp"


def write(dataset: Dataset, path: Path) -> None:
    """Write the folder. Particles without a link are in their frame, but are no path; those at NaN are nowhere."""
    path.mkdir()
    metadata = json.dumps(dataset.metadata)
    data, rate = dataset.trajectories, dataset.trajectories.frame_rate
    rows = np.flatnonzero(np.isfinite(data.position).all(axis=1))  # a point at NaN spoils the bounds of the whole scene
    rows_by_frame = rows[np.argsort(data.frame[rows], kind="stable")]
    numbers, starts = np.unique(data.frame[rows_by_frame], return_index=True)
    series = ET.Element("VTKFile", type="Collection", version="0.1", byte_order="LittleEndian")
    collection = ET.SubElement(series, "Collection")
    for number, rows_of_frame in zip(numbers.tolist(), np.split(rows_by_frame, starts)[1:], strict=True):
        name = f"frame_{number}.vtp"
        _save(_points(dataset, rows_of_frame), path / name, metadata)
        time = number if rate is None else number / rate
        ET.SubElement(collection, "DataSet", timestep=repr(time), group="", part="0", file=name)
    _write_paths(dataset, rows, path / PATHS, metadata)
    ET.indent(series)
    ET.ElementTree(series).write(path / SERIES, encoding="utf-8", xml_declaration=True)


def _points(dataset: Dataset, rows: Indices, lines: Indices | None = None) -> Any:
    """``pyvista.PolyData`` of some rows: points with id, frame, velocity and acceleration; vertices where no lines are."""
    data = dataset.trajectories
    mesh = import_module("pyvista").PolyData(data.position[rows], lines=lines)
    for name in ("id", "frame", "velocity", "acceleration"):
        mesh.point_data[name] = getattr(data, name)[rows]
    return mesh


def _write_paths(dataset: Dataset, rows: Indices, path: Path, metadata: str) -> None:
    """Write the trajectories that have at least two of some rows, a polyline each; no file where there are none."""
    all_lengths = np.diff(offsets_of(dataset.trajectories.id[rows]))
    lengths = all_lengths[all_lengths > 1]
    if not len(lengths):
        return
    starts = np.cumsum(lengths) - lengths
    cells = np.insert(np.arange(int(lengths.sum())), starts, lengths)  # as VTK lists cells: size, points, size, points ...
    _save(_points(dataset, rows[np.repeat(all_lengths > 1, all_lengths)], cells), path, metadata)


def _save(mesh: Any, path: Path, metadata: str) -> None:
    """Write a mesh. VTK makes the text, Python the file: VTK crashes where the disk is full."""
    mesh.field_data["metadata"] = [metadata]
    writer = import_module("vtkmodules.vtkIOXML").vtkXMLPolyDataWriter()
    writer.SetInputDataObject(mesh)
    writer.WriteToOutputStringOn()
    writer.Write()
    path.write_text(writer.GetOutputString(), encoding="utf-8")
