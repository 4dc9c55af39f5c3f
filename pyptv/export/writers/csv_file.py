"""Comma-separated values, and a file beside them that describes the columns.

That file is in the form of the W3C's "Metadata Vocabulary for Tabular Data" (https://www.w3.org/TR/tabular-metadata/), under
the name that programs look for.
"""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

from pyptv.core.files.atomic import write_atomic
from pyptv.export.data import Dataset
from pyptv.export.frame_table import column_units, columns_of

METADATA_SUFFIX = "-metadata.json"
_WHOLE = ("id", "frame")
_ROWS_AT_ONCE = 10_000
"""Rows at a time: Python's numbers take four times the memory."""


def write(dataset: Dataset, path: Path) -> None:
    """Write the table: a line of names, then numbers with the minimum of digits that give the same number; NaN is empty."""
    with path.open("w", encoding="ascii", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(column_units(dataset))
        for block in dataset.blocks():
            for start in range(0, len(block.id), _ROWS_AT_ONCE):
                columns = columns_of(block).values()
                writer.writerows(
                    zip(*(_cells(column[start : start + _ROWS_AT_ONCE].tolist()) for column in columns), strict=True)
                )


def describe(dataset: Dataset, target: Path) -> None:
    """Write the metadata beside the table."""
    columns: list[dict[str, Any]] = []
    for name, unit in column_units(dataset).items():
        column = {"name": name, "datatype": "integer" if name in _WHOLE else "double"}
        columns.append(column | ({"schema:unitText": unit} if unit else {}))
    tree = {
        "@context": "http://www.w3.org/ns/csvw",
        "url": target.name,
        "tableSchema": {"columns": columns},
        "notes": [dataset.metadata],
    }
    text = json.dumps(tree, indent=2, ensure_ascii=False)
    write_atomic(target.with_name(target.name + METADATA_SUFFIX), f"{text}\n".encode())


def _cells(numbers: list[float]) -> list[float | str]:
    return ["" if math.isnan(number) else number for number in numbers]
