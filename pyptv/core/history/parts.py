"""The parts of a job array: shares of a frame range, each with its own folder under ``res/.pyptv/parts``.

The folder of a part, ``FIRST-LAST``, contains its journal, the frames it has tracked ahead (``stage``, and the tracker's last
state), and its outcome (``part.json``). The run that combines the parts merges their journals into its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyptv.core.base.bounded_json import parse_object
from pyptv.core.base.frames import FrameRange, chunk_ranges
from pyptv.core.base.regular_files import read_regular
from pyptv.core.files.atomic import write_atomic

JOURNAL = "journal"
RUNNING = "running"
_RECORD = "part.json"
_FOLDER = re.compile(r"(\d{1,16})-(\d{1,16})")
_MOST_BYTES = 100_000_000
_LONGEST = 2000


@dataclass(frozen=True)
class Part:
    """Part ``number`` of ``of`` of a frame range, counted from 1."""

    number: int
    of: int
    whole: FrameRange

    def __post_init__(self) -> None:
        n_frames = self.whole[1] - self.whole[0] + 1
        if self.of > n_frames:
            raise ValueError(f"part {self.number}/{self.of}: found {n_frames} frames, expected at least one for each part")

    @property
    def frames(self) -> FrameRange:
        """First and last frame of the part."""
        size, longer = divmod(self.whole[1] - self.whole[0] + 1, self.of)
        before = self.number - 1
        first = self.whole[0] + before * size + min(before, longer)
        return first, first + size + (before < longer) - 1

    @property
    def name(self) -> str:
        """The name of its folder."""
        return "{}-{}".format(*self.frames)

    def __str__(self) -> str:
        return "part {}/{} (frames {} to {})".format(self.number, self.of, *self.frames)


@dataclass(frozen=True)
class Record:
    """The outcome of a part."""

    part: Part
    outcome: str
    """The outcome as in a run report, or ``running``."""
    error: str | None = None
    failed: Mapping[int, str] = field(default_factory=dict)
    """Frame -> why it failed."""
    host: str = ""

    def write(self, parts: Path) -> None:
        """Write the record to the part's folder."""
        tree = {
            "number": self.part.number,
            "of": self.part.of,
            "whole": list(self.part.whole),
            "outcome": self.outcome,
            "error": self.error,
            "failed": [[frame, reason] for frame, reason in sorted(self.failed.items())],
            "host": self.host,
        }
        write_atomic(parts / self.part.name / _RECORD, (json.dumps(tree) + "\n").encode("ascii"))

    def text(self) -> str:
        """The outcome of the part, for a message."""
        where = f" on {self.host}" if self.host else ""
        if self.outcome == RUNNING:
            return f"{self.part} was killed{where}, or is still running there"
        if self.outcome == "failed":
            return f"{self.part} failed{where}: {self.error}"
        return f"{self.part} has ended{where} ({self.outcome})"


def folders(parts: Path, frames: FrameRange) -> list[Path]:
    """The folders of the parts that have frames of a range, in the order of their frames."""
    found = []
    with suppress(OSError):
        for path in parts.iterdir():
            match = _FOLDER.fullmatch(path.name)
            if match is not None and int(match[1]) <= frames[1] and frames[0] <= int(match[2]) and not path.is_symlink():
                found.append((int(match[1]), int(match[2]), path))
    return [path for _, _, path in sorted(found)]


def records(parts: Path, frames: FrameRange) -> Iterator[Record]:
    """The outcomes of the parts that have frames of a range; damaged records are ignored."""
    for folder in folders(parts, frames):
        with suppress(OSError, KeyError, TypeError, ValueError):
            record = _record(parse_object(read_regular(folder / _RECORD), _MOST_BYTES))
            if record.part.name == folder.name:
                yield record


def _record(tree: Mapping[str, Any]) -> Record:
    first, last = map(_whole, tree["whole"])
    number, of = _whole(tree["number"]), _whole(tree["of"])
    if not (first <= last and 1 <= number <= of):
        raise ValueError("not a part")
    failed = {_whole(frame): _text(reason) for frame, reason in tree["failed"]}
    error = None if tree["error"] is None else _text(tree["error"])
    return Record(Part(number, of, (first, last)), _text(tree["outcome"]), error, failed, _text(tree["host"]))


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError("not a whole number")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value[:_LONGEST]


def all_parts(known: list[Record], whole: FrameRange) -> list[Part]:
    """The parts of the last array of a range, from its records; empty if they do not show it."""
    numbers = [record.part.of for record in known if record.part.whole == whole]
    if not numbers:
        return []
    of = max(set(numbers), key=numbers.count)
    return [Part(number, of, whole) for number in range(1, len(chunk_ranges(*whole, of)) + 1)]
