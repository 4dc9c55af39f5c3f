"""Listings of folders, each read once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path


class FolderListing:
    """The names in requested folders, each folder read once.

    Listings made while an experiment is read are passed on to the checks before a run (:meth:`hand_over`), so that a folder
    with a million images is listed once. They are not sent to worker processes.
    """

    def __init__(self) -> None:
        self._names: dict[Path, AbstractSet[str]] = {}
        self._inner: dict[tuple[Path, str], AbstractSet[str]] = {}

    def has(self, path: Path) -> bool:
        """Whether a file exists."""
        return path.name in self.names(path.parent)

    def lacks(self, folder: Path, names: Iterable[str]) -> str | None:
        """The first of some names, relative to a folder, for which there is no file; None: all exist.

        This is called for each of a million images, so no path object is made for existing ones.
        """
        for name in names:
            inner, _, last = name.rpartition("/")
            place = (folder, inner)
            if place not in self._inner:
                self._inner[place] = self.names(folder / inner)
            if last not in self._inner[place]:
                return name
        return None

    def names(self, folder: Path) -> AbstractSet[str]:
        """All names in a folder; empty if there is no such folder."""
        if folder not in self._names:
            try:
                self._names[folder] = set(os.listdir(folder))
            except (OSError, ValueError):  # ValueError: a zero byte in the name
                self._names[folder] = frozenset()
        return self._names[folder]

    def hand_over(self) -> FolderListing:
        """Another listing with the contents of this one, which becomes empty and reads again."""
        other = FolderListing()
        other._names, self._names, self._inner = self._names, {}, {}
        return other

    def __getstate__(self) -> dict[str, object]:
        return {"_names": {}, "_inner": {}}
