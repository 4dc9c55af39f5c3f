"""The experiment folder: which parameters count, where images, targets and results are."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

from pyptv.core.base.errors import FormatError, InvalidExperimentError
from pyptv.core.experiment.calibration import Calibration, calibration_files, read_calibration
from pyptv.core.experiment.dialects import YAML_SUFFIXES, RawParameters, has_needed_sections, read_par, read_yaml
from pyptv.core.experiment.parameter_checks import build_parameters
from pyptv.core.experiment.parameters import REQUIRED_SECTIONS, Parameters, expand

logger = logging.getLogger(__name__)

RESULT_KINDS = ("rt_is", "ptv_is", "added")
_USUAL_DIRECTORIES = ["img", "cal"]


@dataclass(frozen=True)
class Experiment:
    """One experiment, its parameters and calibrations checked. Paths in it are absolute."""

    folder: Path
    source: Path
    """``parameters/ptv.par`` or the YAML file."""
    parameters: Parameters
    calibrations: tuple[Calibration, ...]

    @property
    def num_cams(self) -> int:
        """Number of cameras, 1 to 4; with a splitter, of views."""
        return self.parameters.num_cams

    @property
    def results(self) -> Path:
        """The folder ``res/``."""
        return self.folder / "res"

    @cached_property
    def images_per_frame(self) -> int:
        """Image files a frame has: one a camera, or one for all with a splitter."""
        return 1 if self.parameters.ptv.splitter else self.num_cams

    def image_path(self, camera: int, frame: int) -> Path:
        """The image of a camera (0-based) and frame."""
        return self.folder / expand(self.parameters.sequence.base_name[camera], frame)

    def mask_path(self, camera: int) -> Path:
        """The background image of a camera (0-based)."""
        return self.folder / expand(self.parameters.masking.base_name, camera + 1)

    def targets_folder(self, camera: int) -> Path:
        """Where the ``_targets`` files of a camera lie: beside its images."""
        base_name = self.parameters.sequence.base_name
        return (self.folder / base_name[0 if self.parameters.ptv.splitter else camera]).parent

    def targets_path(self, camera: int, frame: int) -> Path:
        """The ``_targets`` file of a camera (0-based) and frame."""
        return self.targets_folder(camera) / f"cam{camera + 1}.{frame:04d}_targets"

    def result_path(self, kind: str, frame: int) -> Path:
        """``res/rt_is.FRAME``, ``res/ptv_is.FRAME`` or ``res/added.FRAME``."""
        return self.results / f"{kind}.{frame}"

    def sequence_files(self, frame: int) -> dict[str, Path]:
        """Short name -> path of what the sequence step writes for a frame; ``rt_is`` last: it marks the frame as done."""
        files = {f"targets{camera + 1}": self.targets_path(camera, frame) for camera in range(self.num_cams)}
        return files | {"rt_is": self.result_path("rt_is", frame)}

    def tracking_files(self, frame: int) -> dict[str, Path]:
        """Short name -> path of what the tracking step writes for a frame."""
        return self.sequence_files(frame) | {kind: self.result_path(kind, frame) for kind in ("added", "ptv_is")}


@dataclass(frozen=True)
class GreyDepths:
    """How stored values become grey values. Decided once for an experiment, never for a range: results depend on it."""

    images: tuple[int | None, ...] = ()
    """Per image file of a frame: bits that the grey values have in files of more than 8 bits; None: all that are stored."""
    masks: tuple[int | None, ...] = ()
    """Likewise for the background image of each camera."""
    page: int | None = None
    """Of files with several pages, counted from 1; None: files have one page."""

    def of_image(self, which: int) -> int | None:
        """Of an image file of a frame."""
        return self.images[which] if which < len(self.images) else None

    def of_mask(self, camera: int) -> int | None:
        """Of the background image of a camera (0-based)."""
        return self.masks[camera] if camera < len(self.masks) else None


@dataclass(frozen=True)
class ImageSettings:
    """How the images of an experiment become what detection takes."""

    width: int
    """Of one view [px]."""
    height: int
    negative: bool = False
    split: bool = False
    """A file holds 2 x 2 views."""
    grey: GreyDepths = GreyDepths()

    @property
    def file_size(self) -> tuple[int, int]:
        """(width, height) [px] of an image file."""
        return (2 * self.width, 2 * self.height) if self.split else (self.width, self.height)


def load_experiment(exp_path: str | Path) -> Experiment:
    """Read parameters and calibrations of an experiment, and check them.

    Args:
        exp_path: the experiment folder, or a YAML parameter file in it.

    Raises:
        InvalidExperimentError: with all problems found.
    """
    path = Path(exp_path).absolute()
    raw = read_parameters(path)
    folder = path if path.is_dir() else path.parent
    if path.is_dir():
        validate_experiment_directory(path)
    parameters = build_parameters(raw.tree, raw.locate)
    _warn_of_plugins(raw)
    calibrations = []
    problems: list[str] = []
    for image in parameters.ptv.calibration_images[: parameters.num_cams]:
        try:
            calibrations.append(read_calibration(*calibration_files(folder, image)))
        except FormatError as error:
            problems += error.problems
    if problems:
        raise InvalidExperimentError(*problems)
    return Experiment(folder, raw.source, parameters, tuple(calibrations))


def _warn_of_plugins(raw: RawParameters) -> None:
    """PyPTV's windows run a selected plugin, its batch run and this one do not: a user may think otherwise."""
    plugins = raw.tree.get("plugins")
    for key in ("selected_sequence", "selected_tracking"):
        name = plugins.get(key, "default") if isinstance(plugins, dict) else "default"
        if name not in ("default", None):
            logger.warning(
                "%s: found the plugin %.80r; plugins are not run here, the default is", raw.locate("plugins", key), name
            )


def read_parameters(path: Path) -> RawParameters:
    """The raw parameters of a folder or a YAML file.

    A folder with ``parameters/ptv.par`` uses that; else its only YAML file that has the needed sections.

    Raises:
        InvalidExperimentError: none, or several, or unreadable ones.
    """
    if not _is_there(path):
        raise InvalidExperimentError(f"Experiment directory does not exist: {path}")
    if not path.is_dir():
        if path.suffix.lower() not in YAML_SUFFIXES:
            raise InvalidExperimentError(f"Path is not a directory and not a YAML file (.yaml, .yml): {path}")
        return _needed(read_yaml(path))
    if _is_there(path / "parameters" / "ptv.par"):
        return read_par(path / "parameters")
    return _only_yaml(path)


def validate_experiment_directory(exp_path: str | Path) -> None:
    """Check that a folder has the shape of an experiment: its directories and a parameter file.

    The directories are those that the parameters name, ``img`` and ``cal`` where these cannot be read.

    Raises:
        InvalidExperimentError: (a ``ProcessingError``) says what is missing.
    """
    folder = Path(exp_path)
    if not _is_there(folder):
        raise InvalidExperimentError(f"Experiment directory does not exist: {folder}")
    if not folder.is_dir():
        raise InvalidExperimentError(f"Path is not a directory: {folder}")
    _require(folder, _directories(folder))


def _require(folder: Path, directories: list[str]) -> None:
    missing = [name for name in directories if not _is_folder(folder / name)]
    if missing:
        raise InvalidExperimentError(f"Missing required directories in {folder}: {', '.join(missing)}")
    if not _is_there(folder / "parameters" / "ptv.par") and not _yaml_files(folder):
        raise InvalidExperimentError(f"Required file not found: {folder / 'parameters' / 'ptv.par'} (nor a YAML parameter file)")


def _directories(folder: Path) -> list[str]:
    """The directories that the parameters say images and calibrations are in."""
    try:
        tree = read_parameters(folder).tree
        names = [*tree.sequence.base_name, *tree.ptv.img_cal]
        return list(dict.fromkeys(PurePath(name).parent.as_posix() for name in names if isinstance(name, str)))
    except (InvalidExperimentError, AttributeError, TypeError):
        return _USUAL_DIRECTORIES


def _is_there(path: Path) -> bool:
    """Whether a path leads to something: not so where its name is too long, or a folder on the way may not be entered."""
    try:
        return path.exists()
    except OSError:
        return False


def _is_folder(path: Path) -> bool:
    return _is_there(path) and path.is_dir()


def _yaml_files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in YAML_SUFFIXES and path.is_file())
    except OSError as error:
        raise InvalidExperimentError(f"{folder}: cannot be read: {error.strerror}") from error


def _only_yaml(folder: Path) -> RawParameters:
    found, problems = [], []
    for path in _yaml_files(folder):
        try:
            raw = read_yaml(path)
        except FormatError as error:
            problems.append(str(error))
        else:
            if has_needed_sections(raw):
                found.append(raw)
    if len(found) > 1:
        names = ", ".join(raw.source.name for raw in found)
        raise InvalidExperimentError(f"{folder}: several parameter files: {names}. Name one of them instead of the folder")
    if not found:
        _require(folder, _USUAL_DIRECTORIES)
        raise InvalidExperimentError(
            *(problems or [f"{folder}: no parameters/ptv.par, and no YAML file with the sections {', '.join(REQUIRED_SECTIONS)}"])
        )
    return found[0]


def _needed(raw: RawParameters) -> RawParameters:
    if not has_needed_sections(raw):
        missing = [section for section in REQUIRED_SECTIONS if not isinstance(raw.tree.get(section), dict)]
        raise InvalidExperimentError(f"{raw.source}: sections missing: {', '.join(missing)}")
    return raw
