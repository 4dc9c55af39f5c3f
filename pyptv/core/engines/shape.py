"""The two engines behind one shape: optv's C code, and the compiled kernels. The only module that knows both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from pyptv.core.base.errors import ProcessingError
from pyptv.core.base.events import StepNumbers
from pyptv.core.base.options import Engine
from pyptv.core.engines.optv.backend import FrameBackend
from pyptv.core.experiment.folder import Experiment
from pyptv.kernels.cache import load


class Tracker(Protocol):
    """One run of a tracker. Frames are numbered from 1 and are fed in order."""

    LOOK_AHEAD: int
    """Before the step of frame f the frames up to f + LOOK_AHEAD (or the last one) must have been fed."""

    def feed(self, index: int, files: Mapping[str, bytes]) -> None:
        """Give it the sequence results of the next frame: short name -> bytes."""

    def end_at(self, n_frames: int) -> None:
        """Let the run end at frame ``n_frames``; only before a step has come within LOOK_AHEAD frames of it."""

    def step(self) -> StepNumbers:
        """Link the next frame to the one after it."""

    def finish(self) -> None:
        """Make the last frame's files."""

    def take(self, index: int) -> dict[str, bytes]:
        """A frame's files, sequence results included, after its step."""

    def close(self) -> None:
        """Give back what it holds."""


def make_frame_backend(engine: Engine, experiment: Experiment) -> FrameBackend:
    """What does the frame step of an experiment."""
    parameters, calibrations = experiment.parameters, experiment.calibrations
    if engine == "compiled":
        load()
        from pyptv.core.engines.compiled.backend import CompiledFrameBackend  # loads numba

        return CompiledFrameBackend(parameters, calibrations)
    return FrameBackend(parameters, calibrations)


def make_tracker(engine: Engine, experiment: Experiment, n_frames: int, folder: Path | None) -> Tracker:
    """A tracker for ``n_frames`` frames of an experiment; ``folder`` is its scratch folder, which optv's needs."""
    parameters, calibrations = experiment.parameters, experiment.calibrations
    if engine == "compiled":
        load()
        from pyptv.core.engines.compiled.tracker import CompiledTracker  # loads numba

        return CompiledTracker(parameters, calibrations, n_frames)
    if folder is None:
        raise ProcessingError("optv's tracker needs a scratch folder")
    from pyptv.core.engines.optv.tracker import OptvTracker  # as the other one

    return OptvTracker(parameters, calibrations, n_frames, folder)
