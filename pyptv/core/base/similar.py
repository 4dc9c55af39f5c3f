"""Similar names for messages: what was meant, probably, where a name is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST_COMPARED = 2000
"""Names compared at most: a folder may hold a million."""


def similar(name: str, names: Iterable[str], most: int = 3) -> list[str]:
    """The names that are closest to one that is not there, best first; upper and lower case do not matter.

    >>> similar("cam1.tif.ori", ["cam1.ori", "CAM1.TIF.ORI", "notes.txt"])
    ['CAM1.TIF.ORI', 'cam1.ori']
    """
    there: dict[str, str] = {}
    for other in names:
        there.setdefault(other.lower(), other)
        if len(there) == _MOST_COMPARED:
            break
    return [there[match] for match in difflib.get_close_matches(name.lower(), there, most, cutoff=0.7)]


def similar_text(name: str, names: Iterable[str]) -> str:
    """``" (similar: a, b)"`` for the end of a sentence, or nothing."""
    found = similar(name, names)
    return f" (similar: {', '.join(found)})" if found else ""
