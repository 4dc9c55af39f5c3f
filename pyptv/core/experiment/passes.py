"""The two passes of ``--tracking both``: forward, and backward over the same particles.

A pass is an experiment whose links are in a separate folder. For the tracker the backward pass is an ordinary experiment with
its frames in reverse: frame f has the number ``MIRROR - f``, displacements have the opposite sign, and no particle is
added, so that both passes link the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pyptv.core.base.frames import LARGEST_FRAME, FrameRange
from pyptv.core.experiment.parameters.schema import TrackingParameters

if TYPE_CHECKING:
    from pyptv.core.experiment.folder import Experiment

MIRROR = LARGEST_FRAME
"""The same for all runs, so that the journal of one run is valid for the next."""


@dataclass(frozen=True)
class LinksPass:
    """The folder of a pass's links, and its direction."""

    folder: Path
    """Contains ``ptv_is`` and ``added`` under the experiment's frame numbers."""
    backward: bool = False

    def true_frame(self, frame: int) -> int:
        """The experiment's number of a frame of this pass, and vice versa."""
        return MIRROR - frame if self.backward else frame


def forward_pass(experiment: Experiment) -> Experiment:
    """The experiment of the forward pass."""
    return replace(experiment, links=LinksPass(experiment.results / ".pyptv" / "forward"))


def backward_pass(experiment: Experiment) -> Experiment:
    """The experiment of the backward pass."""
    parameters = replace(experiment.parameters, track=_reversed(experiment.parameters.track))
    return replace(experiment, parameters=parameters, links=LinksPass(experiment.results / ".pyptv" / "backward", backward=True))


def mirrored(frames: FrameRange) -> FrameRange:
    """A range in the numbers of the backward pass, and vice versa."""
    return MIRROR - frames[1], MIRROR - frames[0]


def _reversed(track: TrackingParameters) -> TrackingParameters:
    """The limits of displacement for reversed time; those of angle and acceleration are unchanged."""
    return replace(
        track,
        dvxmin=-track.dvxmax,
        dvxmax=-track.dvxmin,
        dvymin=-track.dvymax,
        dvymax=-track.dvymin,
        dvzmin=-track.dvzmax,
        dvzmax=-track.dvzmin,
        add=False,
    )
