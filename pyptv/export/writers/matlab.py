"""MATLAB's format 5 (``.mat``) by scipy."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np

from pyptv.core.base.errors import ProcessingError
from pyptv.export.data import Dataset
from pyptv.export.frame_table import details_of

MAX_BYTES = 2**31 - 1
"""Maximum size of a variable in format 5."""
_ROW_BYTES = 3 * 8
_COLUMNS = ("id", "frame", "position", "velocity", "acceleration")


def write(dataset: Dataset, path: Path) -> None:
    """Write the file: columns and n x 3 matrices, the first row of each trajectory (from 1), and the struct ``metadata``.

    Raises:
        ProcessingError: more rows than the format can hold.
    """
    if dataset.rows * _ROW_BYTES > MAX_BYTES:
        raise ProcessingError(
            f"mat export: {dataset.rows} rows, format 5 holds {MAX_BYTES // _ROW_BYTES}: take fewer frames, or h5"
        )
    blocks = list(dataset.blocks())  # scipy writes a variable at once
    columns = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in _COLUMNS}
    details = [details_of(block) for block in blocks]
    columns |= {name: np.concatenate([one[name] for one in details]) for name in details[0]}
    lengths = np.concatenate([block.lengths for block in blocks])
    variables = {**columns, "first_row": np.cumsum(lengths) - lengths + 1, "length": lengths, "metadata": dataset.metadata}
    if dataset.fit.frame_rate is not None:
        variables["time"] = columns["frame"] / dataset.fit.frame_rate
    import_module("scipy.io").savemat(path, variables, appendmat=False, do_compression=True, oned_as="column")
