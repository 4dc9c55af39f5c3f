"""Post-processing of trajectories: cut where a link is impossible, joined across missing frames, smoothed.

    from pyptv.core.experiment.folder import load_experiment
    from pyptv.trajectories.postprocess import PostProcessing, ProcessedTrajectories
    processed = ProcessedTrajectories(load_experiment("my_experiment"), settings=PostProcessing(max_gap=2, smooth=True))

or ``pyptv-export my_experiment --to h5 --postprocess``. Needs scipy: ``pip install "pyptv-batch[trajectories]"``.
"""

from pyptv.trajectories.postprocess.process import RECORD, Counts, ProcessedTrajectories
from pyptv.trajectories.postprocess.settings import PostProcessing

__all__ = ["RECORD", "Counts", "PostProcessing", "ProcessedTrajectories"]
