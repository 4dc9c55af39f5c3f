"""The tables around a frame, within the range of the run."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.base.frames import FrameRange
from pyptv.core.engines.dense.links import NO_NEXT, previous
from pyptv.core.files.atomic import digest
from pyptv.core.files.tables import Table, Tables
from pyptv.core.stages.tasks import table_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_KEPT = 16
"""Tables in memory: those of seven frames, which is what a frame's next pass looks at."""


class Window:
    """Particles and links of one pass; frames outside the run, and those that failed, have none."""

    def __init__(self, tables: Tables, frames: FrameRange, number: int) -> None:
        self._tables = tables
        self._frames = frames
        self._found, self._links = table_name("find", number), table_name("link", number)
        self._memory: OrderedDict[tuple[str, int], Table | None] = OrderedDict()

    def found(self, frame: int) -> Table | None:
        """The table of a frame's particles."""
        return self._read(self._found, frame)

    def found_digest(self, frame: int) -> str:
        """Its fingerprint; empty where there is none."""
        return self.digest(self._found, frame)

    def particles(self, frame: int) -> Floats | None:
        """(n, 3) [mm]; None if there is no such frame."""
        table = self.found(frame)
        return table.arrays["positions"] if table is not None else None

    def positions(self, frame: int) -> Floats:
        """(n, 3) [mm]."""
        particles = self.particles(frame)
        return np.empty((0, 3)) if particles is None else particles

    def next(self, frame: int) -> Ints:
        """(n,) row in the next frame, or -2."""
        table = self._read(self._links, frame)
        n = len(self.positions(frame))
        if table is None or len(table.arrays["next"]) != n or self.particles(frame + 1) is None:
            return np.full(n, NO_NEXT, np.int64)
        return table.arrays["next"]

    def previous(self, frame: int) -> Ints:
        """(n,) row in the previous frame, or -1."""
        return previous(self.next(frame - 1), len(self.positions(frame)))

    def inputs(self, frame: int, back: int, ahead: int, *, links: bool) -> str:
        """A fingerprint of the tables around a frame."""
        names = [self._found, *([self._links] if links else [])]
        each = range(frame - back, frame + ahead + 1)
        parts = [self.digest(name, beside) or "-" for beside in each for name in names]
        return digest(" ".join(parts).encode())

    def renewed(self) -> None:
        """Forget tables that are not there, or not the same any more: other processes may have made them since."""
        for (name, frame), table in list(self._memory.items()):
            if table is None or self.digest(name, frame) != table.header.digest:
                del self._memory[name, frame]

    def digest(self, name: str, frame: int) -> str:
        """The fingerprint of a table; empty where there is none."""
        header = self._tables.header(name, frame) if self._within(frame) else None
        return header.digest if header is not None else ""

    def _within(self, frame: int) -> bool:
        return self._frames[0] <= frame <= self._frames[1]

    def _read(self, name: str, frame: int) -> Table | None:
        if not self._within(frame):
            return None
        if (name, frame) not in self._memory:
            self._memory[name, frame] = self._tables.read(name, frame)
            while len(self._memory) > _KEPT:
                self._memory.popitem(last=False)
        return self._memory[name, frame]
