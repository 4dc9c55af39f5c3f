"""Findings beside the parameters: calibration, peak locking, feasibility, density. A sentence each."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from pyptv.advise.advice import Measured
from pyptv.advise.limits import ENOUGH
from pyptv.measures.reprojection import Disparity, disparity

_CROWDED, _DENSE = 0.15, 0.3
"""Share of overlapping spots: mentioned; another method is proposed."""
_FAR, _SLOW = 0.3, 3.0
"""Displacement over spacing from which links are guesses; displacement over noise below which velocities are noise."""
_SMOOTH, _SHIFTED = 0.3, 0.1
"""Share of the residuals that is smooth over the image, and shift in a part of it [px]: from there on mentioned."""
_AGREE = 0.9
"""Share of the links that are the same forward and backward."""


def findings(measured: Measured) -> list[str]:
    """All of them."""
    parts = (_calibration, _hints, _locking, _feasible, _frame_rate, _both_ways, _dense)
    return [sentence for part in parts for sentence in part(measured)]


def disparities(measured: Measured) -> list[Disparity]:
    """Each camera's residuals with the present calibrations, summarised."""
    ptv = measured.experiment.parameters.ptv
    return [disparity(one, (ptv.imx, ptv.imy)) for one in measured.residuals]


def _calibration(measured: Measured) -> Iterator[str]:
    for camera, (one, found) in enumerate(zip(measured.residuals, disparities(measured), strict=True), start=1):
        if not len(one.off):
            continue
        x, y = found.shift
        text = f"Camera {camera}: reprojection error {in_words(one.rms)} px rms, shift {x:+z.2f} {y:+z.2f} px (median of x, y)"
        if math.isfinite(found.worst[0]) and math.hypot(*found.worst[2:]) > _SHIFTED:
            at = f"{found.worst[0]:.0f}, {found.worst[1]:.0f}"
            text += f", largest around pixel {at}: {found.worst[2]:+z.2f} {found.worst[3]:+z.2f}"
        if found.smooth > _SMOOTH:
            text += f"; {100 * found.smooth:.0f} % of it is smooth over the image, so it is the calibration"
        yield f"{text}."
        if found.drift > max(3.0 * found.drift_error, _SHIFTED):
            first, last = int(one.frame.min()), int(one.frame.max())
            yield f"Camera {camera}: the shift changes by {in_words(found.drift)} px from frame {first} to {last}: it moves."


def _hints(measured: Measured) -> Iterator[str]:
    refined = measured.refined
    if refined is None:
        yield "Calibration: the cameras agree; refining them gains nothing."
        return
    yield (
        f"Calibration: the cameras disagree by {in_words(refined.before)} px; refined on {refined.points} safe matches "
        f"{in_words(refined.after)} px is left. Seen by all cameras within 1 px, of bright targets: {refined.agreed} -> "
        f"{refined.agree}. "
        + ("The parameters are for the refined ones." if measured.uses_refined else "Use --fix-calibration DIR.")
    )
    for hint in refined.hints:
        yield f"Calibration: {hint}."
    ptv = measured.experiment.parameters.ptv
    if ptv.mmp_n2 < ptv.mmp_n3:
        yield (
            f"Refractive indices: {ptv.mmp_n2:g} (glass) is less than {ptv.mmp_n3:g} (behind it): were they exchanged? The "
            "calibration was made with these values: calibrate again if you change them."
        )


def _locking(measured: Measured) -> Iterator[str]:
    locked = [str(camera) for camera, one in enumerate(measured.locking, start=1) if one.locked]
    if locked:
        which = ", ".join(locked)
        yield f"Peak locking: targets of camera {which} prefer certain fractions of a pixel: spots are too small or too dim."
    elif measured.locking:
        worst = max(max(one.x, one.y) for one in measured.locking)
        yield f"Peak locking: none (amplitude {worst:.2f} at most, of 1)."


def _feasible(measured: Measured) -> Iterator[str]:
    motion = measured.motion
    if motion.chains < ENOUGH:
        yield (
            f"Tracking: only {motion.chains} chains of four frames are smooth: displacements between frames are too large, "
            "or most matches are accidents."
        )
        return
    typical = _displacement(measured)
    pairs = zip(motion.noise, motion.noise_settled, strict=True)
    noise = ", ".join(
        in_words(value) if settled or math.isnan(value) else f"at most {in_words(value)}" for value, settled in pairs
    )
    yield (
        f"Tracking: displacement {in_words(typical)} mm, spacing {in_words(motion.spacing)} mm, ratio "
        f"{in_words(typical / motion.spacing)}; noise of a position in x, y, z {noise} mm."
    )
    depth = max(motion.noise)
    if math.isfinite(depth) and depth > typical:
        axis = "xyz"[int(np.argmax(motion.noise))]
        yield f"Noise in {axis}, {in_words(depth)} mm, exceeds the displacement, {in_words(typical)} mm: links are guesses."


def _frame_rate(measured: Measured) -> Iterator[str]:
    """What another frame rate would do."""
    motion = measured.motion
    if motion.chains < ENOUGH:
        return
    typical, noise = _displacement(measured), max(motion.noise)
    ratio = typical / motion.spacing
    rate = measured.experiment.parameters.sequence.frame_rate
    now = f" ({rate:g} per second)" if rate else ""
    if ratio > _FAR:
        wanted = math.ceil(ratio / (_FAR / 2) * 2) / 2
        yield (
            f"Frame rate{now}: displacements are {in_words(ratio)} of the spacing, and links are guesses from {_FAR:g} on. "
            f"{wanted:g} times the rate brings them to {in_words(ratio / wanted)}."
        )
    elif math.isfinite(noise) and typical < _SLOW * noise:
        possible = min(_FAR / 2 / ratio, _SLOW * noise / typical) if ratio > 0 else 1.0
        more = f" A rate {in_words(possible)} times lower makes displacements larger than noise." if possible > 1.2 else ""
        times = in_words(typical / noise)
        yield f"Frame rate{now}: displacements are only {times} times the noise of a position.{more}"
    else:
        room = _FAR / ratio if ratio > 0 else math.inf
        yield f"Frame rate{now}: fits; displacements reach {_FAR:g} of the spacing at a rate {in_words(room)} times lower."


def _both_ways(measured: Measured) -> Iterator[str]:
    both = measured.both_ways
    if both.forward:
        share = f"{100 * both.share:.0f} % of {both.forward} links"
        text = f"Forward and backward: {share} are the same when the frames are tracked backward"
        yield text + ("." if both.share > _AGREE else ": the others are ambiguous.")


def _dense(measured: Measured) -> Iterator[str]:
    density = measured.density
    overlapping = f"{100 * density.overlapping:.0f} % of the spots"
    where = "targets per pixel of the part of the image that holds them"
    text = f"Density: {density.per_pixel:.4f} {where}, {overlapping} overlap another one."
    if density.overlapping > _DENSE:
        text += " An iterative reconstruction (--method dense) finds the particles that are lost there."
    elif density.overlapping > _CROWDED:
        text += " Losses by overlap begin here; --method dense pays from about 30 % on."
    else:
        text += " The standard method is enough; --method dense pays from about 30 % on."
    yield text


def _displacement(measured: Measured) -> float:
    return float(np.median(np.linalg.norm(measured.motion.displacement, axis=1)))


def in_words(value: float) -> str:
    """A number with three digits; ``unknown`` for what is not finite."""
    return "unknown" if not math.isfinite(value) else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
