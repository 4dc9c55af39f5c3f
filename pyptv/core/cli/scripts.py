"""Support of the entry modules for callers from Python: arguments of scripts written for PyPTV, and progress."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyptv.core.record.watcher import Watcher


def parse_words(words: Sequence[str], names: Sequence[str]) -> tuple[Path, list[int]]:
    """The experiment, absolute, and whole numbers after it, from the words of a command line.

    Args:
        words: without the name of the script.
        names: of the required numbers, for messages; more may follow.

    Raises:
        ValueError: a word is missing, or is not a whole number.
    """
    if len(words) < 1 + len(names):
        raise ValueError(f"Invalid command line arguments: found {len(words)}, expected EXP {' '.join(names)}")
    try:
        numbers = [int(word) for word in words[1:]]
    except ValueError as error:
        raise ValueError(f"Invalid command line arguments: {error}") from None
    return Path(words[0]).resolve(), numbers


def follow(progress: Any) -> Watcher:
    """The observer of a run that was called from Python; see :func:`pyptv.core.cli.progress.follow`."""
    from pyptv.core.cli import progress as shown  # a script that imports main() does not need it

    return shown.follow(progress)
