"""Basic Lagrangian statistics: distributions, profiles, structure function, each with its number of samples.

    from pyptv.trajectories.statistics import read_statistics
    print(read_statistics("my_experiment", frame_rate=50).velocity[0].rms)

All sums are formed over blocks of trajectories, so memory does not grow with their number. Velocities are those of
:mod:`pyptv.trajectories.fit`; unknown positions, velocities and accelerations are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.base.errors import ProcessingError
from pyptv.core.experiment.folder import Experiment, load_experiment
from pyptv.trajectories.arrays import Trajectories
from pyptv.trajectories.fit import Fit
from pyptv.trajectories.ordered import OrderedTrajectories
from pyptv.trajectories.read import DEFAULT_ORDER, DEFAULT_WINDOW

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.trajectories.postprocess import PostProcessing, ProcessedTrajectories

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]
    Blocks = Callable[[], Iterator[Trajectories]]

BINS, REACH = 61, 6.0
"""Bins of a distribution, and its range on both sides of the mean in standard deviations."""
SLICES = 20
"""Bins of a profile."""
MOST_LAGS = 50


@dataclass(frozen=True)
class Distribution:
    """Probability density of one component."""

    edges: Array
    """(BINS + 1,) edges of the bins [unit of the component]."""
    density: Array
    """(BINS,) [1 / the component's unit]; its integral is the share of samples between the edges."""
    mean: float
    rms: float
    """Standard deviation."""
    samples: int
    """Number of known values, including those beyond the edges."""


@dataclass(frozen=True)
class Profile:
    """Mean and fluctuation of velocity along one axis, over slices of equal thickness across it."""

    edges: Array
    """(SLICES + 1,) [mm]."""
    mean: Array
    """(SLICES, 3) mean velocity; NaN without samples."""
    rms: Array
    """(SLICES, 3) standard deviation about that mean; NaN for fewer than two samples."""
    samples: Indices
    """(SLICES,)."""


@dataclass(frozen=True)
class StructureFunction:
    """Second-order Lagrangian structure function: the mean of (v(t + lag) - v(t))^2 along trajectories.

    A. S. Monin, A. M. Yaglom, Statistical Fluid Mechanics, vol. 2, MIT Press 1975.
    """

    lag: Array
    """(n,) [frames, or s]."""
    value: Array
    """(n, 3) for vx, vy, vz [velocity^2]."""
    samples: Indices
    """(n,) pairs."""


@dataclass(frozen=True)
class Statistics:
    """Statistics of the trajectories of some frames. Lengths in mm; times in frames, or in seconds if the frame rate is known."""

    trajectories: int
    rows: int
    frame_rate: float | None
    window: int
    """Frames in the fit of velocity and acceleration: at lags below it the fits share positions."""
    velocity: tuple[Distribution, Distribution, Distribution]
    acceleration: tuple[Distribution, Distribution, Distribution]
    profiles: tuple[Profile, Profile, Profile]
    """Along x, y, z."""
    structure: StructureFunction

    @property
    def velocity_unit(self) -> str:
        """``mm/frame`` or ``mm/s``."""
        return f"mm/{self._time}"

    @property
    def acceleration_unit(self) -> str:
        """``mm/frame^2`` or ``mm/s^2``."""
        return f"mm/{self._time}^2"

    @property
    def _time(self) -> str:
        return "frame" if self.frame_rate is None else "s"


def read_statistics(
    experiment: str | Path | Experiment,
    first: int | None = None,
    last: int | None = None,
    *,
    frame_rate: float | None = None,
    window: int = DEFAULT_WINDOW,
    order: int = DEFAULT_ORDER,
    postprocess: PostProcessing | None = None,
) -> Statistics:
    """The statistics of a tracked experiment, as linked by its run, or post-processed.

    The arguments are those of ``read_trajectories``, and ``postprocess``: settings of the post-processing; None: none.

    Raises:
        ValueError: a bad argument.
        ProcessingError: nothing was tracked, or no trajectory is as long as the window; also errors of ``read_trajectories``.
    """
    fit = Fit(window, order, frame_rate)
    if not isinstance(experiment, Experiment):
        experiment = load_experiment(experiment)
    try:
        ordered = _trajectories(experiment, first, last, window, postprocess)
    except OSError as error:
        raise ProcessingError(f"no room for temporary files: {error.strerror or error}: set TMPDIR to another folder") from error
    try:
        if not ordered.rows:
            raise ProcessingError(f"{experiment.results}: no trajectory of at least {window} frames: statistics are not possible")

        def blocks() -> Iterator[Trajectories]:
            """All trajectories, with velocity and acceleration."""
            for block in ordered.blocks():
                derivatives = fit.derivatives(block.id, block.position)
                yield Trajectories(block.id, block.frame, block.position, *derivatives, fit.frame_rate, fit.window, fit.order)

        return summed_up(blocks, frame_rate, window, ordered.trajectories)
    finally:
        ordered.close()


def _trajectories(
    experiment: Experiment, first: int | None, last: int | None, window: int, postprocess: PostProcessing | None
) -> OrderedTrajectories | ProcessedTrajectories:
    if postprocess is None:
        return OrderedTrajectories(experiment, first, last, min_length=window)
    from pyptv.trajectories.postprocess import ProcessedTrajectories  # scipy: only if requested

    return ProcessedTrajectories(experiment, first, last, settings=postprocess, min_length=window)


def summed_up(blocks: Blocks, frame_rate: float | None, window: int, trajectories: int) -> Statistics:
    """The statistics of blocks of complete trajectories, which are read twice."""
    moments = {"position": _Moments(), "velocity": _Moments(), "acceleration": _Moments()}
    rows = 0
    for block in blocks():
        rows += len(block.id)
        for name, of in moments.items():
            of.add(getattr(block, name))
    histograms = {name: _Histograms(moments[name]) for name in ("velocity", "acceleration")}
    slices = [_Slices(float(moments["position"].low[axis]), float(moments["position"].high[axis])) for axis in range(3)]
    lags = _Lags()
    for block in blocks():
        for name, counted in histograms.items():
            counted.add(getattr(block, name))
        for axis, across in enumerate(slices):
            across.add(block.position[:, axis], block.velocity)
        lags.add(block)
    return Statistics(
        trajectories,
        rows,
        frame_rate,
        window,
        histograms["velocity"].result(),
        histograms["acceleration"].result(),
        (slices[0].result(), slices[1].result(), slices[2].result()),
        lags.result(frame_rate),
    )


class _Moments:
    """Number, mean, variance and range of three components, accumulated by blocks."""

    def __init__(self) -> None:
        self.samples = 0
        self.mean = np.zeros(3)
        self._squares = np.zeros(3)
        """Sum of the squared deviations from the mean."""
        self.low, self.high = np.full(3, np.inf), np.full(3, -np.inf)

    @property
    def rms(self) -> Array:
        """(3,) standard deviation."""
        return np.asarray(np.sqrt(self._squares / max(self.samples, 1)))

    def add(self, values: Array) -> None:
        """Add values (n, 3); T. F. Chan, G. H. Golub, R. J. LeVeque, COMPSTAT 1982, 30-41."""
        known = values[np.isfinite(values).all(axis=1)]
        if not len(known):
            return
        mean, total = known.mean(axis=0), self.samples + len(known)
        shift = mean - self.mean
        self._squares += ((known - mean) ** 2).sum(axis=0) + shift**2 * self.samples * len(known) / total
        self.mean = self.mean + shift * len(known) / total
        self.samples = total
        self.low, self.high = np.minimum(self.low, known.min(axis=0)), np.maximum(self.high, known.max(axis=0))


class _Histograms:
    """Distributions of three components about their means."""

    def __init__(self, moments: _Moments) -> None:
        self._moments = moments
        width = np.where(moments.rms > 0, REACH * moments.rms, 1.0)
        self._edges = np.array(
            [np.linspace(mean - far, mean + far, BINS + 1) for mean, far in zip(moments.mean, width, strict=True)]
        )
        self._counts = np.zeros((3, BINS))

    def add(self, values: Array) -> None:
        """Count values (n, 3)."""
        known = values[np.isfinite(values).all(axis=1)]
        for axis in range(3):
            self._counts[axis] += np.histogram(known[:, axis], self._edges[axis])[0]

    def result(self) -> tuple[Distribution, Distribution, Distribution]:
        """Of x, y, z."""
        x, y, z = (self._of(axis) for axis in range(3))
        return x, y, z

    def _of(self, axis: int) -> Distribution:
        samples, edges = self._moments.samples, self._edges[axis]
        density = self._counts[axis] / (max(samples, 1) * np.diff(edges))
        return Distribution(edges, density, float(self._moments.mean[axis]), float(self._moments.rms[axis]), samples)


class _Slices:
    """Sums of velocities in slices across an axis."""

    def __init__(self, low: float, high: float) -> None:
        self._edges = np.linspace(low, high if high > low else low + 1.0, SLICES + 1)
        self._samples = np.zeros(SLICES)
        self._sums, self._squares = np.zeros((SLICES, 3)), np.zeros((SLICES, 3))

    def add(self, place: Array, velocity: Array) -> None:
        """Add velocities (n, 3) at positions (n,) on the axis."""
        known = np.flatnonzero(np.isfinite(velocity).all(axis=1) & np.isfinite(place))
        into = np.clip(np.searchsorted(self._edges, place[known], side="right") - 1, 0, SLICES - 1)
        self._samples += np.bincount(into, minlength=SLICES)
        for component in range(3):
            values = velocity[known, component]
            self._sums[:, component] += np.bincount(into, values, SLICES)
            self._squares[:, component] += np.bincount(into, values**2, SLICES)

    def result(self) -> Profile:
        """Means and standard deviations."""
        n = self._samples[:, None]
        mean = np.divide(self._sums, n, out=np.full((SLICES, 3), np.nan), where=n > 0)
        square = np.divide(self._squares, n, out=np.full((SLICES, 3), np.nan), where=n > 1)
        return Profile(self._edges, mean, np.sqrt(np.maximum(square - mean**2, 0)), self._samples.astype(np.int64))


class _Lags:
    """Sums of squared differences of velocity at lags of whole frames."""

    def __init__(self) -> None:
        self._sums, self._samples = np.zeros((MOST_LAGS, 3)), np.zeros(MOST_LAGS, dtype=np.int64)

    def add(self, block: Trajectories) -> None:
        """Add complete trajectories."""
        longest = int(block.lengths.max(initial=0))
        for lag in range(1, min(MOST_LAGS, longest - 1) + 1):
            same = block.id[lag:] == block.id[:-lag]
            difference = (block.velocity[lag:] - block.velocity[:-lag])[same]
            difference = difference[np.isfinite(difference).all(axis=1)]
            self._sums[lag - 1] += (difference**2).sum(axis=0)
            self._samples[lag - 1] += len(difference)

    def result(self, frame_rate: float | None) -> StructureFunction:
        """Means, for the lags that have samples."""
        there = np.flatnonzero(self._samples)
        lag = (there + 1) / (frame_rate or 1.0)
        return StructureFunction(lag, self._sums[there] / self._samples[there, None], self._samples[there])
