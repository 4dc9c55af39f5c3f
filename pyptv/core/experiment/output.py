"""Results in a separate folder (``--output DIR``), with a record of their experiment, so that DIR can replace EXP.

``DIR/res/.pyptv/experiment.json`` names the parameter file or set that a run used, by its absolute path.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from pyptv.core.base.bounded_json import BoundError, check_fields, parse_object
from pyptv.core.base.errors import InvalidExperimentError
from pyptv.core.base.regular_files import is_folder, is_there, read_regular
from pyptv.core.experiment.listing import FolderListing
from pyptv.core.experiment.parameters.sets import holds_parameters

_MOST_BYTES = 100_000
_LONGEST_PATH = 5000


def record_path(output: Path) -> Path:
    """The file with the experiment of an output folder."""
    return output / "res" / ".pyptv" / "experiment.json"


def parameters_named(source: Path) -> Path:
    """The name of the parameters that were read from a file: the YAML file, or the folder of ``ptv.par``."""
    return source.parent if source.name == "ptv.par" else source


def record_text(source: Path) -> bytes:
    """The contents of :func:`record_path`."""
    return json.dumps({"experiment": str(parameters_named(source))}).encode("ascii") + b"\n"


def recorded_experiment(folder: Path) -> Path | None:
    """The parameters whose results an output folder contains; None: not an output folder, or an experiment itself.

    Raises:
        InvalidExperimentError: its record is damaged, or names parameters that no longer exist.
    """
    if not is_there(record_path(folder)) or holds_parameters(folder, FolderListing()):
        return None
    named = read_record(folder)
    if named is not None and not is_there(named):
        raise InvalidExperimentError(
            f"{record_path(folder)}: found the experiment {named}, which no longer exists: "
            "restore it, or correct the path in this file if it was moved"
        )
    return named


def read_record(folder: Path) -> Path | None:
    """The experiment that an output folder's record names; None: no record.

    Raises:
        InvalidExperimentError: it is damaged.
    """
    path = record_path(folder)
    try:
        tree = parse_object(read_regular(path, _MOST_BYTES), _MOST_BYTES)
        check_fields(tree, {"experiment": _is_path})
    except FileNotFoundError:
        return None
    except (OSError, BoundError) as error:
        reason = error if isinstance(error, BoundError) else error.strerror
        raise InvalidExperimentError(
            f"{path}: {reason}: expected the name of the experiment whose results these are: use a new folder"
        ) from error
    return Path(tree["experiment"])


def own_output(output: Path, folder: Path) -> Path | None:
    """An output folder; None if it is the experiment's own."""
    return None if _place(output) == _place(folder) else output


def targets_below(output: Path, name: str) -> Path:
    """The place in an output folder of the ``_targets`` files of an image name in the parameters."""
    parts = PurePosixPath(name).parent
    outside = ".." in parts.parts or parts.is_absolute() or Path(name).is_absolute()
    return output / ("targets" if outside else parts)


def output_problems(output: Path, source: Path, targets: Iterable[Path]) -> list[str]:
    """Why results must not be written to a folder: it contains other results, or is an experiment itself."""
    if not is_folder(output):
        return []
    listing = FolderListing()
    if holds_parameters(output, listing):
        return [f"{output}: found an experiment with its own parameters, expected a folder for results: name another folder"]
    try:
        named = read_record(output)
    except InvalidExperimentError as error:
        return list(error.problems)
    ours = parameters_named(source)
    if named is not None:
        same = (_place(named.parent), named.name) == (_place(ours.parent), ours.name)
        return [] if same else [f"{output}: found results of {named}, expected none or those of {ours}: name another folder"]
    foreign = [output / "res" / name for name in listing.names(output / "res") if name.startswith("rt_is.")]
    foreign += [folder / name for folder in targets for name in listing.names(folder) if name.endswith("_targets")]
    if foreign:
        return [f"{output}: found {min(foreign)}, and no record of its experiment: remove it, or name another folder"]
    return []


def _place(path: Path) -> Path:
    """The resolved path; unchanged if it cannot be resolved."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # RuntimeError: a link that leads to itself, before Python 3.13
        return path


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_PATH and "\0" not in value and Path(value).is_absolute()
