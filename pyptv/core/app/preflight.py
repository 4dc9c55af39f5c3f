"""Checks before the first frame: everything that can be detected, all problems at once, in about a second.

Problems end the run before it starts; hints are logged. Nothing is written.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from pyptv.core.app.dense import dense_problems, is_dense
from pyptv.core.app.hooks import chosen_hooks
from pyptv.core.app.input_files import MOST_MISSING, missing_inputs
from pyptv.core.app.plugins import chosen_plugins
from pyptv.core.base.errors import FrameError
from pyptv.core.base.frames import FrameRange, contiguous, describe
from pyptv.core.base.options import PLUGINS_ALONE, Engine, Options
from pyptv.core.base.regular_files import is_folder, is_there
from pyptv.core.experiment.calibration import Calibration
from pyptv.core.experiment.folder import Experiment, ImageSettings, load_experiment
from pyptv.core.experiment.listing import FolderListing
from pyptv.core.files.atomic import unfinished
from pyptv.core.files.result_names import frames_in, frames_with
from pyptv.core.files.scratch import scratch_folder
from pyptv.core.images.grey_values import decide
from pyptv.core.images.image_files import image_kind
from pyptv.core.plugins.hook_specs import HookSpec
from pyptv.core.plugins.plugin_specs import PluginSpec
from pyptv.core.stages.tasks import Job

logger = logging.getLogger(__name__)

_TYPICAL_TARGETS = 1000
_MOST_NAMED = 5
_BYTES_PER_TARGET = 62
_BYTES_PER_PARTICLE = 57 + 45 + 47


@dataclass
class Findings:
    """What the checks found."""

    problems: list[str] = field(default_factory=list)
    """Each of them prevents the run."""
    hints: list[str] = field(default_factory=list)
    """Warnings for the user before a long run."""
    missing: dict[int, str] = field(default_factory=dict)
    """Frame -> the first of its files that is missing."""
    hooks: tuple[HookSpec, ...] = ()
    """The plugins of the run."""
    plugins: tuple[PluginSpec, ...] = ()
    """Likewise."""
    images: ImageSettings | None = None
    """How images are read; None: no images are read."""
    unfinished: dict[Path, list[str]] = field(default_factory=dict)
    """Folder of results -> names of incomplete files left by a killed run."""
    outside: list[int] = field(default_factory=list)
    """Frames outside the range that have results."""
    estimated_bytes: int = 0
    """Size of the results on disk [bytes], for a typical number of targets."""


def check_experiment(
    experiment: Experiment,
    frames: FrameRange,
    *,
    mode: str,
    skip_missing: bool = False,
    clean: bool = False,
    bit_depth: int | str | None = None,
    page: int | None = None,
) -> Findings:
    """Check the files of a frame range, the disk and the plausibility of the calibrations.

    Args:
        experiment: its parameter files have been read and checked.
        frames: first and last.
        mode: ``both``, ``sequence`` or ``tracking``: which files are required.
        skip_missing: a missing image only fails its frame.
        clean: results outside the range will be removed, so they are not reported.
        bit_depth: see :func:`pyptv.core.images.grey_values.decide`.
        page: likewise.
    """
    findings = Findings(list(experiment.problems), list(experiment.notes))
    listing = experiment.listing.hand_over()
    missing = missing_inputs(experiment, frames, listing, tracking_only=mode == "tracking")
    findings.problems += missing.problems
    findings.missing = missing.frames
    if missing.frames:
        (findings.hints if skip_missing and len(missing.frames) < MOST_MISSING else findings.problems).append(missing.text())
    if mode != "tracking" and not experiment.parameters.pft_version.existing_target:
        decision = decide(experiment, bit_depth, page, listing.names)
        findings.images = decision.settings
        findings.hints += decision.notes
        _check_first_images(experiment, frames, listing, decision.settings, findings, may_fail=skip_missing)
        findings.problems += decision.problems
        findings.problems += shared_images(experiment, frames)
    elif mode == "tracking":
        findings.images = decide(experiment, names=listing.names).settings  # the settings that the frames were made with
    _check_calibrations(experiment, findings)
    _check_disk(experiment, frames, mode, findings)
    _check_writable(experiment, findings)
    targets = [experiment.targets_folder(camera) for camera in range(experiment.num_cams)]
    findings.unfinished = {folder: unfinished(listing.names(folder)) for folder in (experiment.results, *targets)}
    there = frames_in(listing.names(experiment.results))
    findings.outside = [frame for frame in there if not frames[0] <= frame <= frames[1]]
    if not clean:
        _check_stale(frames, experiment, listing, findings)
    return findings


def check_run(experiment: Experiment, frames: FrameRange, options: Options, shared: str = "") -> Findings:
    """:func:`check_experiment` for a run: a run starts if and only if ``--check`` accepts it.

    Args:
        experiment: that is to be processed.
        frames: of the run, first and last.
        options: of the run.
        shared: the option by which the run is one of several, if its options no longer contain it.
    """
    findings = check_experiment(
        experiment,
        frames,
        mode=options.mode,
        skip_missing=options.on_error == "skip",
        clean=options.clean,
        bit_depth=options.bit_depth,
        page=options.page,
    )
    if options.processes:
        findings.hooks, problems = chosen_hooks(experiment, options)
        findings.problems += problems
    findings.plugins, problems, hints = chosen_plugins(experiment, options)
    findings.problems += problems
    findings.hints += hints
    if findings.hooks and any(spec.kind == "sequence" for spec in findings.plugins):
        findings.problems.append("hooks work in the sequence step of this program, not in that of a plugin: --hook none")
    if is_dense(experiment, options):
        findings.problems += dense_problems(experiment, options, code_of_others=bool(findings.hooks or findings.plugins))
    elif findings.plugins and (shared := shared or options.shared):
        findings.problems.append(
            f"{findings.plugins[0].kind} plugin {findings.plugins[0].name}: found --{shared} as well: leave one of them out "
            f"({PLUGINS_ALONE})"
        )
    return findings


def prepare_job(
    exp_path: str | Path | Experiment,
    images: ImageSettings | None = None,
    *,
    stop_at_failure: bool = True,
    engine: Engine = "optv",
    tracking: bool = False,
    write: bool = True,
    scratch: Path | None = None,
    hooks: tuple[HookSpec, ...] = (),
) -> Job:
    """The job of a run, for its workers. ``scratch``, if optv tracks, is a new folder that the caller removes.

    Args:
        exp_path: the experiment.
        images: as determined by the checks; None: determined here.
        stop_at_failure: end at the first frame that fails.
        engine: of the run.
        tracking: whether the run links frames.
        scratch: where to make it; None: in the temporary folder.
        hooks: of the sequence step.
        write: make the folders of the ``_targets`` files, which do not exist yet if images have one folder per frame.
    """
    experiment = exp_path if isinstance(exp_path, Experiment) else load_experiment(exp_path)
    for camera in range(experiment.num_cams) if write else ():
        experiment.targets_folder(camera).mkdir(parents=True, exist_ok=True)
    folder = scratch_folder(scratch) if tracking and engine == "optv" else None
    return Job(experiment, images or decide(experiment).settings, folder, stop_at_failure, engine, hooks=hooks)


def shared_images(experiment: Experiment, frames: FrameRange) -> list[str]:
    """Cameras that share an image, under one name or by links: each a problem.

    The first frame, the last, and one between them are checked.
    """
    problems: dict[tuple[int, int], str] = {}
    for frame in sorted({frames[0], sum(frames) // 2, frames[1]}):
        seen: dict[tuple[int, int] | str, int] = {}
        for which in range(experiment.images_per_frame):
            path = experiment.image_path(which, frame)
            other = seen.setdefault(_identity(path), which)
            if other != which:
                first = experiment.image_path(other, frame)
                same = "" if first == path else f" and {path}, which lead to one file,"
                problems.setdefault(
                    (other, which),
                    f"cameras {other + 1} and {which + 1}: found the same image for both ({first}{same} at frame {frame}), "
                    "expected a separate one for each (base_name of section sequence)",
                )
    return list(problems.values())


def _identity(path: Path) -> tuple[int, int] | str:
    """Equal for paths that lead to one file; for a missing file, its resolved path."""
    try:
        status = path.stat()
    except OSError:
        return str(path)
    return (status.st_dev, status.st_ino) if status.st_ino else str(path.resolve())


def frames_outside(experiment: Experiment, frames: FrameRange) -> list[int]:
    """Frames with results in ``res/`` that are outside a range."""
    return [frame for frame in frames_with(experiment.results) if not frames[0] <= frame <= frames[1]]


def _check_first_images(
    experiment: Experiment,
    frames: FrameRange,
    listing: FolderListing,
    settings: ImageSettings,
    findings: Findings,
    *,
    may_fail: bool,
) -> None:
    """Check an image of each camera, and all masks, as far as possible without decoding them.

    If images may fail (``may_fail``), a damaged first image is only a hint, unless the last one is damaged too. One problem per
    one cause.
    """
    causes: dict[str, list[str]] = {}
    for which in range(experiment.images_per_frame):
        first, last = (experiment.image_path(which, frame) for frame in frames)
        cause = _what_is_wrong(first, settings) if listing.has(first) else None
        if cause is not None and may_fail and listing.has(last) and _what_is_wrong(last, settings) is None:
            findings.hints.append(f"{first}: {cause}")
        elif cause is not None:
            causes.setdefault(cause, []).append(str(first))
        if first.name == experiment.targets_path(which, frames[0]).name:
            findings.problems.append(f"{first}: the image has the name of a _targets file")
    for camera in range(experiment.num_cams) if experiment.parameters.masking.enabled else ():
        mask = experiment.mask_path(camera)
        if (cause := _what_is_wrong(mask, settings, is_mask=True)) is not None:
            causes.setdefault(cause, []).append(str(mask))
    findings.problems += [f"{_named(sorted(of))}: {cause}" for cause, of in causes.items()]


def _what_is_wrong(path: Path, settings: ImageSettings, *, is_mask: bool = False) -> str | None:
    size = (settings.width, settings.height) if is_mask else settings.file_size
    try:
        image_kind(path, size, settings.grey.page, only_page=is_mask)
    except FrameError as error:
        return str(error).removeprefix(f"{path}: ")
    return None


def _named(paths: list[str]) -> str:
    shown = ", ".join(paths[:_MOST_NAMED])
    return shown if len(paths) <= _MOST_NAMED else f"{shown} and {len(paths) - _MOST_NAMED} more"


def _check_calibrations(experiment: Experiment, findings: Findings) -> None:
    criteria = experiment.parameters.criteria
    centre = (sum(criteria.X_lay) / 2, 0.0, (sum(criteria.Zmin_lay) + sum(criteria.Zmax_lay)) / 4)
    for camera, (calibration, image) in enumerate(
        zip(experiment.calibrations, experiment.parameters.ptv.calibration_images, strict=False), start=1
    ):
        if calibration.affine[0] != 1:
            findings.hints.append(
                f"{image}.addpar: scx is {calibration.affine[0]}, not 1: then the distortion and its inverse disagree in optv "
                "(1 % gives about 3 px)"
            )
        angle = _off_axis(calibration, centre)
        if angle > math.pi / 3:
            findings.hints.append(
                f"camera {camera} ({image}.ori) looks {math.degrees(angle):.0f} degrees past the middle of the measuring volume: "
                "is it the right calibration?"
            )


def _off_axis(calibration: Calibration, point: tuple[float, float, float]) -> float:
    """Angle [rad] between the optical axis and the line to a point, ignoring refraction."""
    omega, phi, _ = calibration.angles
    # third column of the rotation matrix for (omega, phi, kappa): the camera looks along its negative
    axis = (math.sin(phi), -math.sin(omega) * math.cos(phi), math.cos(omega) * math.cos(phi))
    line = [p - c for p, c in zip(point, calibration.position, strict=True)]
    length = math.hypot(*line)
    cosine = -sum(a * b for a, b in zip(axis, line, strict=True)) / length if length else 1.0
    return math.acos(max(-1.0, min(1.0, cosine)))


def _check_disk(experiment: Experiment, frames: FrameRange, mode: str, findings: Findings) -> None:
    per_frame = experiment.num_cams * _TYPICAL_TARGETS * _BYTES_PER_TARGET + _TYPICAL_TARGETS * _BYTES_PER_PARTICLE
    findings.estimated_bytes = (frames[1] - frames[0] + 1) * (per_frame if mode != "tracking" else per_frame // 3)
    folder = nearest(experiment.results)
    free = shutil.disk_usage(folder).free
    if free < findings.estimated_bytes:
        findings.hints.append(
            f"{folder}: {free / 1e9:.1f} GB free, the results may need {findings.estimated_bytes / 1e9:.1f} GB "
            f"(at {_TYPICAL_TARGETS} targets per camera)"
        )
    if free < findings.estimated_bytes // 20:
        findings.problems.append(f"{folder}: {free / 1e6:.0f} MB free on the disk, not enough for the results of this range")


def _check_writable(experiment: Experiment, findings: Findings) -> None:
    """Check the folders of the results: ``res/`` and, for ``_targets`` files, that of the images; or an output folder."""
    beside = ", which lie beside the images," if experiment.output is None else ""
    targets = [experiment.targets_folder(camera) for camera in range(experiment.num_cams)]
    for folder in dict.fromkeys([experiment.results, *targets]):
        there = nearest(folder)
        what = "the results" if folder == experiment.results else f"the _targets files{beside}"
        if not is_folder(there):
            findings.problems.append(f"{there}: found a file, expected a folder: {what} go there")
        elif not os.access(there, os.W_OK | os.X_OK):
            findings.problems.append(
                f"{there}: cannot be written: {what} go there. Check its permissions, or name another folder (--output)"
            )


def nearest(path: Path) -> Path:
    """A path, or its first parent that exists."""
    return next((above for above in (path, *path.parents) if is_there(above)), path)


def _check_stale(frames: FrameRange, experiment: Experiment, listing: FolderListing, findings: Findings) -> None:
    names, outside = listing.names(experiment.results), findings.outside
    first, last = frames
    if not outside:
        return
    where = "res/" if experiment.output is None else experiment.results
    findings.hints.append(
        f"{where} holds frames {describe(outside)} from an earlier run: kept, not part of this run (--clean removes them)"
    )
    tracked = contiguous(frames_in(names, "ptv_is"))
    cut = [(low, high) for low, high in tracked if low < first <= high or low <= last < high]
    for low, high in cut:
        others = describe(frame for frame in range(low, high + 1) if not first <= frame <= last)
        findings.hints.append(
            f"the links between this range and frames {others} will be cut: --mode tracking over {low} to {high} links them again"
        )
