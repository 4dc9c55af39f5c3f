"""Draw the trajectories of a tracked experiment in three dimensions, coloured by speed.

python docs/draw_trajectories.py EXP PICTURE [--min-length 10] [--frame-rate HZ]

Needs matplotlib and scipy: pip install ".[report]"
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Line3DCollection

from pyptv.trajectories import Trajectories, read_trajectories


def draw(trajectories: Trajectories, picture: Path) -> None:
    """Draw every step from a frame to the next as a line whose colour is the speed."""
    same = np.diff(trajectories.id) == 0
    steps = np.stack([trajectories.position[:-1][same], trajectories.position[1:][same]], axis=1)
    speed = np.linalg.norm(trajectories.velocity[:-1][same], axis=1)

    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.add_subplot(projection="3d")
    lines = axes.add_collection3d(Line3DCollection(steps, array=speed, cmap="viridis", linewidths=0.8))
    low, high = np.nanmin(trajectories.position, axis=0), np.nanmax(trajectories.position, axis=0)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    axes.set(xlabel="x [mm]", ylabel="y [mm]", zlabel="z [mm]")
    axes.set_box_aspect(high - low, zoom=1.15)
    time = "frame" if trajectories.frame_rate is None else "s"
    figure.colorbar(lines, shrink=0.7, pad=0.1, label=f"speed [mm/{time}]")
    axes.set_title(f"{len(trajectories.lengths)} trajectories of at least {trajectories.lengths.min()} frames")
    figure.savefig(picture, dpi=100)


def main() -> None:
    """Read the arguments, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--min-length", type=int, default=10)
    parser.add_argument("--frame-rate", type=float)
    options = parser.parse_args()
    draw(read_trajectories(options.experiment, min_length=options.min_length, frame_rate=options.frame_rate), options.picture)


if __name__ == "__main__":
    main()
