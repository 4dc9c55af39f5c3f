"""The experiment of ``--demo``: created, processed like any other, and scored against its truth."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path

from pyptv.core.base.errors import ProcessingError
from pyptv.core.experiment.folder import load_experiment

logger = logging.getLogger(__name__)

DEFAULT_DIRECTORY = Path("pyptv-demo")
_N_FRAMES = 30
_N_PARTICLES = 1000


def prepare_demo(directory: Path | None = None) -> tuple[Path, int, int]:
    """Make the demo experiment, or find the one that an earlier demo made there. Nothing is ever deleted.

    Args:
        directory: default: ``pyptv-demo`` in the current directory.

    Returns:
        The experiment folder, its first and its last frame.

    Raises:
        ProcessingError: the folder contains something that is not a synthetic experiment.
    """
    from pyptv.synthetic import is_synthetic, make_experiment  # only a demo needs it

    folder = DEFAULT_DIRECTORY if directory is None else directory
    if not is_synthetic(folder):
        logger.info("Making a synthetic experiment of %d frames in %s: a few seconds", _N_FRAMES, folder)
        try:
            make_experiment(folder, _N_FRAMES, _N_PARTICLES)
        except ProcessingError as error:
            raise ProcessingError(f"demo: {error}") from error
    sequence = load_experiment(folder).parameters.sequence
    return folder, sequence.first, sequence.last


def score_text(exp_path: Path) -> str:
    """Text printed after the run: the score (or how to get it, if scipy is not installed) and the paths of the results."""
    from pyptv.evaluate import evaluate, truth_folder  # only a demo needs it
    from pyptv.evaluate.table import table, write_json
    from pyptv.report import missing

    results = [
        f"results:    {exp_path / 'res'}  (rt_is: particles, ptv_is: links)",
        f"truth:      {truth_folder(exp_path) / 'truth.csv'}",
    ]
    if find_spec("matplotlib") is not None:
        results.append(f"plots with: python -m pyptv evaluate {exp_path} --plot")
    if not missing():
        results.append(f"look at it: pyptv-report {exp_path}")
    try:
        score = evaluate(exp_path)
    except ProcessingError as error:
        return "\n".join([f"No score: {error}", *results])
    write_json(score, exp_path / "score.json")
    return "\n".join([table(score), *results, f"score:      {exp_path / 'score.json'}"])
