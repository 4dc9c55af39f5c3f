"""MATLAB's format 5 (``.mat``) by scipy."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from pyptv.core.base.errors import ProcessingError
from pyptv.export.data import Dataset

MAX_BYTES = 2**31 - 1
"""Of a variable, in format 5."""


def write(dataset: Dataset, path: Path) -> None:
    """Write the file: columns and n x 3 matrices, the first row of each trajectory (from 1), and the struct ``metadata``.

    Raises:
        ProcessingError: more rows than the format holds.
    """
    data = dataset.trajectories
    if data.position.nbytes > MAX_BYTES:
        raise ProcessingError(
            f"mat export: {len(data.id)} rows, format 5 holds {MAX_BYTES // data.position.strides[0]}: take fewer frames, or h5"
        )
    variables = {
        "id": data.id,
        "frame": data.frame,
        "position": data.position,
        "velocity": data.velocity,
        "acceleration": data.acceleration,
        "first_row": data.offsets[:-1] + 1,
        "length": data.lengths,
        "metadata": dataset.metadata,
    }
    if dataset.seconds is not None:
        variables["time"] = dataset.seconds
    import_module("scipy.io").savemat(path, variables, appendmat=False, do_compression=True, oned_as="column")
