"""``--watch``: frames are processed as their images arrive. It polls, because network disks do not report changes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

from pyptv.core.base.errors import ProcessingError
from pyptv.core.base.events import FrameDone
from pyptv.core.base.frames import FrameRange, describe
from pyptv.core.base.options import Options
from pyptv.core.experiment.folder import Experiment

logger = logging.getLogger(__name__)

_INTERVAL = 0.5
"""Seconds between two checks; a file that is the same at both is complete."""

_AHEAD = 64
"""Frames that are looked for beyond the last one that has arrived: files may arrive out of order."""

_SETTLED = 10.0
"""Seconds after which a frame fails whose files cannot be read and no longer change: a writer may pause."""

_Signature = tuple[tuple[int, int], ...]
"""(size, time of last change) of each image of a frame."""


class Arrivals:
    """The frames of a range, as their images arrive."""

    def __init__(self, experiment: Experiment, frames: FrameRange, until_idle: float | None) -> None:
        self._experiment = experiment
        self._first, self._last = frames
        self._until_idle = until_idle
        self._low = self._first
        """All frames below this one have been taken."""
        self._highest = self._first - 1
        """The last frame of which a file has arrived."""
        self._taken: set[int] = set()
        """Frames taken from there on."""
        self._unsettled: set[int] = set()
        """Frames that were taken and are not yet known to be read completely: they may be taken again."""
        self._seen: dict[int, tuple[_Signature, float]] = {}
        """Frame -> its files at the last check, and since when [s] they have been the same."""
        self._again: dict[int, float] = {}
        """Frames that could not be read -> earliest time [s] of the next attempt."""
        self._looked = 0.0
        self._changed = time.monotonic()
        self._closing = False
        """The run was asked to end: later frames are ignored."""
        self.over = False
        """No more frames are awaited."""

    @property
    def end(self) -> int:
        """The last frame that was taken."""
        return max(self._taken, default=self._low - 1)

    def poll(self) -> list[int]:
        """The frames that have become complete since the last call; at the end also those that never became complete."""
        now = time.monotonic()
        if self.over or now - self._looked < _INTERVAL:
            return []
        self._looked = now
        found = [] if self._closing else [frame for frame in self._in_view() if self._is_complete(frame, now)]
        self._take(found)
        self._unsettled.update(found)
        self._closing |= _ending.asked
        idle = self._until_idle is not None and now - self._changed > self._until_idle
        if not self._unsettled and (self._low > self._last or idle or self._closing):
            self.over = True
            found = self._incomplete()
        return found

    def failed(self, frame: int) -> bool:
        """A frame could not be read: whether it may still be being written. Then it is taken again."""
        now, signature = time.monotonic(), self._signature(frame)
        before = self._seen.get(frame)
        self._unsettled.discard(frame)
        if self.over or before is None or (signature == before[0] and now - before[1] > _SETTLED):
            return False
        self._give_back(frame, now + 2 * _INTERVAL)
        return True

    def outdated(self, done: FrameDone) -> bool:
        """Whether the images of a frame have changed while it was processed. Then it is taken again."""
        signature = self._signature(done.frame)
        self._unsettled.discard(done.frame)
        if done.kept:  # its image stamps are of an earlier run: the time may differ while the bytes are the same
            same = signature == self._seen.get(done.frame, (signature,))[0]
        else:
            same = signature is not None and all(
                (size, t) == stamp[:2] for (size, t), stamp in zip(signature, done.images, strict=False)
            )
        if same or self.over:
            self._seen.pop(done.frame, None)
            self._again.pop(done.frame, None)
            return False
        logger.info("frame %d: its images have changed since they were read: it is processed again", done.frame)
        self._give_back(done.frame, time.monotonic() + _INTERVAL)
        return True

    def _in_view(self) -> Iterator[int]:
        frame = self._low
        while frame <= min(self._last, self._highest + _AHEAD):
            if frame not in self._taken:
                yield frame
            frame += 1

    def _is_complete(self, frame: int, now: float) -> bool:
        """Whether all images of a frame exist and have not changed since the last check."""
        signature = self._signature(frame)
        if signature is None:
            return False
        self._highest = max(self._highest, frame)
        before = self._seen.get(frame)
        if before is None or before[0] != signature:
            self._seen[frame] = signature, now
            self._changed = now
            return False
        return now >= self._again.get(frame, 0.0)

    def _signature(self, frame: int) -> _Signature | None:
        """None: something is missing, or empty."""
        found = []
        for which in range(self._experiment.images_per_frame):
            try:
                status = self._experiment.input_path(which, frame).stat()
            except OSError:
                return None
            if status.st_size == 0:
                return None
            found.append((status.st_size, status.st_mtime_ns))
        return tuple(found)

    def _take(self, frames: list[int]) -> None:
        self._taken.update(frames)
        while self._low in self._taken:
            self._taken.discard(self._low)
            self._low += 1

    def _give_back(self, frame: int, until: float) -> None:
        """Take a frame once more, not before ``until``."""
        self._again[frame] = until
        self._taken.update(range(frame + 1, self._low))
        self._taken.discard(frame)
        self._low = min(self._low, frame)

    def _incomplete(self) -> list[int]:
        """Frames that could not be read so far, and missing frames between others."""
        unread = [frame for frame in sorted(self._again) if frame >= self._low and frame not in self._taken]
        self._take(unread)
        gaps = [frame for frame in range(self._low, self.end) if frame not in self._taken]
        if gaps:
            logger.warning("Frames %s have not arrived", describe(gaps))
        self._take(gaps)
        return unread + gaps


def wait_for_first(experiment: Experiment, frames: FrameRange, options: Options) -> int:
    """Wait until a first frame of the range is complete, and return its number: the checks need images.

    Raises:
        ProcessingError: none has arrived in the available time.
    """
    arrivals = Arrivals(experiment, frames, options.until_idle)
    logger.info("Waiting for images of frames %d to %d", *frames)
    while not arrivals.over:
        if found := arrivals.poll():
            return min(found)
        time.sleep(_INTERVAL / 5)
    raise ProcessingError(f"No frame of {frames[0]} to {frames[1]} has arrived: expected {experiment.input_path(0, frames[0])}")


class _Ending:
    asked = False


_ending = _Ending()


def ask_to_end(*, asked: bool = True) -> None:
    """Ask a watching run of this process to end after the frames that have arrived. ``asked=False`` revokes that."""
    _ending.asked = asked
