"""Intermediate results in ``res/.pyptv``: arrays of a frame, each file complete or absent, with a fingerprint of its inputs.

A file is a line of JSON, followed by the bytes of its arrays. The line has the *key* of the table, which is a
fingerprint of all its inputs, the fingerprint of the bytes, and one of the line itself. A later run uses a table
if it computes the same key for it. A damaged table counts as absent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.core.base.bounded_json import BoundError, check_fields, is_count, is_list_of, is_text, parse_object
from pyptv.core.base.events import ImageStamp
from pyptv.core.base.regular_files import MOST_BYTES, open_regular, read_regular
from pyptv.core.files.atomic import digest, write_atomic

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_FRAME = -1
"""Used in place of a frame, for a table of the whole run."""

_LONGEST_LINE = 1_000_000
_TYPES = ("<f8", "<f4", "<i8", "<i4", "|u1", "|b1")
_MOST_ARRAYS = 20
_MOST_AXES = 4
_MOST_STAMPS = 64


@dataclass(frozen=True)
class Header:
    """The first line of a table."""

    key: str
    """Fingerprint of its inputs."""
    digest: str
    """Fingerprint of its arrays and notes: later results depend on these."""
    arrays: tuple[tuple[str, str, tuple[int, ...]], ...]
    """Name, type and shape of each array."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    stamps: tuple[ImageStamp, ...] = ()
    """Stamps of its images, whose times and paths do not affect the table."""


@dataclass(frozen=True)
class Table:
    """A table in memory."""

    header: Header
    arrays: Mapping[str, NDArray[Any]]


class Tables:
    """The tables of an experiment: a folder for each kind, a file for each frame."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def path(self, kind: str, frame: int) -> Path:
        """The path of the table of a frame."""
        return self._home / kind / str(frame)

    def folders(self) -> list[Path]:
        """The folder of each existing kind."""
        try:
            return [self._home, *self._home.iterdir()]
        except OSError:
            return []

    def write(
        self,
        kind: str,
        frame: int,
        key: str,
        arrays: Mapping[str, NDArray[Any]],
        *,
        notes: Mapping[str, Any] | None = None,
        stamps: Sequence[ImageStamp] = (),
    ) -> Header:
        """Write a table. ``notes`` must be JSON values."""
        path = self.path(kind, frame)
        body = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values())
        shapes = tuple((name, array.dtype.str, array.shape) for name, array in arrays.items())
        stated = json.dumps([shapes, notes or {}], sort_keys=True)
        header = Header(key, digest(stated.encode() + body), shapes, notes or {}, tuple(stamps))
        fields = {"key": key, "digest": header.digest, "arrays": shapes, "notes": header.notes, "stamps": header.stamps}
        line = json.dumps(fields | {"sum": _line_sum(fields)}).encode()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, line + b"\n" + body)
        return header

    def header(self, kind: str, frame: int) -> Header | None:
        """The first line of a table; None if there is no table, or a damaged one."""
        try:
            with open_regular(self.path(kind, frame)) as file:
                return _header(file.readline(_LONGEST_LINE))
        except (OSError, ValueError):
            return None

    def read(self, kind: str, frame: int) -> Table | None:
        """A table; None if there is none, or a damaged one."""
        try:
            line, _, body = read_regular(self.path(kind, frame)).partition(b"\n")
            header = _header(line)
            arrays, start = {}, 0
            for name, dtype, shape in header.arrays:
                count = math.prod(shape)
                end = start + count * np.dtype(dtype).itemsize
                if end > len(body):
                    return None
                arrays[name] = np.frombuffer(body, dtype, count, start).reshape(shape).copy()  # kernels take no read-only arrays
                start = end
        except (OSError, ValueError):
            return None
        stated = json.dumps([header.arrays, dict(header.notes)], sort_keys=True)
        return Table(header, arrays) if start == len(body) and digest(stated.encode() + body) == header.digest else None

    def remove(self, kind: str, frame: int) -> None:
        """Remove a table, if there is one."""
        self.path(kind, frame).unlink(missing_ok=True)

    def forget(self, frame: int) -> None:
        """Remove all tables of a frame."""
        with suppress(OSError):
            for folder in self.folders()[1:]:
                (folder / str(frame)).unlink(missing_ok=True)


def _header(line: bytes) -> Header:
    fields = parse_object(line.rstrip(b"\n"), _LONGEST_LINE)
    stated = fields.pop("sum", None)
    if stated != _line_sum(fields):
        raise BoundError("its first line does not match its fingerprint")
    checks = {"key": is_text, "digest": is_text, "arrays": is_list_of(_is_shape, _MOST_ARRAYS), "notes": _is_object}
    checks["stamps"] = is_list_of(is_list_of(is_count, 3), _MOST_STAMPS)
    check_fields(fields, checks)
    arrays = tuple((name, dtype, tuple(shape)) for name, dtype, shape in fields["arrays"])
    stamps = tuple((size, time, crc) for size, time, crc in fields["stamps"])
    return Header(fields["key"], fields["digest"], arrays, fields["notes"], stamps)


def _line_sum(fields: Mapping[str, Any]) -> str:
    return digest(json.dumps(fields, sort_keys=True).encode())


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_shape(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 3 or not is_text(value[0]) or value[1] not in _TYPES:
        return False
    shape = value[2]
    return is_list_of(is_count, _MOST_AXES)(shape) and math.prod(shape) * 8 <= MOST_BYTES
