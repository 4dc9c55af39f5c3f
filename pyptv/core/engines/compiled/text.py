"""The text tables of :mod:`pyptv.core.files.formats`, read and written by compiled code: same values, same bytes, same errors.

Input that the kernels do not handle (unusual bytes, values that are not finite) goes to
:class:`~pyptv.core.files.formats.TextTable`, and so does all input until the kernels are compiled: no kernel waits for them.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyptv.core.files.formats import TextTable
from pyptv.kernels.cache import FOR_TEXT, load, ready

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.files.formats import Rows

    Columns = NDArray[np.float64]

_SPECIFIER = re.compile(r"%(\d*)(?:\.(\d+)f|d)")
_WHOLE = -1
_KERNELS = "pyptv.kernels.text"


class _Layout(NamedTuple):
    dtype: np.dtype[np.void]
    widths: NDArray[np.int64]
    decimals: NDArray[np.int64]


@cache
def _layout(table: TextTable) -> _Layout:
    """The layout of a table for the kernels: per column the minimum width, and the decimals, -1 for whole numbers."""
    specifiers = _SPECIFIER.findall(table.row_format)
    widths = [int(width or 0) for width, _ in specifiers]
    decimals = [int(places or _WHOLE) for _, places in specifiers]
    return _Layout(table.dtype, np.array(widths), np.array(decimals))


def parse(table: TextTable, data: bytes, source: str | Path) -> Rows:
    """The rows in a file's bytes, (n,) of ``table.dtype``.

    Raises:
        FormatError: like :meth:`TextTable.parse`, with ``source``.
    """
    columns = _parsed(table, data)
    if columns is None:
        return table.parse(data, source)
    rows = np.empty(len(columns), _layout(table).dtype)
    for index, name in enumerate(table.columns):
        rows[name] = columns[:, index]
    return rows


def render_columns(table: TextTable, columns: Columns) -> bytes:
    """The file's bytes for (n, number of columns) float64; values of whole-number columns are truncated."""
    return _rendered(table, columns) or table.render([tuple(row) for row in columns.tolist()])


def _kernels() -> ModuleType | None:
    """The compiled functions, if they are available already."""
    if (loaded := sys.modules.get(_KERNELS)) is None and ready(FOR_TEXT):
        load(FOR_TEXT)
        loaded = import_module(_KERNELS)
    return loaded


def _parsed(table: TextTable, data: bytes) -> Columns | None:
    if (kernels := _kernels()) is None:
        return None
    columns: Columns = kernels.parse(np.frombuffer(data, np.uint8), _layout(table).decimals)
    return columns if columns.shape[1] > 0 else None


def _rendered(table: TextTable, columns: Columns) -> bytes:
    if (kernels := _kernels()) is None:
        return b""
    _, widths, decimals = _layout(table)
    rendered: NDArray[np.uint8] = kernels.render(np.ascontiguousarray(columns), widths, decimals)
    return rendered.tobytes()


def as_columns(rows: Rows) -> Columns:
    """Rows as (n, number of columns) float64, C-contiguous."""
    names = rows.dtype.names or ()
    columns = np.empty((len(rows), len(names)))
    for index, name in enumerate(names):
        columns[:, index] = rows[name]
    return columns
