"""What is done, on disk: so that a stopped run can go on.

``res/.pyptv/journal.jsonl``: a line a finished frame, each with a checksum, after a first one that says what the frames
were made from. The journal is never trusted alone: a frame counts only where its files still have the fingerprint that the
journal states. So nothing need be forced to disk: after a power cut a lost or broken line, or a lost file, costs that frame's
work and nothing else.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pyptv.core.base.events import Event, FrameDone, StepDone
from pyptv.core.base.regular_files import open_regular
from pyptv.core.files.atomic import write_atomic

FORMAT = 1


@dataclass
class Past:
    """What a journal tells of earlier runs."""

    inputs: dict[str, Any] | None = None
    """What the frames were made from: parameters, calibrations, versions. None: there is no journal."""
    frames: dict[int, FrameDone] = field(default_factory=dict)
    steps: dict[int, StepDone] = field(default_factory=dict)


class Journal:
    """Writes the journal of a run, a line as each frame is done."""

    def __init__(self, path: Path, inputs: dict[str, Any], keep: Past) -> None:
        """Start a journal anew, with the lines of ``keep`` in it."""
        lines = [_line({"kind": "inputs", "format": FORMAT, "inputs": inputs})]
        lines += [_line(_entry(frame)) for frame in keep.frames.values()]
        lines += [_line(_entry(step)) for step in keep.steps.values()]
        write_atomic(path, b"".join(lines))
        self._file = path.open("ab", buffering=0)

    def record(self, event: Event) -> None:
        """Note a frame that is done."""
        if isinstance(event, FrameDone | StepDone):
            self._file.write(_line(_entry(event)))

    def close(self) -> None:
        """Write out and close."""
        with suppress(OSError):
            os.fsync(self._file.fileno())
        self._file.close()


def read_journal(path: Path) -> Past:
    """What a journal tells; lines that are cut or damaged are as if they had not been written."""
    past = Past()
    for entry in _entries(path):
        kind = entry.pop("kind", None)
        with suppress(KeyError, TypeError, ValueError):
            if kind == "inputs" and entry["format"] == FORMAT:
                past = Past(inputs=entry["inputs"])
            elif kind == "frame":
                images = tuple((int(size), int(time)) for size, time in entry.pop("images"))
                frame = FrameDone(targets=tuple(entry.pop("targets")), counts=tuple(entry.pop("counts")), images=images, **entry)
                past.frames[frame.frame] = frame
                past.steps.pop(frame.frame, None)  # its links, if any, were made from what it replaced
            elif kind == "step":
                past.steps[entry["frame"]] = StepDone(**entry)
    return past


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
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


def _entry(event: FrameDone | StepDone) -> dict[str, Any]:
    entry = asdict(event)
    for name in ("seconds", "worker"):  # how the work went does not matter to a later run
        del entry[name]
    return {"kind": "frame" if isinstance(event, FrameDone) else "step"} | entry


def _line(entry: dict[str, Any]) -> bytes:
    text = json.dumps(entry, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    try:
        file = open_regular(path)
    except OSError:
        return
    with file:
        for line in file:
            checksum, _, text = line.rstrip(b"\n").partition(b" ")
            with suppress(ValueError):
                if line.endswith(b"\n") and int(checksum, 16) == zlib.crc32(text) and isinstance(entry := json.loads(text), dict):
                    yield entry
