"""The working folder of a plugin, which looks like the experiment, and the checks of the results that the plugin writes there.

So a plugin that fails changes nothing in the experiment, and one that succeeds leaves complete files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from pyptv.core.base.errors import FormatError, InvalidExperimentError
from pyptv.core.base.frames import FrameRange
from pyptv.core.base.regular_files import read_regular
from pyptv.core.experiment.folder import Experiment
from pyptv.core.experiment.listing import FolderListing
from pyptv.core.files.formats import ADDED, LINKS, MAX_ROWS, PARTICLES, TARGETS, check_frame

if TYPE_CHECKING:
    from pyptv.core.files.formats import Rows


def make_stage(experiment: Experiment, folder: Path) -> Experiment:
    """Make a folder look like an experiment without results: links to everything in it, with separate ``res/`` and image folders.

    Raises:
        InvalidExperimentError: images lie outside the experiment's folder.
    """
    inner = [PurePath()]
    for camera in range(experiment.num_cams):
        images = replace(experiment, output=None).existing_targets_folder(camera)
        if ".." in images.parts or not images.is_relative_to(experiment.folder):
            raise InvalidExperimentError(f"{images}: found images outside {experiment.folder}: plugins need them inside it")
        relative = PurePath(images.relative_to(experiment.folder))
        inner += [relative, *relative.parents]
    stage = folder / "exp"
    listing = FolderListing()
    for part in dict.fromkeys(inner):
        (stage / part).mkdir(parents=True, exist_ok=True)
    for part in dict.fromkeys(inner):
        for name in listing.names(experiment.folder / part):
            if part / name not in inner and not name.endswith("_targets") and part / name != PurePath("res"):
                (stage / part / name).symlink_to(experiment.folder / part / name)
    (stage / "res").mkdir()
    return replace(experiment, folder=stage, output=None)


def put_inputs(stage: Experiment, frame: int, files: Mapping[str, bytes]) -> None:
    """Give a tracking plugin the sequence results of a frame."""
    for name, path in stage.sequence_files(frame).items():
        path.write_bytes(files[name])


def sequence_results(stage: Experiment, frame: int, plugin: str) -> dict[str, bytes]:
    """The sequence results of a plugin for a frame, short name -> bytes; checked like those of any program.

    Raises:
        FormatError: a file is missing or has another format.
    """
    files = _read(stage, stage.sequence_files(frame), frame, plugin)
    _check_sequence(stage, files, f"{plugin}: frame {frame}: ")
    return files


def tracking_results(stage: Experiment, frames: FrameRange, plugin: str) -> None:
    """Check the links that a plugin has written, and the sequence results, which it may have changed.

    Raises:
        FormatError: a file is missing or has another format; links refer to rows that do not exist.
    """
    before: Rows | None = None
    n_before = 0
    for frame in range(frames[0], frames[1] + 1):
        files = tracked(stage, frame, plugin)
        place = f"{plugin}: frame {frame}: "
        _check_sequence(stage, files, place)
        links = LINKS.parse(files["ptv_is"], f"{place}ptv_is")
        n = len(PARTICLES.parse(files["rt_is"], f"{place}rt_is"))
        for table, rows in ((LINKS, links), (ADDED, ADDED.parse(files["added"], f"{place}added"))):
            if len(rows) != n:
                raise FormatError(f"{place}{table.name}: found {len(rows)} rows, expected one for each of {n} particles")
        _check_rows(links["previous"], n_before, f"{place}ptv_is, column previous")
        if before is not None:
            _check_rows(before["next"], n, f"{plugin}: frame {frame - 1}: ptv_is, column next")
        before, n_before = links, n
    if before is not None:
        _check_rows(before["next"], 0, f"{plugin}: frame {frames[1]}: ptv_is, column next")


def tracked(stage: Experiment, frame: int, plugin: str) -> dict[str, bytes]:
    """All files of a frame written by a tracking plugin, short name -> bytes."""
    return _read(stage, stage.tracking_files(frame), frame, plugin)


def other_files(stage: Experiment, frames: FrameRange) -> list[Path]:
    """Other files that a plugin has written to ``res/``."""
    ours = {path.name for frame in range(frames[0], frames[1] + 1) for path in stage.tracking_files(frame).values()}
    return sorted(Path(entry) for entry in os.scandir(stage.results) if entry.is_file() and entry.name not in ours)


def _read(stage: Experiment, paths: Mapping[str, Path], frame: int, plugin: str) -> dict[str, bytes]:
    files = {}
    for name, path in paths.items():
        try:
            files[name] = read_regular(path)
        except FileNotFoundError as error:
            raise FormatError(f"{plugin}: wrote no {path.relative_to(stage.folder)} for frame {frame}") from error
        except OSError as error:
            raise FormatError(
                f"{plugin}: its file {path.relative_to(stage.folder)} cannot be read: {error.strerror or error}"
            ) from error
    return files


def _check_sequence(stage: Experiment, files: Mapping[str, bytes], place: str) -> None:
    cameras = [f"targets{camera + 1}" for camera in range(stage.num_cams)]
    names = [f"{place}{stage.sequence_files(0)[name].name.replace('0000', '*')}" for name in cameras]
    particles = PARTICLES.parse(files["rt_is"], f"{place}rt_is")
    if len(particles):  # otherwise its targets are not read
        targets = [TARGETS.parse(files[camera], name) for camera, name in zip(cameras, names, strict=True)]
        check_frame(particles, targets, [f"{place}rt_is", *names], most=MAX_ROWS)


def _check_rows(pointers: Iterable[int], n: int, source: str) -> None:
    for row, pointer in enumerate(pointers):
        if pointer >= n or pointer < -2:
            raise FormatError(f"{source}, line {row + 2}: found {pointer}, expected a row below {n}, or -1 or -2 for none")
