"""The files of a synthetic experiment except its images: both parameter dialects, calibrations, targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pyptv.core.experiment.calibration import Calibration, calibration_files, calibration_text

YAML_NAME = "parameters_synthetic.yaml"
_PTV = ("hp_flag", "allcam_flag", "tiff_flag", "imx", "imy", "pix_x", "pix_y", "chfield", "mmp_n1", "mmp_n2", "mmp_n3", "mmp_d")
_TARG_REC = ("gvthres", "disco", "nnmin", "nnmax", "nxmin", "nxmax", "nymin", "nymax", "sumg_min", "cr_sz")
_TRACK = ("dvxmin", "dvxmax", "dvymin", "dvymax", "dvzmin", "dvzmax", "angle", "dacc", "flagNewParticles")


def write_yaml(folder: Path, tree: dict[str, Any]) -> None:
    """Write the YAML dialect beside the data."""
    text = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, default_flow_style=False)
    (folder / YAML_NAME).write_text(text, encoding="utf-8")


def write_par(folder: Path, tree: dict[str, Any]) -> None:
    """Write the legacy dialect into ``parameters/``."""
    target = folder / "parameters"
    target.mkdir()
    for name, values in _par_values(tree):
        text = "".join(f"{_plain(value)}\n" for value in values)
        (target / f"{name}.par").write_text(text, encoding="ascii", newline="\n")


def write_calibrations(folder: Path, calibrations: Sequence[Calibration], names: Sequence[str]) -> None:
    """Write ``.ori`` and ``.addpar`` of each camera, with all digits: both are read back to the same numbers."""
    for calibration, name in zip(calibrations, names, strict=True):
        ori, addpar = calibration_files(folder, name)
        ori.parent.mkdir(exist_ok=True)
        for path, text in zip((ori, addpar), calibration_text(calibration), strict=True):
            path.write_text(text, encoding="ascii", newline="\n")


def _par_values(tree: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    ptv, criteria = tree["ptv"], tree["criteria"]
    names = [name for pair in zip(ptv["img_name"], ptv["img_cal"], strict=True) for name in pair]
    yield "ptv", [tree["num_cams"], *names, *(ptv[key] for key in _PTV)]
    yield "sequence", [*tree["sequence"]["base_name"], tree["sequence"]["first"], tree["sequence"]["last"]]
    layers = [criteria[key][layer] for layer in (0, 1) for key in ("X_lay", "Zmin_lay", "Zmax_lay")]
    yield "criteria", [*layers, *(criteria[key] for key in ("cnx", "cny", "cn", "csumg", "corrmin", "eps0"))]
    values = (tree["targ_rec"][key] for key in _TARG_REC)
    yield "targ_rec", [item for value in values for item in (value if isinstance(value, list) else [value])]
    yield "track", [tree["track"][key] for key in _TRACK]
    yield "pft_version", [tree["pft_version"]["Existing_Target"]]


def _plain(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool | np.bool_) else str(value)


class _Dumper(yaml.SafeDumper):
    """The safe dumper, without anchors: repeated lists are written out."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 -- yaml's signature
        """Never refer to another place in the file."""
        return True
