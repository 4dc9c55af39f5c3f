"""The advice in words: for each parameter what there is, what was measured, what to take, why, and how sure."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from pyptv.advise.advice import Measured, changes
from pyptv.advise.calibration import UNITS, values_of
from pyptv.advise.filters import RATIOS, SIZES
from pyptv.advise.findings import findings, in_words
from pyptv.advise.limits import ENOUGH
from pyptv.advise.write import par_lines, yaml_lines
from pyptv.core.experiment.parameters.dialects import YAML_SUFFIXES
from pyptv.measures.motion import Motion

_WIDTH = 80
_MOSTLY_CHANCE, _FEW = 0.1, 0.4
"""Share of chains by chance, of particles in chains: from there on limits are not sure."""


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
    places = ", ".join(str(threshold) for threshold, _ in measured.plateaus)
    losses = ", ".join(in_words(decline) for _, decline in measured.plateaus)
    depends = f"camera by camera, the number of targets depends least on the threshold at {places}"
    clear = max(decline for _, decline in measured.plateaus) < 0.4
    return {
        "gvthres": (
            f"{depends}: raising it by 1 % loses {losses} % of them there",
            "the search starts there, and takes the values with the highest gain: particles minus twice the ghosts",
            "high" if clear else "medium (there is no clear plateau)",
        ),
        "disco": (
            f"particles that are the second half of a split one: {measured.after.split} of {sum(measured.after.ghosts.found)}",
            "small values separate spots that touch; values that are too small split a spot",
            "high",
        ),
    } | _of_sizes(measured)


def _of_sizes(measured: Measured) -> dict[str, tuple[str, str, str]]:
    extent = measured.likeness.extent
    sizes = ", ".join(f"{name} {in_words(extent[name][0])} to {in_words(extent[name][1])} px" for name in ("n", "nx", "ny"))
    why = "the limits must include the targets of particles; last tried: " + _tried(measured, SIZES)
    upper = (f"99 % of the targets in safe matches have {sizes}", why, "high")
    low, high = extent["sumg"]
    bright = (
        f"99 % of the targets in safe matches have sums of grey values of {in_words(low)} to {in_words(high)}",
        "lowered as long as the gain rises; last tried: " + _tried(measured, ("sumg_min",)),
        "high",
    )
    return dict.fromkeys(("nnmin", *SIZES), upper) | {"sumg_min": bright}


def _tried(measured: Measured, keys: tuple[str, ...]) -> str:
    """What other values of some limits did to the gain."""
    found = [f"x {one.factor:g} (gain {100 * one.change:+.1f} %)" for one in measured.tried if one.keys == keys]
    return ", ".join(found) or "no other value"


def _of_matching(measured: Measured) -> dict[str, tuple[str, str, str]]:
    ghosts, before = measured.after.ghosts, measured.before
    pixel = measured.experiment.parameters.ptv.pix_x
    then = "no matching is possible" if before is None else _ghosts(before.ghosts)
    return {
        "eps0": (
            f"{in_words(measured.proposed.criteria.eps0 / pixel)} px: {_ghosts(ghosts)}; with the present parameters {then}",
            "the widest band that still has nearly the highest gain: particles minus twice the ghosts",
            "high" if ghosts.share < 0.1 else "low (many ghosts are expected)",
        )
    } | _of_likeness(measured)


def _of_likeness(measured: Measured) -> dict[str, tuple[str, str, str]]:
    ratio = measured.likeness.ratio
    said = ", ".join(f"c{name} {in_words(ratio[name])}" for name in ("nx", "ny", "n", "sumg"))
    alike = (
        f"in 99 % of the pairs of targets in safe matches the ratio is above {said}",
        "higher limits lose true matches; last tried: " + _tried(measured, RATIOS),
        "medium (pairs below the present limits are not seen)",
    )
    return dict.fromkeys(RATIOS, alike) | {
        "corrmin": ("", f"matches of lower quality are discarded; last tried: {_tried(measured, ('corrmin',))}", "medium")
    }


def _of_tracking(measured: Measured) -> dict[str, tuple[str, str, str]]:
    motion, tracked = measured.motion, measured.tracked
    if motion.chains < ENOUGH:
        text = (f"{motion.chains} smooth chains of four frames", "too few to propose limits", "low")
        return {"dvxmax": text, "dacc": text}
    result: dict[str, tuple[str, str, str]] = {}
    sure = _sure_of_motion(motion)
    for axis, name in enumerate("xyz"):
        low, high = np.percentile(motion.displacement[:, axis], (0.3, 99.7))
        said = (
            f"99.4 % of {motion.chains} smooth chains of four frames move {in_words(low)} to {in_words(high)} mm along {name}; "
        )
        said += f"{in_words(motion.chance_chains)} chains are expected by chance"
        why = "the limits must include all displacements, and accelerations on both sides of 0: the tracker adds both"
        result |= {f"dv{name}min": (said, why, sure), f"dv{name}max": (said, why, sure)}
    links = (
        f"{tracked.present.links} links with the present limits, {tracked.proposed.links} with the proposed ones; between "
        f"displaced frames, where all are by chance, {tracked.present.by_chance} and {tracked.proposed.by_chance}"
    )
    median, most = np.percentile(motion.acceleration, (50, 99.7))
    result["dacc"] = (
        f"accelerations {in_words(median)} (median) and {in_words(most)} (99.7 %) mm/frame^2; {links}",
        "includes nearly all accelerations; wider or narrower where that gains links above chance",
        sure,
    )
    turn = float(np.nanpercentile(motion.angle, 99.5))
    result["angle"] = (
        f"direction changes by up to {in_words(turn)} gon (99.5 %)",
        "applies only where the acceleration is above a tenth of dacc",
        sure,
    )
    return result


def _sure_of_motion(motion: Motion) -> str:
    if motion.chance_chains > _MOSTLY_CHANCE * motion.chains:
        return "low (near the chance level)"
    if motion.true_share < _FEW:
        return f"medium (only {100 * motion.true_share:.0f} % of the particles are in smooth chains)"
    return "high"


def report(measured: Measured) -> str:
    """The advice as text of at most 80 columns."""
    experiment = measured.experiment
    frames = f"{len(measured.frames)} frames between {measured.frames[0]} and {measured.frames[-1]}"
    lines = [f"Advice for {experiment.source}", f"from a sample of {frames}; engine {measured.engine}", ""]
    for _, group in groupby(all_advice(measured), key=lambda one: (one.section, one.measured, one.why, one.sure)):
        lines += _block(list(group))
    lines.append("")
    for finding in findings(measured):
        lines += _wrapped(finding, "  ", "- ")
    if measured.refined is not None:
        lines += ["", *_table(measured)]
    new = changes(measured)
    if not new:
        return "\n".join([*lines, "", "No parameter needs to be changed."])
    in_yaml = experiment.source.suffix.lower() in YAML_SUFFIXES
    paste = ("Changes, to paste:", yaml_lines(new)) if in_yaml else ("Lines to change:", par_lines(new))
    return "\n".join([*lines, "", paste[0], "", paste[1]])


def _block(group: list[Advice]) -> list[str]:
    """Parameters that are judged by the same measure: what is proposed, then why."""
    first = group[0]
    values = [f"{one.key} {_shown(one.present)} {'keep' if one.keeps else f'-> {_shown(one.proposed)}'}" for one in group]
    lines = _wrapped(f"{first.section}: {'; '.join(values)}", "")
    lines += _wrapped(f"measured: {first.measured}", "    ") if first.measured else []
    return lines + _wrapped(f"why: {first.why}. Confidence: {first.sure}", "    ")


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


def _wrapped(text: str, indent: str, first: str | None = None) -> list[str]:
    start = indent if first is None else first
    return textwrap.wrap(text, _WIDTH, initial_indent=start, subsequent_indent=indent + ("" if first else "  "))


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _ghosts(ghosts: Any) -> str:
    return f"{sum(ghosts.found)} particles, {in_words(sum(ghosts.expected))} of them ghosts"
