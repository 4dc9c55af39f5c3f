"""What is exported: trajectories in the units asked for, and the words that go with them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pyptv import __version__
from pyptv.core.base.errors import ProcessingError
from pyptv.core.experiment.folder import Experiment
from pyptv.trajectories import Trajectories, read_trajectories

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LENGTHS = {"mm": 1, "m": 1000}
"""Unit of length: millimetres in it."""


@dataclass(frozen=True)
class Dataset:
    """Trajectories, in the unit of length that :attr:`length` names."""

    trajectories: Trajectories
    length: str
    experiment: Experiment
    min_length: int

    @property
    def units(self) -> dict[str, str]:
        """Unit of position, velocity and acceleration."""
        length, time = self.length, "frame" if self.trajectories.frame_rate is None else "s"
        return {"position": length, "velocity": f"{length}/{time}", "acceleration": f"{length}/{time}^2"}

    @property
    def seconds(self) -> NDArray[np.float64] | None:
        """(n,) time of each row [s], 0 at frame 0; None without a frame rate."""
        rate = self.trajectories.frame_rate
        return None if rate is None else self.trajectories.frame / rate

    @cached_property
    def metadata(self) -> dict[str, str | int | float]:
        """What every export says of itself: flat, so that every format can hold it. No ``frame_rate``: it is not known."""
        trajectories = self.trajectories
        rate = trajectories.frame_rate
        return {
            "title": "Particle trajectories",
            "program": f"pyptv-batch {__version__}",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "experiment": _text(self.experiment.folder),
            "parameters": _text(self.experiment.source),
            "first_frame": int(trajectories.frame.min()),
            "last_frame": int(trajectories.frame.max()),
            "rows": len(trajectories.id),
            "trajectories": len(trajectories.lengths),
            "min_length": self.min_length,
            **({} if rate is None else {"frame_rate": float(rate)}),
            **{f"{name}_unit": unit for name, unit in self.units.items()},
            "derivatives": "Savitzky-Golay; NaN in trajectories shorter than the window",
            "window": trajectories.window,
            "order": trajectories.order,
        }


def read_dataset(experiment: Experiment, units: str, *, min_length: int = 1, **options: Any) -> Dataset:
    """The trajectories of an experiment in the unit of length asked for.

    Args:
        experiment: whose results.
        units: "mm" or "m".
        min_length: least number of frames of a trajectory.
        **options: others of :func:`pyptv.trajectories.read_trajectories`.

    Raises:
        ValueError: a bad argument.
        ProcessingError: there is no trajectory that is long enough, and what ``read_trajectories`` raises.
    """
    if units not in LENGTHS:
        raise ValueError(f"units: found {units!r}, expected one of {', '.join(LENGTHS)}")
    trajectories = read_trajectories(experiment, min_length=min_length, **options)
    if not len(trajectories.id):
        raise ProcessingError(
            f"{experiment.results}: nothing to export: no trajectory of at least {min_length} frames in these ptv_is files"
        )
    if units != "mm":  # divided, not multiplied by .001: 22.180 mm is then the number nearest to 0.02218
        names = ("position", "velocity", "acceleration")
        trajectories = replace(trajectories, **{name: getattr(trajectories, name) / LENGTHS[units] for name in names})
    return Dataset(trajectories, units, experiment, min_length)


def _text(path: os.PathLike[str]) -> str:
    """A path as text that every format can hold."""
    return os.fsencode(path).decode("utf-8", "replace")
