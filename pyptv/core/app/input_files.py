"""The input files of a frame range: which are missing, and which exist instead."""

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
"""A range in which this many frames are missing is probably a typing error: the remaining frames are not checked."""

_MOST_NAMED = 5


@dataclass
class Missing:
    """Missing input files."""

    frames: dict[int, str] = field(default_factory=dict)
    """Frame -> the first of its files that is missing."""
    problems: list[str] = field(default_factory=list)
    """Cameras without a single image, each with its name in the parameters and the contents of its folder."""
    there: str = ""
    """The existing frames, for the end of a message."""

    def text(self) -> str:
        """The missing files, in one sentence."""
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
        return missing  # none of the folders exists, which is reported elsewhere
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
    """The cameras (0-based) that have images; a problem for the others, unless their folder is missing."""
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
    """Targets under other names, for example from another program."""
    if others := of_the_same_kind("cam1.1_targets", listing.names(folder)):
        return f". {folder} holds {others}"
    if match_again:
        return ". Run the sequence step first: --mode match reads the targets that it stores"
    return ". Existing_Target requires them: set it to 0 to detect targets in the images"


def _targets_pattern(folder: Path, camera: int) -> str:
    return f"{_escaped(folder)}/cam{camera + 1}.%04d_targets"


def _escaped(folder: Path) -> str:
    return str(folder).replace("%", "%%")
