"""Similar names for messages: what was probably meant when a name does not exist."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_MOST_COMPARED = 2000
"""Maximum number of names to compare: a folder may contain a million."""


def similar(name: str, names: Iterable[str], most: int = 3, *, same_numbers: bool = False) -> list[str]:
    """The names that are closest to a missing one, best first; case does not matter.

    Args:
        name: the missing name.
        names: the existing names.
        most: maximum number of results.
        same_numbers: only names with the same digits: a file of camera 1 is never meant for camera 2.

    >>> similar("cam1.tif.ori", ["cam1.ori", "CAM1.TIF.ORI", "cam2.tif.ori"], same_numbers=True)
    ['CAM1.TIF.ORI', 'cam1.ori']
    """
    there: dict[str, str] = {}
    for other in names:
        if not same_numbers or _digits(other) == _digits(name):
            there.setdefault(other.lower(), other)
        if len(there) == _MOST_COMPARED:
            break
    return [there[match] for match in difflib.get_close_matches(name.lower(), there, most, cutoff=0.7)]


def similar_text(name: str, names: Iterable[str], *, same_numbers: bool = False) -> str:
    """``" (similar: a, b)"`` for the end of a sentence, or nothing."""
    found = similar(name, names, same_numbers=same_numbers)
    return f" (similar: {', '.join(found)})" if found else ""


def _digits(name: str) -> str:
    return "".join(re.findall("[0-9]", name))
