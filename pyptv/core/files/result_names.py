"""Which frames have results: the names of result files in a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from pyptv.core.base.errors import ProcessingError
from pyptv.core.base.frames import describe

LAST_FRAME = 2**31 - 1
"""C counts frames with an int."""
WINDOW_FRAME = 123_456_789
"""PyPTV's window writes the results of the displayed frame under this number (``ptv.py``,
``DEFAULT_FRAME_NUM``)."""

_RESULT = re.compile(r"(rt_is|ptv_is|added)\.(0|[1-9][0-9]{0,9})")
_TARGETS = re.compile(r"(.*?)([0-9]{1,10})([^0-9]*_targets)")
_MOST_NAMED = 4


def frames_in(names: Iterable[str], *kinds: str) -> list[int]:
    """The frames that have result files of some kinds, ascending.

    Args:
        names: of the files in ``res/``.
        *kinds: ``rt_is``, ``ptv_is``, ``added``; default: any of them.

    Returns:
        Frame numbers. That of PyPTV's window is not a frame of a sequence: it is left out, unless a neighbour exists.
    """
    found = {int(match[2]) for name in names if (match := _RESULT.fullmatch(name)) and (not kinds or match[1] in kinds)}
    if not found & {WINDOW_FRAME - 1, WINDOW_FRAME + 1}:
        found.discard(WINDOW_FRAME)
    return sorted(frame for frame in found if frame <= LAST_FRAME)


def frames_with(folder: Path, *kinds: str) -> list[int]:
    """:func:`frames_in` of a folder; empty if the folder does not exist.

    Raises:
        ProcessingError: it cannot be read.
    """
    try:
        return frames_in(os.listdir(folder), *kinds)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ProcessingError(f"{folder}: cannot be read: {error.strerror}") from error


def of_the_same_kind(name: str, names: Iterable[str]) -> str:
    """The existing result files, in place of a missing one.

    Args:
        name: of the missing file.
        names: of the files in its folder.

    Returns:
        Names without their numbers, and the frames of each: those of the same camera if there are any, otherwise all of the kind;
        empty if there are none, and for a file that is not a result.
    """
    frames: dict[str, set[int]] = {}
    if (wanted := _TARGETS.fullmatch(name)) is not None:
        for match in filter(None, map(_TARGETS.fullmatch, names)):
            if int(match[2]) != WINDOW_FRAME:
                frames.setdefault(f"{match[1]}*{match[3]}", set()).add(int(match[2]))
        of_the_camera = f"{wanted[1]}*{wanted[3]}"
        frames = {of_the_camera: frames[of_the_camera]} if of_the_camera in frames else frames
    elif (result := _RESULT.fullmatch(name)) is not None and (found := frames_in(names, result[1])):
        frames = {f"{result[1]}.*": set(found)}
    text = ", ".join(f"{stem} of frames {describe(frames[stem])}" for stem in sorted(frames)[:_MOST_NAMED])
    return text if len(frames) <= _MOST_NAMED else f"{text} and {len(frames) - _MOST_NAMED} more names"
