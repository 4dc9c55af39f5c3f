"""All numbers of an advice as a tree, for ``advice.json``: ``pyptv/core/record/advice.schema.json`` says what is in it."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from pyptv.advise.advice import Measured, changes
from pyptv.advise.calibration import values_of
from pyptv.advise.findings import disparities, findings
from pyptv.advise.sample import Outcome
from pyptv.advise.words import all_advice
from pyptv.core.record.advice_file import VERSION
from pyptv.measures.reprojection import disparity_map


def as_tree(measured: Measured) -> dict[str, Any]:
    """Everything; None for what is not known."""
    motion = measured.motion
    lengths = np.linalg.norm(motion.displacement, axis=1)
    tree = {
        "advice_version": VERSION,
        "parameters": str(measured.experiment.source),
        "engine": measured.engine,
        "frames": list(measured.frames),
        "for_refined": measured.uses_refined,
        "advice": [asdict(advice) for advice in all_advice(measured)],
        "changes": changes(measured),
        "findings": findings(measured),
        "ghosts": {"present": _ghosts(measured.before), "proposed": _ghosts(measured.after)},
        "calibration": {"cameras": _cameras(measured), "refined": _refined(measured)},
        "peak_locking": [asdict(one) for one in measured.locking],
        "motion": {
            "displacement_mm": float(np.median(lengths)) if len(lengths) else None,
            "noise_mm": list(motion.noise),
            "noise_settled": list(motion.noise_settled),
            "spacing_mm": motion.spacing,
            "chains": motion.chains,
            "by_chance": motion.chance_chains,
        },
        "links": {
            "present": asdict(measured.tracked.present),
            "proposed": asdict(measured.tracked.proposed),
            "both_ways": asdict(measured.both_ways),
        },
        "density": asdict(measured.density),
    }
    cleaned: dict[str, Any] = _without_nan(tree)
    return cleaned


def _ghosts(outcome: Outcome | None) -> dict[str, Any] | None:
    if outcome is None:
        return None
    return {"found": list(outcome.ghosts.found), "expected": list(outcome.ghosts.expected), "split": outcome.split}


def _cameras(measured: Measured) -> list[dict[str, Any]]:
    ptv = measured.experiment.parameters.ptv
    cameras = []
    for one, found in zip(measured.residuals, disparities(measured), strict=True):
        cells = disparity_map(one, (ptv.imx, ptv.imy))
        numbers, shift, _ = one.over_time()
        cameras.append(
            {
                "rms_px": one.rms,
                "shift_px": list(found.shift),
                "smooth_share": found.smooth,
                "drift_px": found.drift,
                "over_time": {"frame": numbers.tolist(), "shift_px": shift.tolist()},
                "map": {"x": cells.x.tolist(), "y": cells.y.tolist(), "shift_px": cells.shift.tolist()},
            }
        )
    return cameras


def _refined(measured: Measured) -> dict[str, Any] | None:
    refined = measured.refined
    if refined is None:
        return None
    pairs = zip(map(values_of, measured.present.calibrations), map(values_of, refined.calibrations), strict=True)
    return {
        "before_px": refined.before,
        "after_px": refined.after,
        "points": refined.points,
        "agreed": refined.agreed,
        "agree": refined.agree,
        "names": list(refined.names),
        "hints": list(refined.hints),
        "change": [{name: new[name] - old[name] for name in refined.names} for old, new in pairs],
    }


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
