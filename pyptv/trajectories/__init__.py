"""Trajectories: the links of ``ptv_is`` files followed from frame to frame, with velocity and acceleration.

    from pyptv.trajectories import read_trajectories
    trajectories = read_trajectories("my_experiment", min_length=10, frame_rate=50)

Velocity and acceleration need scipy: ``pip install "pyptv-batch[trajectories]"``.
"""

from pyptv.trajectories.arrays import Trajectories, Trajectory
from pyptv.trajectories.read import read_trajectories
from pyptv.trajectories.stream import stream_trajectories

__all__ = ["Trajectories", "Trajectory", "read_trajectories", "stream_trajectories"]
