"""The two dialects of parameter files, read into one raw tree: ``parameters/*.par`` and YAML.

Only the readability of the text is checked here; :mod:`pyptv.core.experiment.parameters.checks` checks the values
and asks the :class:`RawParameters` for the location of each.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pyptv.core.base.errors import FormatError
from pyptv.core.experiment.parameters.attrdict import AttrDict, shown
from pyptv.core.experiment.parameters.schema import MAX_CAMERAS, REQUIRED_SECTIONS
from pyptv.core.experiment.parameters.text_files import read_text
from pyptv.core.experiment.parameters.yaml_loader import load_yaml

YAML_SUFFIXES = (".yaml", ".yml")
_MOST_SLOTS = 8
"""Numbers of camera slots that programs write to .par files, whatever the number of cameras: four, or eight."""

PAR_LINES: dict[str, tuple[str, ...]] = {
    "criteria": (
        *("X_lay.0", "Zmin_lay.0", "Zmax_lay.0", "X_lay.1", "Zmin_lay.1", "Zmax_lay.1"),
        *("cnx", "cny", "cn", "csumg", "corrmin", "eps0"),
    ),
    "targ_rec": (
        *("gvthres.0", "gvthres.1", "gvthres.2", "gvthres.3", "disco", "nnmin", "nnmax"),
        *("nxmin", "nxmax", "nymin", "nymax", "sumg_min", "cr_sz"),
    ),
    "track": (
        *("dvxmin", "dvxmax", "dvymin", "dvymax", "dvzmin", "dvzmax"),
        *("angle", "dacc", "flagNewParticles"),
    ),
    "pft_version": ("Existing_Target",),
}
"""Section -> the key of each line of its ``.par`` file; ``name.i`` is item i of a list."""

_PTV_END = (
    *("hp_flag", "allcam_flag", "tiff_flag", "imx", "imy", "pix_x", "pix_y", "chfield"),
    *("mmp_n1", "mmp_n2", "mmp_n3", "mmp_d"),
)
_SEQUENCE_END = ("first", "last")
_OPTIONAL_FILES = ("pft_version",)


@dataclass
class RawParameters:
    """An unchecked parameter tree, with the location of each value."""

    source: Path
    tree: AttrDict
    places: dict[tuple[str, str], str] = field(default_factory=dict)

    def locate(self, section: str, key: str) -> str:
        """The location of a value, or of a missing value: file and line (``.par``) or file and key (YAML).

        ``key`` may name an item of a list, from 1: see :func:`item_of`.
        """
        place = (
            self.places.get((section, key)) or self.places.get((section, key.partition(",")[0])) or self.places.get((section, ""))
        )
        if place is not None:
            return f"{place} ({key})" if key else place
        return f"{self.source}, {'.'.join(part for part in (section, key) if part)}"


def item_of(key: str, number: int) -> str:
    """The key of an item of a list, counted from 1, for :meth:`RawParameters.locate`."""
    return f"{key}, item {number}"


def read_par(folder: Path) -> RawParameters:
    """Read the legacy dialect from a folder of ``.par`` files.

    Raises:
        FormatError: files are missing, empty, too short or not text; the message lists each with its line.
    """
    raw = RawParameters(folder / "ptv.par", AttrDict())
    problems: list[str] = []
    lines = _par_lines(folder / "ptv.par")
    number, text = next(line for line in lines if line[1])
    n = _whole(text)
    raw.tree["num_cams"] = text if n is None else n
    raw.places["", "num_cams"] = f"{folder / 'ptv.par'}, line {number}"
    if n is not None and 1 <= n <= MAX_CAMERAS:  # otherwise that is the problem, and the following lines cannot be assigned
        _collect(problems, _fill_slots, raw, "ptv", n)
        _collect(problems, _fill_slots, raw, "sequence", n)
    for section, keys in PAR_LINES.items():
        path = folder / f"{section}.par"
        if section not in _OPTIONAL_FILES or path.exists():
            _collect(problems, _fill, raw, section, keys)
    if problems:
        raise FormatError(*problems)
    return raw


def _collect(problems: list[str], read: Callable[..., None], *arguments: Any) -> None:
    """Read one file and collect its problem, so that the other files are read as well."""
    try:
        read(*arguments)
    except FormatError as error:
        problems += error.problems


def read_yaml(path: Path) -> RawParameters:
    """Read the YAML dialect; only plain data are allowed (safe loader), mappings become :class:`AttrDict`.

    Raises:
        FormatError: the file cannot be read, is not YAML, or is not a mapping with the required sections.
    """
    text = _without_tabs(read_text(path))
    try:
        tree = load_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise FormatError(f"{path}{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from error
    except Exception as error:  # PyYAML's constructors raise many types of errors on a wrong tag or number
        raise FormatError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(tree, AttrDict):
        raise FormatError(f"{path}: found {shown(tree)}, expected sections: {', '.join(REQUIRED_SECTIONS)}")
    return RawParameters(path, tree)


def parameter_files(source: Path) -> list[Path]:
    """The files of the parameters of a :attr:`RawParameters.source`: YAML, or all ``.par`` files that are read, by name."""
    if source.suffix.lower() in YAML_SUFFIXES:
        return [source]
    return [path for name in sorted(("ptv", "sequence", *PAR_LINES)) if (path := source.with_name(f"{name}.par")).exists()]


def has_needed_sections(raw: RawParameters) -> bool:
    """Whether a YAML file has the sections of an experiment."""
    return all(isinstance(raw.tree.get(section), dict) for section in REQUIRED_SECTIONS)


def _fill(raw: RawParameters, section: str, keys: tuple[str, ...]) -> None:
    """Read a ``.par`` file with a fixed list of lines."""
    path = raw.source.with_name(f"{section}.par")
    _name_lines(raw, section, keys, [line for line in _par_lines(path) if line[1]])


def _fill_slots(raw: RawParameters, section: str, num_cams: int) -> None:
    """Read ``ptv.par`` or ``sequence.par``, which have a slot per camera, and often more slots than cameras.

    The lines after the slots are numbers, which show where the slots end. A name may be empty, and there may be blank lines.
    """
    path = raw.source.with_name(f"{section}.par")
    per_slot, end = (("img_name", "img_cal"), _PTV_END) if section == "ptv" else (("base_name",), _SEQUENCE_END)
    before = ("num_cams",) if section == "ptv" else ()
    every = _par_lines(path)
    filled = [line for line in every if line[1]]
    if section == "sequence" and _whole(filled[0][1]) == num_cams and len(filled) > 1 and not _is_number(filled[1][1]):
        every = filled = filled[1:]  # some files begin with the number of cameras

    def ends_after(slots: int, lines: list[tuple[int, str]]) -> bool:
        """Whether the numbers at the end of the file are where they would be after that many slots."""
        start = len(before) + slots * len(per_slot)
        spare, values = lines[len(before) + num_cams * len(per_slot) : start], lines[start : start + len(end)]
        numbers = all(_is_number(text) for _, text in values) and not any(_is_number(text) for _, text in spare)
        return numbers and len(values) == len(end)

    fewer = next((slots for slots in range(num_cams - 1, 0, -1) if ends_after(slots, filled)), None)
    slots, lines = next(
        ((slots, lines) for slots in range(num_cams, _MOST_SLOTS + 1) for lines in (every, filled) if ends_after(slots, lines)),
        (num_cams, filled),
    )
    if fewer is not None and not ends_after(slots, lines):
        raise FormatError(
            f"{path}, line {filled[len(before) + fewer * len(per_slot)][0]}: found the names of {fewer} cameras, "
            f"expected those of {num_cams}, as {raw.places['', 'num_cams']} says"
        )
    names = tuple(f"{key}.{slot}" for slot in range(slots) for key in per_slot)
    _name_lines(raw, section, (*before, *names, *end), lines)


def _name_lines(raw: RawParameters, section: str, keys: tuple[str, ...], lines: list[tuple[int, str]]) -> None:
    """Put the lines of a file into the tree, under their keys."""
    path = raw.source.with_name(f"{section}.par")
    if len(lines) < len(keys):
        raise FormatError(
            f"{path}: found {len(lines)} values, expected {len(keys)}, one per line: "
            f"{keys[len(lines)]} and the following ones are missing"
        )
    values = AttrDict()
    for key, (number, text) in zip(keys, lines, strict=False):
        name, _, index = key.partition(".")
        place = f"{path}, line {number}"
        if index:
            values.setdefault(name, []).append(text)
            raw.places[section, item_of(name, int(index) + 1)] = place
        else:
            values[name] = text
        raw.places.setdefault((section, name), place)
    raw.places[section, ""] = str(path)
    raw.tree[section] = values


def _par_lines(path: Path) -> list[tuple[int, str]]:
    """(line number, text) of all lines, at least one of which is not empty."""
    lines = [(number, line.strip()) for number, line in enumerate(read_text(path).splitlines(), start=1)]
    if not any(text for _, text in lines):
        raise FormatError(f"{path}: the file is empty, expected one value per line")
    return lines


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _without_tabs(text: str) -> str:
    """Replace tabs as indentation, which YAML does not allow, by blanks, unless blanks are used as well."""
    if re.search(r"^ +\S", text, re.MULTILINE):
        return text
    return re.sub(r"^\t+", lambda tabs: "  " * len(tabs[0]), text, flags=re.MULTILINE)
