"""From an experiment to files in other formats."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyptv.core.base.errors import ProcessingError
from pyptv.export.formats import FORMATS, Format
from pyptv.export.place import check_way, placed

if TYPE_CHECKING:
    from pyptv.core.experiment.folder import Experiment
    from pyptv.export.data import Dataset
    from pyptv.trajectories.postprocess import PostProcessing


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
    postprocess: PostProcessing | None = None,
) -> Path:
    """Write the trajectories of a tracked experiment in one format.

    Args:
        exp_path: the experiment folder, or a YAML parameter file in it.
        to: "h5", "zarr", "vtk", "parquet", "csv" or "mat".
        output: the file to write; for zarr and vtk the folder. Default: in ``res/export`` of the experiment. An earlier
            export there is replaced.
        first: first frame number; default: the first tracked one.
        last: last frame number; default: the last tracked one.
        min_length: minimum number of frames of a trajectory. 1 also gives the particles without any link.
        frame_rate: frames per second, for velocities per second; default: ``sequence.frame_rate`` of the parameters; per
            frame if that is not known.
        units: of length, "mm" or "m".
        window: odd number of frames in the fit of velocity and acceleration. They are NaN in shorter trajectories.
        order: of its polynomial, 2 to 5, less than ``window``.
        postprocess: settings of the post-processing; None: trajectories are written as linked by the run. A file beside the
            export, ``NAME-record.csv``, then describes the post-processing of each.

    Returns:
        The path that was written.

    Raises:
        ValueError: a bad argument.
        ProcessingError: nothing to export, a missing library, or the output cannot be written; an
            ``InvalidExperimentError`` if the experiment or a result file is damaged.
    """
    chosen = {"first": first, "last": last, "min_length": min_length, "frame_rate": frame_rate, "window": window, "order": order}
    with load(exp_path, {to: output}, units, postprocess=postprocess, **chosen) as dataset:
        return write(dataset, to, output)


def load(
    exp_path: str | Path | Experiment, outputs: Mapping[str, str | Path | None], units: str = "mm", **options: Any
) -> Dataset:
    """Check that all libraries are installed and the outputs can be written, then follow the trajectories.

    Args:
        exp_path: the experiment folder, a YAML parameter file in it, or what ``load_experiment`` returned.
        outputs: name of each format -> its path; None: in ``res/export``. Temporary files are written near the first.
        units: of length, "mm" or "m".
        **options: of :func:`pyptv.export.data.read_dataset`.

    Returns:
        The dataset, a context: its temporary files are removed at its end.
    """
    for name in outputs:
        _format(name).require()
    from pyptv.core.experiment.folder import Experiment, load_experiment  # numpy: not needed for --help
    from pyptv.export.data import read_dataset  # as above

    experiment = exp_path if isinstance(exp_path, Experiment) else load_experiment(exp_path)
    targets = [_target(experiment.results, _format(name), output) for name, output in outputs.items()]
    try:
        for name, target in zip(outputs, targets, strict=True):
            check_way(target, _format(name).entries)
        return read_dataset(experiment, units, _folder_above(targets[0]), **options)
    except OSError as error:
        raise ProcessingError(f"{targets[0]}: cannot be written: {error.strerror or error}") from error


def write(dataset: Dataset, to: str, output: str | Path | None = None) -> Path:
    """Write a dataset in one format; see :func:`export`."""
    entry = _format(to)
    target = _target(dataset.experiment.results, entry, output)
    writer = import_module(f"pyptv.export.writers.{entry.writer}")
    from pyptv.export.record import write_record  # numpy, as above

    with placed(target, entry.entries) as beside:
        writer.write(dataset, beside)
        if hasattr(writer, "describe"):  # the format itself cannot store the metadata
            writer.describe(dataset, target)
        if dataset.processed is not None:
            write_record(dataset.processed, target)
    return target


def _target(results: Path, entry: Format, output: str | Path | None) -> Path:
    return _own_folder(results) / entry.file_name if output is None else Path(output)


def _folder_above(path: Path) -> Path:
    """The parent folder of a path, or the nearest existing one above it."""
    return next((folder for folder in path.absolute().parents if folder.is_dir()), path.absolute().parent)


def _own_folder(results: Path) -> Path:
    """The default place of exports: within the experiment, so links in the experiment are not followed."""
    folder = results / "export"
    if folder.is_symlink():
        raise ProcessingError(f"{folder}: found a link, expected a folder: remove the link, or name the output with --output")
    return folder


def _format(name: str) -> Format:
    try:
        return FORMATS[name]
    except KeyError:
        raise ValueError(f"format: found {name!r}, expected one of {', '.join(FORMATS)}") from None
