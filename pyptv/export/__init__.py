"""Trajectories in the formats of other programs.

    from pyptv.export import export
    path = export("my_experiment", "parquet", min_length=10, frame_rate=50)

or ``pyptv-export my_experiment --to parquet``. Each format has its extra, such as ``pip install "pyptv-batch[table]"``.
"""

from pyptv.export.api import export
from pyptv.export.formats import FORMATS

__all__ = ["FORMATS", "export"]
