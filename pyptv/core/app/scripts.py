"""What the entry modules offer to scripts that were written for PyPTV's own batch modules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def parse_words(words: Sequence[str], names: Sequence[str]) -> tuple[Path, list[int]]:
    """The experiment, absolute, and whole numbers after it, from the words of a command line.

    Args:
        words: without the name of the script.
        names: of the numbers that must be there, for messages; more may follow.

    Raises:
        ValueError: a word is missing, or is no whole number.
    """
    if len(words) < 1 + len(names):
        raise ValueError(f"Invalid command line arguments: found {len(words)}, expected EXP {' '.join(names)}")
    try:
        numbers = [int(word) for word in words[1:]]
    except ValueError as error:
        raise ValueError(f"Invalid command line arguments: {error}") from None
    return Path(words[0]).resolve(), numbers
