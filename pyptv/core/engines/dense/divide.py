"""Dividing particles that are two: so near each other that no search tells them apart, in none of the images.

Two spots at x + s / 2 and x - s / 2 are, to second order in s, one spot at x that is wider along s: the difference is an eighth
of s' H s, H being the second derivatives of the spot. So the residual images around a particle tell s s', a symmetric matrix of
six numbers, by linear least squares over all cameras, and its largest eigenvector is the separation. Then two particles are
fitted in place of the one. They stay if the residual is lower by far, and if both are as bright as particles are: errors of the
model and of the neighbours give bright particles wide residuals, too, but hardly ever two whole particles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.dense.spots import MARGIN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.engines.dense.model import Model

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_FEWEST = 100
"""Of fewer particles nobody can tell how bright they are."""
_FAINT = 0.1
"""Quantile of the particles' intensities: halves are above it, so a particle that is divided is above twice that intensity."""
_GAIN = 12.0
"""Smallest fall of chi squared: noise alone, with four degrees of freedom, exceeds it for one particle in 60."""
_USUAL = 300
"""Particles that tell how large the errors of the model are."""
_NOISE_GAIN = 5.35
"""Median of chi squared of noise with six degrees of freedom."""
_APART = 0.55
"""[px] Halves are at least that far from each other in one of the images, in the end."""
_FARTHEST = 2.5
"""[px] And at first at most that far."""
_ROUNDS = 6
_SMALL = 1e-3
"""Of the trace, added to the diagonal: keeps numbers finite that no camera tells."""
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def divide(model: Model) -> int:
    """Divide the particles of a frame that are two; returns how many these are."""
    if len(model.positions) < _FEWEST:
        return 0
    brightness = model.joint()[0]
    faint = float(np.quantile(brightness, _FAINT))
    rows, apart, excess = _wide(model, brightness, faint)
    if not len(rows):
        return 0
    before = _energy(model, model.projections[rows])
    which = np.zeros(len(model.positions), bool)
    which[rows] = True
    whole = model.take_out(which)
    first = len(model.positions)
    model.put_halves(whole, apart / 2)
    model.shake(_ROUNDS)
    fall = before - _energy(model, whole["projections"])
    stay = (fall > _GAIN * excess) & _are_two(model, first, faint)
    gone = np.zeros(len(model.positions), bool)
    gone[first:] = np.tile(~stay, 2)
    model.take_out(gone)
    model.put_back({name: values[~stay] for name, values in whole.items()})
    return int(np.count_nonzero(stay))


def _wide(model: Model, brightness: Floats, faint: float) -> tuple[Ints, Floats, Floats]:
    """The particles (n,) that are bright enough for two and look wide, with separations (n, 3) [mm].

    Last by what multiple errors of the model make chi squared larger there than noise does, (n,): these grow with the intensity,
    and what most particles have of them is no sign of a second one.
    """
    bright = np.flatnonzero(brightness > 2 * faint)
    usual = np.flatnonzero((brightness > np.median(brightness)) & (brightness <= 2 * faint))
    usual = usual[:: max(1, len(usual) // _USUAL)]
    if not len(bright) or not len(usual):
        return np.empty(0, np.int64), np.empty((0, 3)), np.empty(0)
    gain, explained, apart = _separations(model, np.concatenate([bright, usual]))
    error = np.median(explained[len(bright) :] / brightness[usual] ** 2) * brightness[bright] ** 2
    gain, apart, excess = gain[: len(bright)], apart[: len(bright)], np.maximum(1.0, error / _NOISE_GAIN)
    across = np.linalg.norm(np.einsum("ncak,nk->nca", model.derivatives[bright], apart), axis=2).max(axis=1)
    wide = (gain > _GAIN * excess) & (across < 2 * _FARTHEST)
    apart *= np.minimum(1.0, _FARTHEST / np.maximum(across, 1e-9))[:, None]
    return bright[wide], apart[wide], excess[wide]


def _are_two(model: Model, first: int, faint: float) -> NDArray[np.bool_]:
    """Which of the halves, from a row on, are two particles: bright, in the volume, and apart."""
    brightness, weakest, _ = model.joint()
    good = (brightness > faint) & (weakest > model.settings.weakest_camera * model.level) & model.cameras.inside(model.positions)
    good &= model.significance() > model.settings.unsure_last
    one, other = np.split(np.arange(first, len(good)), 2)
    apart = np.linalg.norm(model.projections[one] - model.projections[other], axis=2).max(axis=1)
    two: NDArray[np.bool_] = good[one] & good[other] & (apart > _APART)
    return two


def _separations(model: Model, rows: Ints) -> tuple[Floats, Floats, Floats]:
    """Of particles the fall of chi squared by dividing them, (n,), that by any change of width, and separations (n, 3) [mm]."""
    information, pull = _widths(model, rows)
    to_space = _even_space(model.derivatives[rows])
    design = _design(model.derivatives[rows] @ to_space[:, None])
    normal = np.einsum("ncak,ncab,ncbl->nkl", design, information, design)
    right = np.einsum("ncak,nca->nk", design, pull)
    trace = np.trace(normal, axis1=1, axis2=2)[:, None, None]
    terms = np.linalg.solve(normal + (_SMALL * trace + 1e-12) * np.eye(6), right[..., None])[..., 0]
    square = np.empty((len(rows), 3, 3))
    for k, (i, j) in enumerate(_PAIRS):
        square[:, i, j] = square[:, j, i] = terms[:, k]
    along = np.linalg.eigh(square)[1][:, :, 2]
    outer = np.stack([along[:, i] * along[:, j] for i, j in _PAIRS], axis=1)
    above, below = (outer * right).sum(axis=1), np.einsum("nk,nkl,nl->n", outer, normal, outer)
    length = np.maximum(above, 0.0) / np.maximum(below, 1e-12)
    gain = length * above
    explained = np.maximum((terms * right).sum(axis=1), 0.0)
    return gain, explained, (to_space @ (along * np.sqrt(length)[:, None])[..., None])[..., 0]


def _even_space(derivatives: NDArray[np.float32]) -> Floats:
    """(n, 3, 3) from coordinates [px] in which all directions are seen equally well to space [mm]."""
    seen = np.einsum("ncak,ncal->nkl", derivatives, derivatives, dtype=np.float64)
    values, vectors = np.linalg.eigh(seen + 1e-9 * np.eye(3))
    return np.asarray(vectors / np.sqrt(values)[:, None, :])


def _design(jacobians: Floats) -> Floats:
    """(n, n_cams, 3, 6) what the six numbers of s s' are in an image: xx, xy, yy."""
    design = np.empty((*jacobians.shape[:2], 3, 6))
    x, y = jacobians[:, :, 0], jacobians[:, :, 1]
    for k, (i, j) in enumerate(_PAIRS):
        twice = 1.0 if i == j else 2.0
        design[:, :, 0, k] = twice * x[:, :, i] * x[:, :, j]
        design[:, :, 1, k] = twice * 0.5 * (x[:, :, i] * y[:, :, j] + x[:, :, j] * y[:, :, i])
        design[:, :, 2, k] = twice * y[:, :, i] * y[:, :, j]
    return design


def _widths(model: Model, rows: Ints) -> tuple[Floats, Floats]:
    """Normal equations of xx, xy, yy of s s' in each image: (n, n_cams, 3, 3) and (n, n_cams, 3).

    The intensity is fitted with them, and eliminated; the place needs none, for the spot is symmetric.
    """
    values, x, y, inside = _windows(model, model.projections[rows])
    sharp, peak = 2.0 * model.sharpness[rows].astype(np.float64), model.intensities[rows].astype(np.float64)
    ax, ay = sharp[:, :, 0, None], sharp[:, :, 1, None]
    gx, gy = np.exp(-0.5 * ax * x**2), np.exp(-0.5 * ay * y**2)
    along = (gx, gx * (x**2 * ax**2 - ax), gx * x * ax, gx)
    down = (gy, gy, gy * y * ay, gy * (y**2 * ay**2 - ay))
    factor = (np.ones_like(peak), peak / 8, peak / 4, peak / 8)
    weight = np.where(inside & (peak > 0), 1.0 / model.noise**2, 0.0)
    normal, right = np.empty((*peak.shape, 4, 4)), np.empty((*peak.shape, 4))
    for i in range(4):
        right[..., i] = np.einsum("ncij,nci,ncj->nc", values, down[i], along[i]) * factor[i] * weight
        for j in range(4):
            sums = (along[i] * along[j]).sum(axis=-1) * (down[i] * down[j]).sum(axis=-1)
            normal[..., i, j] = sums * factor[i] * factor[j] * weight
    share = normal[..., 1:, 0] / np.maximum(normal[..., 0, 0], 1e-12)[..., None]
    return normal[..., 1:, 1:] - share[..., None] * normal[..., None, 0, 1:], right[..., 1:] - share * right[..., :1]


def _energy(model: Model, places: Floats) -> Floats:
    """(n,) chi squared of the residual in the windows around places (n, n_cams, 2) [px]."""
    values, _, _, inside = _windows(model, places)
    chi = np.einsum("ncij,ncij->nc", values, values) / model.noise**2
    return np.asarray(np.where(inside, chi, 0.0).sum(axis=1))


def _windows(model: Model, places: Floats) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """The residual around places (n, n_cams, 2) [px], and which windows are in the image and not saturated.

    Returns:
        (n, n_cams, side, side) residual; (n, n_cams, side) x and y of its pixels from the place [px]; (n, n_cams) which are good.
    """
    n_cams, height, width = (side - 2 * MARGIN * (k > 0) for k, side in enumerate(model.residual.shape))
    offsets = np.arange(-model.radius, model.radius + 1)
    pixel = np.floor(np.nan_to_num(places, nan=-1.0)).astype(np.int64)
    far = np.array([width, height]) - model.radius
    inside: NDArray[np.bool_] = np.all((pixel >= model.radius) & (pixel < far), axis=2)
    pixel = np.where(inside[..., None], pixel, model.radius)
    if model.near_saturated.size:
        inside &= model.near_saturated[np.arange(n_cams), pixel[..., 1], pixel[..., 0]] == 0
    down, across = (pixel[:, :, k, None] + offsets for k in (1, 0))
    cameras = np.arange(n_cams)[:, None, None]
    values = model.residual[cameras, down[..., None] + MARGIN, across[:, :, None, :] + MARGIN].astype(np.float64)
    return values, across + 0.5 - places[..., 0, None], down + 0.5 - places[..., 1, None], inside
