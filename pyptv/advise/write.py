"""New parameter files and calibrations, beside the old ones, never over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from pyptv.core.base.errors import InvalidExperimentError, ProcessingError
from pyptv.core.experiment.calibration import Calibration, calibration_files, calibration_text
from pyptv.core.experiment.folder import Experiment
from pyptv.core.experiment.parameters.dialects import PAR_LINES, YAML_SUFFIXES
from pyptv.core.experiment.parameters.text_files import read_text
from pyptv.core.experiment.parameters.yaml_loader import load_yaml
from pyptv.core.files.atomic import write_atomic

Changes = dict[str, dict[str, Any]]


def new_calibrations(experiment: Experiment, folder: Path) -> list[Path]:
    """Where :func:`write_calibrations` writes: the calibration images' names in the folder.

    Raises:
        ProcessingError: a file is there already, or two would have the same name.
    """
    names = [Path(image).name for image in experiment.parameters.ptv.calibration_images]
    if len(set(names)) < len(names):
        raise ProcessingError(f"{experiment.source}: two calibrations have the same file name: they cannot lie in one folder")
    for name in names:
        for path in calibration_files(folder, name):
            _refuse_existing(path)
    return [folder / name for name in names]


def new_parameters(experiment: Experiment, path: Path) -> Path:
    """The absolute path that :func:`write_parameters` writes.

    Raises:
        ProcessingError: it is there already.
        InvalidExperimentError: it lies elsewhere than the experiment, or has another ending than its parameters.
    """
    path = path.absolute()
    _refuse_existing(path)
    if path.resolve().parent != experiment.folder.resolve():
        raise InvalidExperimentError(
            f"--write {path}: expected a name in {experiment.folder}: the names in parameters are relative to their folder"
        )
    if _in_yaml(experiment) and path.suffix.lower() not in YAML_SUFFIXES:
        raise InvalidExperimentError(
            f"--write {path}: found no ending .yaml or .yml, expected one as {experiment.source.name} has"
        )
    return path


def write_calibrations(experiment: Experiment, calibrations: Sequence[Calibration], folder: Path) -> list[str]:
    """Write ``.ori`` and ``.addpar`` of each camera into a folder; returns the calibration images' names for the parameters.

    Raises:
        ProcessingError: a file is there already, or cannot be written.
    """
    places = new_calibrations(experiment, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for image, calibration in zip(places, calibrations, strict=True):
            for path, text in zip(calibration_files(folder, image.name), calibration_text(calibration), strict=True):
                write_atomic(path, text.encode("ascii"))
    except OSError as error:
        raise ProcessingError(f"{folder}: the calibrations cannot be written: {error.strerror or error}") from error
    return [_named(experiment, image) for image in places]


def write_parameters(experiment: Experiment, changes: Changes, path: Path, calibration_images: Sequence[str] = ()) -> Path:
    """Write the parameters with changes: a YAML file, or, from ``.par`` files, a folder of these.

    Args:
        experiment: whose parameters they are.
        changes: section -> key -> value, in the names of the YAML dialect.
        path: what to write, in the experiment's folder: names in it are relative to that.
        calibration_images: other names of the calibration images; none: as they are.

    Raises:
        ProcessingError: it is there already, lies elsewhere, or cannot be written.
    """
    path = new_parameters(experiment, path)
    try:
        if _in_yaml(experiment):
            write_atomic(path, _yaml(experiment, changes, calibration_images).encode("utf-8"))
        else:
            _write_par(experiment, changes, path, calibration_images)
    except OSError as error:
        raise ProcessingError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path


def yaml_lines(changes: Changes) -> str:
    """Changes as YAML, to paste."""
    return yaml.safe_dump(changes, sort_keys=False, default_flow_style=None).rstrip()


def par_lines(changes: Changes) -> str:
    """Changes as lines of ``.par`` files."""
    lines = []
    for section, values in changes.items():
        for number, key in enumerate(PAR_LINES[section], start=1):
            name, _, item = key.partition(".")
            if name in values:
                lines.append(f"{section}.par, line {number} ({key}): {_item(values[name], item)}")
    return "\n".join(lines)


def _yaml(experiment: Experiment, changes: Changes, calibration_images: Sequence[str]) -> str:
    tree = _plain(load_yaml(read_text(experiment.source)))
    for section, values in changes.items():
        tree[section].update(values)
    if calibration_images:
        tree["ptv"]["img_cal"] = list(calibration_images)
    head = f"# Written by pyptv-advise from {experiment.source.name}\n"
    return head + yaml.safe_dump(tree, sort_keys=False, default_flow_style=False)


def _plain(value: Any) -> Any:
    """Mappings and lists as plain ones."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _write_par(experiment: Experiment, changes: Changes, folder: Path, calibration_images: Sequence[str]) -> None:
    """Copy all ``.par`` files, with other values in some lines."""
    folder.mkdir()
    for source in sorted(experiment.source.parent.glob("*.par")):
        lines = read_text(source).splitlines()
        filled = [index for index, line in enumerate(lines) if line.strip()]
        for place, key in enumerate(PAR_LINES.get(source.stem, ())):
            name, _, item = key.partition(".")
            if name in changes.get(source.stem, {}):
                lines[filled[place]] = _item(changes[source.stem][name], item)
        if source.stem == "ptv" and calibration_images:
            for camera, name in enumerate(calibration_images):
                lines[filled[2 + 2 * camera]] = name
        write_atomic(folder / source.name, ("\n".join(lines) + "\n").encode("utf-8"))


def _item(value: Any, item: str) -> str:
    """A value as a line; of a list its item, the last one where it has fewer."""
    if isinstance(value, list):
        value = value[min(int(item), len(value) - 1)]
    return str(int(value)) if isinstance(value, bool) else f"{value}"


def _in_yaml(experiment: Experiment) -> bool:
    return experiment.source.suffix.lower() in YAML_SUFFIXES


def _named(experiment: Experiment, path: Path) -> str:
    """What parameters call a file: relative to the experiment, where it lies in it."""
    path = path.resolve()
    home = experiment.folder.resolve()
    return path.relative_to(home).as_posix() if path.is_relative_to(home) else path.as_posix()


def _refuse_existing(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise ProcessingError(f"{path}: exists already: choose another name, nothing is overwritten")
