"""The common interface of the two engines, optv's C code and the compiled kernels. The only module that uses both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pyptv.core.base.errors import ProcessingError
from pyptv.core.base.events import StepNumbers
from pyptv.core.base.options import Engine
from pyptv.core.engines.optv.backend import OptvFrameBackend
from pyptv.core.experiment.folder import Experiment
from pyptv.kernels.cache import FOR_SEQUENCE, FOR_TRACKING, load

if TYPE_CHECKING:
    from pyptv.core.engines.matches import Image, Matches
    from pyptv.core.files.formats import Rows


class FrameBackend(Protocol):
    """The steps of a frame. Each engine has its own type for the targets of a camera."""

    def high_pass(self, image: Image) -> Image:
        """The high-pass filtered image, (imy, imx) uint8 like ``image``."""

    def overflow_risk(self, filtered: Image, camera: int) -> str | None:
        """Why detection in this image may end the process; None if it cannot."""

    def detect(self, filtered: Image, camera: int) -> Any:
        """The targets in a high-pass filtered image, sorted by y."""

    def load_targets(self, rows: Rows, source: str | Path = "targets") -> Any:
        """Targets read from a file as detection would give them."""

    def target_rows(self, targets: Any) -> Rows:
        """Targets as rows of ``_targets`` (n,), x and y in full precision."""

    def match(self, targets: list[Any]) -> Matches:
        """Stereo-correspondence and 3-D positions of the targets of one frame, one item per camera."""


class Tracker(Protocol):
    """A tracker. Frames are fed in order; their numbers do not matter."""

    LOOK_AHEAD: int
    """Before the step of frame f the frames up to f + LOOK_AHEAD (or the last one) must have been fed."""

    def feed(self, frame: int, files: Mapping[str, bytes]) -> None:
        """Add the sequence results of the next frame: short name -> bytes."""

    def end_at(self, frame: int) -> None:
        """Make the run end at a frame; only allowed before a step comes within LOOK_AHEAD frames of it."""

    def step(self) -> StepNumbers:
        """Link the next frame to the one after it."""

    def finish(self) -> None:
        """Make the last frame's files."""

    def state(self) -> str:
        """A fingerprint of the state after the last step; empty if it is not available."""

    def save(self) -> bytes | None:
        """The state after the last step; None if it is not available."""

    def go_on(self, frame: int, saved: bytes) -> None:
        """Load the state after the step of a frame; that frame, the one before it and two after it have been fed."""

    def take(self, frame: int) -> dict[str, bytes]:
        """A frame's files, including the sequence results, after its step."""

    def close(self) -> None:
        """Release the resources."""


def make_frame_backend(engine: Engine, experiment: Experiment) -> FrameBackend:
    """The backend for the frame step of an experiment."""
    parameters, calibrations = experiment.parameters, experiment.calibrations
    if engine == "compiled":
        load(FOR_SEQUENCE)
        from pyptv.core.engines.compiled.backend import CompiledFrameBackend  # loads numba

        return CompiledFrameBackend(parameters, calibrations)
    return OptvFrameBackend(parameters, calibrations)


def make_tracker(engine: Engine, experiment: Experiment, first: int, folder: Path | None) -> Tracker:
    """A tracker that starts at frame ``first`` of an experiment; ``folder`` is its scratch folder, which optv's needs."""
    parameters, calibrations = experiment.parameters, experiment.calibrations
    if engine == "compiled":
        load(FOR_TRACKING)
        from pyptv.core.engines.compiled.tracker import CompiledTracker  # loads numba

        return CompiledTracker(parameters, calibrations, first)
    if folder is None:
        raise ProcessingError("optv's tracker needs a scratch folder")
    from pyptv.core.engines.optv.tracker import OptvTracker  # as the other one

    return OptvTracker(parameters, calibrations, first, folder)
