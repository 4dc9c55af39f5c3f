"""A paragraph for the methods section of a paper: how these results were made, with numbers and references."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyptv import __version__
from pyptv.report.figures import mean
from pyptv.report.record import Record
from pyptv.report.rules.evidence import Evidence, link_ratio
from pyptv.report.words import count, listing, number

_OPENPTV = "OpenPTV Consortium. Open source particle tracking velocimetry. https://www.openptv.net"

_STANDARD = (
    (
        "Maas, H.-G., Gruen, A., Papantoniou, D. (1993). Particle tracking velocimetry in three-dimensional flows. Part 1: "
        "Photogrammetric determination of particle coordinates. Experiments in Fluids 15, 133–146."
    ),
    (
        "Malik, N. A., Dracos, T., Papantoniou, D. A. (1993). Particle tracking velocimetry in three-dimensional flows. Part 2: "
        "Particle tracking. Experiments in Fluids 15, 279–294."
    ),
    (
        "Willneff, J. (2003). A spatio-temporal matching algorithm for 3D particle tracking velocimetry. "
        "Dissertation 15276, ETH Zurich."
    ),
    _OPENPTV,
)
"""The method that optv and this program follow, and the software."""

_DENSE = (
    "Wieneke, B. (2013). Iterative reconstruction of volumetric particle distribution. Meas. Sci. Technol. 24, 024008.",
    (
        "Schanz, D., Gesemann, S., Schröder, A. (2016). Shake-The-Box: Lagrangian particle tracking at high particle image "
        "densities. Experiments in Fluids 57, 70."
    ),
    "Wieneke, B. (2008). Volume self-calibration for 3D particle image velocimetry. Experiments in Fluids 45, 549–556.",
    (
        "Baek, S. J., Lee, S. J. (1996). A new two-frame particle tracking algorithm using match probability. "
        "Experiments in Fluids 22, 23–32."
    ),
    _OPENPTV,
)
"""What the method dense is made of."""


def citations(record: Record) -> tuple[str, ...]:
    """The sources of the method that the run used."""
    return _DENSE if record.dense else _STANDARD


def methods(evidence: Evidence, frame_rate: float | None = None) -> str:
    """The paragraph, without values that were not recorded."""
    how = (_reconstruction, _links) if evidence.record.dense else (_detection, _matching, _tracking)
    said = [_recording(evidence, frame_rate), *(one(evidence) for one in (_program, *how, _outcome))]
    return " ".join(one for one in said if one)


def _section(evidence: Evidence, name: str) -> dict[str, Any]:
    """A section of the run's parameters; the present ones if it was not recorded completely."""
    now: dict[str, Any] = evidence.record.experiment.parameters.as_tree()[name]
    then = evidence.record.values.get(name)
    return now | then if isinstance(then, dict) else now


def _recording(evidence: Evidence, frame_rate: float | None) -> str:
    record, ptv = evidence.record, _section(evidence, "ptv")
    rate = f" at {number(frame_rate)} frames per second" if frame_rate else ""
    cameras = count(record.num_cams, "view" if ptv["splitter"] else "camera")
    size = f"{ptv['imx']} x {ptv['imy']} px"
    return f"Images of {cameras} with {size} were recorded{rate}; {count(record.done, 'frame')} were processed."


def _program(evidence: Evidence) -> str:
    run = evidence.record.run
    if run is None:
        return f"Results were evaluated with pyptv-batch {__version__}."
    versions = listing(f"{name} {version}" for name, version in run["versions"].items() if name in {"optv", "numpy", "numba"})
    how = "its method dense" if evidence.record.dense else "the algorithms of OpenPTV"
    return f"Processing used {run['program']['name']} {run['program']['version']} ({versions}) with {how}."


def _detection(evidence: Evidence) -> str:
    found = _section(evidence, "targ_rec")
    thresholds = sorted({int(one) for one in found["gvthres"][: evidence.record.num_cams]})
    return (
        f"After a high-pass filter, targets of {found['nnmin']} to {found['nnmax']} px were detected above a grey value of "
        f"{listing(map(str, thresholds))}."
    )


def _matching(evidence: Evidence) -> str:
    if evidence.record.num_cams < 2:
        return ""
    criteria, ptv = _section(evidence, "criteria"), _section(evidence, "ptv")
    eps0, pixels = number(criteria["eps0"]), number(criteria["eps0"] / ptv["pix_x"])
    return (
        f"Stereo-correspondences were searched within {eps0} mm ({pixels} px) of the epipolar lines, "
        f"with refraction through {_media(ptv)}."
    )


def _media(ptv: dict[str, Any]) -> str:
    indices = listing(number(ptv[name]) for name in ("mmp_n1", "mmp_n2", "mmp_n3"))
    return f"layers of refractive index {indices} (glass of {number(ptv['mmp_d'])} mm)"


def _tracking(evidence: Evidence) -> str:
    if not len(evidence.record.tracking.frame):
        return ""
    track = _section(evidence, "track")
    return (
        f"Particles were tracked over four frames, with {_displacements(track)}, accelerations up to "
        f"{number(float(track['dacc']))} mm per frame squared and changes of direction up to {number(float(track['angle']))} gon."
    )


def _displacements(track: dict[str, Any]) -> str:
    limits = (f"{number(float(track[f'dv{axis}min']))} to {number(float(track[f'dv{axis}max']))} ({axis})" for axis in "xyz")
    return f"displacements of {listing(limits)} mm per frame"


def _reconstruction(evidence: Evidence) -> str:
    said = _dense(evidence)
    passes = [one for one in said.get("passes", ()) if one["frame"]]
    times = f", in {count(len(passes), 'pass', 'passes')}" if passes else ""
    later = ", the later ones beginning with what tracks predict (Schanz et al. 2016)" if len(passes) > 1 else ""
    before = "After a self-calibration of the cameras (Wieneke 2008), p" if said.get("self_calibration") else "P"
    return (
        f"{before}articles were fitted to the images of all cameras by iterative reconstruction (Wieneke 2013){times}{later}, "
        f"with refraction through {_media(_section(evidence, 'ptv'))}."
    )


def _links(evidence: Evidence) -> str:
    if not len(evidence.record.tracking.frame):
        return ""
    least = _dense(evidence).get("min_track", 1)
    short = f" Particles on tracks of fewer than {count(least, 'frame')} were dropped, except for clear ones."
    return (
        "Particles were linked by the motion of their neighbours (Baek and Lee 1996) and their own, "
        f"within windows of four frames, with {_displacements(_section(evidence, 'track'))}.{short if least > 1 else ''}"
    )


def _dense(evidence: Evidence) -> dict[str, Any]:
    return (evidence.record.run or {}).get("dense") or {}


def _outcome(evidence: Evidence) -> str:
    record, motion, sample = evidence.record, evidence.motion, evidence.sample
    particles, ptv = mean(record.sequence.particles), record.experiment.parameters.ptv
    parts = [
        f"{number(particles)} particles per frame ({number(particles / (ptv.imx * ptv.imy))} per pixel) were found on average"
    ]
    errors = [error for error in sample.errors if np.isfinite(error)] if sample is not None else []
    if errors:
        parts.append(f"with a median reprojection error of {number(min(errors))} to {number(max(errors))} px")
    said = " ".join(parts)
    if len(record.tracking.frame) and motion is not None and (linked := motion.lengths[motion.lengths > 1]).size:
        mean_length = number(float(linked.mean()))
        said += f"; the link ratio was {number(link_ratio(record))}, the mean length of trajectories {mean_length} frames"
    return f"{said}."
