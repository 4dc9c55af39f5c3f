"""The two dialects of parameter files, read into one raw tree: ``parameters/*.par`` and YAML.

Nothing is judged here but whether the text can be read at all; :mod:`pyptv.core.experiment.parameter_checks` checks the values
and asks the :class:`RawParameters` where each of them stands.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import yaml

from pyptv.core.base.errors import FormatError
from pyptv.core.base.regular_files import open_regular
from pyptv.core.experiment.attrdict import AttrDict, shown
from pyptv.core.experiment.parameters import MAX_CAMERAS, REQUIRED_SECTIONS
from pyptv.core.experiment.yaml_loader import load_yaml

YAML_SUFFIXES = (".yaml", ".yml")
_MAX_BYTES = 1_000_000

_PAR_LINES: dict[str, tuple[str, ...]] = {
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
_OPTIONAL_FILES = ("pft_version",)


@dataclass
class RawParameters:
    """An unchecked parameter tree, and where each value came from."""

    source: Path
    tree: AttrDict
    places: dict[tuple[str, str], str] = field(default_factory=dict)

    def locate(self, section: str, key: str) -> str:
        """Where a value stands, or should stand: file and line (``.par``) or file and key (YAML)."""
        place = self.places.get((section, key)) or self.places.get((section, ""))
        if place is not None:
            return f"{place} ({key})" if key else place
        return f"{self.source}, {'.'.join(part for part in (section, key) if part)}"


def read_par(folder: Path) -> RawParameters:
    """Read the legacy dialect from a ``parameters/`` folder.

    Raises:
        FormatError: a file is missing, empty, too short or not text; names file and line.
    """
    raw = RawParameters(folder / "ptv.par", AttrDict())
    lines = _par_lines(folder / "ptv.par")
    n = _whole(lines[0][1])
    raw.tree["num_cams"] = lines[0][1] if n is None else n
    raw.places["", "num_cams"] = f"{folder / 'ptv.par'}, line {lines[0][0]}"
    cameras = range(n if n is not None and 1 <= n <= MAX_CAMERAS else 0)
    if cameras:  # else the number of cameras is the problem, and what follows cannot be told apart
        names = [name for camera in cameras for name in (f"img_name.{camera}", f"img_cal.{camera}")]
        _fill(raw, "ptv", folder / "ptv.par", ("num_cams", *names, *_PTV_END), lines)
        bases = tuple(f"base_name.{camera}" for camera in cameras)
        _fill(raw, "sequence", folder / "sequence.par", (*bases, "first", "last"))
    for section, keys in _PAR_LINES.items():
        path = folder / f"{section}.par"
        if section not in _OPTIONAL_FILES or path.exists():
            _fill(raw, section, path, keys)
    return raw


def read_yaml(path: Path) -> RawParameters:
    """Read the YAML dialect; only plain data can be in it (safe loader), mappings become :class:`AttrDict`.

    Raises:
        FormatError: the file cannot be read, is not YAML, or is not a mapping with the needed sections.
    """
    text = _text(path)
    try:
        tree = load_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise FormatError(f"{path}{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from error
    except Exception as error:  # PyYAML's constructors raise nearly anything on a wrong tag or number
        raise FormatError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(tree, AttrDict):
        raise FormatError(f"{path}: found {shown(tree)}, expected sections: {', '.join(REQUIRED_SECTIONS)}")
    return RawParameters(path, tree)


def parameter_files(source: Path) -> list[Path]:
    """The files that parameters of a :attr:`RawParameters.source` are in: YAML, or all ``.par`` files that are read, by name."""
    if source.suffix.lower() in YAML_SUFFIXES:
        return [source]
    return [path for name in sorted(("ptv", "sequence", *_PAR_LINES)) if (path := source.with_name(f"{name}.par")).exists()]


def has_needed_sections(raw: RawParameters) -> bool:
    """Whether a YAML file is about an experiment at all."""
    return all(isinstance(raw.tree.get(section), dict) for section in REQUIRED_SECTIONS)


def _fill(
    raw: RawParameters, section: str, path: Path, keys: tuple[str, ...], lines: list[tuple[int, str]] | None = None
) -> None:
    """Name the lines of one ``.par`` file and put them into the tree."""
    lines = _par_lines(path) if lines is None else lines
    if len(lines) < len(keys):
        raise FormatError(
            f"{path}: found {len(lines)} values, expected {len(keys)}, one a line: {keys[len(lines)]} and what follows is missing"
        )
    values = AttrDict()
    for key, (number, text) in zip(keys, lines, strict=False):
        name, _, index = key.partition(".")
        if index:
            values.setdefault(name, []).append(text)
        else:
            values[name] = text
        raw.places.setdefault((section, name), f"{path}, line {number}")
    raw.places[section, ""] = str(path)
    raw.tree[section] = values


def _par_lines(path: Path) -> list[tuple[int, str]]:
    """(line number, text) of the lines that hold something, at least one."""
    lines = [(number, line.strip()) for number, line in enumerate(_text(path).splitlines(), start=1)]
    lines = [(number, line) for number, line in lines if line]
    if not lines:
        raise FormatError(f"{path}: the file is empty, expected one value a line")
    return lines


def _text(path: Path) -> str:
    try:
        with open_regular(path) as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise FormatError(f"Required file not found: {path}") from error
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise FormatError(f"{path}: found more than {_MAX_BYTES} bytes, expected a small text file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise FormatError(f"{path}, line {line}: found the byte 0x{data[error.start]:02x}, expected text in UTF-8") from error


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
