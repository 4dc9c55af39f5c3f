"""What the tests share.

Real data: the folder ``shared`` beside the checkout, or where the environment variable ``PYPTV_SHARED`` says. A test that
needs it is skipped where it is absent.

    shared              that folder
    cavity              a copy of the real experiment (4 cameras, frames 10000-10004) to work in
    golden(step)        what PyPTV writes for it after the step "sequence" or "tracking", as results() gives it
    small_experiment()  a copy of a small synthetic experiment (frames 10000-10005, 4 cameras, 320 x 256 px) to work in;
                        takes the options of pyptv.synthetic.make_experiment, such as n_cameras=2; its parameters are in
                        parameters/, or, with dialect="yaml" or where that dialect alone will do, in a YAML file; or in "both"
    batch               the entry points, one after the other: serial, and parallel with 2 processes:
                        batch(exp, first, last, **options) calls main(), batch.command(...) runs the command line

Plain functions, to import (``from conftest import results``): :func:`results`, :func:`run_python`, :func:`refusal` (why a
call is refused, or None), :func:`sample_tree`, the parameters of an experiment of 4 cameras as nested plain dictionaries, and
:func:`rounds`, how often something random is tried: more often where the environment variable PYPTV_LONG_TESTS is set.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from pyptv.core.base.machine import use_one_thread
from pyptv.kernels import cache
from pyptv.kernels.build import build

use_one_thread()  # before numpy is there: on small matrices the threads of BLAS cost ten times what they do
settings.register_profile("tests", deadline=None)  # a busy machine is no failure
settings.load_profile("tests")

SHARED = Path(os.environ.get("PYPTV_SHARED") or Path(__file__).parents[2] / "shared")
SMALL = {"n_frames": 6, "n_particles": 40, "image_size": (320, 256)}
RESULT_PATTERNS = ("res/rt_is.*", "res/ptv_is.*", "res/added.*", "img/*_targets")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile the kernels once, on all CPUs, before the processes of pytest-xdist import them: each would compile them all."""
    config = session.config
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput") and cache.installed():
        build([*cache.GROUPS])


@pytest.fixture(autouse=True, scope="session")
def _workers_are_forked_under_xdist() -> Iterator[None]:
    """pytest-xdist has a thread that waits for messages. It is no reason to spawn workers, which takes seconds each."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    from pyptv.core.execute import runners

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runners, "choose_start_method", lambda asked: asked or multiprocessing.get_start_method())
        yield


def rounds(usually: int, at_length: int) -> int:
    """How often something random is tried: enough to see that it works, or, where PYPTV_LONG_TESTS is set, to find the rare."""
    return at_length if os.environ.get("PYPTV_LONG_TESTS") else usually


def results(folder: Path) -> dict[str, bytes]:
    """The result files of an experiment: path within the folder -> bytes."""
    files = sorted(path for pattern in RESULT_PATTERNS for path in folder.glob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def run_python(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run this Python interpreter with some arguments; text in, text out, never a failure for a non-zero exit code."""
    defaults = {"capture_output": True, "text": True, "timeout": 120, "stdin": subprocess.DEVNULL}
    return subprocess.run([sys.executable, *map(str, arguments)], check=False, **(defaults | options))


def refusal(call: Callable[..., Any], *arguments: Any) -> str | None:
    """The message of the ProcessingError that a call raises; None where it raises none. Other errors pass."""
    from pyptv.core.base.errors import ProcessingError

    try:
        call(*arguments)
    except ProcessingError as error:
        return str(error)
    return None


def sample_tree() -> dict[str, Any]:
    """Valid parameters in the names of the YAML dialect."""
    names = [f"img/cam{camera}.%d" for camera in (1, 2, 3, 4)]
    return {
        "num_cams": 4,
        "ptv": {
            "img_name": [name % 1 for name in names],
            "img_cal": [f"cal/cam{camera}.tif" for camera in (1, 2, 3, 4)],
            "hp_flag": True,
            "allcam_flag": False,
            "tiff_flag": True,
            "imx": 1280,
            "imy": 1024,
            "pix_x": 0.012,
            "pix_y": 0.012,
            "chfield": 0,
            "mmp_n1": 1.0,
            "mmp_n2": 1.49,
            "mmp_n3": 1.33,
            "mmp_d": 6.0,
        },
        "sequence": {"base_name": names, "first": 1, "last": 9},
        "criteria": {
            "X_lay": [-40.0, 40.0],
            "Zmin_lay": [-20.0, -21.0],
            "Zmax_lay": [25.0, 26.0],
            "cnx": 0.02,
            "cny": 0.02,
            "cn": 0.02,
            "csumg": 0.02,
            "corrmin": 33.0,
            "eps0": 0.2,
        },
        "targ_rec": {
            "gvthres": [9, 10, 11, 12],
            "disco": 100,
            "nnmin": 4,
            "nnmax": 500,
            "nxmin": 2,
            "nxmax": 100,
            "nymin": 2,
            "nymax": 100,
            "sumg_min": 150,
            "cr_sz": 2,
        },
        "track": {
            "dvxmin": -15.5,
            "dvxmax": 15.5,
            "dvymin": -15.5,
            "dvymax": 15.5,
            "dvzmin": -15.5,
            "dvzmax": 15.5,
            "angle": 120.0,
            "dacc": 0.9,
            "flagNewParticles": True,
        },
        "pft_version": {"Existing_Target": False},
    }


@dataclass(frozen=True)
class Batch:
    """One of the entry points, with a number of processes."""

    module: str
    n_processes: int | None = None

    @property
    def parallel(self) -> bool:
        """Whether this is the parallel entry point."""
        return self.n_processes is not None

    def __call__(self, exp_path: Any, first: Any = None, last: Any = None, **options: Any) -> None:
        """Call ``main()`` in this process."""
        from importlib import import_module

        if self.parallel:
            options["n_processes"] = self.n_processes
        import_module(self.module).main(exp_path, first, last, **options)

    def arguments(self, exp_path: Any, first: int, last: int, *options: Any) -> list[str]:
        """What follows ``python`` on the command line."""
        processes = [self.n_processes] if self.parallel else []
        return [str(part) for part in ("-m", self.module, exp_path, first, last, *processes, *options)]

    def command(self, exp_path: Any, first: int, last: int, *options: Any, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        """Run the command line in a process of its own; ``kwargs`` go to :func:`subprocess.run`."""
        return run_python(*self.arguments(exp_path, first, last, *options), **kwargs)


@pytest.fixture(
    params=[
        pytest.param(Batch("pyptv.pyptv_batch"), id="serial"),
        pytest.param(Batch("pyptv.pyptv_batch_parallel", 2), id="parallel"),
    ]
)
def batch(request: pytest.FixtureRequest) -> Batch:
    """Each entry point in turn."""
    return request.param


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data."""
    if not SHARED.is_dir():
        pytest.skip(f"no real data: {SHARED} is absent (the environment variable PYPTV_SHARED names the folder)")
    return SHARED


@pytest.fixture
def cavity(shared: Path, tmp_path: Path) -> Path:
    """A copy of the experiment test_cavity without results."""
    return _copy(shared / "data" / "test_cavity", tmp_path / "test_cavity")


@pytest.fixture(scope="session")
def golden(shared: Path) -> Callable[[str], dict[str, bytes]]:
    """The reference results of test_cavity."""
    return lambda step: results(shared / "golden" / "test_cavity" / step)


@pytest.fixture(scope="session")
def _experiments(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Synthetic experiments, made once a session for each set of options."""
    from pyptv.synthetic import make_experiment

    made: dict[str, Path] = {}

    def experiment(**options: Any) -> Path:
        options = SMALL | options
        key = repr(sorted(options.items()))
        if key not in made:
            made[key] = make_experiment(tmp_path_factory.mktemp("synthetic") / "experiment", **options)
        return made[key]

    return experiment


@pytest.fixture
def small_experiment(_experiments: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """A factory of copies in tmp_path, ``name`` being their folder's."""

    def copy(name: str = "experiment", dialect: str = "par", **options: Any) -> Path:
        folder = _copy(_experiments(**options), tmp_path / name)
        parameters, yaml_file = folder / "parameters", folder / "parameters_synthetic.yaml"
        if dialect == "par" and parameters.exists():
            yaml_file.unlink()
        if dialect == "yaml" and parameters.exists():
            shutil.rmtree(parameters)
        return folder

    return copy


def _copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target, copy_function=shutil.copyfile)  # without the permissions: a copy can be written
    return target
