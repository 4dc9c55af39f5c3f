"""Calibrations refined on safe matches, and the probable causes of their errors.

A particle that all cameras see has 2 n_cams coordinates and three unknowns: what the rest of them leaves over depends on the
calibrations alone. For each particle that part of its residuals is taken that no displacement of it can remove (variable
projection: Golub and Pereyra 2003, Inverse Problems 19, R1), and the calibrations are changed until it is smallest. What all
cameras may do together without a trace in it (move, turn, scale) is held by a weak weight on every change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pyptv.advise.sample import Sample, Setting
from pyptv.core.engines.disparity import fit
from pyptv.core.engines.optv.backend import project
from pyptv.core.experiment.calibration import Calibration
from pyptv.core.experiment.parameters.schema import Parameters
from pyptv.measures.frames import SUMG, MatchedFrame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

EXTERIOR = ("x0", "y0", "z0", "omega", "phi", "kappa")
INTERIOR = ("xh", "yh", "cc")
LENS = ("k1", "scx")
_STEPS = {"x0": 0.01, "y0": 0.01, "z0": 0.01, "omega": 1e-5, "phi": 1e-5, "kappa": 1e-5}
_STEPS |= {"xh": 1e-3, "yh": 1e-3, "cc": 1e-3, "k1": 1e-7, "scx": 1e-5}
UNITS = {"x0": "mm", "y0": "mm", "z0": "mm", "omega": "rad", "phi": "rad", "kappa": "rad", "xh": "mm", "yh": "mm", "cc": "mm"}
_MOST_POINTS = 300
_FEWEST_POINTS = 25
_HOLD = 0.02
"""Weight of a change that moves the image by a pixel, against a residual of a pixel."""
_REJECT = 3.0
_BETTER = 0.95
"""More unknowns are used where they lower the residual of other particles to that share."""
_ROUNDS = 2
_STARTS = (6.0, 16.0)
"""[px] Bands to begin with."""
_NARROW = 1.0
"""[px] The band in which calibrations are compared by their quadruplets."""
_NARROWER = 1.5
_FITS = 2
"""Of each band: positions of the camera alone, which a few wrong matches cannot bend as they bend a lens."""
_ENOUGH = 0.5
"""Of the bright targets in quadruplets: then the calibrations are found."""
_BRIGHT = 300
"""Targets of an image."""
_MORE_FRAMES = 4
_MORE = 1.05
"""Quadruplets in the narrow band after over before, from which a correction is worth it."""
_OFF = 0.12
"""[px] A smaller error is not worth a correction."""
_EXPLAINS = 0.8
_WORTH_A_HINT = 0.3
"""Share of the residual that a smooth change of all calibrations must remove, before a cause is named."""


@dataclass(frozen=True)
class Refined:
    """Calibrations refined."""

    calibrations: tuple[Calibration, ...]
    names: tuple[str, ...]
    """What was changed in each camera."""
    points: int
    before: float
    after: float
    """Root mean square of what is left over per coordinate [px], of particles that the fit has not seen."""
    hints: tuple[str, ...] = ()
    agreed: int = 0
    """Quadruplets of bright targets in a narrow band with the present calibrations,"""
    agree: int = 0
    """and with these."""


@dataclass(frozen=True, eq=False)
class _Problem:
    """Safe matches: where they are and where they are seen."""

    parameters: Parameters
    start: tuple[Calibration, ...]
    position: Floats
    """(n, 3)"""
    pixels: Floats
    """(n_cams, n, 2)"""

    def some(self, which: slice) -> _Problem:
        """A part of the particles."""
        return replace(self, position=self.position[which], pixels=self.pixels[:, which])


def values_of(calibration: Calibration) -> dict[str, float]:
    """The values that may be refined, by name."""
    values = (*calibration.position, *calibration.angles, *calibration.principal_point, calibration.principal_distance)
    return dict(
        zip((*EXTERIOR, *INTERIOR, *LENS), (*values, calibration.radial_distortion[0], calibration.affine[0]), strict=True)
    )


def changed(calibration: Calibration, by: dict[str, float]) -> Calibration:
    """A calibration with some values changed by an amount."""
    v = {name: value + by.get(name, 0.0) for name, value in values_of(calibration).items()}
    return replace(
        calibration,
        position=(v["x0"], v["y0"], v["z0"]),
        angles=(v["omega"], v["phi"], v["kappa"]),
        principal_point=(v["xh"], v["yh"]),
        principal_distance=v["cc"],
        radial_distortion=(v["k1"], *calibration.radial_distortion[1:]),
        affine=(v["scx"], calibration.affine[1]),
    )


def refine(frames: Sequence[MatchedFrame], parameters: Parameters, calibrations: Sequence[Calibration]) -> Refined | None:
    """Refine calibrations on the particles that all cameras see; None where these are too few, or nothing is gained."""
    problem = _problem(frames, parameters, tuple(calibrations))
    if problem is None:
        return None
    fitted, others = problem.some(slice(0, None, 2)), problem.some(slice(1, None, 2))
    before = rms(others, problem.start)
    best: tuple[float, tuple[str, ...]] | None = None
    for names in (EXTERIOR, (*EXTERIOR, *INTERIOR), (*EXTERIOR, *INTERIOR, *LENS)):
        after = rms(others, _fit(fitted, names))
        if after < _BETTER * (before if best is None else best[0]):
            best = after, names
    if best is None:
        return None
    return Refined(_fit(problem, best[1]), best[1], len(problem.position), before, best[0])


def _problem(frames: Sequence[MatchedFrame], parameters: Parameters, calibrations: tuple[Calibration, ...]) -> _Problem | None:
    """The safe matches: seen by all cameras, and not far from what most of the others around them say."""
    n_cams = len(calibrations)
    rows = [np.flatnonzero((frame.views == n_cams) & np.isfinite(frame.position).all(axis=1)) for frame in frames]
    position = np.concatenate([frame.position[which] for frame, which in zip(frames, rows, strict=True)])
    pixels = np.concatenate([frame.pixels(which) for frame, which in zip(frames, rows, strict=True)], axis=1)
    places = project(position, parameters, calibrations)
    good = np.isfinite(places).all(axis=(0, 2))
    size = (parameters.ptv.imx, parameters.ptv.imy)
    for camera in range(n_cams):
        smooth = fit(places[camera], pixels[camera] - places[camera], size)
        off = np.linalg.norm(pixels[camera] - places[camera] - smooth.evaluate(places[camera]), axis=1)
        good &= off <= _REJECT * max(float(np.median(off[np.isfinite(off)], axis=None)) if len(off) else 0.0, 0.05)
    which = np.flatnonzero(good)
    if len(which) < _FEWEST_POINTS:
        return None
    which = which[:: max(1, len(which) // _MOST_POINTS)]
    return _Problem(parameters, calibrations, position[which], pixels[:, which])


def _left_over(problem: _Problem, calibrations: Sequence[Calibration], basis: Floats | None = None) -> Floats:
    """(n, 2 n_cams) residuals [px] that no displacement of the particles can remove."""
    off = problem.pixels - project(problem.position, problem.parameters, calibrations)
    flat = off.transpose(1, 0, 2).reshape(len(problem.position), -1)
    basis = _movable(problem, calibrations) if basis is None else basis
    left: Floats = flat - np.einsum("nij,nj->ni", basis, np.einsum("nji,nj->ni", basis, flat))
    return left


def _movable(problem: _Problem, calibrations: Sequence[Calibration]) -> Floats:
    """(n, 2 n_cams, 3) orthonormal directions in which a particle's coordinates move with it."""
    step = 0.1  # mm
    columns = []
    for axis in range(3):
        shift = np.zeros(3)
        shift[axis] = step
        change = project(problem.position + shift, problem.parameters, calibrations)
        change -= project(problem.position - shift, problem.parameters, calibrations)
        columns.append(change.transpose(1, 0, 2).reshape(len(problem.position), -1))
    return np.asarray(np.linalg.qr(np.stack(columns, axis=2))[0])


def rms(problem: _Problem, calibrations: Sequence[Calibration]) -> float:
    """Root mean square of what is left over, per degree of freedom [px]."""
    left = _left_over(problem, calibrations)
    return float(np.sqrt((left**2).sum() / (len(left) * max(left.shape[1] - 3, 1))))


def _fit(problem: _Problem, names: tuple[str, ...], rounds: int = _ROUNDS) -> tuple[Calibration, ...]:
    """The calibrations with the smallest residual, changed in some values."""
    from scipy.optimize import least_squares  # an extra

    calibrations = problem.start
    for _ in range(rounds):
        step = _Step(problem, calibrations, names)
        solved = least_squares(step.off, np.zeros(step.units.size), jac=step.jacobian, loss="soft_l1", f_scale=1.0, max_nfev=6)
        calibrations = step.moved(solved.x)
    return calibrations


class _Step:
    """A least squares problem around some calibrations; an unknown of 1 moves an image by a pixel."""

    def __init__(self, problem: _Problem, start: tuple[Calibration, ...], names: tuple[str, ...]) -> None:
        self.problem, self.start, self.names = problem, start, names
        self.basis = _movable(problem, start)
        self.units = _units(problem, start, names)

    def moved(self, x: Floats) -> tuple[Calibration, ...]:
        """The calibrations changed by (n_cams * names,) unknowns."""
        by = x.reshape(self.units.shape) * self.units
        pairs = zip(self.start, by, strict=True)
        return tuple(changed(camera, dict(zip(self.names, row.tolist(), strict=True))) for camera, row in pairs)

    def off(self, x: Floats) -> Floats:
        """What is left over, then the changes, weighted."""
        left = _left_over(self.problem, self.moved(x), self.basis)
        return np.concatenate([np.nan_to_num(left, nan=1e3).ravel(), _HOLD * x])

    def jacobian(self, x: Floats) -> Floats:
        """Its derivatives: each unknown moves one image only."""
        n, n_cams = len(self.problem.position), len(self.start)
        result = np.zeros((n, 2 * n_cams, x.size))
        now = self.moved(x)
        places = project(self.problem.position, self.problem.parameters, now)
        for index in range(x.size):
            camera, which = divmod(index, len(self.names))
            other = changed(now[camera], {self.names[which]: 0.1 * self.units[camera, which]})
            change = project(self.problem.position, self.problem.parameters, [other])[0] - places[camera]
            result[:, 2 * camera : 2 * camera + 2, index] = -10.0 * np.nan_to_num(change)
        inside = np.einsum("nij,njk->nik", self.basis, np.einsum("nji,njk->nik", self.basis, result))
        return np.concatenate([(result - inside).reshape(-1, x.size), _HOLD * np.eye(x.size)])


def _units(problem: _Problem, calibrations: Sequence[Calibration], names: Sequence[str]) -> Floats:
    """(n_cams, names) change of a value that moves the image by a pixel (rms)."""
    before = project(problem.position, problem.parameters, calibrations)
    units = np.empty((len(calibrations), len(names)))
    for column, name in enumerate(names):
        after = project(problem.position, problem.parameters, [changed(camera, {name: _STEPS[name]}) for camera in calibrations])
        units[:, column] = _STEPS[name] / np.sqrt(((after - before) ** 2).sum(axis=2).mean(axis=1))
    return units


def _hints(problem: _Problem) -> list[str]:
    """Single causes that explain most of what a change of all calibrations explains, to first order."""
    n_cams = len(problem.start)
    basis = _movable(problem, problem.start)
    left = _left_over(problem, problem.start, basis).ravel()
    units = _units(problem, problem.start, (*EXTERIOR, *LENS))

    def column(calibrations: Sequence[Calibration], parameters: Parameters, step: float) -> Floats:
        """The change of all residuals per unit of a change, by a forward difference."""
        other = _left_over(replace(problem, parameters=parameters), calibrations, basis).ravel()
        return (other - left) / step

    def of(camera: int, name: str) -> Floats:
        """The column of one number of one camera."""
        step = units[camera, (*EXTERIOR, *LENS).index(name)] * 0.1
        cameras = [changed(one, {name: step} if which == camera else {}) for which, one in enumerate(problem.start)]
        return column(cameras, problem.parameters, 0.1)

    exterior = {camera: np.column_stack([of(camera, name) for name in EXTERIOR]) for camera in range(n_cams)}
    everything = _explained(left, np.column_stack(list(exterior.values())))
    ptv = problem.parameters.ptv
    index = column(problem.start, replace(problem.parameters, ptv=replace(ptv, mmp_n3=ptv.mmp_n3 + 0.01)), 1.0)[:, np.newaxis]
    scale = np.column_stack([of(camera, "scx") for camera in range(n_cams)])
    total = max(everything, _explained(left, np.column_stack([*exterior.values(), scale, index])))
    if total < _WORTH_A_HINT:
        return []
    alone = {camera: _explained(left, columns) for camera, columns in exterior.items()}
    hints = []
    worst = max(alone, key=lambda camera: alone[camera])
    others = max((share for camera, share in alone.items() if camera != worst), default=0.0)
    if alone[worst] > _EXPLAINS * total and alone[worst] > 1.2 * others:
        hints.append(f"camera {worst + 1} alone explains {100 * alone[worst] / total:.0f} % of it: it may have moved")
    for what, columns in (("scx (the ratio of the pixels' sides)", scale), ("the refractive index mmp_n3", index)):
        if (share := _explained(left, columns)) > _EXPLAINS * total:
            hints.append(f"{what} alone explains {100 * share / total:.0f} % of it: check that value")
    return hints or ["no single cause explains it: several cameras are off"]


def _explained(left: Floats, columns: Floats) -> float:
    """Share of the sum of squares that a combination of columns removes."""
    good = np.isfinite(left) & np.isfinite(columns).all(axis=1)
    rest = left[good] - columns[good] @ np.linalg.lstsq(columns[good], left[good], rcond=1e-9)[0]
    return float(1.0 - (rest**2).sum() / max((left[good] ** 2).sum(), 1e-12))


def correct(sample: Sample, setting: Setting) -> Refined | None:
    """Refine the calibrations of a setting on bright targets, from wide bands to narrow ones; None where nothing is gained.

    The brightest targets are few, so that even a band wide enough for a calibration that is off by many pixels has few accidents.
    """
    targets = {number: _brightest(sample.targets(number, setting.detection)) for number in _frames_for(sample)}
    parameters = sample.bench.experiment.parameters

    def matched(calibrations: tuple[Calibration, ...], band: float) -> list[MatchedFrame]:
        """The frames, matched within a band [px]."""
        bench = sample.at(replace(setting, calibrations=calibrations).with_eps0(band * parameters.ptv.pix_x))
        return [bench.match(rows, number) for number, rows in targets.items()]

    def agreeing(calibrations: tuple[Calibration, ...]) -> int:
        """How many particles have a target in every camera, within the narrow band."""
        return sum(frame.counts()[0] for frame in matched(calibrations, _NARROW))

    before = most = agreeing(setting.calibrations)
    best = setting.calibrations
    for start in _STARTS:
        calibrations, band = setting.calibrations, start
        while band >= _NARROW:
            for _ in range(_FITS):
                problem = _problem(matched(calibrations, band), parameters, calibrations)
                calibrations = calibrations if problem is None else _fit(problem, EXTERIOR, rounds=1)
            band /= _NARROWER
        if (now := agreeing(calibrations)) > most or best == setting.calibrations:
            most, best = now, calibrations
        if most > _ENOUGH * sum(map(len, (rows[0] for rows in targets.values()))):
            break
    frames = matched(best, _NARROW)
    problem = _problem(frames, parameters, setting.calibrations)
    refined = None if problem is None else refine(frames, parameters, best)
    if problem is None:
        return None
    final = best if refined is None else refined.calibrations
    off, left = rms(problem, setting.calibrations), rms(problem, final)
    if most <= _MORE * before and not (off > _OFF and left < off / _MORE**4):
        return None
    names = EXTERIOR if refined is None else refined.names
    return Refined(final, names, len(problem.position), off, left, tuple(_hints(problem)), before, most)


def _frames_for(sample: Sample) -> list[int]:
    """The frames that settings are compared on, and some of the runs."""
    others = [number for run in sample.runs for number in run if number not in sample.numbers]
    return sorted([*sample.numbers, *others[:: max(1, -(-len(others) // _MORE_FRAMES))]])


def _brightest(targets: Sequence[Floats]) -> list[Floats]:
    """The brightest targets of each camera, by y."""
    chosen = [np.sort(np.argsort(-rows[:, SUMG], kind="stable")[:_BRIGHT]) for rows in targets]
    return [rows[which] for rows, which in zip(targets, chosen, strict=True)]
