"""The advice in words: for each parameter what there is, what was measured, what to take, why, and how sure."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pyptv.advise.advice import Measured, changes
from pyptv.advise.calibration import UNITS, values_of
from pyptv.advise.limits import ENOUGH
from pyptv.advise.write import par_lines, yaml_lines
from pyptv.core.experiment.parameters.dialects import YAML_SUFFIXES

_WIDTH = 80
_CROWDED, _DENSE = 0.15, 0.3
"""Share of overlapping spots: worth a word; worth another method."""
_FAR = 0.3
"""Displacement over spacing from which links are guesses."""


@dataclass(frozen=True)
class Advice:
    """What to do about one parameter."""

    section: str
    key: str
    present: Any
    proposed: Any
    measured: str
    why: str
    sure: str
    """high, medium or low."""

    @property
    def keeps(self) -> bool:
        """Whether the present value stays."""
        return bool(self.present == self.proposed)


def all_advice(measured: Measured) -> list[Advice]:
    """The advice, parameter by parameter."""
    old = measured.experiment.parameters.as_tree()
    new = changes(measured)
    texts = {"targ_rec": _of_detection, "criteria": _of_matching, "track": _of_tracking}
    result = []
    for section, of in texts.items():
        said = of(measured)
        for key, present in old[section].items():
            proposed = new.get(section, {}).get(key, present)
            if key in said or proposed != present:
                result.append(
                    Advice(section, key, present, proposed, *said.get(key, ("", "more particles above chance", "medium")))
                )
    return result


def _of_detection(measured: Measured) -> dict[str, tuple[str, str, str]]:
    if not measured.plateaus:
        return {}
    found = ", ".join(f"{threshold} ({_number(decline)})" for threshold, decline in measured.plateaus)
    clear = max(decline for _, decline in measured.plateaus) < 0.4
    return {
        "gvthres": (
            f"the number of targets depends least on the threshold at {found}, camera by camera",
            "in brackets: targets lost per threshold, both relative; from there on, the value with most particles above chance",
            "high" if clear else "medium: there is no clear plateau",
        ),
        "disco": (
            f"{measured.after.split} of {sum(measured.after.ghosts.found)} particles are halves of another one",
            "small values tell spots apart that touch; too small ones split a spot",
            "high",
        ),
    }


def _of_matching(measured: Measured) -> dict[str, tuple[str, str, str]]:
    ghosts, before = measured.after.ghosts, measured.before
    pixel = measured.experiment.parameters.ptv.pix_x
    then = "the present one cannot be matched" if before is None else f"{_ghosts(before.ghosts)} with the present parameters"
    return {
        "eps0": (
            f"{_number(measured.proposed.criteria.eps0 / pixel)} px; {_ghosts(ghosts)}; {then}",
            "the widest band that still has nearly the highest gain: particles minus twice the ghosts",
            "high" if ghosts.share < 0.1 else "low: many ghosts are expected",
        )
    }


def _of_tracking(measured: Measured) -> dict[str, tuple[str, str, str]]:
    motion, tracked = measured.motion, measured.tracked
    if motion.chains < ENOUGH:
        text = (f"{motion.chains} smooth chains of four frames", "too few to say anything", "low")
        return {"dvxmax": text, "dacc": text}
    result: dict[str, tuple[str, str, str]] = {}
    sure = "high" if motion.true_share > 0.5 and motion.chance_chains < 0.1 * motion.chains else "low: near the chance level"
    for axis, name in enumerate("xyz"):
        low, high = np.percentile(motion.displacement[:, axis], (0.3, 99.7))
        said = (
            f"99.4 % of {motion.chains} smooth chains move {_number(low)} to {_number(high)} mm; {_number(motion.chance_chains)} "
        )
        said += "of them are expected by chance"
        why = "must hold displacements, and accelerations around 0, since the tracker looks around what it predicts"
        result |= {f"dv{name}min": (said, why, sure), f"dv{name}max": (said, why, sure)}
    links = (
        f"links {tracked.present.links} now, {tracked.proposed.links} proposed; by chance {tracked.present.by_chance} and "
        f"{tracked.proposed.by_chance}"
    )
    median, most = np.percentile(motion.acceleration, (50, 99.7))
    result["dacc"] = (f"accelerations {_number(median)} (median), {_number(most)} (99.7 %); {links}", "holds nearly all", sure)
    turn = float(np.nanpercentile(motion.angle, 99.5))
    result["angle"] = (f"turns up to {_number(turn)} gon (99.5 %)", "counts only above a tenth of dacc", sure)
    return result


def findings(measured: Measured) -> list[str]:
    """What is to be said beside parameters, a sentence each."""
    return [*_calibration(measured), *_locking(measured), *_feasible(measured), *_dense(measured)]


def _calibration(measured: Measured) -> Iterator[str]:
    for camera, one in enumerate(measured.residuals, start=1):
        if len(one.off):
            mean = np.linalg.norm(np.median(one.off, axis=0))
            yield f"Camera {camera}: reprojection error {_number(one.rms)} px rms, median shift {_number(float(mean))} px."
    refined = measured.refined
    if refined is None:
        yield "Calibration: the cameras agree; refining them gains nothing."
        return
    yield (
        f"Calibration: the cameras disagree by {_number(refined.before)} px; refined on {refined.points} safe matches "
        f"{_number(refined.after)} px is left. Seen by all cameras within 1 px, of bright targets: {refined.agreed} -> "
        f"{refined.agree}. "
        + ("The parameters are for the refined ones." if measured.uses_refined else "Use --fix-calibration DIR.")
    )
    for hint in refined.hints:
        yield f"Calibration: {hint}."
    ptv = measured.experiment.parameters.ptv
    if ptv.mmp_n2 < ptv.mmp_n3:
        yield (
            f"Refractive indices: {ptv.mmp_n2:g} (glass) is less than {ptv.mmp_n3:g} (behind it): were they exchanged? "
            "A calibration that was made with them has them built in: calibrate anew before changing them."
        )


def _locking(measured: Measured) -> Iterator[str]:
    locked = [str(camera) for camera, one in enumerate(measured.locking, start=1) if one.locked]
    if locked:
        yield f"Peak locking: targets of camera {', '.join(locked)} prefer places in a pixel: spots are too small or too dim."


def _feasible(measured: Measured) -> Iterator[str]:
    motion = measured.motion
    if motion.chains < ENOUGH:
        yield f"Tracking: only {motion.chains} chains of four frames are smooth: frames are too far apart, or matches are chance."
        return
    typical = float(np.median(np.linalg.norm(motion.displacement, axis=1)))
    noise = ", ".join(_number(value) for value in motion.noise)
    ratio = typical / motion.spacing
    yield (
        f"Tracking: displacement {_number(typical)} mm, spacing {_number(motion.spacing)} mm, ratio {_number(ratio)}; "
        f"noise of a position in x, y, z {noise} mm."
    )
    if ratio > _FAR:
        yield f"Displacements are {_number(ratio)} of the spacing: twice the frame rate would halve that."
    depth = max(motion.noise)
    if math.isfinite(depth) and depth > typical:
        axis = "xyz"[int(np.argmax(motion.noise))]
        yield f"Noise in {axis}, {_number(depth)} mm, is above the displacement, {_number(typical)} mm: links there are guesses."


def _dense(measured: Measured) -> Iterator[str]:
    density = measured.density
    text = f"Density: {density.per_pixel:.4f} particles per pixel, {density.overlapping:.0%} of the spots overlap another one."
    if density.overlapping > _DENSE:
        text += " An iterative reconstruction (--method dense) finds the particles that are lost there."
    elif density.overlapping > _CROWDED:
        text += " Losses by overlap begin here."
    yield text


def report(measured: Measured) -> str:
    """The advice as text of at most 80 columns."""
    experiment = measured.experiment
    lines = [f"Advice for {experiment.source}", f"{len(measured.frames)} frames looked at, engine {measured.engine}", ""]
    for advice in all_advice(measured):
        value = "keep" if advice.keeps else f"-> {_shown(advice.proposed)}"
        lines += _wrapped(f"{advice.section}.{advice.key}: {_shown(advice.present)} {value}", "")
        lines += _wrapped(f"measured: {advice.measured}", "    ") if advice.measured else []
        lines += _wrapped(f"why: {advice.why}; sure: {advice.sure}", "    ")
    lines.append("")
    for finding in findings(measured):
        lines += _wrapped(finding, "  ", "- ")
    if measured.refined is not None:
        lines += ["", *_table(measured)]
    new = changes(measured)
    if not new:
        return "\n".join([*lines, "", "Nothing to change in the parameters."])
    in_yaml = experiment.source.suffix.lower() in YAML_SUFFIXES
    return "\n".join([*lines, "", "To paste:", "", yaml_lines(new) if in_yaml else par_lines(new)])


def _table(measured: Measured) -> list[str]:
    """The change of each value of the calibrations."""
    refined = measured.refined
    if refined is None:
        return []
    lines = ["Refined calibrations, change of each value:"]
    for camera, (old, new) in enumerate(zip(measured.present.calibrations, refined.calibrations, strict=True), start=1):
        before, after = values_of(old), values_of(new)
        parts = [
            f"{name} {after[name] - before[name]:+.3g}{' ' + UNITS[name] if name in UNITS else ''}" for name in refined.names
        ]
        lines += _wrapped(f"camera {camera}: {', '.join(parts)}", "  ")
    return lines


def as_tree(measured: Measured) -> dict[str, Any]:
    """Everything, for ``advice.json``; None for what is not known."""
    motion, refined = measured.motion, measured.refined
    tree = {
        "advice_version": 1,
        "parameters": str(measured.experiment.source),
        "engine": measured.engine,
        "frames": list(measured.frames),
        "advice": [asdict(advice) for advice in all_advice(measured)],
        "findings": findings(measured),
        "ghosts": {
            name: None if outcome is None else {"found": list(outcome.ghosts.found), "expected": list(outcome.ghosts.expected)}
            for name, outcome in (("present", measured.before), ("proposed", measured.after))
        },
        "calibration": {
            "rms_px": [one.rms for one in measured.residuals],
            "refined": None
            if refined is None
            else {"before_px": refined.before, "after_px": refined.after, "points": refined.points},
        },
        "motion": {
            "noise_mm": list(motion.noise),
            "spacing_mm": motion.spacing,
            "chains": motion.chains,
            "by_chance": motion.chance_chains,
        },
        "links": {"present": asdict(measured.tracked.present), "proposed": asdict(measured.tracked.proposed)},
        "density": asdict(measured.density),
    }
    cleaned: dict[str, Any] = _without_nan(tree)
    return cleaned


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _wrapped(text: str, indent: str, first: str | None = None) -> list[str]:
    start = indent if first is None else first
    return textwrap.wrap(text, _WIDTH, initial_indent=start, subsequent_indent=indent + ("" if first else "  "))


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _ghosts(ghosts: Any) -> str:
    return f"{sum(ghosts.found)} particles, {_number(sum(ghosts.expected))} of them ghosts"


def _number(value: float) -> str:
    return "unknown" if not math.isfinite(value) else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
