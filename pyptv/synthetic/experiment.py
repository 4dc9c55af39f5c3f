"""Make a whole synthetic experiment: simulate, project, render, write."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PillowImage

from pyptv.core.base.errors import ProcessingError
from pyptv.core.experiment.calibration import Calibration
from pyptv.core.experiment.image_names import expand
from pyptv.core.experiment.parameters.schema import Parameters
from pyptv.core.files.formats import TARGETS, targets_name
from pyptv.synthetic.flow import extremes, random_flow
from pyptv.synthetic.optics import disturbed, true_calibrations
from pyptv.synthetic.particles import Particles, mean_spacing, periodic_box, simulate
from pyptv.synthetic.plan import MASK_PATTERN, checked_parameters, image_patterns, parameter_tree
from pyptv.synthetic.render import Scene, expose, make_scene, quantise
from pyptv.synthetic.settings import Settings
from pyptv.synthetic.truth import FILE_NAME, Truth, write_truth
from pyptv.synthetic.writer import YAML_NAME, write_calibrations, write_par, write_yaml

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_UNFINISHED = ".unfinished"
_FLICKER = 0.05
"""Scatter of the logarithm of a particle's peak between cameras and frames."""


def make_experiment(
    path: str | Path,
    n_frames: int = 10,
    n_particles: int = 500,
    n_cameras: int = 4,
    seed: int = 0,
    *,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Write a complete experiment whose truth is known.

    The folder contains images (LZW TIFF; ``_targets`` files with ``images=False``), calibrations, parameters and
    ``truth.csv``. Parameters are written in both dialects with the same values, so the folder can be processed unchanged and
    the YAML file by its name. ``splitter``, ``negative`` and ``mask`` can only be expressed in YAML: then there is no
    ``parameters/``.

    Args:
        path: the folder to make; refused if it is not empty, unless ``overwrite``.
        n_frames: number of frames.
        n_particles: mean number of particles in the measuring volume.
        n_cameras: 1 to 4.
        seed: the same seed gives the same truth and the same pixels.
        overwrite: replace the contents of ``path``, if it is a synthetic experiment.
        options: any field of :class:`pyptv.synthetic.Settings`, such as ``noise=0``.

    Returns:
        ``path``.

    Raises:
        ProcessingError: an option is out of its limits, or the folder is not empty.
    """
    folder = Path(path)
    try:
        settings = Settings(n_frames, n_particles, n_cameras, seed, **options)
    except TypeError as error:
        raise ProcessingError(f"make_experiment: {str(error).removeprefix('Settings.__init__() ')}") from error
    _check_folder(folder, overwrite=overwrite)
    made = _simulate(settings)
    with _filled_at_once(folder) as unfinished:
        _write(unfinished, settings, made)
    return folder


@dataclass(frozen=True)
class _Made:
    """The experiment before it is written."""

    tree: dict[str, Any]
    parameters: Parameters
    calibrations: list[Calibration]
    """As written, with their error."""
    truth: Truth
    peaks: Array
    """(n_cameras, n) grey values; NaN where a camera does not see the particle."""
    rng: np.random.Generator
    sizes: Array | None = None
    """(n,) sizes of the spots relative to the settings' size; None: all equal."""


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise ProcessingError(f"{folder}: is a file, expected a folder to make the experiment in")
    if folder.exists() and any(child.name != _UNFINISHED for child in folder.iterdir()):
        if not overwrite:
            raise ProcessingError(f"{folder}: is not empty; name another folder, or use overwrite")
        if not is_synthetic(folder):
            raise ProcessingError(f"{folder}: is not empty and is not a synthetic experiment; it is not overwritten")


@contextmanager
def _filled_at_once(folder: Path) -> Iterator[Path]:
    """A folder to write to; its contents replace those of ``folder`` when the block succeeds."""
    unfinished = folder / _UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)  # left by a killed run
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        for child in list(folder.iterdir()):
            if child.is_dir() and child != unfinished:
                shutil.rmtree(child)
            elif child != unfinished:
                child.unlink()
        for child in list(unfinished.iterdir()):
            child.rename(folder / child.name)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write(folder: Path, settings: Settings, made: _Made) -> None:
    (folder / "img").mkdir()
    if settings.images:
        _write_images(folder, settings, made)
    else:
        _write_targets(folder, settings, made)
    write_truth(folder / FILE_NAME, made.truth)
    write_calibrations(folder, made.calibrations, made.parameters.ptv.calibration_images)
    write_yaml(folder, made.tree)
    if not settings.yaml_only:
        write_par(folder, made.tree)


def is_synthetic(folder: Path) -> bool:
    """Whether a folder contains an experiment made by this package, which is safe to delete."""
    return (folder / FILE_NAME).is_file() and (folder / YAML_NAME).is_file()


def _simulate(settings: Settings) -> _Made:
    from pyptv.core.engines.optv.backend import project  # loads optv; not needed for --help

    motion_rng, camera_rng, image_rng = np.random.default_rng(settings.seed).spawn(3)
    displacement = settings.displacement * mean_spacing(settings.n_particles)
    flow = random_flow(motion_rng, periodic_box(displacement), displacement)
    tree = parameter_tree(settings, extremes(flow, motion_rng, settings.n_frames))
    parameters = checked_parameters(tree)
    particles = simulate(flow, motion_rng, settings.n_frames, settings.n_particles, settings.first_frame)
    exact = true_calibrations(settings.n_cameras, settings.camera_spread)
    pixels = project(particles.position, parameters, exact)
    written = exact
    if settings.calibration_error_px > 0:
        written = disturbed(exact, settings.calibration_error_px, camera_rng, parameters, project)
    truth = Truth(particles.frame, particles.identity, particles.position, pixels)
    peaks = _peaks(settings, particles, image_rng)
    sizes = None
    if settings.camera_scatter > 0:
        peaks *= np.exp(image_rng.standard_normal((settings.n_cameras, 1)) * settings.camera_scatter)
    if settings.size_scatter > 0:
        sizes = np.exp(image_rng.standard_normal(particles.n_identities + 1) * settings.size_scatter)[particles.identity]
    return _Made(tree, parameters, written, truth, peaks, image_rng, sizes)


def _peaks(settings: Settings, particles: Particles, rng: np.random.Generator) -> Array:
    """(n_cameras, n) peak of each spot; a particle keeps its brightness, NaN where it is dropped."""
    own = rng.standard_normal(particles.n_identities + 1) * settings.intensity_scatter
    shape = (settings.n_cameras, len(particles.frame))
    flicker = rng.standard_normal(shape) * min(_FLICKER, settings.intensity_scatter)
    peaks: Array = settings.intensity * np.exp(own[particles.identity] + flicker)
    peaks[rng.random(shape) < settings.dropout] = np.nan
    if settings.blinking > 0:  # only if requested, so that later random numbers stay those of earlier releases
        peaks[:, rng.random(len(particles.frame)) < settings.blinking] = np.nan
    return peaks


def _write_images(folder: Path, settings: Settings, made: _Made) -> None:
    cameras = range(settings.n_cameras)
    scenes = [make_scene(settings, made.rng) for _ in cameras]
    if settings.mask:
        for camera, scene in enumerate(scenes):
            _save(quantise(scene.background, 8), folder / expand(MASK_PATTERN, camera + 1))
    patterns = image_patterns(settings)
    for frame in range(settings.first_frame, settings.last_frame + 1):
        views = [_view(settings, made, scenes[camera], camera, frame) for camera in cameras]
        if settings.splitter:
            # views in camera order: top left, top right, bottom right, bottom left
            views = [np.block([[views[0], views[1]], [views[3], views[2]]])]
        for view, pattern in zip(views, patterns, strict=False):
            _save(view, folder / expand(pattern, frame))


def _view(settings: Settings, made: _Made, scene: Scene, camera: int, frame: int) -> NDArray[Any]:
    rows = made.truth.rows_of(frame)
    peaks = made.peaks[camera, rows]
    seen = ~np.isnan(peaks)
    sizes = None if made.sizes is None else made.sizes[rows][seen]
    return expose(settings, scene, made.truth.pixels[camera, rows][seen], peaks[seen], made.rng, sizes=sizes)


def _save(image: NDArray[Any], path: Path) -> None:
    PillowImage.fromarray(image).save(path, format="TIFF", compression="tiff_lzw")


def _write_targets(folder: Path, settings: Settings, made: _Made) -> None:
    """One ``_targets`` file for each camera and frame, sorted by y as after detection."""
    width, height = settings.image_size
    area = 2 * np.pi * settings.sigma**2
    frames = np.arange(settings.first_frame, settings.last_frame + 2)
    for camera in range(settings.n_cameras):
        noise = made.rng.standard_normal((len(made.truth.frame), 2)) * settings.position_noise
        found = made.truth.pixels[camera] + noise
        seen = ~np.isnan(made.peaks[camera]) & (found > 0).all(axis=1) & (found < [width, height]).all(axis=1)
        frame = made.truth.frame[seen]
        order = np.lexsort((found[seen][:, 1], frame))
        rows = np.empty(len(order), TARGETS.dtype)
        rows["x"], rows["y"] = found[seen][order].T
        rows["sumg"] = np.rint(made.peaks[camera][seen][order] * area)
        rows["n"] = max(3, round(9 * area / 2.5))
        rows["nx"] = rows["ny"] = max(2, round(4 * settings.sigma))
        rows["tnr"] = -1
        starts = np.searchsorted(frame[order], frames)
        rows["pnr"] = np.arange(len(order)) - starts[frame[order] - settings.first_frame]
        for number, start, stop in zip(frames.tolist(), starts[:-1], starts[1:], strict=False):
            (folder / "img" / targets_name(camera, number)).write_bytes(TARGETS.render(rows[start:stop]))
