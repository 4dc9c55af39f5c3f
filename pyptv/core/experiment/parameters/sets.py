"""The choice of parameters.

One rule: **the named parameters are used; in a folder, its YAML file precedes** ``parameters/``, **which precedes its only other
parameter set** (``parametersRun1/``, ...). The current PyPTV converts ``parameters/`` to YAML once, and reads and edits YAML from
then on: a ``parameters/`` beside a YAML file is out of date.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pyptv.core.base.errors import FormatError, InvalidExperimentError
from pyptv.core.base.regular_files import is_folder, is_there
from pyptv.core.base.similar import similar_text
from pyptv.core.experiment.listing import FolderListing
from pyptv.core.experiment.parameters.attrdict import shown
from pyptv.core.experiment.parameters.dialects import YAML_SUFFIXES, RawParameters, has_needed_sections, read_par, read_yaml
from pyptv.core.experiment.parameters.schema import REQUIRED_SECTIONS

USUAL_DIRECTORIES = ["img", "cal"]
_PREFIX = "parameters"
_MOST_LOOKED_AT = 100
"""Maximum number of folders or files that are examined for a message."""


@dataclass(frozen=True)
class Chosen:
    """The chosen parameters."""

    raw: RawParameters
    folder: Path
    """The experiment: names of images and calibrations are relative to it."""
    beside: Path | None = None
    """An existing ``parameters/`` folder that is not used, if no parameters were named."""
    notes: tuple[str, ...] = ()


def choose_parameters(path: Path, listing: FolderListing | None = None) -> Chosen:
    """The parameters of an experiment folder, a parameter set (a folder with ``ptv.par``) or a YAML file.

    Args:
        path: as given by the user.
        listing: lists the folder.

    Raises:
        InvalidExperimentError: there are none, several, or unreadable ones; the message lists what was found.
    """
    if not is_there(path):
        raise InvalidExperimentError(_not_there(path))
    if not path.is_dir():
        if path.suffix.lower() not in YAML_SUFFIXES:
            advice = f". Name the folder {path.parent}" if path.suffix.lower() == ".par" else ""
            raise InvalidExperimentError(f"Path is not a directory and not a YAML file (.yaml, .yml): {path}{advice}")
        return Chosen(_needed(read_yaml(path)), path.parent)
    if is_there(path / "ptv.par"):
        return Chosen(read_par(path), path.parent)
    return _choose_in(path, listing or FolderListing())


def yaml_files(folder: Path, listing: FolderListing) -> list[Path]:
    """The files of a folder that may be YAML parameters, by name.

    Raises:
        InvalidExperimentError: the folder cannot be read.
    """
    return [path for path in _named(folder, listing, lambda name: name.lower().endswith(YAML_SUFFIXES)) if path.is_file()]


def parameter_sets(folder: Path, listing: FolderListing) -> list[Path]:
    """The folders ``parameters*/`` of an experiment that contain ``ptv.par``, by name."""
    return [path for path in _named(folder, listing, lambda name: name.startswith(_PREFIX)) if is_there(path / "ptv.par")]


def _named(folder: Path, listing: FolderListing, wanted: Callable[[str], bool]) -> list[Path]:
    """The entries of a folder with wanted names, by name."""
    if not listing.names(folder):
        try:
            os.listdir(folder)
        except OSError as error:
            raise InvalidExperimentError(f"{folder}: cannot be read: {error.strerror}") from error
    return sorted(folder / name for name in listing.names(folder) if wanted(name))


def _choose_in(folder: Path, listing: FolderListing) -> Chosen:
    found, broken = _read_all(yaml_files(folder, listing))
    sets = parameter_sets(folder, listing)
    if len(found) > 1:
        candidates = ", ".join(f"{raw.source.name} ({_frames(raw)})" for raw in found)
        raise InvalidExperimentError(f"{folder}: several parameter files: {candidates}. Name one of them instead of the folder")
    if found:
        default = folder / _PREFIX
        notes = tuple(f"{error}. {found[0].source.name} is used" for error in broken)
        return Chosen(found[0], folder, default if default in sets else None, notes)
    if broken:
        raise InvalidExperimentError(*(problem for error in broken for problem in error.problems))
    if folder / _PREFIX in sets:
        return Chosen(read_par(folder / _PREFIX), folder)
    if len(sets) == 1:
        return Chosen(read_par(sets[0]), folder)
    if sets:
        candidates = ", ".join(f"{path.name} ({_frames_of_set(path)})" for path in sets)
        raise InvalidExperimentError(
            f"{folder}: several parameter sets, and no {_PREFIX}/: {candidates}. Name one of them: {sets[0]}"
        )
    raise InvalidExperimentError(_no_parameters(folder, listing))


def _read_all(paths: list[Path]) -> tuple[list[RawParameters], list[FormatError]]:
    """The YAML files with all required sections, and the errors of files that, by name, should have them."""
    found, broken = [], []
    for path in paths:
        try:
            raw = read_yaml(path)
            if has_needed_sections(raw):
                found.append(raw)
            elif path.name.startswith(_PREFIX):
                _needed(raw)
        except FormatError as error:
            if path.name.startswith(_PREFIX):
                broken.append(error)
    return found, broken


def _needed(raw: RawParameters) -> RawParameters:
    missing = [section for section in REQUIRED_SECTIONS if not isinstance(raw.tree.get(section), dict)]
    if missing:
        hints = "".join(similar_text(section, set(map(str, raw.tree)) - set(REQUIRED_SECTIONS)) for section in missing)
        raise FormatError(f"{raw.source}: sections missing: {', '.join(missing)}{hints}")
    return raw


# -- messages ---------------------------------------------------------------------------------------------------------------


def _not_there(path: Path) -> str:
    """The message for a path that does not exist, with similar existing names."""
    names = FolderListing().names(path.parent)
    if path.suffix.lower() in YAML_SUFFIXES:
        others = sorted(name for name in names if Path(name).suffix.lower() in YAML_SUFFIXES)
        there = f". {path.parent} holds {', '.join(others[:5])}" if others else ""
        return f"Parameter file does not exist: {path}{there}"
    return f"Experiment directory does not exist: {path}{similar_text(path.name, names)}"


def _no_parameters(folder: Path, listing: FolderListing) -> str:
    """The message for a folder without parameters, with what it probably is."""
    for parent in list(folder.parents)[:3]:
        if holds_parameters(parent, listing):
            return f"{folder}: no parameters here: it is a folder of the experiment {parent}. Name that"
    inside = [path for path in _folders(folder, listing) if holds_parameters(path, listing)]
    if inside:
        shown_names = ", ".join(path.name for path in inside[:5])
        return f"{folder}: no parameters here, but experiments in it: {shown_names}. Name one of them: {inside[0]}"
    missing = [name for name in USUAL_DIRECTORIES if not is_folder(folder / name)]
    if missing:
        return f"Missing required directories in {folder}: {', '.join(missing)}"
    if yaml_files(folder, listing):
        return f"{folder}: no parameters/ptv.par, and no YAML file with the sections {', '.join(REQUIRED_SECTIONS)}"
    return f"Required file not found: {folder / _PREFIX / 'ptv.par'} (nor a YAML parameter file)"


def holds_parameters(folder: Path, listing: FolderListing) -> bool:
    """Whether a folder contains readable parameters of any kind."""
    try:
        return bool(parameter_sets(folder, listing) or _read_all(yaml_files(folder, listing)[:_MOST_LOOKED_AT])[0])
    except InvalidExperimentError:
        return False


def _folders(folder: Path, listing: FolderListing) -> list[Path]:
    return [path for path in _named(folder, listing, lambda _: True)[:_MOST_LOOKED_AT] if is_folder(path)]


def _frames(raw: RawParameters) -> str:
    sequence = raw.tree.get("sequence", {})
    return f"frames {shown(sequence.get('first'))} to {shown(sequence.get('last'))}"


def _frames_of_set(path: Path) -> str:
    try:
        sequence = read_par(path).tree.get("sequence", {})
    except FormatError:
        return "cannot be read"
    return f"frames {sequence.get('first')} to {sequence.get('last')}"
