"""The results of an earlier run for a frame, and whether they are still valid: checked on the workers, frame by frame."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from pyptv.core.base.errors import FormatError, ProcessingError
from pyptv.core.base.events import NO_RUN, FrameDone, StepDone
from pyptv.core.files.atomic import digest, frame_digest
from pyptv.core.files.formats import count_links, row_count
from pyptv.core.files.stamps import is_same
from pyptv.core.files.store import Store
from pyptv.core.history.journal import read_entry
from pyptv.core.images.view_cache import neighbours_stamp
from pyptv.core.stages.tasks import Job, Past

logger = logging.getLogger(__name__)

_MOST_DIGITS = 6


class Earlier:
    """Checks the results of earlier runs."""

    def __init__(self, job: Job, store: Store) -> None:
        self._job = job
        self._store = store
        self._read: dict[str, bytes] = {}
        """The sequence step's files of the current frame."""

    def look(self, frame: int, past: Past, checked: FrameDone | None) -> tuple[FrameDone | None, StepDone | None]:
        """The results of a frame that are still valid.

        Args:
            frame: its number.
            past: its journal entries.
            checked: the frame as it is in its files, if the run accepts them from any program.

        Returns:
            The frame, None where it must be processed again; and its links, None where they must be made again.
        """
        noted = read_entry(self._job.journal, past.frame) if past.frame and self._job.journal else None
        linked = read_entry(self._job.journal, past.step) if past.step and self._job.journal else None
        guessed = read_entry(self._job.journal, past.guess) if past.guess and self._job.journal else None
        self._read = {}
        done = self._kept(frame, noted) if checked is None else self._same(checked, noted, linked, guessed)
        step = None
        if done is not None and done.kept and self._job.tracks:
            step = self._linked(frame, linked) if linked is not None else None
            if step is None and guessed is not None:
                step = self._guessed(frame, guessed)
        return done, step

    def _kept(self, frame: int, noted: Mapping[str, Any] | None) -> FrameDone | None:
        """A frame whose files exist as they were written, and whose images are the same."""
        done = _frame_done(frame, noted) if noted is not None else None
        if done is None:
            return None
        try:
            files = self._read = self._store.sequence_input(frame)
        except ProcessingError:
            return None
        counts = (*(row_count(data) for name, data in files.items() if name != "rt_is"), row_count(files["rt_is"]))
        whole = frame_digest(files) == done.digest and counts == (*done.targets, done.particles)
        return done if whole and self._same_images(frame, done) else None

    def _same_images(self, frame: int, done: FrameDone) -> bool:
        """Whether the images are the same."""
        paths = [self._job.experiment.input_path(which, frame) for which in range(len(done.images))]
        changed = [path for path, stamp in zip(paths, done.images, strict=True) if not is_same(path, stamp)]
        if changed:
            logger.info("frame %d: processed again, %s has changed since", frame, changed[0])
        return not changed and self._same_neighbours(frame, done)

    def _same_neighbours(self, frame: int, done: FrameDone) -> bool:
        """Whether the images of other frames that hooks may have used are the same."""
        reach = done.neighbours.partition(" ")[0]
        if not (reach.isdecimal() and len(reach) < _MOST_DIGITS):
            return not done.neighbours
        same = neighbours_stamp(self._job.experiment, frame, int(reach)) == done.neighbours
        if not same:
            logger.info("frame %d: processed again, an image at most %s frames away has changed since", frame, reach)
        return same

    def _same(self, checked: FrameDone, noted: Mapping[str, Any] | None, *linked: Mapping[str, Any] | None) -> FrameDone:
        """A frame that is used unchanged; kept if it is as it was when tracked, or as the sequence step wrote it."""
        same = {noted.get("digest") if noted else None, *(line.get("sequence") if line else None for line in linked)}
        return replace(checked, kept=checked.digest in same)

    def refuse_mixture(self, frame: int, past: Past | None, files: Mapping[str, bytes]) -> None:
        """Refuse an unchanged ``rt_is`` beside other targets: another program has written into their folder.

        Called before the files are parsed: the rows of ``rt_is`` may refer to targets that do not exist, without being damaged.

        Raises:
            FormatError: targets that belong to another experiment.
        """
        noted = read_entry(self._job.journal, past.frame) if past and past.frame and self._job.journal else None
        if noted is None or noted.get("digest") == frame_digest(files):
            return
        if noted.get("particles_digest") == digest(files["rt_is"]):
            folder = self._job.experiment.targets_folder(0)
            raise FormatError(
                f"{folder}: the _targets files are not those that the particles were made from: another experiment that shares "
                "the folder has replaced them. Run the sequence step again, and give each experiment its own folder (--output)"
            )
        logger.info("frame %d: another program has changed its results since the sequence step: these are used", frame)

    def _linked(self, frame: int, linked: Mapping[str, Any]) -> StepDone | None:
        """Links that exist as they were written."""
        step = _step_done(frame, linked)
        files = self._store.tracked(frame) if step is not None else None
        if step is None or files is None or frame_digest(files) != step.digest:
            return None
        current, links = count_links(files["ptv_is"])
        return step if current == step.current and links == step.links else None

    def _guessed(self, frame: int, guessed: Mapping[str, Any]) -> StepDone | None:
        """Links that a part of a job array has made ahead, and that are in its folder as they were written."""
        step = _step_done(frame, guessed)
        with suppress(KeyError, ValueError):
            if step is not None:
                step = replace(step, published=False, part=str(guessed["part"]), state=str(guessed["state"]))
                files = self._store.staged(step.part, frame, self._read)
                return step if files is not None and frame_digest(files) == step.digest else None
        return None


def _frame_done(frame: int, noted: Mapping[str, Any]) -> FrameDone | None:
    """A line of the journal as an event; None if it does not contain one."""
    with suppress(KeyError, TypeError, ValueError):
        images = [(_whole(size), _whole(time), _whole(crc)) for size, time, crc in noted["images"]]
        return FrameDone(
            frame=frame,
            targets=tuple(map(_whole, noted["targets"])),
            counts=tuple(map(_whole, noted["counts"])),
            particles=_whole(noted["particles"]),
            digest=str(noted["digest"]),
            particles_digest=str(noted["particles_digest"]),
            size=_whole(noted["size"]),
            images=tuple(images),
            neighbours=str(noted.get("neighbours", "")),
            kept=True,
        )
    return None


def _step_done(frame: int, linked: Mapping[str, Any]) -> StepDone | None:
    with suppress(KeyError, TypeError, ValueError):
        last = linked["last"]
        return StepDone(
            run=NO_RUN,
            frame=frame,
            digest=str(linked["digest"]),
            last=None if last is None else _whole(last),
            published=True,
            kept=True,
            current=_whole(linked["current"]),
            next=_whole(linked["next"]),
            links=_whole(linked["links"]),
            lost=_whole(linked["lost"]),
            added=_whole(linked["added"]),
            stretch=_whole(linked["stretch"]),
        )
    return None


def _whole(value: object) -> int:
    """A whole number from a line of the journal."""
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"found {value!r:.80}, expected a whole number")
    return value
