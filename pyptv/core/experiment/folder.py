"""The experiment folder: which parameters are used, and where images, targets and results are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from pyptv.core.base.errors import FormatError, InvalidExperimentError
from pyptv.core.base.regular_files import is_folder, is_there
from pyptv.core.base.similar import similar_text
from pyptv.core.experiment.calibration import Calibration, calibration_files, read_calibration
from pyptv.core.experiment.image_names import as_folders, expand, fixed_folder, resolve
from pyptv.core.experiment.listing import FolderListing
from pyptv.core.experiment.output import output_problems, own_output, recorded_experiment, targets_below
from pyptv.core.experiment.parameters.attrdict import AttrDict
from pyptv.core.experiment.parameters.checks import build_parameters, volume_hints
from pyptv.core.experiment.parameters.dialects import RawParameters, item_of, read_par
from pyptv.core.experiment.parameters.foreign_keys import foreign_keys, named_hooks, selected_plugins, splitting_plugins
from pyptv.core.experiment.parameters.schema import SPLITTER_ORDER, Parameters
from pyptv.core.experiment.parameters.sets import USUAL_DIRECTORIES, Chosen, choose_parameters
from pyptv.core.experiment.parameters.stale import stale_notes
from pyptv.core.experiment.passes import LinksPass

RESULT_KINDS = ("rt_is", "ptv_is", "added")


@dataclass(frozen=True)
class Experiment:
    """One experiment, its parameters and calibrations checked. Paths in it are absolute."""

    folder: Path
    source: Path
    """``parameters/ptv.par`` or the YAML file."""
    parameters: Parameters
    calibrations: tuple[Calibration, ...]
    problems: tuple[str, ...] = field(default=(), compare=False)
    """Problems beyond its parameters that did not end :func:`load_experiment`."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """Hints for the user before a run."""
    name_places: tuple[str, ...] = field(default=(), compare=False)
    """Location of each camera's image name in the parameters, for messages."""
    listing: FolderListing = field(default_factory=FolderListing, compare=False, repr=False)
    """Folder listings made while the experiment was read."""
    output: Path | None = None
    """Folder for results, if not the experiment's."""
    hooks: tuple[str, ...] = ()
    """Hooks named in the parameters, ``NAME:key=value,...`` each."""
    selected_plugins: Mapping[str, tuple[str, str | None]] = field(default_factory=dict, compare=False)
    """Step -> location and name of the selected plugin of PyPTV; None: the step of this program."""
    links: LinksPass | None = None
    """A pass of ``--tracking both``, whose links are in a separate folder; None: links are results."""
    stored_targets: Literal["beside the images", "in the output"] | None = None
    """Matching again (``--mode match``): the place of the ``_targets`` files to be read; None: as in the parameters."""

    @property
    def num_cams(self) -> int:
        """Number of cameras, 1 to 4; with a splitter, of views."""
        return self.parameters.num_cams

    @property
    def results(self) -> Path:
        """The folder ``res/`` of the output folder if there is one, otherwise of the experiment."""
        return (self.output or self.folder) / "res"

    @cached_property
    def images_per_frame(self) -> int:
        """Number of image files of a frame: one per camera, or one for all with a splitter."""
        return 1 if self.parameters.ptv.splitter else self.num_cams

    def image_path(self, camera: int, frame: int) -> Path:
        """The image of a camera (0-based) and frame."""
        return self.folder / expand(self.parameters.sequence.base_name[camera], frame)

    def mask_path(self, camera: int) -> Path:
        """The background image of a camera (0-based)."""
        return self.folder / expand(self.parameters.masking.base_name, camera + 1)

    def targets_folder(self, camera: int) -> Path:
        """The folder for the ``_targets`` files of a camera (0-based): beside its images, or under the output folder."""
        if self.output is None:
            return self.existing_targets_folder(camera)
        return targets_below(self.output, self._images_name(camera))

    def targets_path(self, camera: int, frame: int) -> Path:
        """The ``_targets`` file of a camera (0-based) and frame."""
        return self.targets_folder(camera) / _targets_name(camera, self.true_frame(frame))

    def existing_targets_folder(self, camera: int) -> Path:
        """The folder of the ``_targets`` files of a camera (0-based) that replace images as input (``Existing_Target``)."""
        if self.output is not None and self.stored_targets == "in the output":
            return targets_below(self.output, self._images_name(camera))
        return (self.folder / self._images_name(camera)).parent

    def input_path(self, which: int, frame: int) -> Path:
        """Input file number ``which`` of a frame: an image, or with ``Existing_Target`` a ``_targets`` file."""
        if self.parameters.pft_version.existing_target:
            return self.existing_targets_folder(which) / _targets_name(which, frame)
        return self.image_path(which, frame)

    @cached_property
    def overwrites_input(self) -> bool:
        """Whether the run overwrites the ``_targets`` files that it reads in place of images."""
        return self.parameters.pft_version.existing_target and any(
            own_output(self.targets_folder(camera), self.existing_targets_folder(camera)) is None
            for camera in range(self.num_cams)
        )

    def _images_name(self, camera: int) -> str:
        """The name of a camera's images in the parameters; the views of a split image share it."""
        return self.parameters.sequence.base_name[0 if self.parameters.ptv.splitter else camera]

    def result_path(self, kind: str, frame: int) -> Path:
        """``res/rt_is.FRAME``, ``res/ptv_is.FRAME`` or ``res/added.FRAME``; a pass has its links in another folder."""
        folder = self.results if self.links is None or kind == "rt_is" else self.links.folder
        return folder / f"{kind}.{self.true_frame(frame)}"

    @property
    def goes_backward(self) -> bool:
        """Whether this is the backward pass of ``--tracking both``."""
        return self.links is not None and self.links.backward

    def true_frame(self, frame: int) -> int:
        """The number of a frame in file names and messages; it differs in a backward pass."""
        return frame if self.links is None else self.links.true_frame(frame)

    def sequence_files(self, frame: int) -> dict[str, Path]:
        """Short name -> path of the sequence step's files of a frame; ``rt_is`` last: it marks the frame as done."""
        files = {f"targets{camera + 1}": self.targets_path(camera, frame) for camera in range(self.num_cams)}
        return files | {"rt_is": self.result_path("rt_is", frame)}

    def tracking_files(self, frame: int) -> dict[str, Path]:
        """Short name -> path of the tracking step's files of a frame."""
        return self.sequence_files(frame) | {kind: self.result_path(kind, frame) for kind in ("added", "ptv_is")}


def _targets_name(camera: int, frame: int) -> str:
    return f"cam{camera + 1}.{frame:04d}_targets"


@dataclass(frozen=True)
class GreyDepths:
    """How stored values become grey values. Decided once for an experiment, never for a range: results depend on it."""

    images: tuple[int | None, ...] = ()
    """For each image file of a frame: bits of the grey values in files of more than 8 bits; None: all stored bits."""
    masks: tuple[int | None, ...] = ()
    """Likewise for the background image of each camera."""
    page: int | None = None
    """Page of files with several pages, counted from 1; None: files have one page."""

    def of_image(self, which: int) -> int | None:
        """Bit depth of an image file of a frame."""
        return self.images[which] if which < len(self.images) else None

    def of_mask(self, camera: int) -> int | None:
        """Bit depth of the background image of a camera (0-based)."""
        return self.masks[camera] if camera < len(self.masks) else None


@dataclass(frozen=True)
class ImageSettings:
    """How the images of an experiment are converted for detection."""

    width: int
    """Size of one view [px]."""
    height: int
    negative: bool = False
    split: bool = False
    """A file holds 2 x 2 views."""
    grey: GreyDepths = GreyDepths()
    order: tuple[int, ...] = SPLITTER_ORDER
    """Quadrant of each view: 0 and 1 upper, 2 and 3 lower."""

    @property
    def file_size(self) -> tuple[int, int]:
        """(width, height) [px] of an image file."""
        return (2 * self.width, 2 * self.height) if self.split else (self.width, self.height)


def load_experiment(
    exp_path: str | Path, *, complete: bool = True, output: str | Path | None = None, match_again: bool = False
) -> Experiment:
    """Read parameters and calibrations of an experiment, and check them.

    Args:
        exp_path: the experiment folder, a parameter set in it (``parametersRun1/``), or a YAML parameter file in it; or the
            output folder of an earlier run, which records its experiment.
        complete: missing folders and calibrations are errors; otherwise they are the experiment's ``problems``, so that
            everything else can be checked as well.
        output: folder for results and ``_targets`` files; None: that of the experiment.
        match_again: frames are made from stored ``_targets`` files, regardless of the parameters.

    Raises:
        InvalidExperimentError: with all problems found.
    """
    listing = FolderListing()
    path = _absolute(exp_path)
    if (recorded := recorded_experiment(path)) is not None:
        path, output = recorded, path if output is None else output
    chosen = choose_parameters(path, listing)
    raw, folder = chosen.raw, chosen.folder
    if match_again:
        raw = replace(raw, tree=AttrDict(raw.tree | {"pft_version": {"Existing_Target": True}}))
    parameters = _resolved(build_parameters(raw.tree, raw.locate), folder, listing)
    calibrations, problems = _calibrations(parameters, folder)
    problems = [*_missing_directories(folder, _directories_of(parameters)), *problems]
    if problems and chosen.beside is not None:
        problems[0] += f" ({raw.source.name} is used; to use {chosen.beside.name}/ name {chosen.beside})"
    if not problems:
        from pyptv.core.experiment.optics_checks import total_reflection  # numpy: --help must not wait for it

        if (problem := total_reflection(parameters.ptv, parameters.criteria, calibrations)) is not None:
            problems = [f"{raw.locate('ptv', 'mmp_n1')}: {problem}"]
    place = None if output is None else own_output(_absolute(output), folder)
    places = tuple(raw.locate("sequence", item_of("base_name", n)) for n in range(1, len(parameters.sequence.base_name) + 1))
    experiment = Experiment(
        folder, raw.source, parameters, calibrations, name_places=places, listing=listing, output=place, hooks=named_hooks(raw)
    )
    selected = selected_plugins(raw, splitter=parameters.ptv.splitter)
    experiment = replace(experiment, selected_plugins=selected)
    if match_again:
        experiment = replace(experiment, stored_targets="beside the images")
    if place is not None:
        targets = {experiment.targets_folder(camera) for camera in range(experiment.num_cams)}
        problems += output_problems(place, raw.source, targets)
    if problems and complete:
        raise InvalidExperimentError(*problems)
    notes = [*chosen.notes, *splitting_plugins(raw), *foreign_keys(raw)]
    notes += [*volume_hints(parameters, raw.locate), *_stale(chosen, parameters, listing, match_again=match_again)]
    return replace(experiment, problems=tuple(problems), notes=tuple(notes))


def _absolute(exp_path: str | Path) -> Path:
    """An absolute path: paths of an experiment must not depend on the working folder."""
    try:
        return Path(exp_path).absolute()
    except OSError as error:
        raise InvalidExperimentError(
            f"{exp_path}: the working folder no longer exists: give the absolute path of the experiment, or change the folder"
        ) from error


def read_parameters(path: Path) -> RawParameters:
    """The raw parameters of a folder or a YAML file; see :mod:`pyptv.core.experiment.parameters.sets` for the choice.

    Raises:
        InvalidExperimentError: none, or several, or unreadable ones.
    """
    return choose_parameters(path).raw


def validate_experiment_directory(exp_path: str | Path) -> None:
    """Check that a folder has the shape of an experiment: its directories and a parameter file.

    The directories are those named in the parameters, or ``img`` and ``cal`` if these cannot be read.

    Raises:
        InvalidExperimentError: (a ``ProcessingError``) with the missing items.
    """
    folder = Path(exp_path)
    if is_there(folder) and not folder.is_dir():
        raise InvalidExperimentError(f"Path is not a directory: {folder}")
    try:
        chosen = choose_parameters(folder)
    except FormatError:  # they exist, and their reader will report the problem
        problems = _missing_directories(folder, USUAL_DIRECTORIES)
    else:
        problems = _missing_directories(chosen.folder, _directories_in(chosen.raw))
    if problems:
        raise InvalidExperimentError(*problems)


def _resolved(parameters: Parameters, folder: Path, listing: FolderListing) -> Parameters:
    """The parameters with image names as printf patterns, and ``/`` between folders."""
    needed = None if parameters.pft_version.existing_target else listing
    names = tuple(resolve(name, folder, needed) for name in parameters.sequence.base_name)
    images = tuple(_calibration_image(as_folders(name), folder) for name in parameters.ptv.calibration_images)
    return replace(
        parameters,
        ptv=replace(parameters.ptv, calibration_images=images),
        sequence=replace(parameters.sequence, base_name=names),
        masking=replace(parameters.masking, base_name=as_folders(parameters.masking.base_name)),
    )


def _calibration_image(name: str, folder: Path) -> str:
    """The name of a calibration image; some parameters name the ``.ori`` file instead."""
    return name if is_there(folder / f"{name}.ori") else name.removesuffix(".ori")


def _calibrations(parameters: Parameters, folder: Path) -> tuple[tuple[Calibration, ...], list[str]]:
    """The calibrations that can be read, and the problems of the others."""
    calibrations = []
    problems: list[str] = []
    for image in parameters.ptv.calibration_images:
        if not is_folder((folder / image).parent):
            continue  # one cause, one message
        try:
            calibrations.append(read_calibration(*calibration_files(folder, image)))
        except FormatError as error:
            problems += error.problems
    return tuple(calibrations), problems


def _stale(chosen: Chosen, parameters: Parameters, listing: FolderListing, *, match_again: bool) -> list[str]:
    """Notes on an unused ``parameters/`` folder beside the YAML file that is used."""
    if chosen.beside is None:
        return []
    used = chosen.raw.source.name
    try:
        raw = read_par(chosen.beside)
        others = _resolved(build_parameters(raw.tree, raw.locate), chosen.folder, listing)
        if match_again:  # then its Existing_Target does not matter
            others = replace(others, pft_version=parameters.pft_version)
    except InvalidExperimentError:
        return [f"{used} is used; {chosen.beside.name}/ beside it is not used, and is not valid"]
    return stale_notes(used, raw, parameters, others)


def _directories_of(parameters: Parameters) -> list[str]:
    names = [fixed_folder(name) for name in parameters.sequence.base_name]
    names += [Path(image).parent.as_posix() for image in parameters.ptv.calibration_images]
    return list(dict.fromkeys(names))


def _directories_in(raw: RawParameters) -> list[str]:
    """The directories of images and calibrations in the parameters, as far as they can be read."""
    try:
        return _directories_of(_resolved(build_parameters(raw.tree, raw.locate), raw.source.parent, FolderListing()))
    except InvalidExperimentError:
        return USUAL_DIRECTORIES


def _missing_directories(folder: Path, directories: list[str]) -> list[str]:
    missing = [name for name in directories if not is_folder(folder / name)]
    if not missing:
        return []
    there = [name for name in FolderListing().names(folder) if is_folder(folder / name)]
    hints = "".join(similar_text(name, there) for name in missing)
    return [f"Missing required directories in {folder}: {', '.join(missing)}{hints}"]
