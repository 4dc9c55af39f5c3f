"""The dense method on a worker: the steps of its tasks, and errors at a frame."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pyptv.core.base.errors import FormatError, FrameError, ProcessingError
from pyptv.core.base.events import Event, FrameFailed, PassDone, TaskDone
from pyptv.core.files.formats import PARTICLES
from pyptv.core.files.store import Store
from pyptv.core.stages.dense.find import FindStep
from pyptv.core.stages.dense.link import LinkStep
from pyptv.core.stages.dense.optics import Optics, OpticsStep
from pyptv.core.stages.dense.publish import PublishStep
from pyptv.core.stages.dense.window import Window
from pyptv.core.stages.tasks import OPTICS, Announce, DenseTask, Job, table_name
from pyptv.kernels.cache import FOR_DENSE, load


class DenseWork:
    """Does tasks of the dense method. The data kept between tasks are the same for all frames."""

    def __init__(self, job: Job, store: Store, announce: Announce) -> None:
        if job.dense is None:
            raise ProcessingError("the dense method was not asked for")
        load(FOR_DENSE)
        self._job, self._dense, self._store, self._announce = job, job.dense, store, announce
        self._optics: Optics | None = None
        self._find: FindStep | None = None
        self._windows: dict[int, Window] = {}
        self._links: dict[int, LinkStep] = {}

    def events(self, task: DenseTask) -> Iterator[Event]:
        """Do a task."""
        if task.kind == "optics":
            header, kept = OpticsStep(self._job, self._store, self._announce).make()
            yield PassDone(task.first, OPTICS, notes=header.notes, kept=kept)
            yield TaskDone(task.id)
            return
        for one in self._windows.values():
            one.renewed()
        window = self._window(task.number)
        linking = self._linking(task.number)
        publishing = PublishStep(self._job, self._dense, self._store, self._announce, window)
        for frame in range(task.first, task.last + 1):
            try:
                if task.kind == "publish":
                    yield from publishing.publish(frame)
                elif task.kind == "link":
                    yield linking.link(frame)
                elif task.kind == "find":
                    yield self._found(frame, task.number)
                else:
                    yield self._taken(frame)
            except (FrameError, FormatError) as error:
                self._store.tables.remove(table_name(task.kind, task.number), frame)
                text = str(error)
                named = text if text.startswith("frame ") else f"frame {frame}: {text}"
                yield FrameFailed(frame, named, step="sequence" if self._job.processes else "tracking")
                if self._job.stop_at_failure:
                    break
        yield TaskDone(task.id)

    def _window(self, number: int) -> Window:
        if number not in self._windows:
            self._windows[number] = Window(self._store.tables, self._dense.frames, number)
        return self._windows[number]

    def _linking(self, number: int) -> LinkStep:
        """The next frame's links need most of what this one's have needed: clouds, and links of two frames alone."""
        if number not in self._links:
            last = number == (self._dense.passes or self._the_optics().passes)
            self._links[number] = LinkStep(
                self._job, self._dense, self._store, self._announce, window=self._window(number), number=number, last=last
            )
        return self._links[number]

    def _found(self, frame: int, number: int) -> PassDone:
        if self._find is None:
            self._find = FindStep(self._job, self._dense, self._store, self._announce, self._the_optics())
        return self._find.find(frame, number, self._window(number - 1) if number > 1 else None)

    def _the_optics(self) -> Optics:
        if self._optics is None:
            self._optics = OpticsStep(self._job, self._store, self._announce).load()
        return self._optics

    def _taken(self, frame: int) -> PassDone:
        """The particles of existing result files of any program."""
        self._announce(frame, "checking the sequence step's results")
        name = table_name("take", 1)
        try:
            data = self._store.sequence_input(frame, "rt_is")["rt_is"]
        except ProcessingError as error:
            raise FormatError(str(error)) from error
        particles = PARTICLES.parse(data, self._job.experiment.result_path("rt_is", frame))
        positions = np.column_stack([particles[axis] for axis in "xyz"]).reshape(-1, 3)
        rows = np.flatnonzero(np.isfinite(positions).all(axis=1))  # others have no position
        arrays = {"positions": positions[rows], "row": rows, "all": np.zeros(len(positions), np.bool_)}
        self._store.tables.write(name, frame, "taken", arrays)
        return PassDone(frame, name, len(positions))
