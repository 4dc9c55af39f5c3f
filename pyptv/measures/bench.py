"""The engines on a few frames in memory, with any parameters and calibrations: nothing is written into the experiment."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.base.errors import FrameError
from pyptv.core.base.options import Engine
from pyptv.core.engines.shape import FrameBackend, Tracker, make_frame_backend, make_tracker
from pyptv.core.experiment.calibration import Calibration
from pyptv.core.experiment.folder import Experiment, ImageSettings
from pyptv.core.experiment.parameters.schema import CriteriaParameters, DetectionParameters, TrackingParameters
from pyptv.core.files.formats import LINKS, PARTICLES, TARGET_COLUMNS, TARGETS
from pyptv.core.images.pixels import read_mask, read_views, subtract_mask
from pyptv.measures.frames import MatchedFrame, columns_of, rows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Image = NDArray[np.uint8]

_MEMORY, _ROOM = Path("/dev/shm"), 2**28  # noqa: S108 -- TemporaryDirectory makes it private
"""Where optv's tracker exchanges its files if this number of bytes is free there: it makes and removes hundreds of them."""
_LARGEST_BLOB = 2_048
_MOST_SPOTS = 20_000
"""What optv's detection can hold: pixels of a blob, spots of an image."""


@dataclass(frozen=True)
class Workbench:
    """An experiment and the engine that works at it."""

    experiment: Experiment
    engine: Engine = "optv"
    settings: ImageSettings | None = None
    """How images are read; not needed where only targets are worked at."""
    _masks: list[NDArray[np.int16]] = field(default_factory=list, init=False, repr=False, compare=False)
    _made: list[FrameBackend] = field(default_factory=list, init=False, repr=False, compare=False)

    def with_detection(self, limits: DetectionParameters) -> Workbench:
        """The same with other parameters of detection."""
        return self._with(targ_rec=limits)

    def with_criteria(self, criteria: CriteriaParameters) -> Workbench:
        """The same with other criteria of correspondence."""
        return self._with(criteria=criteria)

    def with_track(self, limits: TrackingParameters) -> Workbench:
        """The same with other limits of tracking."""
        return self._with(track=limits)

    def with_calibrations(self, calibrations: Sequence[Calibration]) -> Workbench:
        """The same with other calibrations."""
        return replace(self, experiment=replace(self.experiment, calibrations=tuple(calibrations)))

    def _with(self, **sections: object) -> Workbench:
        parameters = replace(self.experiment.parameters, **sections)  # type: ignore[arg-type]
        return replace(self, experiment=replace(self.experiment, parameters=parameters))

    # -- images and targets ----------------------------------------------------------------------------------------------

    def filtered(self, frame: int) -> list[Image]:
        """The high-pass filtered images of a frame, one per camera.

        Raises:
            FrameError: names the file and what is wrong with it.
        """
        if self.settings is None:
            raise FrameError("this workbench knows no images")
        experiment, backend = self.experiment, self._backend()
        if experiment.parameters.masking.enabled and not self._masks:
            self._masks.extend(
                read_mask(experiment.mask_path(camera), self.settings, camera) for camera in range(experiment.num_cams)
            )
        views: list[Image] = []
        for which in range(experiment.images_per_frame):
            views += read_views(experiment.image_path(which, frame), self.settings, which)[0]
        if self._masks:
            views = [subtract_mask(view, mask) for view, mask in zip(views, self._masks, strict=True)]
        return [backend.high_pass(view) for view in views]

    def detect(self, images: Sequence[Image]) -> list[Floats]:
        """Targets (n, 8) in the filtered images of a frame, one array per camera."""
        return [self.detect_in(image, camera) for camera, image in enumerate(images)]

    def detect_in(self, image: Image, camera: int) -> Floats:
        """Targets (n, 8) in a filtered image of one camera.

        Raises:
            FrameError: so many pixels are above the threshold that optv could not hold their blobs.
        """
        backend = self._backend()
        if backend.overflow_risk(image, camera) is not None:
            self._refuse_overflow(image, camera)
        return columns_of(backend.target_rows(backend.detect(image, camera)))

    def existing_targets(self, frame: int) -> list[Floats]:
        """The targets of ``_targets`` files that are read in place of images."""
        experiment = self.experiment
        return [
            columns_of(np.sort(TARGETS.read(experiment.input_path(camera, frame)), order="y"))
            for camera in range(experiment.num_cams)
        ]

    def _refuse_overflow(self, image: Image, camera: int) -> None:
        """Raise :class:`FrameError` where optv's detection would overflow: it would not look, and end this process."""
        from scipy.ndimage import label  # an extra

        thresholds = self.experiment.parameters.targ_rec.gvthres
        names, n_blobs = label(image > thresholds[min(camera, len(thresholds) - 1)])
        largest = int(np.bincount(names.ravel())[1:].max(initial=0))
        if largest > _LARGEST_BLOB or n_blobs > _MOST_SPOTS:
            raise FrameError(
                f"camera {camera + 1}: {n_blobs} blobs above the threshold, the largest of {largest} px: more than optv holds"
            )

    # -- matching ---------------------------------------------------------------------------------------------------------

    def match(self, targets: Sequence[Floats], number: int = 0) -> MatchedFrame:
        """Correspondences of the targets of a frame.

        Raises:
            FrameError: more candidates than the engine holds.
        """
        backend = self._backend()
        matches = backend.match([backend.load_targets(rows_of(rows)) for rows in targets])
        particles = np.asarray(matches.particles)
        columns = particles.astype(np.float64) if particles.dtype.names is None else columns_of(particles)
        columns = columns.reshape(-1, len(PARTICLES.columns))
        n_cams = len(targets)
        found = tuple(np.array(rows, np.float64).reshape(-1, len(TARGETS.columns)) for rows in matches.targets)
        return MatchedFrame(number, found, columns[:, 1:4].copy(), columns[:, 4 : 4 + n_cams].astype(np.int64))

    # -- tracking ---------------------------------------------------------------------------------------------------------

    def track(self, frames: Sequence[MatchedFrame]) -> list[TrackedFrame]:
        """The tracker's result for consecutive frames; their numbers do not matter."""
        with self._tracker() as tracker:
            fed = 0
            tracked = []
            tracker.end_at(len(frames))
            for number in range(1, len(frames) + 1):
                while fed < min(number + tracker.LOOK_AHEAD, len(frames)):
                    fed += 1
                    tracker.feed(fed, files_of(frames[fed - 1]))
                if number < len(frames):
                    tracker.step()
                else:
                    tracker.finish()
                tracked.append(_tracked(tracker.take(number), self.experiment.num_cams))
        return tracked

    @contextmanager
    def _tracker(self) -> Iterator[Tracker]:
        with tempfile.TemporaryDirectory(prefix="pyptv-", dir=_in_memory()) as folder:
            place = None if self.engine == "compiled" else Path(folder) / "run"
            tracker = make_tracker(self.engine, self.experiment, 1, place)
            try:
                yield tracker
            finally:
                tracker.close()

    def _backend(self) -> FrameBackend:
        if not self._made:
            self._made.append(make_frame_backend(self.engine, self.experiment))
        return self._made[0]


def _in_memory() -> str | None:
    """A folder in memory, or None: the usual one for temporary files."""
    with suppress(OSError):
        if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM:
            return str(_MEMORY)
    return None


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """A frame after its step."""

    position: Floats
    """(n, 3) [mm]: those that were fed, then those that the tracker added."""
    previous: Integers
    """(n,) row in the previous frame, or -1."""
    following: Integers
    """(n,) row in the next frame, or -2."""
    target: Integers
    """(n, n_cams) row of its target in each camera, or -1."""


def files_of(frame: MatchedFrame) -> dict[str, bytes]:
    """The files that a tracker is fed with."""
    files = {f"targets{camera + 1}": TARGETS.render(rows_of(rows)) for camera, rows in enumerate(frame.targets)}
    rows = np.empty(len(frame.position), PARTICLES.dtype)
    rows["number"] = np.arange(1, len(rows) + 1)
    for axis, name in enumerate("xyz"):
        rows[name] = frame.position[:, axis]
    for camera, name in enumerate(TARGET_COLUMNS):
        rows[name] = frame.target[:, camera] if camera < frame.n_cams else -1
    return files | {"rt_is": PARTICLES.render(rows)}


def _tracked(files: dict[str, bytes], n_cams: int) -> TrackedFrame:
    links = columns_of(LINKS.parse(files["ptv_is"], "ptv_is"))
    particles = columns_of(PARTICLES.parse(files["rt_is"], "rt_is"))
    return TrackedFrame(
        links[:, 2:5], links[:, 0].astype(np.int64), links[:, 1].astype(np.int64), particles[:, 4 : 4 + n_cams].astype(np.int64)
    )
