"""Particles and links as result files: ``_targets``, ``rt_is``, ``ptv_is``, ``added``, and ``quality`` with the rest."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.core.base.errors import FormatError, ProcessingError
from pyptv.core.base.events import NO_RUN, Event, FrameDone, PassDone, StepDone
from pyptv.core.engines.compiled.text import render_columns
from pyptv.core.engines.dense.links import NO_NEXT, NO_PREVIOUS
from pyptv.core.engines.dense.results import confirmed, matches_of, order_of, seen_in
from pyptv.core.engines.dense.tracks import length
from pyptv.core.files.atomic import digest, frame_digest
from pyptv.core.files.formats import ADDED, LINKS, PARTICLES, QUALITY
from pyptv.core.files.store import Store
from pyptv.core.stages.check import check_results
from pyptv.core.stages.dense.window import Window
from pyptv.core.stages.tasks import Announce, DenseJob, Job, table_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]

_PRIORITY = 4
"""What the C library gives to every particle (``PRIO_DEFAULT``)."""
PUBLISHED = table_name("publish", 1)


@dataclass(frozen=True)
class _Linked:
    """Links of a frame in the rows of its files."""

    previous: Ints
    next: Ints
    n_next: int

    def files(self, positions: Floats) -> dict[str, bytes]:
        """``ptv_is`` and ``added``."""
        rows = np.column_stack([self.previous, self.next, positions])
        added = np.column_stack([rows, np.full(len(rows), _PRIORITY)])
        return {"added": render_columns(ADDED, added), "ptv_is": render_columns(LINKS, rows)}


class PublishStep:
    """Publishes the frames of a range."""

    def __init__(self, job: Job, dense: DenseJob, store: Store, announce: Announce, window: Window) -> None:
        self._job, self._dense, self._store, self._announce, self._window = job, dense, store, announce, window
        ptv = job.experiment.parameters.ptv
        self._size = (ptv.imx, ptv.imy)
        self._orders: dict[int, Ints] = {}

    def publish(self, frame: int) -> Iterator[Event]:
        """Write a frame's files, unless an earlier run has, and they are still there."""
        began = time.perf_counter()
        reach = max(self._dense.min_track, 1)
        inputs = self._window.inputs(frame, reach, reach, links=self._job.tracks)
        what = f"{self._job.fingerprints['frames']} {self._dense.min_track} {self._job.tracks} {self._job.processes}"
        key = digest(f"{what} {inputs}".encode())
        header = self._store.tables.header(PUBLISHED, frame)
        if self._dense.resume and header is not None and header.key == key and self._are_there(frame, header.notes):
            yield from _events(frame, header.notes, kept=True)
            return
        self._announce(frame, "writing results")
        notes = self._write(frame) if self._job.processes else self._write_links(frame)
        self._store.tables.write(PUBLISHED, frame, key, {}, notes=notes)
        yield from _events(frame, notes, seconds=time.perf_counter() - began)

    # -- particles and links that the run has made ----------------------------------------------------------------------

    def _write(self, frame: int) -> dict[str, Any]:
        table = self._window.found(frame)
        if table is None:
            raise ProcessingError(f"{self._store.tables.path('found', frame)}: is not there any more")
        rows = self._order(frame)
        matches = matches_of(table.arrays, rows, self._size)
        files = matches.files()
        linked = self._linked(frame) if self._job.tracks else None
        links = linked.files(table.arrays["positions"][rows]) if linked is not None else {}
        self._store.publish_sequence(frame, links | {"quality": self._quality(frame, rows)} | files)
        return {
            "targets": [len(of_camera) for of_camera in matches.targets],
            "counts": list(matches.counts),
            "particles": len(rows),
            "dropped": len(table.arrays["positions"]) - len(rows),
            "digest": frame_digest(files),
            "particles_digest": digest(files["rt_is"]),
            "size": sum(map(len, (files | links).values())),
        } | _link_notes(linked, files | links)

    def _order(self, frame: int) -> Ints:
        """The rows of a frame's particles that are published, in their order there."""
        if frame not in self._orders:
            table = self._window.found(frame)
            arrays = table.arrays if table is not None else None
            self._orders[frame] = (
                np.empty(0, np.int64) if arrays is None else order_of(seen_in(arrays, self._size), self._kept(frame))
            )
            while len(self._orders) > 8:
                del self._orders[next(iter(self._orders))]
        return self._orders[frame]

    def _kept(self, frame: int) -> Flags:
        """Which particles are published: those on tracks of enough frames, and those that their spots alone confirm.

        Where a track cannot have that many frames, all that it can have are enough.
        """
        table = self._window.found(frame)
        least = min(self._dense.min_track, self._possible(frame)) if self._job.tracks else 1
        if least <= 1 or table is None:
            return np.ones(len(self._window.positions(frame)), bool)
        frames = length(self._window, frame, least)
        kept: Flags = (frames >= least) | confirmed(table.arrays, frames > 1)
        return kept

    def _possible(self, frame: int) -> int:
        """Frames around this one that a track can have, counted as far as it matters."""
        count = 1
        for side in (-1, 1):
            beside = frame + side
            while abs(beside - frame) < self._dense.min_track and self._window.particles(beside) is not None:
                count += 1
                beside += side
        return count

    def _linked(self, frame: int) -> _Linked:
        rows = self._order(frame)
        before, after = self._order(frame - 1), self._order(frame + 1)
        return _Linked(
            _translated(self._window.previous(frame)[rows], before, NO_PREVIOUS),
            _translated(self._window.next(frame)[rows], after, NO_NEXT),
            len(after),
        )

    def _quality(self, frame: int, rows: Ints) -> bytes:
        table = self._window.found(frame)
        if table is None:
            return QUALITY.render([])
        arrays = table.arrays
        seen = seen_in(arrays, self._size)[rows]
        intensity = np.where(seen, arrays["intensities"][rows], 0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
        track = (
            length(self._window, frame, max(self._dense.min_track, 1))
            if self._job.tracks
            else np.ones(len(arrays["misfit"]), int)
        )
        numbers = np.arange(1, len(rows) + 1)
        columns = np.column_stack([numbers, intensity, arrays["misfit"][rows], seen.sum(axis=1), track[rows]])
        return render_columns(QUALITY, columns)

    # -- links of particles that were there -----------------------------------------------------------------------------

    def _write_links(self, frame: int) -> dict[str, Any]:
        files = self._store.sequence_input(frame)
        done = check_results(self._job, frame, files, time.perf_counter())
        table = self._window.found(frame)
        particles = PARTICLES.parse(files["rt_is"], self._job.experiment.result_path("rt_is", frame))
        positions = np.column_stack([particles[axis] for axis in "xyz"])
        if table is None or len(table.arrays["all"]) != len(positions):
            raise FormatError(f"{self._job.experiment.result_path('rt_is', frame)}: has changed while it was linked")
        previous, after = np.full(len(positions), NO_PREVIOUS), np.full(len(positions), NO_NEXT)
        rows = table.arrays["row"]
        previous[rows] = self._in_file(frame - 1, self._window.previous(frame))
        after[rows] = self._in_file(frame + 1, self._window.next(frame))
        beyond = self._window.found(frame + 1)
        linked = _Linked(previous, after, len(beyond.arrays["all"]) if beyond is not None else 0)
        links = linked.files(positions)
        self._store.put_tracked(None, frame, files, files | links)
        return {
            "targets": list(done.targets),
            "counts": list(done.counts),
            "particles": done.particles,
            "dropped": 0,
            "digest": done.digest,
            "particles_digest": done.particles_digest,
            "size": done.size,
        } | _link_notes(linked, files | links)

    def _in_file(self, frame: int, rows: Ints) -> Ints:
        """Rows of a frame's table as rows of its ``rt_is``; those below 0 stay."""
        table = self._window.found(frame)
        if table is None or not len(table.arrays["row"]):
            return rows
        found: Ints = np.where(rows >= 0, table.arrays["row"][np.maximum(rows, 0)], rows)
        return found

    # -- inside ---------------------------------------------------------------------------------------------------------

    def _are_there(self, frame: int, notes: dict[str, Any] | Any) -> bool:
        """Whether the files that an earlier run has written are still those."""
        if self._job.tracks:
            files = self._store.tracked(frame)
            return files is not None and frame_digest(files) == notes.get("tracked_digest")
        try:
            return frame_digest(self._store.sequence_input(frame)) == notes.get("digest")
        except ProcessingError:
            return False


def _translated(rows: Ints, order: Ints, none: int) -> Ints:
    """Rows of a table as rows of the files, where ``order`` has the table's rows of the files; ``none`` for what is not there."""
    place = np.full(max(int(rows.max(initial=-1)), int(order.max(initial=-1))) + 1, none, np.int64)
    place[order] = np.arange(len(order))
    found: Ints = np.where(rows >= 0, place[np.maximum(rows, 0)], none) if len(place) else np.full(len(rows), none)
    return found


def _link_notes(linked: _Linked | None, files: dict[str, bytes]) -> dict[str, Any]:
    if linked is None:
        return {}
    links = int((linked.next >= 0).sum())
    return {"tracked_digest": frame_digest(files), "links": links, "n_next": linked.n_next}


def _events(frame: int, notes: Any, *, seconds: float = 0.0, kept: bool = False) -> Iterator[Event]:
    yield FrameDone(
        frame=frame,
        targets=tuple(notes["targets"]),
        counts=tuple(notes["counts"]),
        particles=notes["particles"],
        digest=notes["digest"],
        particles_digest=notes["particles_digest"],
        size=notes["size"],
        seconds={} if kept else {"write": seconds},
        kept=kept,
    )
    if "links" in notes:
        links, particles = notes["links"], notes["particles"]
        yield StepDone(
            run=NO_RUN,
            frame=frame,
            digest=notes["tracked_digest"],
            current=particles,
            next=notes["n_next"],
            links=links,
            lost=particles - links if notes["n_next"] else 0,
            published=True,
            kept=kept,
        )
    yield PassDone(frame, PUBLISHED, notes["particles"], {"dropped": float(notes["dropped"])}, kept=kept)
