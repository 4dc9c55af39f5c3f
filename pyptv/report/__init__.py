"""The report of a run: ``res/report.html``, one self-contained file.

    from pyptv.report import write_report
    write_report("experiment")

or ``pyptv-report experiment``. Needs matplotlib, Jinja2 and jsonschema: ``pip install "pyptv-batch[report]"``.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pyptv.core.base.errors import ProcessingError

FILE_NAME, COMPARISON = "report.html", "comparison.html"

_NEEDED = ("jinja2", "jsonschema", "matplotlib", "scipy")


def missing() -> list[str]:
    """Modules of the extra ``report`` that are not installed; checked without loading them."""
    return [name for name in _NEEDED if find_spec(name) is None]


def require() -> None:
    """Check that the extra ``report`` is installed, without loading it.

    Raises:
        ProcessingError: it is not installed; the message states how to install it.
    """
    if names := missing():
        raise ProcessingError(f'a report needs {" and ".join(names)}: pip install "pyptv-batch[report]"')


def write_report(
    exp_path: str | Path,
    *,
    output: str | Path | None = None,
    frame: int | None = None,
    frame_rate: float | None = None,
    statistics: bool = False,
    postprocess: bool = False,
) -> Path:
    """Write the report of an experiment that has been processed, by this program or by PyPTV.

    Args:
        exp_path: the experiment folder, a YAML parameter file in it, or the output folder of a run.
        output: the file to write; None: ``res/report.html`` of the experiment.
        frame: whose images to show; None: one in the middle.
        frame_rate: frames per second, for speeds in mm/s; None: ``sequence.frame_rate`` of the parameters, if known.
        statistics: whether to show Lagrangian statistics of velocity and acceleration as well.
        postprocess: whether to show the effect of post-processing; the statistics then use post-processed trajectories.

    Returns:
        The file that was written, complete or not at all.

    Raises:
        ProcessingError: the extra is not installed, the experiment is not valid, it has not been processed, the frame
            has no results, or the file cannot be written.
    """
    require()
    from pyptv.core.experiment.folder import load_experiment  # with what it needs, after the check
    from pyptv.report.page import render

    experiment = load_experiment(exp_path)
    page = render(experiment, frame, frame_rate, statistics=statistics, postprocess=postprocess)
    return _write(page, experiment.results / FILE_NAME if output is None else Path(output))


def write_comparison(exp_paths: Sequence[str | Path], *, output: str | Path | None = None) -> Path:
    """Write a page that shows several processed experiments, or outputs of runs, side by side.

    Args:
        exp_paths: two to eight paths as for :func:`write_report`.
        output: the file to write; None: ``res/comparison.html`` of the first one.

    Returns:
        The file that was written, complete or not at all.

    Raises:
        ValueError: fewer than two, or more than eight.
        ProcessingError: as for :func:`write_report`.
    """
    require()
    from pyptv.core.experiment.folder import load_experiment
    from pyptv.report.compare import MOST_RUNS, render_comparison

    if not 2 <= len(exp_paths) <= MOST_RUNS:
        raise ValueError(f"a comparison needs 2 to {MOST_RUNS} runs, got {len(exp_paths)}")
    experiments = [load_experiment(path) for path in exp_paths]
    page = render_comparison(experiments)
    return _write(page, experiments[0].results / COMPARISON if output is None else Path(output))


def _write(page: str, path: Path) -> Path:
    from pyptv.core.files.atomic import write_atomic  # with what it needs, after the check

    try:
        write_atomic(path, page.encode("utf-8", "replace"))
    except OSError as error:
        raise ProcessingError(f"{path}: the report cannot be written: {error.strerror or error}") from error
    return path
