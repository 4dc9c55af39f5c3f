"""The objects for PyPTV's plugins: ``exp`` with optv's parameter objects, and the functions of ``pyptv.ptv``.

Names and behaviour are those of PyPTV 0.4.3 as far as its own plugins use them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from optv.correspondences import MatchedCoords, correspondences
from optv.image_processing import preprocess_image
from optv.orientation import point_positions
from optv.parameters import SequenceParams
from optv.segmentation import target_recognition
from optv.tracker import Tracker, default_naming
from optv.tracking_framebuf import TargetArray

from pyptv.core.base.frames import FrameRange
from pyptv.core.engines.optv.backend import NO_FILTER, OptvFrameBackend
from pyptv.core.engines.optv.objects import optv_objects
from pyptv.core.experiment.folder import Experiment
from pyptv.core.experiment.parameters.schema import HIGH_PASS_SPAN, SPLITTER_ORDER
from pyptv.core.files.formats import TARGETS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]


class ParameterManager:
    """``exp.pm``: the parameters as nested dictionaries with the names of the YAML dialect."""

    def __init__(self, parameters: Mapping[str, Any], num_cams: int, target_filenames: Sequence[Path]) -> None:
        self.parameters = dict(parameters)
        self.num_cams = num_cams
        self._target_filenames = list(target_filenames)

    def get_parameter(self, name: str) -> Any:
        """A section; raises ``ValueError`` if it does not exist."""
        if self.parameters.get(name) is None:
            raise ValueError(f"{name} returns None")
        return self.parameters[name]

    def get_target_filenames(self) -> list[Path]:
        """The beginning of the names of each camera's ``_targets`` files: ``img/cam1``."""
        return self._target_filenames

    def get_n_cam(self) -> int:
        """Number of cameras."""
        return self.num_cams


class PluginExperiment:
    """``exp``: parameters, calibrations and frames of a run. Its paths are relative to the working folder of the process."""

    def __init__(self, experiment: Experiment, raw: Mapping[str, Any], frames: FrameRange) -> None:
        parameters = experiment.parameters
        folders = [experiment.existing_targets_folder(camera) for camera in range(experiment.num_cams)]
        targets = [folder.relative_to(experiment.folder) / f"cam{camera}" for camera, folder in enumerate(folders, start=1)]
        objects = optv_objects(parameters, experiment.calibrations)
        self.pm = ParameterManager(_sections(raw, parameters.as_tree()), experiment.num_cams, targets)
        self.cpar, self.vpar, self.track_par, self.tpar, self.cals = objects
        for camera, image in enumerate(parameters.ptv.calibration_images[: experiment.num_cams]):
            self.cpar.set_cal_img_base_name(camera, image)
        self.spar = SequenceParams(num_cams=experiment.num_cams)
        self.spar.set_first(frames[0])
        self.spar.set_last(frames[1])
        for camera, name in enumerate(parameters.sequence.base_name[: experiment.num_cams]):
            self.spar.set_img_base_name(camera, name)
        self.epar = self.pm.parameters.get("examine")
        self.num_cams = experiment.num_cams
        self.exp_path = str(Path.cwd())
        self.target_filenames = self.pm.get_target_filenames()
        self.detections: list[Any] = []
        self.corrected: list[Any] = []
        self.exp1 = self
        """For plugins written for PyPTV's window, which provides the experiment there."""

    def get_parameter(self, name: str) -> Any:
        """A section of the parameters."""
        return self.pm.get_parameter(name)


def _sections(raw: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as written, with interpreted values."""
    sections = {str(name): dict(values) if isinstance(values, Mapping) else values for name, values in raw.items()}
    for name, values in known.items():
        before = sections.get(name)
        sections[name] = before | values if isinstance(before, dict) and isinstance(values, dict) else values
    return sections


def ptv_module() -> ModuleType:
    """The module that plugins import as ``pyptv.ptv``."""
    module = ModuleType("pyptv.ptv", "Functions for PyPTV's plugins.")
    offered: dict[str, Any] = {
        "image_split": image_split,
        "negative": negative,
        "simple_highpass": simple_highpass,
        "write_targets": write_targets,
        "read_targets": read_targets,
        "py_trackcorr_init": py_trackcorr_init,
        "np": np,
        "Path": Path,
        "MatchedCoords": MatchedCoords,
        "TargetArray": TargetArray,
        "Tracker": Tracker,
        "correspondences": correspondences,
        "default_naming": default_naming,
        "point_positions": point_positions,
        "preprocess_image": preprocess_image,
        "target_recognition": target_recognition,
    }
    module.__dict__.update(offered)
    return module


def image_split(img: Image, order: Sequence[int] = SPLITTER_ORDER) -> list[Image]:
    """The four quadrants of an image (2 h, 2 w), each (h, w), in an order: 0 and 1 are above, 2 and 3 below."""
    halves = np.array_split(img, [img.shape[0] // 2])
    quadrants = [part for half in halves for part in np.array_split(half, [img.shape[1] // 2], axis=1)]
    return [quadrants[number] for number in order]


def negative(img: Image) -> Image:
    """255 - image."""
    return 255 - img


def simple_highpass(img: Image, cpar: Any) -> Image:
    """The high-pass filter of the sequence step."""
    filtered: Image = preprocess_image(img, NO_FILTER, cpar, HIGH_PASS_SPAN)
    return filtered


def write_targets(targets: Any, short_file_base: str | Path, frame: int) -> bool:
    """Write a ``_targets`` file: ``img/cam1`` and 10000 make ``img/cam1.10000_targets``."""
    path = Path(f"{short_file_base}.{frame:04d}_targets")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(TARGETS.render(OptvFrameBackend.rows_of(targets)))
    return True


def read_targets(short_file_base: str | Path, frame: int) -> Any:
    """The targets in a ``_targets`` file."""
    return OptvFrameBackend.targets_from(TARGETS.read(Path(f"{short_file_base}.{frame:04d}_targets")))


def py_trackcorr_init(exp: Any) -> Any:
    """Optv's tracker over the files of an experiment."""
    for camera, name in enumerate(exp.target_filenames):
        exp.spar.set_img_base_name(camera, f"{Path(name).resolve()}.")
    return Tracker(exp.cpar, exp.vpar, exp.track_par, exp.spar, exp.cals, default_naming)
