"""Write digests of what PyPTV itself makes of experiments that have no golden files.

    python tests/data/make_reference.py PYTHON SHARED

PYTHON is the interpreter of an environment with PyPTV 0.4.3 (optv 0.3.2), SHARED the folder that holds
``data/test_cavity``; this script itself runs where pyptv-batch is installed.

``reference.json``: variants of test_cavity. Cameras are dropped in the YAML file; each variant is run on a copy, both steps.

``reference_synthetic.json``: experiments of ``pyptv.synthetic``, so that bytes can be compared where no real data are. Of each:
the digests of its images, of the results of the sequence step, of those of tracking, and of those of tracking once more
from its own results.
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

import numpy as np
import yaml
from PIL import Image

from pyptv.synthetic import make_experiment

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

SYNTHETIC: dict[str, dict[str, Any]] = {
    "4 cameras": {"dropout": 0.3},
    "3 cameras": {"n_cameras": 3, "dropout": 0.15},
    "2 cameras": {"n_cameras": 2, "dropout": 0.12},
    "splitter": {"splitter": True},
    "negative and mask": {"negative": True, "mask": True},
}
SMALL = {"n_frames": 5, "n_particles": 80, "image_size": (320, 256)}
PARAMETERS = "parameters_synthetic.yaml"


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


def results(folder: Path) -> dict[str, bytes]:
    """Result file -> its bytes."""
    patterns = ("res/rt_is.*", "res/ptv_is.*", "res/added.*", "img/*_targets")
    files = sorted(path for pattern in patterns for path in folder.glob(pattern))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def reference(python: str, shared: Path, variant: dict[str, Any]) -> dict[str, str]:
    """Run PyPTV on a copy."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "test_cavity"
        shutil.copytree(shared / "data" / "test_cavity", folder)
        parameters = folder / "parameters_Run1.yaml"
        change_parameters(parameters, **variant)
        command = [python, "-m", "pyptv.pyptv_batch", str(parameters), *map(str, FRAMES)]
        subprocess.run(command, check=True, cwd=parent, stdout=subprocess.DEVNULL)
        return comparable(results(folder), variant.get("num_cams", 4))


def make_synthetic(folder: Path, name: str) -> Path:
    """One of the synthetic experiments, without its truth; returns its parameter file."""
    make_experiment(folder, **SMALL, **SYNTHETIC[name])
    for mask in folder.glob("img/mask*.tif"):
        _darken(mask, list(folder.glob(f"img/cam{mask.stem[-1]}.*.tif")))
    return folder / PARAMETERS


def comparable(files: dict[str, bytes], n_cameras: int) -> dict[str, str]:
    """Digests of result files, with -1 for the cameras that are not there: PyPTV leaves there what its memory held."""
    absent = 4 - n_cameras
    compared = {}
    for name, data in files.items():
        if absent and "rt_is" in name:
            count, *rows = data.splitlines()
            data = b"\n".join([count, *(row[: -5 * absent] + b"   -1" * absent for row in rows)])  # noqa: PLW2901
        compared[name] = hashlib.blake2b(data, digest_size=16).hexdigest()
    return compared


def image_digests(folder: Path) -> dict[str, str]:
    """Image -> digest of its pixels: results can only be the same where these are."""
    files = sorted(folder.glob("img/*.tif"))
    pixels = {path.name: np.asarray(Image.open(path)).tobytes() for path in files}
    return {name: hashlib.blake2b(data, digest_size=16).hexdigest() for name, data in pixels.items()}


def synthetic_reference(python: str, name: str) -> dict[str, dict[str, str]]:
    """Run PyPTV on a synthetic experiment, a step at a time."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "experiment"
        parameters = make_synthetic(folder, name)
        made = {"images": image_digests(folder)}
        if SYNTHETIC[name].get("splitter"):
            _cut_views(folder, parameters)
        for stage, mode in (("sequence", "sequence"), ("tracking", "tracking"), ("tracking again", "tracking")):
            command = [python, "-m", "pyptv.pyptv_batch", str(parameters), *map(str, FRAMES), "--mode", mode]
            subprocess.run(command, check=True, cwd=parent, stdout=subprocess.DEVNULL)
            made[stage] = comparable(results(folder), SYNTHETIC[name].get("n_cameras", 4))
        return made


def _darken(mask: Path, images: list[Path]) -> None:
    """Let no background pixel be brighter than it is in any (inverted) image: there PyPTV wraps around below 0."""
    darkest = np.min([255 - np.asarray(Image.open(path)) for path in images], axis=0)
    Image.fromarray(np.minimum(np.asarray(Image.open(mask)), darkest)).save(mask)


def _cut_views(folder: Path, parameters: Path) -> None:
    """Make four cameras of a splitter's views, in their order: PyPTV itself has a splitter in a plugin only."""
    for path in sorted(folder.glob("img/*.tif")):
        whole = np.asarray(Image.open(path))
        height, width = whole.shape[0] // 2, whole.shape[1] // 2
        corners = ((0, 0), (0, width), (height, width), (height, 0))
        frame = path.name.split(".")[1]
        path.unlink()
        for camera, (top, left) in enumerate(corners, start=1):
            view = np.ascontiguousarray(whole[top : top + height, left : left + width])
            Image.fromarray(view).save(path.with_name(f"view{camera}.{frame}.tif"))
    tree = yaml.safe_load(parameters.read_text(encoding="utf-8"))
    tree["ptv"]["splitter"] = False
    tree["sequence"]["base_name"] = [f"img/view{camera}.%d.tif" for camera in (1, 2, 3, 4)]
    parameters.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")


def _write(name: str, made: dict[str, Any]) -> None:
    text = json.dumps(made, indent=1, sort_keys=True)
    Path(__file__).with_name(name).write_text(text + "\n", encoding="ascii")


if __name__ == "__main__":
    _write("reference_synthetic.json", {name: synthetic_reference(sys.argv[1], name) for name in SYNTHETIC})
    _write("reference.json", {name: reference(sys.argv[1], Path(sys.argv[2]), variant) for name, variant in VARIANTS.items()})
