"""Particles of a frame, found in its images; later passes begin with predictions from the tracks of the previous pass."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.core.base.errors import FrameError
from pyptv.core.base.events import PassDone
from pyptv.core.engines.dense.particles import Reconstruction, Start
from pyptv.core.engines.dense.reconstruct import reconstruct
from pyptv.core.engines.dense.settings import Settings
from pyptv.core.engines.dense.tracks import REACH, start
from pyptv.core.files.atomic import digest
from pyptv.core.files.stamps import is_same
from pyptv.core.files.store import Store
from pyptv.core.files.tables import NO_FRAME, Header
from pyptv.core.images.full_depth import Views, read_frame, read_masks
from pyptv.core.stages.dense.optics import Optics
from pyptv.core.stages.dense.window import Window
from pyptv.core.stages.tasks import Announce, DenseJob, Job, table_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

VIEW = "view"
"""Name of the table with a part of the images of one frame, and their residual, for the report."""
_VIEW_SIDE = 400
"""[px]"""
_FIRST_PASS = 1


class FindStep:
    """Reconstructs frames, pass by pass, with the data shared by all frames."""

    def __init__(self, job: Job, dense: DenseJob, store: Store, announce: Announce, optics: Optics) -> None:
        self._job, self._dense, self._store, self._announce, self._optics = job, dense, store, announce, optics
        self._passes = dense.passes or optics.passes
        self._masks = read_masks(job.experiment, job.images)

    def find(self, frame: int, number: int, before: Window | None) -> PassDone:
        """Reconstruct a frame, unless an earlier run has, from the same inputs.

        Args:
            frame: its number.
            number: of the pass.
            before: particles and links of the previous pass; None in the first one.

        Raises:
            FrameError: an image cannot be used.
        """
        began = time.perf_counter()
        name = table_name("find", number)
        seeds = before.inputs(frame, REACH, REACH, links=True) if before is not None else ""
        last = number == self._passes
        key = digest(f"{self._job.fingerprints['frames']} {self._optics.digest} {number} {last} {seeds}".encode())
        header = self._store.tables.header(name, frame)
        if self._dense.resume and header is not None and header.key == key and self._same_images(frame, header):
            return _event(frame, name, header.notes, kept=True)
        if self._dense.only_found and number == _FIRST_PASS:
            self._refuse(frame, header)
        self._announce(frame, "reading images")
        views, stamps = read_frame(self._job.experiment, self._job.images, frame, self._masks)
        self._announce(frame, f"finding particles, pass {number}")
        begin = _start(before, frame) if before is not None else None
        settings = Settings.of_pass(number, self._passes)
        found = reconstruct(views, self._optics.cameras, self._optics.spots, settings, begin)
        notes = _notes(found, 0 if begin is None else len(begin))
        self._store.tables.write(name, frame, key, self._arrays(found), notes=notes, stamps=stamps)
        if last and frame == self._dense.frames[0]:
            self._write_view(frame, views, found)
        return _event(frame, name, notes, seconds=time.perf_counter() - began)

    def _refuse(self, frame: int, header: Header | None) -> None:
        """Fail a frame that no part of a job array has processed: the run that combines the parts does not process it."""
        reason = self._job.absent.reason(frame) if self._job.absent is not None else f"frame {frame}: not done"
        raise FrameError(reason if header is None else f"{reason}, from other parameters, images or versions")

    def _same_images(self, frame: int, header: Header) -> bool:
        experiment = self._job.experiment
        paths = [experiment.image_path(which, frame) for which in range(experiment.images_per_frame)]
        return len(paths) == len(header.stamps) and all(map(is_same, paths, header.stamps))

    def _arrays(self, found: Reconstruction) -> dict[str, NDArray[Any]]:
        """The table of a frame's particles, with further data for a later pass."""
        particles = found.particles
        sigma = self._optics.spots.sigma_at(particles.projections, self._optics.cameras.size)
        return {
            "positions": particles.positions,
            "pixels": self._optics.cameras.project_uncorrected(particles.positions),
            "sigma": (sigma * particles.scale[:, None, None]).astype(np.float32),
            "intensities": particles.intensities,
            "misfit": particles.misfit,
            "scale": particles.scale,
            "ground": found.ground,
            "noise": found.noise,
        }

    def _write_view(self, frame: int, views: Views, found: Reconstruction) -> None:
        """Store the middle of the images of the run's first frame, and their residual, for the report."""
        height, width = views.values.shape[1:]
        top, left = max(0, (height - _VIEW_SIDE) // 2), max(0, (width - _VIEW_SIDE) // 2)
        part = np.s_[:, top : top + _VIEW_SIDE, left : left + _VIEW_SIDE]
        image = views.values[part]
        arrays = {"image": _grey(image), "residual": _grey(found.residual[part] + np.median(found.ground))}
        self._store.tables.write(VIEW, NO_FRAME, "", arrays, notes={"frame": frame, "left": left, "top": top})


def _grey(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    grey: NDArray[np.uint8] = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return grey


def _start(before: Window, frame: int) -> Start | None:
    """The results of the previous pass for a frame; None if it has no such frame."""
    table = before.found(frame)
    if table is None:
        return None
    a = table.arrays
    done = Start(a["positions"], a["intensities"], a["scale"], np.empty((0, 3)), a["ground"], a["noise"])
    return done.again(*start(before, frame))


def _notes(found: Reconstruction, begun_with: int) -> dict[str, Any]:
    """The record of a reconstruction, as plain numbers."""
    return {
        "particles": len(found.particles),
        "begun_with": begun_with,
        "iterations": [[int(i.cameras), int(i.added), int(i.dropped), int(i.total)] for i in found.iterations],
        "energy_left": float(np.mean(found.energy_left)) if len(found.energy_left) else 0.0,
        "noise": float(np.mean(found.noise)),
        "misfit": float(np.median(found.particles.misfit)) if len(found.particles) else 0.0,
    }


def _event(frame: int, name: str, notes: Mapping[str, Any], *, seconds: float = 0.0, kept: bool = False) -> PassDone:
    numbers = {key: float(notes[key]) for key in ("begun_with", "energy_left", "noise", "misfit")}
    iterations = tuple((int(c), int(a), int(d), int(t)) for c, a, d, t in notes["iterations"])
    return PassDone(frame, name, int(notes["particles"]), numbers, iterations, seconds, kept=kept)
