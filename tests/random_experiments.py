"""Small random experiments without images: parameters, calibrations and the targets of a few frames, from a seed.

They are meant to be nasty rather than like life: distorted cameras, narrow and wide limits, crowds, ghosts, targets that
are there twice, particles that jump.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from conftest import sample_tree

from pyptv.core.engines.optv.backend import project
from pyptv.core.experiment.calibration import Calibration
from pyptv.core.experiment.parameters.attrdict import AttrDict
from pyptv.core.experiment.parameters.checks import build_parameters
from pyptv.core.experiment.parameters.schema import Parameters
from pyptv.core.files.formats import TARGETS
from pyptv.synthetic.optics import true_calibrations


@dataclass(frozen=True)
class RandomExperiment:
    """What both engines get."""

    parameters: Parameters
    calibrations: list[Calibration]
    frames: list[list[np.ndarray]]
    """Per frame and camera the rows of ``_targets``, in no order."""


def random_experiment(seed: int, *, extreme: bool = False) -> RandomExperiment:
    """The experiment of a seed; the number of cameras goes 4, 3, 2, 1, 4, 4, 3, 2 and round again.

    Args:
        seed: the same one makes the same experiment.
        extreme: with optics and limits from all that the parameters may be, and lenses that can hardly be undone. Light may find
            no way to a camera then: :func:`pyptv.core.experiment.optics_checks.total_reflection` tells.
    """
    rng = np.random.default_rng(seed)
    n_cams = (4, 3, 2, 1, 4, 4, 3, 2)[seed % 8]
    parameters = _parameters(rng, n_cams)
    calibrations = [_placed(rng, _distorted(rng, calibration)) for calibration in true_calibrations(n_cams)]
    if parameters.ptv.mmp_n2 == 1.0:
        calibrations = [replace(calibration, glass=(0.0, 0.0, 1e-5 + calibration.glass[2])) for calibration in calibrations]
    frames = []
    for points in _paths(rng, n_frames=int(rng.integers(4, 9))):
        pixels = project(points, parameters, calibrations)
        frames.append([_targets(rng, parameters, xy) for xy in pixels])
    made = RandomExperiment(parameters, calibrations, frames)
    return _made_extreme(rng, made) if extreme else made


def _made_extreme(rng: np.random.Generator, made: RandomExperiment) -> RandomExperiment:
    """The same targets under other optics, limits and lenses."""
    ptv, criteria, calibrations = made.parameters.ptv, made.parameters.criteria, made.calibrations
    if rng.random() < 0.5:
        n1, n2, n3 = (_spread(rng, 0.1, 10) for _ in range(3))
        ptv = replace(ptv, mmp_n1=n1, mmp_n2=n2, mmp_n3=n3)
    if rng.random() < 0.4:
        ptv = replace(ptv, mmp_d=_spread(rng, 1e-6, 1e5))
    if rng.random() < 0.3:
        low, high = np.sort(_signed(rng, 1.0, 1e5, (2, 2)), axis=0)
        criteria = replace(criteria, Zmin_lay=tuple(low.tolist()), Zmax_lay=tuple(high.tolist()))
    if rng.random() < 0.3:
        criteria = replace(criteria, X_lay=tuple(_signed(rng, 1e-3, 1e5, 2).tolist()))
    if rng.random() < 0.4:
        calibrations = [_hardly_undone(rng, calibration) for calibration in calibrations]
    return RandomExperiment(replace(made.parameters, ptv=ptv, criteria=criteria), calibrations, made.frames)


def _hardly_undone(rng: np.random.Generator, calibration: Calibration) -> Calibration:
    """A lens that moves what is seen in a corner by up to a quarter of its way: undoing that goes astray in places."""
    return replace(
        calibration,
        radial_distortion=tuple(_signed(rng, 1e-3, 1.0, 3) * (3e-3, 3e-5, 3e-7)),
        decentering=tuple(_signed(rng, 1e-4, 1.0, 2) * 3e-4),
        affine=(_spread(rng, 0.5, 2.0), float(rng.uniform(-0.5, 0.5))),
    )


def _spread(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between two others, any order of magnitude as likely."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _signed(rng: np.random.Generator, low: float, high: float, shape: Any) -> np.ndarray:
    """Numbers whose sizes are spread between two others, of either sign."""
    return np.exp(rng.uniform(np.log(low), np.log(high), shape)) * rng.choice([-1, 1], shape)


def _parameters(rng: np.random.Generator, n_cams: int) -> Parameters:
    tree = sample_tree()
    tree["num_cams"] = n_cams
    air = rng.random() < 0.15
    tree["ptv"] |= {
        "allcam_flag": bool(rng.random() < 0.2),
        "chfield": int(rng.choice([0, 0, 0, 0, 1, 2])),
        "mmp_n2": 1.0 if air else float(rng.uniform(1.3, 1.6)),
        "mmp_n3": 1.0 if air else float(rng.uniform(1.2, 1.5)),
        "mmp_d": 0.0 if air else float(rng.uniform(1, 12)),
        "pix_y": 0.012 if rng.random() < 2 / 3 else float(rng.uniform(0.01, 0.014)),
    }
    tree["criteria"] |= {
        "X_lay": [-50.0, 50.0],
        "Zmin_lay": [-20.0, float(rng.uniform(-25, -15))],
        "Zmax_lay": [20.0, float(rng.uniform(15, 25))],
        "eps0": float(10 ** rng.uniform(-2.3, -0.7)),
        "corrmin": float(rng.choice([0.0, 10.0, 33.0, 100.0])),
        **{name: float(rng.choice([0.02, 0.3, 1 / 3, 0.5, 0.7])) for name in ("cn", "cnx", "cny", "csumg")},
    }
    reach = float(10 ** rng.uniform(-0.2, 1.0))
    limits = rng.uniform(0.5, 1.0, 6) * reach
    names = ("dvxmin", "dvxmax", "dvymin", "dvymax", "dvzmin", "dvzmax")
    tree["track"] = {name: float(v) * (-1 if name.endswith("min") else 1) for name, v in zip(names, limits, strict=True)}
    tree["track"] |= {
        "angle": float(rng.choice([20.0, 60.0, 120.0, 200.0])),
        "dacc": float(reach * rng.uniform(0.1, 2)),
        "flagNewParticles": bool(rng.random() < 0.7),
    }
    return build_parameters(AttrDict(tree), lambda *place: ".".join(place))


def _distorted(rng: np.random.Generator, calibration: Calibration) -> Calibration:
    """A camera with a lens as it might be; one in three is perfect."""
    if rng.random() < 1 / 3:
        return calibration
    return replace(
        calibration,
        principal_point=tuple(rng.normal(0, 0.05, 2)),
        radial_distortion=(float(rng.normal(0, 1e-4)), float(rng.normal(0, 1e-6)), float(rng.normal(0, 1e-8))),
        decentering=tuple(rng.normal(0, 1e-5, 2)),
        affine=(float(rng.choice([1.0, rng.uniform(0.98, 1.02)])), float(rng.choice([0.0, rng.normal(0, 1e-3)]))),
    )


def _placed(rng: np.random.Generator, calibration: Calibration) -> Calibration:
    """A camera a little beside its place, or one that looks through a slanting wall; one in two is where it was."""
    if rng.random() < 1 / 2:
        return calibration
    glass = np.array(calibration.glass)
    slant = rng.normal(0, rng.choice([0.0, 0.05, 0.3]), 3) * np.linalg.norm(glass)
    return replace(
        calibration,
        position=tuple(calibration.position + rng.normal(0, 10, 3)),
        angles=tuple(calibration.angles + rng.normal(0, 0.02, 3)),
        glass=tuple(glass + slant),
    )


def _paths(rng: np.random.Generator, n_frames: int) -> list[np.ndarray]:
    """Positions (n, 3) [mm] of each frame: drift, shear, jitter; some particles rest, some stand twice in one place."""
    n = int(rng.integers(3, 120))
    points = rng.uniform(-0.5, 0.5, (n, 3)) * (60, 50, 25)
    if rng.random() < 0.3:
        points = np.round(points)  # equal distances
    drift, shear = rng.normal(0, 0.5, 3), rng.normal(0, 0.02, (3, 3))
    jitter = float(rng.choice([0.0, 0.02, 0.3]))
    at_rest = rng.random(n) < rng.choice([0.0, 0.1])
    frames = []
    for _ in range(n_frames):
        frames.append(points.copy())
        step = drift + points @ shear + rng.normal(0, 1, (n, 3)) * jitter
        points = np.where(at_rest[:, None], points, points + step)
    return frames


def _targets(rng: np.random.Generator, parameters: Parameters, xy: np.ndarray) -> np.ndarray:
    """Rows of ``_targets``: what a camera sees of the particles, less drop-outs, with ghosts and twins."""
    ptv = parameters.ptv
    size = (ptv.imx, ptv.imy if ptv.chfield == 0 else ptv.imy // 2)  # a field has every other line
    ghosts = rng.uniform(0, 1, (int(rng.integers(0, 10)), 2)) * size
    xy = np.concatenate([xy[rng.random(len(xy)) > 0.03], ghosts])
    if rng.random() < 0.2 and len(xy):
        xy = np.concatenate([xy, xy[rng.integers(0, len(xy), 3)]])
    xy = xy[((xy >= 0) & (xy < size)).all(axis=1)]
    # exact projections lie on their epipolar lines: rounding of the last digit would decide which match is the better one
    xy = np.round(xy, 4) if rng.random() < 0.5 else xy + rng.normal(0, 10 ** rng.uniform(-4, -0.5), xy.shape)
    rows = np.zeros(len(xy), TARGETS.dtype)
    rows["pnr"] = np.arange(len(xy))
    rows["x"], rows["y"] = xy.T
    alike = rng.random() < 0.3  # equal qualities
    for name, low, high in (("nx", 2, 6), ("ny", 2, 6), ("n", 4, 30), ("sumg", 150, 4000)):
        rows[name] = high if alike else rng.integers(low, high, len(xy))
    rows["tnr"] = -1
    return rows
