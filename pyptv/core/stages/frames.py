"""One frame: images -> targets -> correspondences -> positions. Writes nothing."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from pyptv.core.base.errors import FormatError, FrameError, ProcessingError
from pyptv.core.base.options import Engine
from pyptv.core.base.regular_files import read_regular
from pyptv.core.engines.matches import Matches
from pyptv.core.engines.shape import make_frame_backend
from pyptv.core.experiment.folder import Experiment, ImageSettings
from pyptv.core.files.formats import TARGETS
from pyptv.core.files.inputs import TargetInputs
from pyptv.core.images.pixels import read_mask, subtract_mask
from pyptv.core.images.view_cache import ViewCache, neighbours_stamp
from pyptv.core.plugins.hook_chain import HookChain, ImageView, rows_of, targets_of
from pyptv.core.plugins.hook_specs import HookSpec
from pyptv.core.stages.tasks import Announce, silent

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from optv.tracking_framebuf import TargetArray

    from pyptv.core.base.events import ImageStamp


@dataclass
class FrameResult:
    """The result of the sequence step for a frame."""

    frame: int
    matches: Matches
    images: tuple[ImageStamp, ...]
    seconds: dict[str, float]
    """Wall time of each stage: read, high-pass, detect, match."""
    neighbours: str = ""
    """Stamps of the images of other frames that hooks may have used."""

    @property
    def empty(self) -> bool:
        """No particle was found."""
        return len(self.matches.particles) == 0

    def files(self) -> dict[str, bytes]:
        """Short name -> bytes of the frame's result files; ``rt_is`` last."""
        return self.matches.files()


@dataclass
class _Clock:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of a block to a stage's."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


class FramePipeline:
    """The frame step of an experiment, with the data shared by all frames."""

    def __init__(
        self,
        experiment: Experiment,
        settings: ImageSettings,
        announce: Announce = silent,
        engine: Engine = "optv",
        hooks: Sequence[HookSpec] = (),
        *,
        inputs: TargetInputs | None = None,
    ) -> None:
        self._experiment = experiment
        self._inputs = inputs
        self._settings = settings
        self._announce = announce
        self._backend = make_frame_backend(engine, experiment)
        self._hooks = HookChain(hooks)
        self._images = ViewCache(experiment, settings, self._hooks.reach)
        if experiment.parameters.pft_version.existing_target and (name := self._hooks.needs_images) is not None:
            raise FrameError(f"hook {name}: it works on images, and frames are made from stored targets here")
        self._masks: list[NDArray[np.int16]] = []
        if experiment.parameters.masking.enabled:
            self._masks = [read_mask(experiment.mask_path(camera), settings, camera) for camera in range(experiment.num_cams)]

    def process(self, frame: int) -> FrameResult:
        """Run the frame step.

        Raises:
            FrameError: with the frame, the camera or file, and the problem.
        """
        clock = _Clock()
        stamps: list[ImageStamp] = []
        if self._experiment.parameters.pft_version.existing_target:
            targets, stamps = self._existing_targets(frame, clock)
        else:
            targets, stamps = self._detect(frame, clock)
        self._announce(frame, "finding correspondences and positions")
        try:
            with clock.stage("match"):
                matches = self._backend.match(targets)
        except FrameError as error:
            raise FrameError(f"frame {frame}: {error} of {self._experiment.source}") from error
        neighbours = neighbours_stamp(self._experiment, frame, self._hooks.reach)
        return FrameResult(frame, matches, tuple(stamps), clock.seconds, neighbours)

    def _detect(self, frame: int, clock: _Clock) -> tuple[list[TargetArray], list[ImageStamp]]:
        targets: list[TargetArray] = []
        stamps = []
        for which in range(self._experiment.images_per_frame):
            path = self._experiment.image_path(which, frame)
            self._announce(frame, f"reading {path.name}")
            try:
                with clock.stage("read"):
                    views, stamp = self._images.views(which, frame)
            except FrameError as error:
                raise FrameError(f"frame {frame}, camera {which + 1}: {error}") from error
            stamps.append(stamp)
            try:
                targets += [
                    self._detect_view(frame, camera, view, clock) for camera, view in enumerate(views, start=len(targets))
                ]
            except FrameError as error:
                raise type(error)(f"{error}: {path}") from error
        return targets, stamps

    def _detect_view(self, frame: int, camera: int, view: NDArray[np.uint8], clock: _Clock) -> TargetArray:
        try:
            if self._hooks.needs_images:
                self._announce(frame, f"in the hooks for images of camera {camera + 1}")
            with clock.stage("high-pass"):
                view = self._hooks.filter_image(view, self._seen_by_hooks(frame, camera))
            if self._masks:
                view = subtract_mask(view, self._masks[camera])
            return self._filtered(frame, camera, self._targets_in(frame, camera, view, clock), clock)
        except FrameError as error:
            raise type(error)(f"frame {frame}, camera {camera + 1}: {error}") from error

    def _seen_by_hooks(self, frame: int, camera: int) -> ImageView:
        return ImageView(frame, camera, self._hooks.reach, partial(self._images.neighbour, camera))

    def _filtered(self, frame: int, camera: int, targets: TargetArray, clock: _Clock) -> TargetArray:
        """The targets that remain after the hooks."""
        if not self._hooks.filters:
            return targets
        self._announce(frame, f"in the hooks for targets of camera {camera + 1}")
        with clock.stage("detect"):
            found = targets_of(self._backend.target_rows(targets))
            left = self._hooks.filter_targets(found, self._seen_by_hooks(frame, camera))
            return self._backend.load_targets(rows_of(left))

    def _targets_in(self, frame: int, camera: int, view: NDArray[np.uint8], clock: _Clock) -> TargetArray:
        """The targets in an image: those found by a hook, otherwise those of the high-pass filtered image."""
        if self._hooks.finds:
            with clock.stage("detect"):
                found = self._hooks.find_targets(view, self._seen_by_hooks(frame, camera))
                return self._backend.load_targets(rows_of(found))
        with clock.stage("high-pass"):
            filtered = self._backend.high_pass(view)
        risk = self._backend.overflow_risk(filtered, camera)
        self._announce(frame, f"detecting targets in camera {camera + 1}" + (f" ({risk})" if risk else ""))
        with clock.stage("detect"):
            return self._backend.detect(filtered, camera)

    def _existing_targets(self, frame: int, clock: _Clock) -> tuple[list[TargetArray], list[ImageStamp]]:
        targets = []
        stamps = []
        for camera in range(self._experiment.num_cams):
            path = self._experiment.input_path(camera, frame)
            self._announce(frame, f"reading {path.name}")
            try:
                with clock.stage("read"):
                    data, stamp = _read_stamped(path)
                    data = data if self._inputs is None else self._inputs.original(frame, camera, data)
                    loaded = self._backend.load_targets(TARGETS.parse(data, path), path)
                targets.append(self._filtered(frame, camera, loaded, clock))
            except ProcessingError as error:
                raise FrameError(f"frame {frame}, camera {camera + 1}: {error}") from error
            if not self._experiment.overwrites_input:  # otherwise the files are also results, and covered by the frame's digest
                stamps.append(stamp)
        return targets, stamps


def _read_stamped(path: Path) -> tuple[bytes, ImageStamp]:
    """The bytes of a file, and its stamp."""
    try:
        status = path.stat()
        data = read_regular(path)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from error
    return data, (status.st_size, status.st_mtime_ns, zlib.crc32(data))
