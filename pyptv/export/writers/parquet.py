"""Apache Parquet by pandas and pyarrow: one row group per block."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from pyptv.export.data import Dataset
from pyptv.export.frame_table import column_units, columns_of


def write(dataset: Dataset, path: Path) -> None:
    """Write the file. ``pandas.read_parquet`` returns the metadata as ``attrs``."""
    pandas, arrow = import_module("pandas"), import_module("pyarrow")
    writer: Any = None
    try:
        for block in dataset.blocks():
            frame = pandas.DataFrame(columns_of(block))
            frame.attrs = {**dataset.metadata, "column_units": column_units(dataset)}
            table = arrow.Table.from_pandas(frame, preserve_index=False)
            if writer is None:
                writer = import_module("pyarrow.parquet").ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
