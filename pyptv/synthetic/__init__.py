"""Synthetic experiments: images of a known flow, with all files of a real experiment folder.

    from pyptv.synthetic import make_experiment
    make_experiment("demo", n_frames=30, n_particles=500)

or ``python -m pyptv.synthetic demo --frames 30 --particles 500``.
"""

from pyptv.synthetic.experiment import is_synthetic, make_experiment
from pyptv.synthetic.settings import Settings
from pyptv.synthetic.truth import Truth, read_truth

__all__ = ["Settings", "Truth", "is_synthetic", "make_experiment", "read_truth"]
