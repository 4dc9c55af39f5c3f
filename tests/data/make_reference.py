"""Write ``reference.json``: digests of what PyPTV itself makes of test_cavity, in variants that have no golden files.

    python tests/data/make_reference.py PYTHON SHARED

PYTHON is the interpreter of an environment with PyPTV 0.4.3 (optv 0.3.2), SHARED the folder that holds
``data/test_cavity``. Cameras are dropped in the YAML file; each variant is run on a copy, both steps.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

VARIANTS: dict[str, dict[str, Any]] = {
    "4 cameras": {},
    "3 cameras": {"num_cams": 3},
    "2 cameras": {"num_cams": 2},
    "4 cameras, no particles added": {"add": False},
    "3 cameras, no particles added": {"num_cams": 3, "add": False},
    "2 cameras, no particles added": {"num_cams": 2, "add": False},
    "3 cameras, all must see": {"num_cams": 3, "all_cameras": True},
    "4 cameras, all must see": {"all_cameras": True},
}
FRAMES = (10000, 10004)


def change_parameters(path: Path, *, num_cams: int = 4, add: bool = True, all_cameras: bool = False) -> None:
    """Make a YAML parameter file one of a variant."""
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    tree["num_cams"] = num_cams
    tree["track"]["flagNewParticles"] = add
    tree["ptv"]["allcam_flag"] = all_cameras
    lists = {"ptv": ("img_cal", "img_name"), "sequence": ("base_name",), "cal_ori": ("img_cal_name", "img_ori")}
    for section, keys in lists.items():
        for key in keys:
            tree[section][key] = tree[section][key][:num_cams]
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")


def digests(folder: Path) -> dict[str, str]:
    """Result file -> BLAKE2b of its bytes."""
    patterns = ("res/rt_is.*", "res/ptv_is.*", "res/added.*", "img/*_targets")
    files = sorted(path for pattern in patterns for path in folder.glob(pattern))
    return {path.relative_to(folder).as_posix(): hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() for path in files}


def reference(python: str, shared: Path, variant: dict[str, Any]) -> dict[str, str]:
    """Run PyPTV on a copy."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "test_cavity"
        shutil.copytree(shared / "data" / "test_cavity", folder)
        parameters = folder / "parameters_Run1.yaml"
        change_parameters(parameters, **variant)
        command = [python, "-m", "pyptv.pyptv_batch", str(parameters), *map(str, FRAMES)]
        subprocess.run(command, check=True, cwd=parent, stdout=subprocess.DEVNULL)
        return digests(folder)


if __name__ == "__main__":
    made = {name: reference(sys.argv[1], Path(sys.argv[2]), variant) for name, variant in VARIANTS.items()}
    target = Path(__file__).with_name("reference.json")
    target.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n", encoding="ascii")
