"""JSON, lines and compressed bytes from files of any source: read within limits, otherwise one clear error.

The standard readers have no limits: a line of 8 GB, brackets nested until the stack ends, ``Infinity``, a number of a million
digits, a kilobyte that unpacks to a gigabyte. The readers here have a limit for each of these, in time and in memory.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

MOST_LEVELS = 20
_LONGEST_NUMBER = 20
"""Digits of a whole number: what 64 bits hold."""
_PIECE = 2**20
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z|\\\Z)|[\[{]|[\]}]', re.DOTALL)


class BoundError(ValueError):
    """A value that its format does not allow; the message states what was found and what was expected."""


def parse_json(data: bytes, most_bytes: int, most_levels: int = MOST_LEVELS) -> Any:
    """The value of a JSON text in UTF-8; all numbers in it are finite, whole numbers have at most 20 digits.

    Raises:
        BoundError: it is not JSON, too long, too deep, or holds a number that is not finite.
    """
    if len(data) > most_bytes:
        raise BoundError(f"found {len(data)} bytes, expected at most {most_bytes}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BoundError(f"found the byte 0x{data[error.start]:02x}, expected text in UTF-8") from error
    if text.count("[") + text.count("{") > most_levels:
        _refuse_depth(text, most_levels)
    try:
        return json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_no_number)
    except BoundError:
        raise
    except ValueError as error:
        raise BoundError(f"not valid JSON: {error}") from error


def parse_object(data: bytes, most_bytes: int, most_levels: int = MOST_LEVELS) -> dict[str, Any]:
    """:func:`parse_json` of a text that must hold an object."""
    value = parse_json(data, most_bytes, most_levels)
    if not isinstance(value, dict):
        raise BoundError(f"found {type(value).__name__}, expected an object with fields")
    return value


def _refuse_depth(text: str, most: int) -> None:
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        depth += (found[0] in "[{") - (found[0] in "]}")
        if depth > most:
            raise BoundError(f"found more than {most} levels")


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > _LONGEST_NUMBER:
        raise BoundError(f"found a number of {len(text)} digits, expected at most {_LONGEST_NUMBER}")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise BoundError(f"found {text[:20]}, expected a finite number")
    return value


def _no_number(text: str) -> float:
    raise BoundError(f"found {text}, expected a finite number")


Check = Callable[[Any], bool]
"""Checks whether a field's value is allowed by its format."""


def is_count(value: Any) -> bool:
    """A whole number, 0 or more; ``true`` is not one."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_text(value: Any) -> bool:
    """A text of at most 200 characters."""
    return isinstance(value, str) and len(value) <= 200


def is_list_of(check: Check, most: int) -> Check:
    """A check for lists of at most ``most`` items that each pass another check."""
    return lambda value: isinstance(value, list) and len(value) <= most and all(map(check, value))


def check_fields(entry: Mapping[str, Any], expected: Mapping[str, Check]) -> None:
    """Check that an object has exactly the fields expected, each of its kind.

    Raises:
        BoundError: with the first field that is missing, unknown or of another kind.
    """
    for name, check in expected.items():
        if name not in entry:
            raise BoundError(f"{name}: is missing")
        if not check(entry[name]):
            raise BoundError(f"{name}: found {_shown(entry[name])}, expected another kind of value")
    for name in entry:
        if name not in expected:
            raise BoundError(f"found the unknown field {_shown(name)}")


def bounded_lines(file: IO[bytes], longest: int, most_bytes: int) -> Iterator[bytes]:
    """The lines of a file with their line ends, without those of more than ``longest`` bytes; reading ends at ``most_bytes``.

    A line that is too long takes no memory. The last line may have no line end: it was truncated.
    """
    read = 0
    while read < most_bytes and (line := file.readline(longest + 1)):
        read += len(line)
        if len(line) <= longest:
            yield line
            continue
        while not line.endswith(b"\n") and read < most_bytes and (line := file.readline(_PIECE)):
            read += len(line)


def inflate(data: bytes, most_bytes: int) -> bytes:
    """The data compressed by zlib, complete and with nothing after it; uses memory for at most ``most_bytes``.

    Raises:
        BoundError: it is damaged, truncated, larger, or followed by other data.
    """
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(data, most_bytes + 1)
    except zlib.error as error:
        raise BoundError(f"cannot be unpacked: {error}") from error
    if len(unpacked) > most_bytes:
        raise BoundError(f"unpacks to more than {most_bytes} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise BoundError("is cut, or has something behind its end")
    return unpacked


def _shown(value: Any) -> str:
    """An external value, shortened: for lists and objects only the kind, because they may be large."""
    if isinstance(value, list | dict):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
