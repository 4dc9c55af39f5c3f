"""The particles of a frame: search, shake, prune, and again on what is left of the images."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.engines.dense.background import noise
from pyptv.core.engines.dense.cameras import Cameras
from pyptv.core.engines.dense.divide import divide
from pyptv.core.engines.dense.model import Model, without_margins
from pyptv.core.engines.dense.particles import Iteration, Particles, Reconstruction, Spots, Start
from pyptv.core.engines.dense.search import search
from pyptv.core.engines.dense.settings import Settings
from pyptv.core.engines.dense.shape import fit_gains, fit_scatter, fit_sigma
from pyptv.core.images.full_depth import Views
from pyptv.kernels.dense.pixels import smoothed
from pyptv.kernels.dense.spots import misfit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

START_SIGMA = 0.8
"""[px] Of spots, before it is fitted."""
_CERTAIN = 2.0
"""Standard deviations that are allowed for."""
_SHAPE_ROUNDS = 4
_MOST = 0.5
"""The background is measured anew after a search that brought a smaller share of the particles: most are subtracted then."""
_ALL_CAMERAS = 4
_SMOOTHED_PEAK = 0.5
"""What smoothing leaves of a usual spot's peak."""


def reconstruct(
    views: Views,
    cameras: Cameras,
    spots: Spots | None = None,
    settings: Settings | None = None,
    start: Start | None = None,
    *,
    fits_spots: bool = False,
) -> Reconstruction:
    """Find the particles of a frame.

    Args:
        views: the images.
        cameras: with their corrections.
        spots: how particles look, the same for all frames of a run; None: fitted to this frame.
        settings: None: the defaults.
        fits_spots: the spots are where the fit of this frame's begins.
        start: particles that are shaken and pruned before anything is searched.
    """
    settings = settings or Settings()
    model = Model(views, cameras, spots or Spots.round(cameras.n_cams, START_SIGMA), settings, start)
    energy = _energy(without_margins(model.data), model.noise)
    iterations: list[Iteration] = []
    if start is not None and len(start):
        _begin(model, start, iterations)
    fits = fits_spots or spots is None
    measures = renews = start is None or start.ground is None
    for full, most in ((True, settings.searches), (False, settings.reduced_searches if cameras.n_cams == 4 else 0)):
        for k in range(most):
            subtracted = bool(iterations) and iterations[-1].added < _MOST * iterations[-1].total
            if measures and ((renews and subtracted) or (k == 0 and not full)):
                model.renew_background()
                renews = False
            added = _search(model, full=full)
            if fits and len(iterations) < 2:
                _fit_spots(model)
            model.shake(settings.shakes)
            _finish_iteration(model, cameras.n_cams if full else cameras.n_cams - 1, added, iterations)
            if _gains_little(iterations[-1], settings.few, settings.few_of_new):
                break
        divide(model)
    if measures:
        model.renew_background()
    model.shake(settings.last_shakes)
    _finish_iteration(model, 0, 0, iterations, last=True)
    model.place()
    model.shake(2)
    return _result(model, iterations, energy, fits=fits)


def _gains_little(done: Iteration, share: float, of_new: float) -> bool:
    """Whether another search of that kind is not worth its time: hardly any new particle stays."""
    stay = done.added - done.dropped
    return stay <= max(share * done.total, of_new * done.added)


def _begin(model: Model, start: Start, iterations: list[Iteration]) -> None:
    """Shake and prune what is known already."""
    model.begin(start)
    model.shake(model.settings.shakes)
    _finish_iteration(model, 0, len(start), iterations)


def _search(model: Model, *, full: bool) -> int:
    """Search the residual for new particles; returns how many there are.

    What is left after the full searches is sparse and weak: there the residual is smoothed, which gains signal over noise.
    """
    settings, where, scatter = model.settings, model.residual, model.noise
    level = model.level * model.spots.gains
    thresholds, dark = settings.noise_factor * math.sqrt(_ALL_CAMERAS / model.cameras.n_cams) * scatter, None
    if not full:
        where = smoothed(where)
        scatter, level = noise(without_margins(where)), _SMOOTHED_PEAK * level
        thresholds = settings.faint_factor * scatter
        dark = thresholds if np.isnan(model.level) else settings.bright * level
    if not np.isnan(model.level):
        thresholds = np.maximum(thresholds, settings.weakest_peak * level)
    # of a peak just above the threshold noise has moved the place by sigma noise / threshold
    moved = _CERTAIN * model.spots.sigma[:, :, 0].mean() * float((scatter / thresholds).max())
    tolerance, most = float(np.hypot(settings.tolerance, moved)), math.inf if full else settings.by_chance
    met = search(where, thresholds, model.cameras, tolerance, images=model.data, dark=dark, by_chance=most)
    return model.add(met.positions)


def _fit_spots(model: Model) -> None:
    """Fit the spots' sizes and the cameras' brightness to the particles found so far.

    All particles count as equally large meanwhile: what each one's size takes up would be missing from the usual one.
    """
    scatter = model.spots.scatter
    model.scale[:] = 1.0
    model.use(replace(model.spots, scatter=0.0))
    model.redraw()
    model.hot[:] = 1
    model.shake(2)
    for _ in range(_SHAPE_ROUNDS):
        model.use(fit_gains(fit_sigma(model), model.own))
        model.redraw()
        model.hot[:] = 1
        model.shake(1)
    model.use(replace(model.spots, scatter=scatter))


def _finish_iteration(model: Model, cameras: int, added: int, iterations: list[Iteration], *, last: bool = False) -> None:
    settings = model.settings
    dropped = model.prune(settings.weakest_last, settings.unsure_last) if last else model.prune(settings.weakest, settings.unsure)
    iterations.append(Iteration(cameras, added, dropped, len(model.positions)))


def _energy(images: NDArray[np.float32], noise: Floats) -> Floats:
    """Energy of each image above that of its noise, per pixel; from every fourth row."""
    mean = np.array([float((part * part).mean(dtype=np.float64)) for part in images[:, ::4]])
    return np.asarray(np.maximum(mean - noise**2, 0.0))


def _result(model: Model, iterations: list[Iteration], energy: Floats, *, fits: bool) -> Reconstruction:
    scatter = fit_scatter(model) if fits else model.spots.scatter
    each = misfit(model.residual, model.projections, model.intensities, model.sharpness)
    seen = each >= 0
    mean = np.where(seen, each, 0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    particles = Particles(
        model.positions, model.projections, model.intensities, mean.astype(np.float32), model.scale, model.origin
    )
    residual = without_margins(model.residual)
    left = _energy(residual, model.noise) / np.maximum(energy, 1e-12)
    return Reconstruction(
        particles,
        residual,
        model.ground,
        tuple(iterations),
        model.noise,
        np.minimum(left, 1.0),
        replace(model.spots, level=model.level, scatter=scatter),
    )
