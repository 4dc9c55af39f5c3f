"""From an experiment to files in other formats."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyptv.core.base.errors import ProcessingError
from pyptv.export.formats import FORMATS, Format
from pyptv.export.place import placed

if TYPE_CHECKING:
    from pyptv.export.data import Dataset


def export(
    exp_path: str | Path,
    to: str,
    *,
    output: str | Path | None = None,
    first: int | None = None,
    last: int | None = None,
    min_length: int = 1,
    frame_rate: float | None = None,
    units: str = "mm",
    window: int = 5,
    order: int = 2,
) -> Path:
    """Write the trajectories of a tracked experiment in one format.

    Args:
        exp_path: the experiment folder, or a YAML parameter file in it.
        to: "h5", "zarr", "vtk", "parquet", "csv" or "mat".
        output: the file to write; for zarr and vtk the folder. Default: in ``res/export`` of the experiment. An earlier
            export there is replaced.
        first: first frame number; default: the first one that is tracked.
        last: last frame number; default: the last one that is tracked.
        min_length: least number of frames of a trajectory. 1 also gives the particles without any link.
        frame_rate: frames per second, for velocities per second; default: per frame.
        units: of length, "mm" or "m".
        window: odd number of frames in the fit that gives velocity and acceleration. They are NaN in shorter trajectories.
        order: of its polynomial, 2 to 5, less than ``window``.

    Returns:
        The path that was written.

    Raises:
        ValueError: a bad argument.
        ProcessingError: nothing to export, a missing library, or the output cannot be written; an
            ``InvalidExperimentError`` where the experiment or a result file is damaged.
    """
    chosen = {"first": first, "last": last, "min_length": min_length, "frame_rate": frame_rate, "window": window, "order": order}
    return write(load(exp_path, [to], units, **chosen), to, output)


def load(exp_path: str | Path, formats: Iterable[str], units: str = "mm", **options: Any) -> Dataset:
    """Read what is to be exported, once the libraries of all formats are found to be there.

    Args:
        exp_path: the experiment folder, or a YAML parameter file in it.
        formats: names of formats.
        units: of length, "mm" or "m".
        **options: of :func:`pyptv.trajectories.read_trajectories`.
    """
    for name in formats:
        _format(name).require()
    from pyptv.core.experiment.folder import load_experiment  # numpy, which --help must not wait for
    from pyptv.export.data import read_dataset  # as above

    return read_dataset(load_experiment(exp_path), units, **options)


def write(dataset: Dataset, to: str, output: str | Path | None = None) -> Path:
    """Write a dataset in one format; see :func:`export`."""
    entry = _format(to)
    target = _own_folder(dataset.experiment.results) / entry.file_name if output is None else Path(output)
    writer = import_module(f"pyptv.export.{entry.writer}")
    with placed(target, entry.entries) as beside:
        writer.write(dataset, beside)
        if hasattr(writer, "describe"):  # the format itself has no place for the metadata
            writer.describe(dataset, target)
    return target


def _own_folder(results: Path) -> Path:
    """Where exports go that nobody gave a place: within the experiment, so not through a link that came with it."""
    folder = results / "export"
    if folder.is_symlink():
        raise ProcessingError(f"{folder}: found a link, expected a folder: remove the link, or name the output with --output")
    return folder


def _format(name: str) -> Format:
    try:
        return FORMATS[name]
    except KeyError:
        raise ValueError(f"format: found {name!r}, expected one of {', '.join(FORMATS)}") from None
