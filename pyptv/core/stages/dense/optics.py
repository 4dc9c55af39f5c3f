"""Before the first frame: disparity of the cameras and shapes of particles, from a sample of frames, the same for all workers.

Stored as a table for the workers; for users and other programs it is written to ``res/``: ``self_calibration.csv``, and
``self_calibration.png`` if matplotlib is installed. The calibration files are not changed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.core.base.errors import FrameError, ProcessingError
from pyptv.core.base.events import ImageStamp
from pyptv.core.engines.dense.calibrate import SelfCalibration, fit_spots, self_calibrate
from pyptv.core.engines.dense.cameras import Cameras
from pyptv.core.engines.dense.particles import Spots
from pyptv.core.engines.dense.refine import refined
from pyptv.core.engines.disparity import CameraDisparity, none
from pyptv.core.experiment.folder import Experiment
from pyptv.core.files.atomic import digest
from pyptv.core.files.stamps import is_same
from pyptv.core.files.store import Store
from pyptv.core.files.tables import NO_FRAME, Header
from pyptv.core.images.full_depth import Views, read_frame, read_masks
from pyptv.core.stages.dense.disparity_files import write_disparity
from pyptv.core.stages.tasks import OPTICS, Announce, Job

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

_SHAPE_FRAMES = 3
"""Number of frames of the sample reconstructed for the shapes of spots: they have hundreds of particles each."""
_CROWDED, _MOST_PASSES = 1 / 6, 3
"""Where spots cover more of the image, overlaps are many, and what a pass has found helps another one still."""
_LARGE, _TOO_LARGE = 2.0, 6.0
"""[px] Corrections that cause a warning, and an error: then peaks cannot be matched reliably."""
_UNSURE, _TOO_UNSURE = 0.1, 0.5
"""[px] Likewise, for the standard error."""


@dataclass(frozen=True)
class Optics:
    """Cameras with their corrections and the shapes of particles in them."""

    cameras: Cameras
    spots: Spots
    digest: str
    """Fingerprint, on which particles depend."""
    passes: int
    """How often each frame is reconstructed."""


class OpticsStep:
    """The self-calibration of a run."""

    def __init__(self, job: Job, store: Store, announce: Announce) -> None:
        if job.dense is None:
            raise ProcessingError("the dense method was not asked for")
        self._job, self._dense, self._store, self._announce = job, job.dense, store, announce

    def load(self) -> Optics:
        """The result of :meth:`make`."""
        table = self._store.tables.read(OPTICS, NO_FRAME)
        if table is None:
            raise ProcessingError(
                f"{self._store.tables.path(OPTICS, NO_FRAME)}: the self-calibration of this run is missing or damaged"
            )
        experiment = self._job.experiment
        cameras = Cameras.of(experiment.parameters, experiment.calibrations)
        size = cameras.size
        arrays = table.arrays
        disparities = [
            CameraDisparity(size, c, (float(b[0]), float(b[1]), float(b[2]), float(b[3])), 0, 0, np.nan, np.nan, np.nan)
            for c, b in zip(arrays["coefficients"], arrays["box"], strict=True)
        ]
        corrected = cameras.corrected(disparities) if self._dense.self_calibration else cameras
        spots = Spots(np.array(arrays["sigma"]), np.array(arrays["gains"]), float(arrays["level"][0]), float(arrays["level"][1]))
        return Optics(corrected, spots, table.header.digest, int(table.header.notes["passes"]))

    def make(self) -> tuple[Header, bool]:
        """Do it, unless an earlier run has, from the same inputs; returns the table's first line, and whether it existed.

        Raises:
            ProcessingError: no frame of the sample can be read; the correction is too large, or too uncertain to be used.
        """
        key = digest(f"{self._job.fingerprints['frames']} {self._dense.sample} {self._dense.self_calibration}".encode())
        header = self._store.tables.header(OPTICS, NO_FRAME)
        if self._dense.resume and header is not None and header.key == key and self._same_images(header):
            return header, True
        frames, stamps = self._sample()
        experiment = self._job.experiment
        cameras = Cameras.of(experiment.parameters, experiment.calibrations)
        notes: dict[str, Any] = {"frames": list(self._dense.sample), "self_calibration": self._dense.self_calibration}
        disparities: Sequence[CameraDisparity] = [none(cameras.size) for _ in range(cameras.n_cams)]
        if self._dense.self_calibration:
            disparity = self_calibrate(frames, cameras)
            _refuse(disparity, experiment)
            disparity = refined(frames, cameras, disparity)
            _refuse(disparity, experiment)
            disparities = disparity.cameras
            notes |= _judged(disparity)
            write_disparity(experiment.results, disparity, cameras.size)
            cameras = cameras.corrected(disparities)
        spots = fit_spots(frames[:_SHAPE_FRAMES], cameras)
        arrays: dict[str, NDArray[Any]] = {
            "coefficients": np.array([camera.coefficients for camera in disparities]),
            "box": np.array([camera.box for camera in disparities]),
            "sigma": spots.sigma,
            "gains": spots.gains,
            "level": np.array([spots.level, spots.scatter]),
        }
        notes |= {
            "sigma": [[_number(v) for v in axes[:, 0]] for axes in spots.sigma],
            "level": _number(spots.level),
            "size_scatter": spots.scatter,
            "covered": spots.covered,
            "passes": self._dense.passes or (_MOST_PASSES if spots.covered > _CROWDED else _MOST_PASSES - 1),
        }
        return self._store.tables.write(OPTICS, NO_FRAME, key, arrays, notes=notes, stamps=stamps), False

    def _sample(self) -> tuple[list[Views], list[ImageStamp]]:
        masks = read_masks(self._job.experiment, self._job.images)
        frames, stamps, wrong = [], [], ""
        for frame in self._dense.sample:
            self._announce(frame, "reading images for the self-calibration")
            try:
                views, images = read_frame(self._job.experiment, self._job.images, frame, masks)
            except FrameError as error:
                wrong = str(error)
                continue
            frames.append(views)
            stamps += images
        if not frames:
            raise ProcessingError(f"self-calibration: no frame of its sample can be read: {wrong}")
        self._announce(self._dense.frames[0], "doing the self-calibration")
        return frames, stamps

    def _same_images(self, header: Header) -> bool:
        experiment = self._job.experiment
        paths = [
            experiment.image_path(which, frame) for frame in self._dense.sample for which in range(experiment.images_per_frame)
        ]
        return len(paths) == len(header.stamps) and all(map(is_same, paths, header.stamps))


_ADVICE = "Check the calibration, or switch it off (--no-self-calibration)"


def _refuse(disparity: SelfCalibration, experiment: Experiment) -> None:
    """Raise a ProcessingError for an unusable self-calibration."""
    for number, camera in enumerate(disparity.cameras, start=1):
        if camera.n_used and (camera.largest > _TOO_LARGE or camera.uncertainty > _TOO_UNSURE):
            raise ProcessingError(
                f"self-calibration, camera {number}: found a correction of up to {camera.largest:.2f} px with a standard error "
                f"of {camera.uncertainty:.2f} px, from {camera.n_used} matches, expected at most {_TOO_LARGE:g} px and "
                f"{_TOO_UNSURE:g} px. {_ADVICE}: {experiment.source}"
            )


def _judged(disparity: SelfCalibration) -> dict[str, Any]:
    """The record of a self-calibration, with a warning if it is doubtful."""
    cameras = []
    for number, camera in enumerate(disparity.cameras, start=1):
        found = f"self-calibration, camera {number}"
        if camera.n_used == 0:
            logger.warning("%s: found no safe matches of all cameras: the calibration is used as it is", found)
        elif camera.largest > _LARGE or camera.uncertainty > _UNSURE:
            text = "%s: found a correction of up to %.2f px, standard error %.2f px, from %d matches. %s"
            logger.warning(text, found, camera.largest, camera.uncertainty, camera.n_used, _ADVICE)
        cameras.append(
            {
                "matches": camera.n_used,
                "before_px": _number(camera.rms_before),
                "after_px": _number(camera.rms_after),
                "largest_px": _number(camera.largest),
                "uncertainty_px": _number(camera.uncertainty),
            }
        )
    return {"cameras": cameras}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
