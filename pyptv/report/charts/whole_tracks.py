"""The effect of post-processing on trajectories, shown on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.experiment.folder import Experiment
from pyptv.report.charts.svg import SERIES, Chart, canvas, legend
from pyptv.report.words import count, number
from pyptv.trajectories.postprocess import ProcessedTrajectories

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BINS = 50


def whole_tracks_chart(experiment: Experiment) -> Chart:
    """Trajectory lengths before and after ``--postprocess``, with the numbers of changes.

    Raises:
        ProcessingError: nothing was tracked.
    """
    with ProcessedTrajectories(experiment) as processed:
        before, after = processed.lengths_before, processed.records["last"] - processed.records["first"] + 1
        counts, model = processed.counts, processed.model
    with canvas("whole-tracks") as drawn:
        axes = drawn.axes("length [frames]", "trajectories")
        longest = int(max(before.max(initial=1), after.max(initial=1)))
        edges = np.unique(np.linspace(2, longest + 1, min(longest, _BINS + 1)).astype(np.int64))
        for which, (name, lengths) in enumerate((("the run", before), ("post-processed", after))):
            axes.stairs(np.histogram(lengths, edges)[0], edges - 0.5, color=SERIES[which], label=name)
        axes.set_ylim(bottom=0)
        legend(axes)
    caption = f"Mean length {_mean(before)} frames before and {_mean(after)} after, without single particles. "
    if model is None:
        caption += "Too few trajectories for a motion model: they are not changed. "
    else:
        noise = ", ".join(number(float(one)) for one in model.noise)
        caption += (
            f"{count(counts.cuts, 'cut')}, {count(counts.joins, 'join')}, {count(counts.estimated, 'position')} estimated. "
        )
        caption += f"Error of a position, estimated from the trajectories: {noise} mm in x, y, z. "
    caption += "The files of the run are not changed: pyptv-export --postprocess writes these trajectories."
    return Chart("whole-tracks", "Trajectory lengths, post-processed", drawn.svg, caption)


def _mean(lengths: NDArray[np.int64]) -> str:
    linked = lengths[lengths > 1]
    return number(float(linked.mean())) if len(linked) else "0"
