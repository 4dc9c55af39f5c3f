"""The exported data: trajectories in the requested units, with their metadata."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Self

from pyptv import __version__
from pyptv.core.base.errors import ProcessingError
from pyptv.core.experiment.folder import Experiment
from pyptv.trajectories.arrays import Smoothed, Trajectories
from pyptv.trajectories.fit import Fit
from pyptv.trajectories.ordered import OrderedTrajectories
from pyptv.trajectories.postprocess import PostProcessing, ProcessedTrajectories
from pyptv.trajectories.read import DEFAULT_ORDER, DEFAULT_WINDOW
from pyptv.trajectories.stream import check_arguments

LENGTHS = {"mm": 1, "m": 1000}
"""Unit of length -> its size in millimetres."""


@dataclass(frozen=True)
class Dataset:
    """Trajectories on disk, read in blocks in the unit of length that :attr:`length` names."""

    ordered: OrderedTrajectories | ProcessedTrajectories
    fit: Fit
    length: str
    experiment: Experiment
    min_length: int
    limits: tuple[int | None, int | None] = (None, None)
    """Requested first and last frame."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.ordered.close()

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.ordered.rows

    def blocks(self) -> Iterator[Trajectories]:
        """All rows, in blocks of complete trajectories, sorted by id, then by frame. Can be called repeatedly."""
        for block in self.ordered.blocks():
            detail = block.detail
            if detail is None or detail.smoothed is None:
                quantities = (block.position, *self.fit.derivatives(block.id, block.position))
            else:
                smoothed = _per_second(detail.smoothed, self.fit.frame_rate or 1.0)
                quantities = (block.position, smoothed.velocity, smoothed.acceleration)
                detail = replace(detail, smoothed=_in_units(smoothed, LENGTHS[self.length]))
            # divided, not multiplied by .001: 22.180 mm then becomes the number nearest to 0.02218
            position, velocity, acceleration = (values / LENGTHS[self.length] for values in quantities)
            rate, window, order = self.fit.frame_rate, self.fit.window, self.fit.order
            yield Trajectories(block.id, block.frame, position, velocity, acceleration, rate, window, order, detail)

    @property
    def processed(self) -> ProcessedTrajectories | None:
        """The post-processing, if any."""
        return self.ordered if isinstance(self.ordered, ProcessedTrajectories) else None

    @property
    def units(self) -> dict[str, str]:
        """Unit of position, velocity and acceleration."""
        length, time = self.length, "frame" if self.fit.frame_rate is None else "s"
        return {"position": length, "velocity": f"{length}/{time}", "acceleration": f"{length}/{time}^2"}

    @cached_property
    def metadata(self) -> dict[str, str | int | float]:
        """The metadata of every export, flat, for all formats. ``frame_rate`` is missing if it is not known."""
        rate = self.fit.frame_rate
        frames, _ = self.ordered.frames
        return {
            "title": "Particle trajectories",
            "program": f"pyptv-batch {__version__}",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "experiment": _text(self.experiment.folder),
            "parameters": _text(self.experiment.source),
            **({} if self.experiment.output is None else {"output": _text(self.experiment.output)}),
            "first_frame": int(frames[0]),
            "last_frame": int(frames[-1]),
            "rows": self.ordered.rows,
            "trajectories": self.ordered.trajectories,
            "min_length": self.min_length,
            **({} if rate is None else {"frame_rate": float(rate)}),
            **{f"{name}_unit": unit for name, unit in self.units.items()},
            **self._derivatives,
            **({} if self.processed is None else self.processed.summary),
        }

    @property
    def _derivatives(self) -> dict[str, str | int]:
        """The source of velocity and acceleration."""
        if self.processed is not None and self.processed.settings.smooth:
            return {"derivatives": "Kalman smoother, acceleration driven by white noise; errors are standard deviations"}
        text = "Savitzky-Golay; NaN in trajectories shorter than the window"
        return {"derivatives": text, "window": self.fit.window, "order": self.fit.order}


def read_dataset(
    experiment: Experiment,
    units: str,
    workplace: Path,
    first: int | None = None,
    last: int | None = None,
    *,
    min_length: int = 1,
    frame_rate: float | None = None,
    window: int = DEFAULT_WINDOW,
    order: int = DEFAULT_ORDER,
    postprocess: PostProcessing | None = None,
) -> Dataset:
    """Follow the trajectories of an experiment. The dataset is a context; its end removes the files in ``workplace``.

    The arguments are those of :func:`pyptv.trajectories.read_trajectories`, ``units``: "mm" or "m", and ``postprocess``:
    settings of the post-processing; None: none.

    Raises:
        ValueError: a bad argument.
        ProcessingError: no trajectory is long enough; also the errors of ``read_trajectories``.
        OSError: the workplace is full, or cannot be written.
    """
    if units not in LENGTHS:
        raise ValueError(f"units: found {units!r}, expected one of {', '.join(LENGTHS)}")
    check_arguments(first, last, min_length)
    fit = Fit(window, order, experiment.parameters.sequence.frame_rate or None if frame_rate is None else frame_rate)
    where = (experiment, first, last)
    ordered: OrderedTrajectories | ProcessedTrajectories
    if postprocess is None:
        ordered = OrderedTrajectories(*where, min_length=min_length, workplace=workplace)
    else:
        ordered = ProcessedTrajectories(*where, settings=postprocess, min_length=min_length, workplace=workplace)
    if not ordered.rows:
        ordered.close()
        raise ProcessingError(
            f"{experiment.results}: nothing to export: no trajectory of at least {min_length} frames in these ptv_is files"
        )
    return Dataset(ordered, fit, units, experiment, min_length, (first, last))


def _per_second(of: Smoothed, rate: float) -> Smoothed:
    """Velocities and accelerations with a rate of frames per second; 1: per frame, unchanged."""
    return Smoothed(
        of.velocity * rate,
        of.acceleration * rate**2,
        of.position_error,
        of.velocity_error * rate,
        of.acceleration_error * rate**2,
    )


def _in_units(of: Smoothed, length: float) -> Smoothed:
    """All values divided by the size of a unit of length [mm]."""
    return Smoothed(**{name: values / length for name, values in vars(of).items()})


def _text(path: os.PathLike[str]) -> str:
    """A path as text that every format can store."""
    return os.fsencode(path).decode("utf-8", "replace")
