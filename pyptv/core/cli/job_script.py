"""``--print-slurm``, ``--print-pbs``: a script that submits a job array, and a job that combines its parts."""

from __future__ import annotations

import math
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyptv import __version__
from pyptv.core.app.dense import is_dense
from pyptv.core.app.preflight import check_run
from pyptv.core.app.run import prepare, report_findings
from pyptv.core.base.errors import InvalidExperimentError
from pyptv.core.base.frames import FrameRange
from pyptv.core.base.options import Options
from pyptv.core.cli.check import Trial, try_first_frame
from pyptv.core.engines.choice import choose
from pyptv.core.history.parts import Part
from pyptv.core.record.progress import duration

_START = 120.0
"""Seconds until a job starts working: Python, kernels, listing the folder on a network disk."""

_SPARE = 2.0
"""Ratio of limit and estimate: a node may be slower than this machine."""

_LOOK = 0.005
"""Seconds that the final job needs to check the results of a frame."""

_SEAM = 64
"""Frames that are tracked again at a seam; if the runs do not agree, a whole part is."""

_SHORT, _LONG = 120.0, 4 * 3600.0
"""Parts that take less mostly wait in the queue; parts that take longer wait long for their turn."""

_FINISH_CPUS = 4
_MEMORY_MB = 1000
_KILOBYTES_PER_FRAME = 1.0

_PASSED_ON = (
    *("mode", "on_error", "engine", "method", "min_track", "self_calibration", "tracking", "hooks"),
    *("bit_depth", "page", "frame_timeout", "output", "scratch"),
)
_AT_THE_END = ("report", "postprocess")
"""Options of the job that combines the parts."""


@dataclass(frozen=True)
class Scheduler:
    """The commands of a batch system."""

    name: str
    submit: str
    """The command that submits the script on its standard input, and prints the number of the job."""
    array: str
    dependency: str
    resources: str
    """With ``{cpus}``, ``{memory}`` [MB] and ``{time}``."""
    index: str
    """The variable with the number of the part."""
    again: str
    """The command that runs some parts again."""


SLURM = Scheduler(
    "SLURM",
    "sbatch --parsable",
    "--job-name=pyptv-part --array=1-{parts} --output=pyptv-part-%a.log",
    '--job-name=pyptv-finish --dependency=afterany:"$array" --output=pyptv-finish.log',
    "--nodes=1 --ntasks=1 --cpus-per-task={cpus} --mem={memory}M --time={time} --signal=B:TERM@60",
    "SLURM_ARRAY_TASK_ID",
    "parts=3,7 bash THIS_FILE",
)
PBS = Scheduler(
    "PBS",
    "qsub",
    "-N pyptv-part -J 1-{parts} -j oe",
    '-N pyptv-finish -W depend=afterany:"$array" -j oe',
    "-l select=1:ncpus={cpus}:mem={memory}mb -l walltime={time}",
    "PBS_ARRAY_INDEX",
    "parts=3-7 bash THIS_FILE (two parts or more)",
)


def job_script(scheduler: Scheduler, n_parts: int, exp_path: Any, asked: tuple[int | None, int | None], options: Options) -> str:
    """The script, for the frames ``asked``, first and last, of an experiment.

    Raises:
        InvalidExperimentError: the run would not start.
        ValueError: there are fewer frames than parts.
    """
    options = replace(options, finish=True)  # refuses what parts cannot do
    experiment, frames = prepare(exp_path, *asked, options)
    part = Part(1, n_parts, frames)
    findings = check_run(experiment, frames, options)
    report_findings(findings)
    trial = None
    if options.processes and not is_dense(experiment, options):
        engine = choose(options, frames, may_compile=False).begun
        trial = try_first_frame(experiment, frames, options, engine, findings)
        if findings.problems:
            raise InvalidExperimentError(*findings.problems)
    named = experiment.source if experiment.source.suffix in {".yaml", ".yml"} else experiment.source.parent
    words = [str(named), str(frames[0]), str(frames[1]), *_options(options, _PASSED_ON)]
    return _script(scheduler, part, words, _options(options, _AT_THE_END), trial)


def _options(options: Options, names: tuple[str, ...]) -> list[str]:
    """Options of the run that differ from the defaults, as words of a command line."""
    words = []
    for name in names:
        value = getattr(options, name)
        if value == getattr(Options(), name):
            continue
        option = f"--{name.replace('_', '-')}"
        if name == "hooks":
            words += [word for hook in value for word in ("--hook", hook)]
        elif isinstance(value, bool):
            words.append(option if value else option.replace("--", "--no-"))
        else:
            words += [option, str(value.absolute() if isinstance(value, Path) else value)]
    return words


def _script(scheduler: Scheduler, part: Part, words: list[str], at_the_end: list[str], trial: Trial | None) -> str:
    (first, last), n_parts = part.whole, part.of
    seconds, finish, notes = None, None, []
    if trial is not None:
        seconds, finish = _seconds(part.whole, part.of, trial)
        notes = _notes(part, trial, seconds)
    of_part = {"cpus": 1, "memory": _MEMORY_MB, "time": _limit(seconds)}
    n_frames = last - first + 1
    memory = _MEMORY_MB * _FINISH_CPUS + round(n_frames * _KILOBYTES_PER_FRAME / 1000)
    of_finish = {"cpus": _FINISH_CPUS, "memory": memory, "time": _limit(finish)}
    run = shlex.join([sys.executable, "-m", "pyptv.pyptv_batch", *words])
    parallel = [sys.executable, "-m", "pyptv.pyptv_batch_parallel"]
    together = shlex.join([*parallel, *words, *at_the_end, "-j", str(_FINISH_CPUS)])
    array = scheduler.array.format(parts="PARTS").replace("1-PARTS", '"$parts"')
    return "\n".join(
        [
            "#!/bin/bash",
            f"# pyptv-batch {__version__}: {n_parts} parts of frames {first} to {last} as an array of {scheduler.name} jobs,",
            "# and a job that combines them once all have ended, even if some failed. Submit both:  bash THIS_FILE",
            f"# To run some parts again, and then combine all of them again:  {scheduler.again}",
            *(f"# {note}" for note in notes),
            "set -euo pipefail",
            "more=()  # options that your site requires of every job, such as (--partition=short --account=me)",
            f"parts=${{parts:-1-{n_parts}}}",
            "",
            f"array=$({scheduler.submit} \"${{more[@]}}\" {array} {scheduler.resources.format(**of_part)} << 'JOB'",
            "#!/bin/bash",
            *_in_place(scheduler),
            f'exec {run} --no-progress --part "${scheduler.index}/{n_parts}"',
            "JOB",
            ")",
            f"{scheduler.submit} \"${{more[@]}}\" {scheduler.dependency} {scheduler.resources.format(**of_finish)} << 'JOB'",
            "#!/bin/bash",
            *_in_place(scheduler),
            f"exec {together} --no-progress --finish",
            "JOB",
            "",
        ]
    )


def _in_place(scheduler: Scheduler) -> list[str]:
    return ['cd "$PBS_O_WORKDIR"'] if scheduler is PBS else []


def _seconds(frames: FrameRange, n_parts: int, trial: Trial) -> tuple[float, float]:
    """Expected seconds of a part, and of combining the parts."""
    n_frames = frames[1] - frames[0] + 1
    part = -(-n_frames // n_parts) * (trial.sequence + trial.tracking)
    finish = (n_frames * _LOOK + n_parts * _SEAM * trial.tracking) / _FINISH_CPUS
    return part + _START, finish + _START


def _notes(part: Part, trial: Trial, seconds: float) -> list[str]:
    per_frame = trial.sequence + trial.tracking
    work = seconds - _START
    measured = f"Estimated from the first frame, on this machine, engine {trial.engine}"
    notes = [f"{measured}: {per_frame * 1000:.0f} ms per frame, {duration(work)} per part."]
    n_frames = part.whole[1] - part.whole[0] + 1
    if work < _SHORT and part.of > 1:
        fewer = max(1, math.floor(n_frames * per_frame / (5 * _SHORT)))
        parts = f"{fewer} part{'s' if fewer > 1 else ''}"
        notes.append(f"Jobs this short mostly wait in the queue: {parts} of some minutes would be better.")
    elif work > _LONG:
        more = min(n_frames, math.ceil(n_frames * per_frame / 3600))
        notes.append(f"Long jobs wait long in the queue: {more} parts of an hour each would start sooner.")
    return notes


def _limit(seconds: float | None) -> str:
    """A time limit with a margin, in multiples of five minutes; a day if there is no estimate."""
    minutes = 1440 if seconds is None else 5 * math.ceil(_SPARE * seconds / 300)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:00"
