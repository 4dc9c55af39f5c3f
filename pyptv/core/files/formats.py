"""The text formats of results, read and written: ``_targets``, ``rt_is``, ``ptv_is``, ``added``.

A file is a count and that many rows, in the C library's ``printf`` formats (liboptv, ``tracking_frame_buf.c``).
References to rows count from 0. -1 stands for "no target", "no particle" and "no previous
frame's row", -2 for "no next frame's row".

Everything read is checked, because the numbers go to C code that does not check them. Variants that other programs write
and C reads are accepted: blank lines at the end, no final line end, any blanks between columns, and -1 as the count of a
frame in which optv's tracker found no particles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.base.errors import FormatError
from pyptv.core.base.regular_files import read_regular

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.void]

MAX_ROWS = 20_000
"""optv's tracker reads and keeps at most this many targets or particles per frame."""

NO_ROWS = (b"0", b"-1")
"""The counts of a table without rows."""

_COUNT_DIGITS = 9
_SHOWN = 40
_COLUMN_TYPES = {"d": "i4", "f": "f8"}
_NOT_A_NUMBER = (b"nan", b"-nan")
_DIGITS = {"i": b"+-0123456789", "f": b"+-.0123456789eE"}
"""The characters of numbers. Python also reads others (1_000, and 1.0 as a whole number), where C stops in the middle."""


@dataclass(frozen=True)
class TextTable:
    """One text format: the name of its file, its columns and the C format of a row."""

    name: str
    columns: tuple[str, ...]
    row_format: str
    may_be_nan: bool = False
    """Whether ``nan`` is a valid position: that of a particle whose rays do not come near each other."""
    may_count_minus_one: bool = False
    """Whether a count of -1 means no rows: optv's tracker writes that for a frame without particles."""

    @property
    def dtype(self) -> np.dtype[np.void]:
        """A structured dtype with a field per column, int32 or float64."""
        return np.dtype([(name, _COLUMN_TYPES[kind]) for name, kind in zip(self.columns, self._kinds, strict=True)])

    def render(self, rows: Rows | Sequence[tuple[float, ...]]) -> bytes:
        """The file's bytes. ``rows``: (n,) of :attr:`dtype`, or as many tuples, which is faster."""
        tuples = rows.tolist() if isinstance(rows, np.ndarray) else rows
        body = (self.row_format * len(tuples)) % tuple(chain.from_iterable(tuples))
        return f"{len(rows)}\n{body}".encode("ascii")

    def parse(self, data: bytes, source: str | Path) -> Rows:
        """The rows in a file's bytes, (n,) of :attr:`dtype`.

        Raises:
            FormatError: with ``source``, the line, what was found and what was expected.
        """
        lines = data.split(b"\n")
        count = self._count(lines[0], source)
        rows = [line for line in lines[1:] if line and not line.isspace()]
        unclosed = bool(rows) and bool(lines[-1].strip())
        if len(rows) != count or (unclosed and self._is_cut(rows)):
            whole = len(rows) - (unclosed and len(rows) <= count)
            raise FormatError(f"{source}, line 1: {count} rows announced, {whole} whole rows found: the file is cut or mixed")
        cells = [line.split() for line in lines[1 : count + 1]]
        for number, row in enumerate(cells, start=2):
            if len(row) != len(self.columns):
                raise FormatError(
                    f"{source}, line {number}: found {len(row)} columns, expected {len(self.columns)} ({' '.join(self.columns)})"
                )
        return self._convert(cells, source)

    def read(self, path: Path, source: str | Path | None = None) -> Rows:
        """:meth:`parse` of a file; ``source`` is its name in messages."""
        try:
            data = read_regular(path)
        except OSError as error:
            raise FormatError(f"{source or path}: cannot be read: {error.strerror}") from error
        return self.parse(data, source or path)

    def _is_cut(self, rows: list[bytes]) -> bool:
        """Whether the last row, which has no line end, may be incomplete.

        C pads each number to a width, so that a truncated row of C is recognised. A row of a program
        that does not pad is complete if it has all columns.
        """
        if len(rows[-1].split()) != len(self.columns):
            return True
        others_are_from_c = len(rows) == 1 or self._is_from_c(rows[0])
        return others_are_from_c and not self._is_from_c(rows[-1])

    def _is_from_c(self, line: bytes) -> bool:
        try:
            cells = [int(cell) if kind == "d" else float(cell) for cell, kind in zip(line.split(), self._kinds, strict=True)]
        except ValueError:
            return False
        return line.rstrip() == (self.row_format % tuple(cells)).rstrip().encode("ascii")

    @property
    def _kinds(self) -> list[str]:
        """The kind of each column: ``d`` for a whole number, ``f`` for a decimal one."""
        return [specifier[-1] for specifier in self.row_format.split()]

    def _count(self, line: bytes, source: str | Path) -> int:
        text = line.strip()
        if text in NO_ROWS and (self.may_count_minus_one or text == b"0"):
            return 0
        if not text.isdigit() or len(text) > _COUNT_DIGITS:
            raise FormatError(f"{source}, line 1: found {_shown(text)}, expected the number of rows")
        return int(text)

    def _convert(self, cells: list[list[bytes]], source: str | Path) -> Rows:
        rows = np.empty(len(cells), self.dtype)
        for index, name in enumerate(self.columns):
            column = [row[index] for row in cells]
            whole = rows.dtype[name].kind == "i"
            try:
                values = np.array(column, dtype="S").astype(np.float64) if column else np.empty(0)
            except ValueError:
                values = np.array([_number(cell) for cell in column])
            valid = np.isfinite(values)
            digits = _DIGITS[rows.dtype[name].kind]
            if b"".join(column).translate(None, digits):
                valid &= [not cell.translate(None, digits) for cell in column]
            if self.may_be_nan and not whole and not valid.all():
                valid |= [cell in _NOT_A_NUMBER for cell in column]
            if whole:
                valid &= (np.trunc(values) == values) & (np.abs(values) < 2**31)
            if not valid.all():
                line = int(np.argmin(valid))
                kind = "a whole number" if whole else "a finite number"
                raise FormatError(f"{source}, line {line + 2}, column {name}: found {_shown(column[line])}, expected {kind}")
            rows[name] = values
        return rows


TARGETS = TextTable(
    "_targets",
    ("pnr", "x", "y", "n", "nx", "ny", "sumg", "tnr"),
    "%4d %9.4f %9.4f %5d %5d %5d %5d %5d\n",
)
"""Targets of one camera: number, x, y [px], pixel counts n, nx, ny, sum of grey values, row of its particle or -1."""

PARTICLES = TextTable(
    "rt_is",
    ("number", "x", "y", "z", "target1", "target2", "target3", "target4"),
    "%4d %9.3f %9.3f %9.3f %4d %4d %4d %4d\n",
    may_be_nan=True,
    may_count_minus_one=True,
)
"""Particles of a frame: number from 1, x, y, z [mm], row of its target per camera or -1."""

LINKS = TextTable(
    "ptv_is",
    ("previous", "next", "x", "y", "z"),
    "%4d %4d %10.3f %10.3f %10.3f\n",
    may_be_nan=True,
    may_count_minus_one=True,
)
"""Links of a frame's particles: row in the previous frame or -1, row in the next frame or -2, x, y, z [mm]."""

ADDED = TextTable(
    "added",
    (*LINKS.columns, "priority"),
    "%4d %4d %10.3f %10.3f %10.3f %d\n",
    may_be_nan=True,
    may_count_minus_one=True,
)
"""The links again, with the priority of each particle."""

QUALITY = TextTable(
    "quality",
    ("number", "intensity", "misfit", "cameras", "track"),
    "%4d %9.3f %9.4f %2d %4d\n",
)
"""For each row of ``rt_is``, of the dense method: peak of the particle's spots, mean of the cameras [grey values of 255]; energy
of the residual over that of the spots; cameras that see it; frames of its track, counted as far as the run looked."""

PASSES = TextTable("passes", ("forward", "backward", "found_by"), "%4d %4d %d\n")
"""The two passes of ``--tracking both`` for each particle: the row in the next frame to which the forward pass links it,
that of the backward pass, -1 for none; and the origin of the link in ``ptv_is``: 3 both, 1 forward, 2 backward, 0 no link."""

TARGET_COLUMNS = ("target1", "target2", "target3", "target4")


def announced(data: bytes) -> int | None:
    """The number of rows in the first line of a table, 0 for -1; None if it is not a count."""
    text = data.split(b"\n", 1)[0].strip()
    if text in NO_ROWS:
        return 0
    return int(text) if text.isdigit() and len(text) <= _COUNT_DIGITS else None


def closed(data: bytes) -> bytes:
    """The same table without blank lines at its end, and with a final line end."""
    return data.rstrip() + b"\n"


def targets_name(camera: int, frame: int) -> str:
    """The file name of a camera's targets; ``camera`` counts from 0, the name from 1."""
    return f"cam{camera + 1}.{frame:04d}_targets"


def check_frame(particles: Rows, targets: list[Rows], sources: list[str], most: int | None = MAX_ROWS) -> None:
    """Check that the rows of a frame refer to existing rows, as the tracker's C code assumes.

    The target numbers of cameras that the experiment does not have are ignored: they are not used, and optv leaves
    previous memory content there.

    Args:
        particles: rows of ``rt_is``.
        targets: rows of ``_targets``, one array per camera.
        sources: names for messages: that of ``rt_is``, then of each camera's ``_targets``.
        most: rows that the tracker can hold; None: any number.

    Raises:
        FormatError: with the file, the row and the value out of range, or the count above ``most``.
    """
    for rows, source in zip([particles, *targets], sources, strict=True):
        if most is not None and len(rows) > most:
            raise FormatError(f"{source}: {len(rows)} rows, optv's tracker holds at most {most}: use --engine compiled")
    for camera, (rows, source) in enumerate(zip(targets, sources[1:], strict=True)):
        _check_pointers(rows["tnr"], len(particles), source, "tnr")
        _check_pointers(particles[TARGET_COLUMNS[camera]], len(rows), sources[0], TARGET_COLUMNS[camera])


def _check_pointers(values: NDArray[np.int32], size: int, source: str, column: str) -> None:
    wrong = (values < -1) | (values >= size)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise FormatError(f"{source}, line {row + 2}, column {column}: found {values[row]}, expected -1 to {size - 1}")


def _number(cell: bytes) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _shown(text: bytes) -> str:
    """External bytes, short and safe to print."""
    shown = ascii(text[:_SHOWN].decode("latin-1"))
    return shown if len(text) <= _SHOWN else f"{shown}..."


def row_count(table: bytes) -> int:
    """The count in the first line of a table written by this program; -1 if it is missing."""
    first = table.partition(b"\n")[0].strip()
    return int(first) if first.isdigit() else -1


def count_links(table: bytes) -> tuple[int, int]:
    """Particles in a ``ptv_is`` written by a tracker, and how many of them are linked to the next frame."""
    _, *rows = table.splitlines()
    return row_count(table), sum(not row.split(maxsplit=2)[1].startswith(b"-") for row in rows)
