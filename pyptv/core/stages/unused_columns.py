"""What the tracker writes for the cameras that an experiment does not have.

With fewer than four cameras optv does not set the target numbers of the missing ones in the ``rt_is`` rows of particles that
it adds: they are what the memory of that row held. The tracker keeps four frames in turn in the same memory; a row holds 0
there at first, and -1 once any frame read into that place had as many rows. That is what a run of PyPTV writes, if its
memory was fresh; it depends on all frames before, and elsewhere on chance. Here it is put as PyPTV has it, by that rule.
"""

from __future__ import annotations

from pyptv.core.files.formats import PARTICLES
from pyptv.core.files.store import Store

_FRAMES_IN_TURN = 4
_BEFORE = 4
"""Columns of a row before its target numbers."""


class UnusedColumns:
    """Settles the target numbers of missing cameras, in the frames of a stretch, one after the other."""

    def __init__(self, store: Store, stretch: int) -> None:
        self._store = store
        self._first = self._next = stretch
        self._most = [0] * _FRAMES_IN_TURN

    def settle(self, frame: int, before: bytes, after: bytes) -> bytes:
        """The ``rt_is`` of a frame with the missing cameras' numbers settled in the rows that tracking added.

        Args:
            frame: its number; frames come in order.
            before: the file as the sequence step wrote it.
            after: the file as the tracker wrote it.
        """
        n_before, n_after = _count(before), _count(after)
        if n_after > n_before:
            after = self._rewrite(frame, after, n_before)
        if frame == self._next:
            self._note(frame, n_before)
        return after

    def _rewrite(self, frame: int, data: bytes, n_before: int) -> bytes:
        used = self._most_rows_before(frame)
        missing = range(_BEFORE + self._store.experiment.num_cams, len(PARTICLES.columns))
        lines = data.split(b"\n")
        for row in range(n_before, len(lines) - 2):
            cells = lines[row + 1].split()
            for column in missing:
                cells[column] = b"-1" if row < used else b"0"
            number, *position = cells[:_BEFORE]
            values = (int(number), *map(float, position), *map(int, cells[_BEFORE:]))
            lines[row + 1] = (PARTICLES.row_format.rstrip("\n") % values).encode("ascii")
        return b"\n".join(lines)

    def _most_rows_before(self, frame: int) -> int:
        """The most rows of an earlier frame of the stretch that was read into the memory of this one."""
        for earlier in range(self._next, frame):  # a run that starts inside the stretch has not come by them
            self._note(earlier, _count(self._store.sequence_input(earlier, only="rt_is")["rt_is"]))
        return self._most[(frame - self._first) % _FRAMES_IN_TURN]

    def _note(self, frame: int, rows: int) -> None:
        place = (frame - self._first) % _FRAMES_IN_TURN
        self._most[place] = max(self._most[place], rows)
        self._next = frame + 1


def _count(data: bytes) -> int:
    return int(data.split(b"\n", 1)[0])
