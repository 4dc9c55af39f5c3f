"""A part of a job array, and the run that combines the parts: how they differ from an ordinary run."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pyptv.core.base.frames import FrameRange, contiguous, describe
from pyptv.core.base.machine import host
from pyptv.core.base.options import Engine, Options
from pyptv.core.files.store import Store
from pyptv.core.history import parts
from pyptv.core.history.parts import Part, Record
from pyptv.core.record.tally import Tally
from pyptv.core.schedule.stretches import WHOLE, Share
from pyptv.core.stages.tasks import Absent

logger = logging.getLogger(__name__)

_MOST_NAMED = 20


def part_of(options: Options, frames: FrameRange) -> Part | None:
    """The part of the range that a run processes; None: all of it."""
    return Part(int(options.part[0]), int(options.part[1]), frames) if options.part is not None else None


def share_of(part: Part | None) -> Share:
    """The share of the sequence that a part processes, and which of its neighbours it cannot see."""
    return WHOLE if part is None else Share(part.name, begins=part.number == 1, ends=part.number == part.of)


def tracks_ahead(part: Part | None, engine: Engine, *, tracks: bool) -> bool:
    """Whether a run tracks: a part does so only with an engine whose tracker can save its state."""
    if part is not None and tracks and engine == "optv":
        logger.info("Engine optv: its tracker cannot save its state, so parts do the sequence step only, and --finish tracks")
        return False
    return tracks


def note_start(part: Part, store: Store) -> None:
    """Record that a process works on a part."""
    Record(part, parts.RUNNING, host=str(host()["name"])).write(store.parts)


def note_end(part: Part, store: Store, tally: Tally, error: BaseException | None) -> None:
    """Record the outcome of a part."""
    failed = {frame: failure.reason for frame, failure in tally.failed.items() if failure.step == "sequence"}
    record = Record(part, tally.outcome(error), tally.error_text(error), failed, str(host()["name"]))
    try:
        record.write(store.parts)
    except OSError as problem:
        logger.warning("%s: the outcome of the part cannot be recorded: %s", store.parts, problem.strerror or problem)


class Parts:
    """The parts of a job array, as found by the run that combines them."""

    def __init__(self, store: Store, is_done: Callable[[int], bool], frames: FrameRange, *, only_tracked: bool) -> None:
        """``is_done``: whether a part has processed a frame; ``only_tracked``: the sequence step need not be done."""
        self._folders = parts.folders(store.parts, frames)
        self._records = list(parts.records(store.parts, frames))
        failed = {frame: reason for record in self._records for frame, reason in record.failed.items()}
        self.absent = [frame for frame in range(frames[0], frames[1] + 1) if not only_tracked and not is_done(frame)]
        """Frames that no part has processed."""
        texts = [(*record.part.frames, record.text()) for record in self._records]
        known = {record.part.name for record in self._records}
        texts += [(*part.frames, f"{part} did not run") for part in self._array(frames) if part.name not in known]
        there = set(self.absent)
        self.why = Absent({frame: reason for frame, reason in failed.items() if frame in there}, tuple(texts))

    def _array(self, frames: FrameRange) -> list[Part]:
        return parts.all_parts(self._records, frames)

    def describe(self, frames: FrameRange) -> None:
        """Log how many parts are done, and the state of the others."""
        array = self._array(frames)
        if not self._records:
            logger.info("No part of these frames was run, or all parts have been combined before")
            return
        done = {record.part.name for record in self._records if record.outcome in {"done", "incomplete"}}
        there = set(self.absent)
        open_parts = [
            part
            for part in array
            if part.name not in done
            or any(f in there and f not in self.why.reasons for f in range(part.frames[0], part.frames[1] + 1))
        ]
        logger.info("Parts: %d of %d are done", len(array) - len(open_parts), len(array))
        of_range = {(first, last): text for first, last, text in self.why.ranges}
        for part in open_parts[:_MOST_NAMED]:
            missing = [frame for frame in self.absent if part.frames[0] <= frame <= part.frames[1]]
            what = f"; frames {describe(missing)} are missing" if missing else ""
            logger.warning("%s%s", of_range.get(part.frames, str(part)), what)
        if open_parts and there:
            numbers = ",".join(str(part.number) for part in open_parts)
            logger.warning(
                "Run them again, then --finish: --part %d/%d%s (sbatch --array=%s)",
                *(open_parts[0].number, array[0].of, " and so on" if len(open_parts) > 1 else "", numbers),
            )

    def in_order(self, chunks: list[FrameRange]) -> list[FrameRange]:
        """Chunks, those with missing frames last: finished frames are checked before a missing frame ends the run."""
        holes = contiguous(self.absent)
        return sorted(chunks, key=lambda chunk: any(low <= chunk[1] and chunk[0] <= high for low, high in holes))

    def remove(self) -> None:
        """Remove the parts, which are no longer needed."""
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        _remove_if_empty(self._folders[0].parent if self._folders else None)


def _remove_if_empty(folder: Path | None) -> None:
    if folder is not None:
        try:
            folder.rmdir()
        except OSError:
            return


def options_of_check(options: Options, part: Part | None) -> Options:
    """Options of the checks: a part ignores results of other frames, which belong to other parts, and so does a watching run."""
    return options if part is None and not options.watch else replace(options, part=None, clean=True)
