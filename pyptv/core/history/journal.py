"""The journal: a record on disk of what is done, so that a stopped run can be resumed.

``res/.pyptv/journal`` contains files of lines, each with a checksum. A run has a number; its first file records its inputs,
one line per stage, each with a fingerprint. Each worker adds its own file: one line per finished frame and stage,
with the fingerprint of its inputs. Lines are never rewritten, so an aborted run loses nothing that an earlier run
has recorded; for each frame the line of the latest run is used.

The journal is never trusted alone: a frame is valid only if its files still have the fingerprint that its line states. So
nothing needs to be forced to disk: after a power cut, a lost or broken line, or a lost file, costs only the work of that
frame.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from pyptv.core.base.bounded_json import parse_object
from pyptv.core.base.events import FrameDone, StepDone
from pyptv.core.base.frames import FrameRange
from pyptv.core.base.regular_files import open_regular
from pyptv.core.files.atomic import write_atomic
from pyptv.core.stages.tasks import Entry, Past

FORMAT = 2
_FILE = re.compile(r"(\d{6,12})-[\w-]+\.jsonl")
_ENTRY = re.compile(
    rb'([0-9a-f]{8}) (\{"kind":"(frame|step|guess)","id":"([0-9a-f]{1,64})","frame":(\d{1,18}),.*\})\n', re.DOTALL
)
_LONGEST_LINE = 2**20
_MOST_FILES = 64
"""Number of files above which they are merged into one before the next run begins."""
_MOST_IDS = 2**20
"""Fingerprints and kinds of lines."""

_NOT_OF_A_FRAME = {"seconds", "worker", "kept", "run", "state", "published", "part"}
"""Fields that do not matter to a later run."""
_KINDS = ("frame", "step", "guess")
"""Kinds of lines: the sequence step of a frame, its links, and links that a part of a job array has made ahead."""


class Writer:
    """Records frames as they are done, in a separate file of this process."""

    def __init__(self, folder: Path, serial: int, fingerprints: Mapping[str, str]) -> None:
        self._path = folder / f"{serial:06d}-{os.getpid()}x{secrets.token_hex(4)}.jsonl"
        self._fingerprints = fingerprints
        self._file: IO[bytes] | None = None

    def note(self, done: FrameDone | StepDone) -> None:
        """Record a frame whose files are published."""
        if self._file is None:
            self._file = self._path.open("xb", buffering=0)
        kind, stage = ("frame", "frames") if isinstance(done, FrameDone) else ("guess" if done.part else "step", "track")
        left_out = _NOT_OF_A_FRAME - {"state", "part"} if kind == "guess" else _NOT_OF_A_FRAME
        values = {name: value for name, value in asdict(done).items() if name not in left_out}
        self._file.write(_line({"kind": kind, "id": self._fingerprints[stage], "frame": values.pop("frame")} | values))

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()
            self._file = None


def start(folder: Path, inputs: Mapping[str, tuple[str, Any]], others: Sequence[Path] = (), *, tidy: bool = True) -> int:
    """Start the journal of a run.

    Args:
        folder: of the journal; created if it does not exist.
        inputs: stage -> (fingerprint, inputs).
        others: folders of other journals that it follows.
        tidy: no other process writes into the folder: many files may be merged into one.

    Returns:
        The number of the run.
    """
    folder.mkdir(exist_ok=True)
    files = _files(folder)
    if tidy and len(files) > _MOST_FILES:
        _make_one(folder, files)
    serial = 1 + max((_serial(path) for path in [*files, *_files(*others)]), default=0)
    lines = [
        _line({"kind": "inputs", "format": FORMAT, "stage": stage, "id": fingerprint, "inputs": tree})
        for stage, (fingerprint, tree) in inputs.items()
    ]
    write_atomic(folder / f"{serial:06d}-inputs.jsonl", b"".join(lines))
    return serial


def gather(folder: Path, others: Iterable[Path]) -> None:
    """Move the files of other journals into one, whose next run then follows all of them."""
    folder.mkdir(exist_ok=True)
    for other in others:
        for path in _files(other):
            path.replace(folder / f"{path.stem}-{other.parent.name}.jsonl")


class Journal:
    """The records of earlier runs for a range of frames: the place of each line, 12 bytes per frame and kind of line."""

    def __init__(
        self,
        folder: Path,
        frames: FrameRange,
        fingerprints: Mapping[str, str | None],
        others: Sequence[Path] = (),
        *,
        guesses: bool = False,
    ) -> None:
        """Scan the journal.

        Args:
            folder: of the journal.
            frames: first and last; others are skipped.
            fingerprints: stage -> fingerprint of valid lines; None: all lines are valid.
            others: folders of further journals.
            guesses: whether links made ahead by parts of a job array are also valid.
        """
        self._folder = folder
        self._guesses = guesses
        self._first, self._last = frames
        self._ids = {"frame": fingerprints["frames"], "step": fingerprints["track"], "guess": fingerprints["track"]}
        self._files: list[str] = []
        n_frames = frames[1] - frames[0] + 1
        self._places = {kind: array("q", [-1]) * n_frames for kind in _KINDS}
        self._in_file = {kind: array("i", [0]) * n_frames for kind in _KINDS}
        self.other_frames = 0
        """Lines of frames of the range that were made from other inputs."""
        self.inputs: dict[str, Any] = {}
        """Stage -> its inputs in the last run that recorded them."""
        for path in _files(folder, *others):
            self._look_through(path)

    def past(self, frame: int) -> Past | None:
        """The places of the lines of a frame; None if there are none."""
        guess = self._entry("guess", frame) if self._guesses else None
        past = Past(self._entry("frame", frame), self._entry("step", frame), guess)
        return past if any(past) else None

    def has(self, frame: int) -> bool:
        """Whether the sequence step of a frame was recorded."""
        return self._places["frame"][frame - self._first] >= 0

    def any_frame(self) -> bool:
        """Whether any frame has a valid line."""
        return any(start >= 0 for start in self._places["frame"])

    def _entry(self, kind: str, frame: int) -> Entry | None:
        index = frame - self._first
        start = self._places[kind][index]
        return Entry(self._files[self._in_file[kind][index]], start) if start >= 0 else None

    def _look_through(self, path: Path) -> None:
        number = len(self._files)
        self._files.append(os.path.relpath(path, self._folder))
        for start, line in _lines(path):
            match = _ENTRY.fullmatch(line)
            if match is None:
                self._note_inputs(line)
                continue
            kind, frame = match[3].decode(), int(match[5])
            if not self._first <= frame <= self._last or int(match[1], 16) != zlib.crc32(match[2]):
                continue
            wanted = self._ids[kind]
            if wanted is not None and match[4].decode() != wanted:
                self.other_frames += kind == "frame"
                continue
            self._places[kind][frame - self._first] = start
            self._in_file[kind][frame - self._first] = number

    def _note_inputs(self, line: bytes) -> None:
        entry = _parsed(line)
        if entry is not None and entry.get("kind") == "inputs" and entry.get("format") == FORMAT:
            stage = entry.get("stage")
            if isinstance(stage, str):
                self.inputs[stage] = entry.get("inputs")


def read_entry(folder: Path, entry: Entry) -> dict[str, Any] | None:
    """A line of the journal; None if it no longer exists or is damaged."""
    try:
        with open_regular(folder / entry.file) as file:
            file.seek(entry.start)
            return _parsed(file.readline(_LONGEST_LINE))
    except OSError:
        return None


def differences(before: Any, now: Any) -> list[str]:
    """What differs between two trees of inputs: ``"parameters.ptv.imx: 1280 -> 1281"``."""
    old, new = dict(_leaves(before)), dict(_leaves(now))
    return [
        f"{name}: {old.get(name, 'nothing')} -> {new.get(name, 'nothing')}"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]


def _leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, list(tree) if isinstance(tree, tuple) else tree


def _line(entry: dict[str, Any]) -> bytes:
    text = json.dumps(entry, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _parsed(line: bytes) -> dict[str, Any] | None:
    sum_, _, text = line.rstrip(b"\n").partition(b" ")
    with suppress(ValueError):
        if int(sum_[:8], 16) == zlib.crc32(text):
            return parse_object(text, _LONGEST_LINE)
    return None


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, each with its position; overlong lines are split into pieces, which are then invalid."""
    try:
        file = open_regular(path)
    except OSError:
        return
    with file:
        start = 0
        while line := file.readline(_LONGEST_LINE):
            yield start, line
            start += len(line)


def _files(*folders: Path) -> list[Path]:
    """The files of journals, those of earlier runs first."""
    found = []
    for folder in folders:
        with suppress(OSError):
            found += [folder / name for name in os.listdir(folder) if _FILE.fullmatch(name)]
    return sorted(found, key=lambda path: (_serial(path), path.name))


def _serial(path: Path) -> int:
    return int(path.name.partition("-")[0])


def _make_one(folder: Path, files: list[Path]) -> None:
    """Merge the lines of many files into one, in their order, keeping only the last of each frame and fingerprint."""
    ids: dict[tuple[bytes, bytes], int] = {}
    last: dict[int, int] = {}

    def key(match: re.Match[bytes]) -> int:
        """One number for a frame and a fingerprint."""
        return int(match[5]) * _MOST_IDS + ids.setdefault((match[3], match[4]), len(ids)) % _MOST_IDS

    number = 0
    for path in files:
        for _, line in _lines(path):
            number += 1
            if match := _ENTRY.fullmatch(line):
                last[key(match)] = number
    target = folder / f"{_serial(files[-1]):06d}-0.jsonl"
    beside = folder / f".{target.name}.pyptv-tmp"
    number = 0
    with beside.open("wb") as file:
        for path in files:
            for _, line in _lines(path):
                number += 1
                match = _ENTRY.fullmatch(line)
                if line.endswith(b"\n") and (match is None or last[key(match)] == number):
                    file.write(line)
    beside.replace(target)
    for path in files:
        if path != target:
            path.unlink(missing_ok=True)
