"""Apache Parquet by pandas and pyarrow."""

from __future__ import annotations

from pathlib import Path

from pyptv.export.data import Dataset
from pyptv.export.frame_table import table


def write(dataset: Dataset, path: Path) -> None:
    """Write the file. ``pandas.read_parquet`` gives the metadata back as ``attrs``."""
    table(dataset).to_parquet(path, engine="pyarrow", index=False)
