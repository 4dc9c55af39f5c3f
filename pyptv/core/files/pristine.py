"""Pristine copies: the contents of a frame's files before they were replaced.

One file per frame: a line of JSON, followed by the bytes of the files, compressed. It is written before the first of
the frame's files is replaced, and lists all tracked versions so far, so that it is valid at every moment.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyptv.core.base.bounded_json import BoundError, check_fields, inflate, is_count, is_list_of, is_text, parse_object
from pyptv.core.base.errors import ProcessingError
from pyptv.core.base.regular_files import MOST_BYTES, read_regular
from pyptv.core.files.atomic import digest

_MOST_VERSIONS = 8
_LONGEST_HEADER = 10_000


@dataclass(frozen=True)
class Pristine:
    """The contents of a frame's files before tracking, and the fingerprints of their tracked versions so far."""

    contents: dict[str, bytes]
    tracked: dict[str, list[str]]


def pack(contents: Mapping[str, bytes], tracked: Mapping[str, list[str]]) -> bytes:
    """The bytes of a pristine file; only the last few tracked versions of each file are kept."""
    names = sorted(contents)
    header = {
        "sizes": {name: len(contents[name]) for name in names},
        "tracked": {name: list(dict.fromkeys(tracked[name]))[-_MOST_VERSIONS:] for name in names},
        "digest": digest(b"".join(contents[name] for name in names)),
    }
    header["sum"] = _header_sum(header)
    return json.dumps(header).encode() + b"\n" + zlib.compress(b"".join(contents[name] for name in names), 1)


def replaced(kept: Pristine | None, name: str, data: bytes) -> bytes:
    """The contents of a file before it was replaced; ``data``, its present bytes, if it was not replaced or has changed since."""
    return kept.contents[name] if kept is not None and digest(data) in kept.tracked.get(name, ()) else data


def read_pristine(path: Path, frame: int) -> Pristine | None:
    """The pristine file of a frame; None: tracking has not changed the frame.

    Raises:
        ProcessingError: the file is damaged.
    """
    try:
        return _unpack(read_regular(path))
    except FileNotFoundError:
        return None
    except (OSError, BoundError) as error:
        raise ProcessingError(
            f"{path}: the copy of frame {frame} from before tracking is damaged ({error}): run the sequence step again"
        ) from error


def _unpack(data: bytes) -> Pristine:
    line, _, packed = data.partition(b"\n")
    header = parse_object(line, _LONGEST_HEADER)
    if "sum" in header and header["sum"] != _header_sum(header):  # copies of the first release have no sum
        raise BoundError("its first line does not match its fingerprint")
    header.pop("sum", None)
    check_fields(header, {"sizes": _is_sizes, "tracked": _is_versions, "digest": is_text})
    if header["sizes"].keys() != header["tracked"].keys():
        raise BoundError("its files and their fingerprints have different names")
    body = inflate(packed, sum(header["sizes"].values()))
    if digest(body) != header["digest"]:
        raise BoundError("its bytes do not match their fingerprint")
    contents, start = {}, 0
    for name, size in header["sizes"].items():
        contents[name] = body[start : start + size]
        start += size
    return Pristine(contents, header["tracked"])


def _header_sum(header: Mapping[str, Any]) -> str:
    """A fingerprint of the first line: a damaged name or digest in it must be detected."""
    return digest(json.dumps({name: header[name] for name in sorted(header) if name != "sum"}, sort_keys=True).encode())


def _is_sizes(value: object) -> bool:
    return isinstance(value, dict) and all(is_count(size) and size <= MOST_BYTES for size in value.values())


def _is_versions(value: object) -> bool:
    check = is_list_of(is_text, _MOST_VERSIONS)
    return isinstance(value, dict) and all(map(check, value.values()))
