"""The compiled tracker: the files of frames are its input, links its output, equal to those of optv's tracker to the byte.

It keeps four frames, like optv: the previous one, the current one, and the two after it. Their values are read from
the files, so they are rounded as in the files; values added by a step are kept as computed. These four frames are the
tracker's whole state: it can be saved, and another tracker can continue from it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.base.events import StepNumbers
from pyptv.core.engines.compiled.state import fingerprint, pack, unpack
from pyptv.core.engines.compiled.text import as_columns, parse, render_columns
from pyptv.core.engines.optv.backend import image_corners
from pyptv.core.experiment.calibration import Calibration
from pyptv.core.experiment.parameters.schema import Parameters
from pyptv.core.files.formats import ADDED, LINKS, PARTICLES, TARGETS, check_frame
from pyptv.kernels.tracking.frames import NONE, Frame, Frames, empty_frame, make_frame
from pyptv.kernels.tracking.scene import make_scene
from pyptv.kernels.tracking.step import link

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Columns = NDArray[np.float64]

_NUMBER, _X, _TARGET1, _TNR = 0, 1, 4, 7
"""Columns of ``rt_is``; the last one of ``_targets``."""


@dataclass(frozen=True)
class _Fed:
    """A frame as it was fed, and its form for the kernels."""

    frame: Frame
    particles: Columns
    targets: list[Columns]


class CompiledTracker:
    """A tracker. Frames have the experiment's numbers."""

    LOOK_AHEAD = 3
    """Before the step of frame f the frames up to f + 3 (or the last one) must have been fed."""

    def __init__(self, parameters: Parameters, calibrations: Sequence[Calibration], first: int) -> None:
        self._n_cams = parameters.num_cams
        self._scene = make_scene(parameters, calibrations, image_corners(parameters, calibrations[: parameters.num_cams]))
        self._first = first
        self._end: int | None = None
        self._fed: dict[int, _Fed] = {}
        self._ring = deque([empty_frame(self._n_cams)] * 4, maxlen=4)
        """The previous, current, next frame, and the one after it; at the end the last is that of four steps ago."""
        self._n_read: deque[int] = deque([0] * 4, maxlen=4)
        """Number of particles of each that came from a file."""
        self._current = first - 1

    def feed(self, frame: int, files: Mapping[str, bytes]) -> None:
        """Add the sequence results of the next frame: short name -> bytes.

        Raises:
            FormatError: a file is not in the format of the sequence step.
        """
        names = [f"targets{camera + 1}" for camera in range(self._n_cams)]
        particle_rows = parse(PARTICLES, files["rt_is"], "rt_is")
        target_rows = [parse(TARGETS, files[name], name) for name in names]
        check_frame(particle_rows, target_rows, ["rt_is", *names], most=None)
        particles, targets = as_columns(particle_rows), [as_columns(rows) for rows in target_rows]
        width, height = self._scene.size
        self._fed[frame] = _Fed(make_frame(particles, targets, width, height), particles, targets)

    def end_at(self, frame: int) -> None:
        """Make the run end at a frame; only allowed before a step comes within three frames of it."""
        self._end = frame

    def step(self) -> StepNumbers:
        """Link the next frame to the one after it."""
        self._advance()
        frames = Frames(*self._ring)
        links, added = link(self._scene, frames)
        n_current = int(frames.current.size[0])
        return StepNumbers(n_current, int(frames.following.size[0]), links, n_current - links, added)

    def finish(self) -> None:
        """Finish the last frame, which has no links to a next one."""
        self._advance()

    def state(self) -> str:
        """A fingerprint of the state after the last step: equal if everything that follows is equal."""
        return fingerprint(self._ring, self._n_read)

    def save(self) -> bytes | None:
        """The state after the last step; None if it is so near to the end that it depends on the end."""
        if self._end is not None and self._current + self.LOOK_AHEAD > self._end:
            return None
        return pack(self._ring, self._n_read)

    def go_on(self, frame: int, saved: bytes) -> None:
        """Load the state after the step of a frame.

        That frame, the one before it and the two after it must have been fed.

        Raises:
            ValueError: the state does not belong to these frames.
        """
        fed = [self._fed.get(number) for number in range(frame - 1, frame + 3)]
        frames = [empty_frame(self._n_cams) if one is None else one.frame for one in fed]
        unpack(saved, frames)
        self._ring.extend(frames)
        self._n_read.extend(0 if one is None else len(one.particles) for one in fed)
        for number in (frame - 1, frame):
            self._fed.pop(number, None)
        self._first = self._current = frame

    def take(self, frame: int) -> dict[str, bytes]:
        """A frame's files, including the sequence results, after its step."""
        fed = self._fed.pop(frame)
        made = fed.frame
        n = int(made.size[0])
        position, links = made.position[:n], made.link[:n]
        written = {
            f"targets{camera + 1}": render_columns(TARGETS, _with_particles(rows, made.particle[first:last]))
            for camera, (rows, first, last) in enumerate(zip(fed.targets, made.first[:-1], made.first[1:], strict=True))
        }
        written["rt_is"] = render_columns(PARTICLES, self._with_added(fed.particles, made))
        written["ptv_is"] = render_columns(LINKS, np.column_stack([links[:, :2], position]))
        written["added"] = render_columns(ADDED, np.column_stack([links[:, :2], position, links[:, 2]]))
        return written

    def close(self) -> None:
        """Release the frames."""
        self._fed.clear()
        self._ring.clear()

    def _advance(self) -> None:
        """Advance the ring by a frame; a new frame takes the last place, if there is one."""
        if self._current < self._first:
            for frame in (self._first, self._first + 1):
                self._enter(frame)
        self._current += 1
        self._enter(self._current + 2)

    def _enter(self, frame: int) -> None:
        self._ring.rotate(-1)
        self._n_read.rotate(-1)
        if self._end is None or frame <= self._end:
            fed = self._fed[frame]
            self._ring[-1], self._n_read[-1] = fed.frame, len(fed.particles)

    def _with_added(self, particles: Columns, frame: Frame) -> Columns:
        """The rows of ``rt_is`` with those of added particles; cameras that the experiment does not have see nothing."""
        before, n = len(particles), int(frame.size[0])
        rows = np.full((n, len(PARTICLES.columns)), float(NONE))
        rows[:before] = particles
        rows[before:, _NUMBER] = np.arange(before + 1, n + 1)
        rows[before:, _X:_TARGET1] = frame.position[before:n]
        rows[before:, _TARGET1 : _TARGET1 + self._n_cams] = frame.target[before:n]
        return rows


def _with_particles(rows: Columns, particle: NDArray[np.int64]) -> Columns:
    """The rows of ``_targets`` with the present particles of the targets."""
    rows[:, _TNR] = particle
    return rows
