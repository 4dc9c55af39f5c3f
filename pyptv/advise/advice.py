"""The whole advice for an experiment: what was measured, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pyptv.advise.calibration import Refined, correct
from pyptv.advise.filters import Tried, best_filters
from pyptv.advise.limits import Tracked, best_limits
from pyptv.advise.sample import Outcome, Sample, Setting, Tell
from pyptv.advise.search import THRESHOLDS, WORTH, best_band, best_setting, count_targets, plateau
from pyptv.core.base.errors import FrameError, InvalidExperimentError, ProcessingError
from pyptv.core.base.options import Engine
from pyptv.core.experiment.folder import Experiment
from pyptv.core.images.grey_values import decide
from pyptv.kernels import build, cache
from pyptv.measures.bench import Workbench
from pyptv.measures.density import Density, density
from pyptv.measures.detection import PeakLocking, peak_locking
from pyptv.measures.frames import MatchedFrame, sample
from pyptv.measures.likeness import Likeness, likeness
from pyptv.measures.linking import BothWays, both_ways
from pyptv.measures.motion import Motion, measure_motion
from pyptv.measures.reprojection import Residuals, residuals

_PLACES, _CONSECUTIVE = 3, 6
_COMPARED = 3
"""Frames that settings are compared on."""
_START_DISCO = 12
_MOST_RAISES = 6
"""By a third each. Spots above much higher thresholds are not those that the user asked about."""
_BOTH_WAYS = 5
"""Frames that are tracked forward and backward."""


@dataclass(frozen=True, eq=False)
class Measured:
    """All that was measured at an experiment."""

    experiment: Experiment
    engine: Engine
    frames: tuple[int, ...]
    present: Setting
    proposed: Setting
    before: Outcome | None
    """With the present setting; None where the engine cannot match with it."""
    after: Outcome
    plateaus: tuple[tuple[int, float], ...]
    """Per camera the threshold where the number of targets depends least on it, and how much."""
    locking: tuple[PeakLocking, ...]
    residuals: tuple[Residuals, ...]
    """With the present calibrations."""
    refined: Refined | None
    """Better calibrations, if there are any."""
    with_refined: Outcome | None
    """The result with them, with the best setting for them."""
    uses_refined: bool
    """Whether the proposed setting is for them."""
    motion: Motion
    tracked: Tracked
    density: Density
    likeness: Likeness
    """With the proposed setting."""
    tried: tuple[Tried, ...]
    """Limits that were changed last while looking for a gain."""
    both_ways: BothWays
    """With the proposed setting and limits."""


def choose_engine(asked: str, tell: Tell = lambda _: None) -> Engine:
    """The compiled kernels where they are available, compiled now if they are not ready; else optv, which holds fewer spots.

    Raises:
        InvalidExperimentError: they are requested, and not available.
    """
    try:
        if asked != "optv" and cache.installed():
            if not cache.ready():
                tell("compiling (once, about a minute)")
                build.build()
            if cache.ready():
                return "compiled"
    except cache.KernelsUnavailableError as error:
        if asked == "compiled":
            raise InvalidExperimentError(f"--engine compiled: {error}") from error
    if asked == "compiled":
        raise InvalidExperimentError('the compiled engine needs numba: pip install "pyptv-batch[fast]"')
    return "optv"


def measure(
    experiment: Experiment,
    frames: tuple[int, int],
    *,
    engine: str = "auto",
    tell: Tell = lambda _: None,
    fix_calibration: bool = False,
) -> Measured:
    """Measure a sample of the frames of an experiment, and find better parameters. Nothing is written.

    Args:
        experiment: two to four cameras.
        frames: first and last.
        engine: auto, optv or compiled.
        tell: called with a description of the present step.
        fix_calibration: propose parameters for the refined calibrations instead of the present ones.

    Raises:
        ProcessingError: a frame of the sample cannot be read, or there are too few cameras or particles.
    """
    if experiment.num_cams < 2:
        raise InvalidExperimentError(f"{experiment.source}: found one camera, expected two to four: nothing can be matched")
    work = _sample(experiment, frames, engine, tell)
    present = work.present
    starts, plateaus = _starts(work)
    tell("looking for calibrations that agree better")
    refined = correct(work, _bright(starts))
    tell("matching with different bands")
    with_refined = None
    if refined is not None:
        better = _best_start(work, [replace(start, calibrations=refined.calibrations) for start in starts])
        with_refined = work.outcome(better)
    proposed = better if fix_calibration and refined is not None else _best_start(work, starts)
    tell("comparing thresholds and bands")
    proposed = best_setting(work, proposed)
    proposed, tried = best_filters(work, proposed)
    own = present if not (fix_calibration and refined) else replace(present, calibrations=proposed.calibrations)
    if not work.gain(proposed) > WORTH * work.gain(own):
        proposed = own
    after = work.outcome(proposed, final=True)
    if after is None:
        raise ProcessingError("no setting was found with which these frames can be matched")
    tell("measuring motion")
    runs = work.run_frames(proposed)
    motion = measure_motion(runs)
    tell("tracking with different limits")
    tracked = best_limits(work.at(proposed), runs, motion, experiment.parameters.track)
    together = [frame for run in runs for frame in run]
    old = experiment.parameters
    return Measured(
        experiment=experiment,
        engine=work.bench.engine,
        frames=tuple(sorted({*work.numbers, *(number for run in work.runs for number in run)})),
        present=present,
        proposed=proposed,
        before=work.outcome(present, final=True),
        after=after,
        plateaus=plateaus,
        locking=tuple(peak_locking([frame.targets[camera] for frame in together]) for camera in range(experiment.num_cams)),
        residuals=residuals(_for_residuals(work, proposed, after), old, present.calibrations),
        refined=refined,
        with_refined=with_refined,
        uses_refined=fix_calibration and refined is not None,
        motion=motion,
        tracked=tracked,
        density=density(together),
        likeness=likeness(after.frames),
        tried=tried,
        both_ways=both_ways(work.at(proposed).with_track(tracked.limits), [runs[0][:_BOTH_WAYS]]),
    )


def _sample(experiment: Experiment, frames: tuple[int, int], engine: str, tell: Tell) -> Sample:
    first, last = frames
    runs = sample(first, last, _PLACES, _CONSECUTIVE)
    several = [number for run in runs for number in run]
    compared = sorted({several[place] for place in np.linspace(0, len(several) - 1, _COMPARED).round().astype(int)})
    work = Sample(Workbench(experiment, choose_engine(engine, tell), decide(experiment).settings), compared, runs, tell)
    for number in compared:
        tell(f"reading frame {number}")
        if not work.reads_targets:
            work.images(number)
    return work


def _starts(work: Sample) -> tuple[list[Setting], tuple[tuple[int, float], ...]]:
    """Where the search begins: thresholds on the plateau of the count, and the present ones; and the plateaus."""
    present = work.present
    if work.reads_targets:
        return [present], ()
    work.tell("counting targets over thresholds")
    places = [plateau(counts) for counts in count_targets(work)]
    plateaus = tuple((THRESHOLDS[place], decline) for place, decline in places)
    n = len(present.detection.gvthres)
    values = tuple(plateaus[min(camera, len(plateaus) - 1)][0] for camera in range(n))
    first = replace(present, detection=replace(present.detection, gvthres=values, disco=_START_DISCO))
    other = replace(present, detection=replace(present.detection, disco=min(_START_DISCO, present.detection.disco)))
    starts = [start for start in (_detectable(work, first), _detectable(work, other)) if start is not None]
    if not starts:
        raise ProcessingError(
            f"more spots in an image than engine {work.bench.engine} is sure to hold, even with thresholds raised from "
            f"{' '.join(map(str, other.detection.gvthres))} {_MOST_RAISES - 1} times by a third: use --engine compiled "
            '(pip install "pyptv-batch[fast]")'
        )
    return starts, plateaus


def _detectable(work: Sample, setting: Setting) -> Setting | None:
    """The setting with thresholds as high as the engine needs them; None where these would be much higher."""
    for _ in range(_MOST_RAISES):
        try:
            for number in work.numbers:
                work.targets(number, setting.detection)
        except FrameError:
            raised = tuple(min(254, value + max(1, value // 3)) for value in setting.detection.gvthres)
            setting = replace(setting, detection=replace(setting.detection, gvthres=raised))
        else:
            return setting
    return None


def _bright(starts: Sequence[Setting]) -> Setting:
    """The first setting with the highest threshold of each camera: what calibrations are refined on should be no noise."""
    highest = tuple(map(max, zip(*(start.detection.gvthres for start in starts), strict=True)))
    return replace(starts[0], detection=replace(starts[0].detection, gvthres=highest))


def _best_start(work: Sample, starts: Sequence[Setting]) -> Setting:
    return max((best_band(work, start) for start in starts), key=work.gain)


def _for_residuals(work: Sample, setting: Setting, outcome: Outcome) -> Sequence[MatchedFrame]:
    """Frames matched with the present calibrations, in a band that is wide enough for them."""
    if setting.calibrations == work.present.calibrations:
        return outcome.frames
    present = best_band(work, replace(setting, calibrations=work.present.calibrations))
    wide = max(present.criteria.eps0, work.present.criteria.eps0)
    return [work.matched(number, present.with_eps0(wide)) for number in work.numbers]


def changes(measured: Measured) -> dict[str, dict[str, Any]]:
    """The parameters that are to be changed, in the names of the YAML dialect: section -> key -> value."""
    old, new = measured.experiment.parameters.as_tree(), _new_tree(measured)
    found: dict[str, dict[str, Any]] = {}
    for section in ("targ_rec", "criteria", "track"):
        differ = {key: value for key, value in new[section].items() if value != old[section][key]}
        if differ:
            found[section] = differ
    return found


def _new_tree(measured: Measured) -> dict[str, Any]:
    proposed = measured.proposed
    criteria = replace(proposed.criteria, eps0=float(f"{proposed.criteria.eps0:.2g}"))
    if proposed.criteria.eps0 == measured.present.criteria.eps0:
        criteria = proposed.criteria
    parameters = measured.experiment.parameters
    return replace(parameters, targ_rec=proposed.detection, criteria=criteria, track=measured.tracked.limits).as_tree()
