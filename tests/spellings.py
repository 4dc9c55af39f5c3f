"""Writes one experiment in the spellings that experiments have: two dialects, forms of names, encodings, slots, unused values.

Used by the table of cases (``test_dialect_cases.py``) and by the generator (``test_dialect_generator.py``).
"""

from __future__ import annotations

import copy
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pyptv.synthetic.writer import write_par

YAML_NAME = "parameters_Run1.yaml"

PRINTF, PREFIX, HASH = "printf", "prefix", "hash"


@dataclass(frozen=True)
class Spelling:
    """How an experiment is written down. The default is that of today's PyPTV."""

    dialect: str = "yaml"
    form: str = PRINTF
    width: int = 0
    """Digits of the frame number in file names; 0: no zeros before it."""
    ending: str = ".tif"
    in_folder: bool = False
    """A folder for each frame: ``img/10000/cam1.tif``."""
    percent: bool = False
    """A percent sign in the folder's name."""
    backslashes: bool = False
    slots: int = 0
    """Camera slots beyond the cameras."""
    filler: str = "---"
    newline: str = "\n"
    encoding: str = "utf-8"
    trailing: str = ""
    blank_lines: bool = False
    tabs: bool = False
    numbers_as_text: bool = False
    unused_values: bool = False
    cameras_key: str = "num_cams"
    extra_keys: dict[str, Any] = field(default_factory=dict)
    parameter_set: str = "parameters"

    def image(self, camera: int, frame: int) -> str:
        """Where an image lies: camera from 1."""
        folder, name, below = self._parts(camera)
        return f"{folder}{name}{frame:0{self.width}d}{below}"

    def targets(self, camera: int, frame: int) -> str:
        """Where PyPTV 0.4.3 writes the targets: in the folder of the name as it is written, percent signs and all."""
        folder = self._parts(camera)[0].replace("%", "%%")
        if self.in_folder:
            folder += f"%{f'0{self.width}' if self.width else ''}d/"
        return f"{folder}cam{camera}.{frame:04d}_targets"

    def base_name(self, camera: int) -> str:
        """What the parameters say."""
        folder, name, below = (part.replace("%", "%%") for part in self._parts(camera))
        number = {PRINTF: f"%{f'0{self.width}' if self.width else ''}d", PREFIX: "", HASH: "#"}[self.form]
        written = folder + name + number + ("" if self.form == PREFIX else below)
        return written.replace("/", "\\") if self.backslashes else written

    def _parts(self, camera: int) -> tuple[str, str, str]:
        folder = "img 50%/" if self.percent else "img/"
        return (folder, "", f"/cam{camera}{self.ending}") if self.in_folder else (folder, f"cam{camera}.", self.ending)


def write(folder: Path, tree: dict[str, Any], spelling: Spelling, *, keep_names: bool = False) -> Path:
    """Write the parameters; returns what to name on the command line. ``keep_names``: of images, as the tree has them."""
    tree = _spelled(tree, spelling, keep_names=keep_names)
    if spelling.dialect == "par":
        write_par(folder, tree)
        target = (folder / "parameters").rename(folder / spelling.parameter_set)
        for path in target.glob("*.par"):
            _rewrite(path, spelling)
        return target if spelling.parameter_set != "parameters" else folder
    tree[spelling.cameras_key] = tree.pop("num_cams")
    path = folder / YAML_NAME
    text = yaml.safe_dump(tree, sort_keys=False)
    if spelling.tabs:
        text = "".join(_with_tabs(line) for line in text.splitlines(keepends=True))
    path.write_text(text, encoding="utf-8")
    _rewrite(path, spelling)
    return folder


def move_images(folder: Path, n_cameras: int, frames: range, spelling: Spelling) -> None:
    """Give the images ``img/cam1.10000.tif`` of a synthetic experiment the names of a spelling."""
    for camera in range(1, n_cameras + 1):
        for frame in frames:
            target = folder / spelling.image(camera, frame)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(folder / f"img/cam{camera}.{frame}.tif", target)


def _spelled(tree: dict[str, Any], spelling: Spelling, *, keep_names: bool) -> dict[str, Any]:
    tree = copy.deepcopy(tree)
    n = tree["num_cams"]
    fill = [spelling.filler] * spelling.slots
    if not keep_names:
        tree["sequence"]["base_name"] = [spelling.base_name(camera) for camera in range(1, n + 1)] + fill
    for key in ("img_cal", "img_name"):
        names = tree["ptv"][key][:n]
        tree["ptv"][key] = [name.replace("/", "\\") if spelling.backslashes else name for name in names] + fill
    thresholds = tree["targ_rec"]["gvthres"][:n]
    tree["targ_rec"]["gvthres"] = thresholds + [-999 if spelling.unused_values else thresholds[0]] * (4 - n)
    if spelling.unused_values:
        tree["ptv"]["hp_flag"] = tree["targ_rec"]["cr_sz"] = -999
        if spelling.dialect == "yaml":
            tree["masking"] = {"mask_flag": False, "mask_base_name": "---"}
    if spelling.dialect == "yaml":
        for place, value in spelling.extra_keys.items():
            section, _, key = place.partition(".")
            tree.setdefault(section, {})[key] = value
    return _as_text(tree) if spelling.numbers_as_text else tree


def _as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_text(item) for item in value]
    return str(value)


def _with_tabs(line: str) -> str:
    rest = line.lstrip(" ")
    return "\t" * ((len(line) - len(rest)) // 2) + rest


def _rewrite(path: Path, spelling: Spelling) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    text = "".join(f"{line}{spelling.trailing}{spelling.newline * (1 + spelling.blank_lines)}" for line in lines)
    path.write_bytes(text.encode(spelling.encoding))
