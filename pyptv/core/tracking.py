"""One run of the tracker over a range of frames, in a scratch folder, a frame at a time.

The tracker reads and writes files. It gets copies of the pristine sequence results just before it needs them, and each
frame's output is taken away as soon as it is written: the scratch folder never holds more than a few frames, and the
results' own files are never touched by C code.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pyptv.core.errors import ProcessingError
from pyptv.core.optv_backend import TrackerBackend
from pyptv.core.parameters import MAX_CAMERAS
from pyptv.core.results import StepDone
from pyptv.core.store import Store
from pyptv.core.tasks import Announce, Control, Frontier, Job, Stop, TrackingTask
from pyptv.core.unused_columns import UnusedColumns

_STEP_LINE = re.compile(rb"step: *-?\d+, curr: *(\d+), next: *(\d+), links: *(\d+), lost: *(-?\d+), add: *(\d+)")


class TrackingRun:
    """Tracks from ``task.first`` on; :meth:`steps` yields each frame as it becomes final."""

    def __init__(self, job: Job, task: TrackingTask, control: Control, announce: Announce) -> None:
        self._task = task
        self._control = control
        self._announce = announce
        self._store = Store(job.experiment)
        self._num_cams = job.experiment.num_cams
        self._frontier, self._end = task.frontier, task.end
        self._stopped = False
        self._folder = job.scratch / f"r{task.id}"
        self._folder.mkdir()
        task.stage.mkdir(parents=True, exist_ok=True)
        last = task.limit if task.end is None else task.end
        self._tracker = TrackerBackend(
            job.experiment.parameters, job.experiment.calibrations, self._folder, last - task.first + 1
        )
        self._inputs: dict[int, dict[str, bytes]] = {}
        self._unused = UnusedColumns(self._store, task.stretch) if self._num_cams < MAX_CAMERAS else None
        self._fed = task.first - 1
        self.complete = False
        """Whether the run came to the end of its stretch."""

    def steps(self) -> Iterator[StepDone]:
        """Track; ends at the end of the stretch, when told to stop, or where no more frames are ready."""
        try:
            frame = self._task.first
            while self._may_go_on(frame):
                start = time.perf_counter()
                self._feed(min(frame + TrackerBackend.LOOK_AHEAD, self._frontier))
                self._announce(frame, "tracking")
                if frame == self._task.first:
                    self._tracker.restart()
                if frame == self._end:
                    self._tracker.finish()
                    self.complete = True
                    yield self._take(frame, None, start)
                    return
                yield self._take(frame, self._tracker.step(), start)
                frame += 1
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _may_go_on(self, frame: int) -> bool:
        for message in self._control.messages():
            if isinstance(message, Stop) and message.task == self._task.id:
                self._stopped = True
            elif isinstance(message, Frontier) and message.task == self._task.id:
                self._frontier = message.frontier
                if message.end is not None and message.end != self._end:
                    self._end = message.end
                    self._tracker.end_at(message.end - self._task.first + 1)
        ready = self._end is not None or frame + TrackerBackend.LOOK_AHEAD <= self._frontier
        return ready and not self._stopped

    def _feed(self, until: int) -> None:
        while self._fed < until:
            frame = self._fed + 1
            self._announce(frame, "reading the sequence step's results")
            self._inputs[frame] = self._store.sequence_input(frame)
            for name, path in self._scratch_files(frame).items():
                if name in self._inputs[frame]:
                    _check_whole(self._inputs[frame][name], f"{name} of frame {frame}")
                    path.write_bytes(self._inputs[frame][name])
            self._fed = frame

    def _take(self, frame: int, printed: str | None, start: float) -> StepDone:
        """Take a frame's output out of the scratch folder into the stage."""
        self._announce(frame, "storing the links")
        written = {}
        for name, path in self._scratch_files(frame).items():
            with suppress(FileNotFoundError):
                written[name] = path.read_bytes()
                path.unlink()
            _check_whole(written.get(name, b""), f"{name} of frame {frame}, as the tracker wrote it,")
        pristine = self._inputs.pop(frame)
        if self._unused is not None:
            written["rt_is"] = self._unused.settle(frame, pristine["rt_is"], written["rt_is"])
        fingerprint = self._store.stage_tracking(self._task.stage, frame, pristine, written)
        particles = int(written["ptv_is"].split(b"\n", 1)[0])
        current, following, links, lost, added = _numbers(printed, frame) if printed is not None else (particles, 0, 0, 0, 0)
        return StepDone(
            run=self._task.id,
            frame=frame,
            digest=fingerprint,
            current=current,
            next=following,
            links=links,
            lost=lost,
            added=added,
            last=self._end,
            seconds=time.perf_counter() - start,
        )

    def _scratch_files(self, frame: int) -> dict[str, Path]:
        names = TrackerBackend.file_names(self._num_cams, frame - self._task.first + 1)
        return {name: self._folder / file_name for name, file_name in names.items()}


def _numbers(printed: str, frame: int) -> tuple[int, ...]:
    """Current, next, links, lost, added from the line that C prints for a step."""
    found = _STEP_LINE.search(printed.encode())
    if found is None:
        raise ProcessingError(f"frame {frame}: the tracker printed {printed.strip()[:200]!r} instead of its numbers")
    return tuple(int(number) for number in found.groups())


def _check_whole(data: bytes, what: str) -> None:
    """Cheap check of a text table: as many lines as its count says, the last one ended."""
    first, _, rest = data.partition(b"\n")
    count = int(first) if first.strip().isdigit() else -1
    if count < 0 or rest.count(b"\n") != count or (rest and not rest.endswith(b"\n")):
        raise ProcessingError(f"{what} is not whole: found {rest.count(chr(10).encode())} rows and the count {first[:40]!r}")
