"""The charts of Lagrangian statistics, shown on request."""

from __future__ import annotations

import math

import numpy as np

from pyptv.core.experiment.folder import Experiment
from pyptv.report.charts.svg import SERIES, SOFT, STYLES, Chart, canvas, legend
from pyptv.report.words import count, number
from pyptv.trajectories.postprocess.settings import PostProcessing
from pyptv.trajectories.statistics import Distribution, Statistics, read_statistics

_AXES = "xyz"


def statistics_charts(
    experiment: Experiment, frame_rate: float | None = None, postprocess: PostProcessing | None = None
) -> list[Chart]:
    """All charts.

    Args:
        experiment: a tracked one.
        frame_rate: frames per second; None: times are in frames.
        postprocess: settings of the post-processing; None: none.

    Raises:
        ProcessingError: nothing was tracked, or no trajectory is long enough.
    """
    found = read_statistics(experiment, frame_rate=frame_rate, postprocess=postprocess)
    return [
        _distribution("velocity", "v", found.velocity, found.velocity_unit, found),
        _distribution("acceleration", "a", found.acceleration, found.acceleration_unit, found),
        *(_profile(axis, found) for axis in range(3)),
        _structure(found),
    ]


def _distribution(name: str, symbol: str, of: tuple[Distribution, ...], unit: str, found: Statistics) -> Chart:
    """The densities of three components, each normalised by its mean and standard deviation, with a Gaussian."""
    with canvas(f"pdf-{name}") as drawn:
        axes = drawn.axes("(component − mean) / rms", "probability density × rms")
        for axis, one in enumerate(of):
            middle = (one.edges[:-1] + one.edges[1:]) / 2
            scale = one.rms or 1.0
            there = one.density > 0
            axes.plot(
                (middle[there] - one.mean) / scale,
                one.density[there] * scale,
                STYLES[axis],
                color=SERIES[axis],
                label=f"{symbol}{_AXES[axis]}",
            )
        far = np.linspace(-4, 4, 81)
        axes.plot(far, np.exp(-(far**2) / 2) / math.sqrt(2 * math.pi), ":", color=SOFT, label="Gaussian")
        axes.set_yscale("log")
        legend(axes)
    values = "; ".join(
        f"{symbol}{axis} mean {number(one.mean)}, rms {number(one.rms)}" for axis, one in zip(_AXES, of, strict=True)
    )
    squared = unit.replace("^2", "²")
    caption = f"{values} {squared}. {_samples(of[0].samples)} of {count(found.trajectories, 'trajectory', 'trajectories')}. "
    caption += f"From fits over {found.window} frames."
    return Chart(f"pdf-{name}", f"Probability density of {name}", drawn.svg, caption)


def _profile(axis: int, found: Statistics) -> Chart:
    """Mean and rms velocity along an axis."""
    profile = found.profiles[axis]
    name = _AXES[axis]
    middle = (profile.edges[:-1] + profile.edges[1:]) / 2
    with canvas(f"profile-{name}") as drawn:
        axes = drawn.axes(f"{name} [mm]", f"velocity [{found.velocity_unit}]")
        for component in range(3):
            mean, rms = profile.mean[:, component], profile.rms[:, component]
            axes.plot(middle, mean, STYLES[component], color=SERIES[component], label=f"v{_AXES[component]}")
            axes.fill_between(middle, mean - rms, mean + rms, color=SERIES[component], alpha=0.15, linewidth=0)
        legend(axes)
    filled = profile.samples[profile.samples > 0]
    low, high = (number(int(limit)) for limit in (filled.min(initial=int(filled.max(initial=0))), filled.max(initial=0)))
    caption = (
        f"Mean velocity in {len(profile.samples)} slices along {name}; the bands are one standard deviation on both sides. "
        f"{_samples(int(profile.samples.sum()))}, {low} to {high} per slice."
    )
    return Chart(f"profile-{name}", f"Velocity along {name}", drawn.svg, caption)


def _structure(found: Statistics) -> Chart:
    """The Lagrangian structure function."""
    structure = found.structure
    unit = "frames" if found.frame_rate is None else "s"
    with canvas("structure") as drawn:
        axes = drawn.axes(f"lag [{unit}]", f"mean squared difference [({found.velocity_unit})²]")
        for component in range(3):
            axes.plot(
                structure.lag,
                structure.value[:, component],
                STYLES[component],
                marker=".",
                color=SERIES[component],
                label=f"v{_AXES[component]}",
            )
        legend(axes)
    first, last = (int(structure.samples[place]) if len(structure.samples) else 0 for place in (0, -1))
    caption = (
        "Mean squared difference of velocity along trajectories, second-order Lagrangian structure function. "
        f"{_samples(first)} at the shortest lag, {number(last)} at the longest. "
        f"At lags below {found.window} frames the fits share positions, so it is too small there."
    )
    return Chart("structure", "Lagrangian structure function", drawn.svg, caption)


def _samples(n: int) -> str:
    return count(n, "sample")
