"""The input files of a frame range: which are missing, and what is there instead."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pyptv.core.base.frames import FrameRange, describe
from pyptv.core.base.regular_files import is_folder
from pyptv.core.experiment.folder import Experiment
from pyptv.core.experiment.image_names import expand, fixed_folder, frames_there, what_is_there
from pyptv.core.experiment.listing import FolderListing
from pyptv.core.files.result_names import frames_with, of_the_same_kind

MOST_MISSING = 100_000
"""A range in which so many frames are missing is a slip of the pen: the rest is not looked for."""

_MOST_NAMED = 5


@dataclass
class Missing:
    """Input files that are not there."""

    frames: dict[int, str] = field(default_factory=dict)
    """Frame -> the first of its files that is missing."""
    problems: list[str] = field(default_factory=list)
    """Cameras without a single image, each with its name in the parameters and what the folder holds."""
    there: str = ""
    """Which frames there are, for the end of a message."""

    def text(self) -> str:
        """What is missing, in one sentence."""
        n = len(self.frames)
        number = f"{n} or more frames" if n == MOST_MISSING else f"{n} frame{'s' if n > 1 else ''}"
        verb = "lacks" if n == 1 else "lack"
        paths = list(self.frames.values())
        more = f" and {n - _MOST_NAMED} more" if n > _MOST_NAMED else ""
        return f"{number} ({describe(self.frames)}) {verb} a file: {', '.join(paths[:_MOST_NAMED])}{more}{self.there}"


def missing_inputs(experiment: Experiment, frames: FrameRange, listing: FolderListing, *, tracking_only: bool) -> Missing:
    """Look for every input file of every frame."""
    missing = Missing()
    existing = experiment.parameters.pft_version.existing_target and not tracking_only
    cameras: list[int] = []
    if existing:
        cameras = [camera for camera in range(experiment.num_cams) if is_folder(experiment.existing_targets_folder(camera))]
    elif not tracking_only:
        cameras = _cameras_with_images(experiment, listing, missing.problems)
    if not cameras and not tracking_only:
        return missing  # not a single folder to look into, which is said elsewhere
    if tracking_only:
        patterns = [_targets_pattern(experiment.targets_folder(camera), camera) for camera in range(experiment.num_cams)]
        patterns.append(f"{_escaped(experiment.results)}/rt_is.%d")
    elif existing:
        patterns = [_targets_pattern(experiment.existing_targets_folder(camera), camera) for camera in cameras]
    else:
        patterns = [experiment.parameters.sequence.base_name[camera] for camera in cameras]
    for frame in range(frames[0], frames[1] + 1):
        absent = listing.lacks(experiment.folder, [expand(pattern, frame) for pattern in patterns])
        if absent is not None:
            missing.frames[frame] = str(experiment.folder / absent)
            if len(missing.frames) == MOST_MISSING:
                break
    if missing.frames:
        missing.there = _what_is_there(experiment, listing, cameras, tracking_only=tracking_only, existing=existing)
    return missing


def _cameras_with_images(experiment: Experiment, listing: FolderListing, problems: list[str]) -> list[int]:
    """The cameras (0-based) that have images at all; a problem for the others, unless their folder is missing."""
    found = []
    without: dict[str, list[int]] = {}
    for camera, pattern in enumerate(experiment.parameters.sequence.base_name):
        if not is_folder(experiment.folder / fixed_folder(pattern)):
            continue
        first = experiment.parameters.sequence.first
        if listing.has(experiment.image_path(camera, first)) or frames_there(pattern, experiment.folder, listing):
            found.append(camera)
        else:
            without.setdefault(what_is_there(pattern, experiment.folder, listing), []).append(camera)
    for there, cameras in without.items():  # one cause, one message
        pattern = experiment.parameters.sequence.base_name[cameras[0]]
        others = f", nor those of {len(cameras) - 1} more cameras" if len(cameras) > 1 else ""
        problems.append(f"{experiment.name_places[cameras[0]]}: read as {pattern}, and no such image is there{others}. {there}")
    return found


def _what_is_there(
    experiment: Experiment, listing: FolderListing, cameras: list[int], *, tracking_only: bool, existing: bool
) -> str:
    """The frames that could be processed."""
    if tracking_only:
        frames = frames_with(experiment.results, "rt_is")
        where = "res" if experiment.output is None else experiment.results
        return f". {where} holds particles of frames {describe(frames)}" if frames else ". Run the sequence step first"
    what = "_targets files" if existing else "images"
    patterns = experiment.parameters.sequence.base_name
    of_cameras = {
        camera + 1: frames_there(
            _targets_pattern(experiment.existing_targets_folder(camera), camera) if existing else patterns[camera],
            experiment.folder,
            listing,
        )
        for camera in cameras
    }
    if common := set.intersection(*of_cameras.values()):
        return f". All cameras have {what} of frames {describe(common)}"
    if not any(of_cameras.values()):
        folder = experiment.existing_targets_folder(cameras[0])
        return _other_targets(folder, listing, match_again=experiment.stored_targets is not None)
    each = (f"camera {number}: {describe(frames) or 'none'}" for number, frames in of_cameras.items())
    return f". No frame has {what} of all cameras ({'; '.join(each)})"


def _other_targets(folder: Path, listing: FolderListing, *, match_again: bool) -> str:
    """Targets that another program has called otherwise."""
    if others := of_the_same_kind("cam1.1_targets", listing.names(folder)):
        return f". {folder} holds {others}"
    if match_again:
        return ". Run the sequence step first: --mode match takes the targets that it has stored"
    return ". Existing_Target says that they are there: set it to 0 to detect targets in the images"


def _targets_pattern(folder: Path, camera: int) -> str:
    return f"{_escaped(folder)}/cam{camera + 1}.%04d_targets"


def _escaped(folder: Path) -> str:
    return str(folder).replace("%", "%%")
