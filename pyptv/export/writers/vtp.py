"""Writes a ``.vtp`` file: points, or polylines through them, with data at each point.

The format is VTK's "XML file formats" (https://docs.vtk.org/en/latest/vtk_file_formats/vtkxml_file_format.html), ``PolyData``:
arrays inline, each as Base64 of blocks compressed with zlib. None of the light libraries is suitable: pyevtk and uvw cannot
write text as field data, meshio cannot write ``.vtp``; VTK itself takes 560 MB.
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

_TYPES = {"f": "Float", "i": "Int"}
_BLOCK = 1 << 16
"""Bytes per compressed block."""


def write_points(path: Path, position: Array, data: Mapping[str, Array], metadata: str) -> None:
    """Write points, each as a vertex.

    Args:
        path: the file.
        position: (n, 3) float64.
        data: name -> (n,) or (n, k) numbers.
        metadata: text of ASCII characters, as field data ``metadata``.
    """
    ends = np.arange(1, len(position) + 1)
    _write(path, position, data, metadata, verts=ends)


def write_lines(path: Path, position: Array, lengths: Array, data: Mapping[str, Array], metadata: str) -> None:
    """Write polylines; the points of a line follow each other.

    Args:
        path: the file.
        position: (n, 3) float64.
        lengths: (m,) points of each line; their sum is n.
        data: name -> (n,) or (n, k) numbers.
        metadata: text of ASCII characters, as field data ``metadata``.
    """
    _write(path, position, data, metadata, lines=np.cumsum(lengths))


def _write(path: Path, position: Array, data: Mapping[str, Array], metadata: str, **ends: Array) -> None:
    n = len(position)
    counts = "".join(f' NumberOf{kind.capitalize()}="{len(last)}"' for kind, last in ends.items())
    with path.open("w", encoding="ascii") as file:
        file.write(
            '<?xml version="1.0"?>\n<VTKFile type="PolyData" version="1.0" byte_order="LittleEndian" header_type="UInt64" '
            'compressor="vtkZLibDataCompressor">\n<PolyData>\n<FieldData>\n'
            '<DataArray type="String" Name="metadata" NumberOfTuples="1" format="ascii">\n'
        )
        file.write(" ".join(map(str, metadata.encode("ascii"))) + " 0\n</DataArray>\n</FieldData>\n")
        file.write(f'<Piece NumberOfPoints="{n}"{counts}>\n<PointData>\n')
        for name, values in data.items():
            file.writelines(_array(name, values))
        file.write("</PointData>\n<Points>\n")
        file.writelines(_array("Points", position))
        file.write("</Points>\n")
        for kind, last in ends.items():
            file.write(f"<{kind.capitalize()}>\n")
            file.writelines(_array("connectivity", np.arange(n)))
            file.writelines(_array("offsets", last))
            file.write(f"</{kind.capitalize()}>\n")
        file.write("</Piece>\n</PolyData>\n</VTKFile>\n")


def _array(name: str, values: Array) -> Iterator[str]:
    """A ``DataArray``. Its bytes: number of blocks, size of a block, of the last (0: a full one), compressed sizes; blocks."""
    columns = f' NumberOfComponents="{values.shape[1]}"' if values.ndim > 1 else ""
    kind = f"{_TYPES[values.dtype.kind]}{8 * values.dtype.itemsize}"
    yield f'<DataArray type="{kind}" Name="{name}"{columns} format="binary">\n'
    raw = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
    blocks = [zlib.compress(raw[start : start + _BLOCK]) for start in range(0, len(raw), _BLOCK)]
    header = [len(blocks), _BLOCK, len(raw) % _BLOCK, *map(len, blocks)]
    yield b64encode(np.array(header, dtype="<u8").tobytes()).decode("ascii")
    yield b64encode(b"".join(blocks)).decode("ascii")
    yield "\n</DataArray>\n"
