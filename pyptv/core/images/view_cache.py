"""The images of a frame, and of neighbouring frames for hooks that use these."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING

from pyptv.core.base.errors import FrameError
from pyptv.core.experiment.folder import Experiment, ImageSettings
from pyptv.core.images.pixels import read_views

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pyptv.core.base.events import ImageStamp

    Views = Sequence[NDArray[np.uint8]]


class ViewCache:
    """Reads image files, and keeps those near in time that hooks will use again."""

    def __init__(self, experiment: Experiment, settings: ImageSettings, reach: int = 0) -> None:
        """``reach``: number of frames before and after its own that a hook uses."""
        self._experiment = experiment
        self._settings = settings
        self._kept: OrderedDict[tuple[int, int], tuple[Views, ImageStamp]] = OrderedDict()
        self._most = experiment.images_per_frame * (min(2 * reach, _MOST_KEPT) + 1) if reach else 0

    def views(self, which: int, frame: int) -> tuple[Views, ImageStamp]:
        """The views in an image file of a frame, and its stamp.

        Raises:
            FrameError: it cannot be read.
        """
        key = which, frame
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        read = read_views(self._experiment.image_path(which, frame), self._settings, which)
        if self._most:
            self._kept[key] = read
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return read

    def neighbour(self, camera: int, frame: int) -> NDArray[np.uint8] | None:
        """The view of a camera at another frame; None if there is no readable image."""
        which, view = (0, camera) if self._settings.split else (camera, 0)
        if frame < 0 or not self._experiment.image_path(which, frame).exists():
            return None
        try:
            return self.views(which, frame)[0][view]
        except FrameError:  # its own frame fails; here it is one image fewer
            return None


_MOST_KEPT = 64
"""Number of frames around the current one whose images stay in memory."""


def neighbours_stamp(experiment: Experiment, frame: int, reach: int) -> str:
    """A stamp of the images around a frame: ``"REACH DIGEST"`` of sizes and times. Empty if none are used."""
    if not reach:
        return ""
    stamps = []
    for number in range(max(0, frame - reach), frame + reach + 1):
        for which in range(experiment.images_per_frame):
            try:
                status = experiment.image_path(which, number).stat()
            except OSError:
                continue
            stamps.append(f"{number} {which} {status.st_size} {status.st_mtime_ns}")
    text = "\n".join(stamps).encode()
    return f"{reach} {hashlib.blake2b(text, digest_size=16).hexdigest()}"
