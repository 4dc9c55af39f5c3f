"""Where the compiled kernels are kept, so that a machine compiles them once for each version.

The folder is in the user's cache folder, or in the one that the environment variable ``PYPTV_KERNEL_CACHE`` names; never
in the package's own, which may be read-only. Its name says what the code in it was made from, so that nothing stale is ever
loaded; sums of the files tell whether they are whole. numba keeps machine code as pickles: a folder that others may write to
is not used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pyptv import __version__
from pyptv.core.files.atomic import digest

logger = logging.getLogger(__name__)

FOLDER_VARIABLE = "PYPTV_KERNEL_CACHE"
_FAMILY = "kernels-"
_BUILDING = ".building-"
_SUMS = "ready"
_KEEP_DAYS = 30
_OTHERS_WRITE = 0o022
_SAID = 300

ENTRY_MODULES = tuple(f"pyptv.kernels.{name}" for name in ("correspondence", "detection", "high_pass", "text", "tracking"))
"""The modules with functions that Python calls."""

Group = Literal["standard", "dense"]
"""Kernels that are compiled and loaded together, in a folder of their own: a run takes only those of its method."""

_DENSE = ("cells", "epipolar", "linking", "optics", "pairs", "peaks", "shake", "shapes", "spots")
DENSE_MODULES = tuple(f"pyptv.kernels.dense.{name}" for name in _DENSE)
"""Likewise, of the dense method."""

_BUILD = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from importlib import import_module
for name in json.loads(sys.argv[2]):
    import_module(name)
"""


class KernelsUnavailableError(Exception):
    """The kernels cannot be used here; the message says why."""


def installed() -> bool:
    """Whether numba and what else the kernels need is there; does not import it."""
    return all(find_spec(name) is not None for name in ("numba", "platformdirs"))


def group_of(module: str) -> Group:
    """The group that a module with kernels belongs to."""
    return "dense" if module.startswith("pyptv.kernels.dense.") else "standard"


def _modules(group: Group) -> tuple[str, ...]:
    return DENSE_MODULES if group == "dense" else ENTRY_MODULES


@cache
def chosen_folder(group: Group = "standard") -> Path:
    """The folder for this machine, program version, numba and processor; made, if it is not there.

    Raises:
        KernelsUnavailableError: there is no place for it that only this user can write to.
    """
    kind = "" if group == "standard" else f"{group}-"
    folder = _base() / f"{_FAMILY}{kind}{__version__}-numba{version('numba')}-{_fingerprint(group)}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        raise KernelsUnavailableError(
            f"{folder}: cannot be made ({error.strerror}): set {FOLDER_VARIABLE} to a folder"
        ) from error
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & _OTHERS_WRITE):
        raise KernelsUnavailableError(f"{folder}: others can write to it: set {FOLDER_VARIABLE} to a folder of your own")
    return folder


def ready(group: Group = "standard") -> bool:
    """Whether the kernels are compiled, and whole, so that they only need be loaded."""
    folder = chosen_folder(group)
    try:
        sums = json.loads((folder / _SUMS).read_text(encoding="utf-8"))
        return bool(sums == _sums(folder))
    except (OSError, ValueError):
        return False


def build(group: Group = "standard") -> float:
    """Compile all kernels of a group in a process of its own; returns the seconds that it took.

    They are compiled beside their folder and moved into its place when they are whole: other runs may be doing the same.

    Raises:
        KernelsUnavailableError: they cannot be compiled here.
    """
    start = time.perf_counter()
    folder = chosen_folder(group)
    try:
        with tempfile.TemporaryDirectory(prefix=_BUILDING, dir=folder.parent, ignore_cleanup_errors=True) as base:
            _compile(Path(base), group)
            made = Path(base) / folder.name
            made.mkdir(mode=0o700, exist_ok=True)
            (made / _SUMS).write_text(json.dumps(_sums(made)), encoding="utf-8")
            if not ready(group):  # another run may have been faster, or be so between these two lines
                shutil.rmtree(folder)
                made.rename(folder)
    except OSError as error:
        if not ready(group):
            raise KernelsUnavailableError(f"{folder}: the kernels cannot be kept here: {error.strerror or error}") from error
    _remove_old(folder)
    return time.perf_counter() - start


def _compile(base: Path, group: Group) -> None:
    """Compile all kernels of a group into the chosen folder's namesake in another place."""
    done = subprocess.run(  # noqa: S603 -- this interpreter, our own lines
        [sys.executable, "-P", "-c", _BUILD, json.dumps(sys.path), json.dumps(_modules(group))],
        env=os.environ | {FOLDER_VARIABLE: str(base)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise KernelsUnavailableError(f"the kernels cannot be compiled here: {said[-1][:_SAID]}")


def _sums(folder: Path) -> dict[str, str]:
    """File -> fingerprint of its bytes, for all files of a folder but the one that holds these."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _SUMS)
    return {path.relative_to(folder).as_posix(): digest(path.read_bytes()) for path in files}


@cache
def load(group: Group = "standard") -> None:
    """Load the machine code of all kernels of a group, once a process, and say what that cost."""
    start = time.perf_counter()
    for name in _modules(group):
        import_module(name)
    logger.debug("Kernels loaded in %.2f s", time.perf_counter() - start)


def _base() -> Path:
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named).absolute()
    from platformdirs import user_cache_path  # part of an extra

    path = user_cache_path("pyptv-batch", appauthor=False)
    if not path.is_absolute():
        raise KernelsUnavailableError(f"{path}: no place for a cache (is HOME right?): set {FOLDER_VARIABLE} to a folder")
    return path


def _fingerprint(group: Group) -> str:
    """What the machine code depends on besides the versions: the sources as they lie here, Python, the processor."""
    here = Path(__file__).parent
    sources = sorted([*here.glob("*.py"), *(here / group).glob("*.py")])
    parts = [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in sources]
    parts += [sys.implementation.cache_tag or "", platform.machine(), _processor()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    """The processor and its instruction sets: a folder may be shared by the unlike machines of a cluster."""
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
        return "\n".join(line for line in text.splitlines() if line.startswith(("model name", "flags", "Features", "CPU part")))
    return platform.processor()


def _remove_old(kept: Path) -> None:
    """Remove the kernels of other versions, and what was left half built, that nobody has touched for a month."""
    for other in (*kept.parent.glob(f"{_FAMILY}*"), *kept.parent.glob(f"{_BUILDING}*")):
        with suppress(OSError):
            if other != kept and not other.is_symlink() and time.time() - other.stat().st_mtime > _KEEP_DAYS * 86400:
                shutil.rmtree(other)
