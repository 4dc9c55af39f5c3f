"""The storage of compiled kernels, so that a machine compiles them once per version.

The folder is in the user's cache folder, or in the one that the environment variable ``PYPTV_KERNEL_CACHE`` names; never
in the package's own, which may be read-only. Its name identifies the source of the code, so that outdated code is never
loaded. Kernels are compiled and loaded in groups; the list of a group's files, with their checksums, shows that it is complete.
numba stores machine code as pickles, so a folder that other users may write to is not used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from pyptv import __version__
from pyptv.core.files.atomic import digest

logger = logging.getLogger(__name__)

FOLDER_VARIABLE = "PYPTV_KERNEL_CACHE"
FAMILY = "kernels-"
_SUMS = "ready-"
_OTHERS_WRITE = 0o022
_BLAS = "scipy.linalg.cython_blas"

GROUPS: dict[str, tuple[str, ...]] = {
    name: tuple(f"pyptv.kernels.{module}" for module in modules)
    for name, modules in {
        "tracking": ("tracking.step",),
        "frames": ("tracking.frames", "tracking.reach", "tracking.scene"),
        "matching": ("matching.correspondence",),
        "detection": ("images.detection",),
        "single": ("matching.single_camera",),
        "filter": ("images.high_pass",),
        "text": ("text",),
        "dense-fit": ("dense.shake", "dense.pixels", "dense.shapes", "dense.spots", "dense.pairs"),
        "dense-search": ("dense.cells", "dense.epipolar", "dense.peaks", "dense.sightlines"),
        "dense-links": ("dense.linking", "dense.optics"),
    }.items()
}
"""Name -> modules with functions called from Python.

Each group is compiled by a separate process, which leaves the modules of other groups alone. They begin in this order: those for
tracking first, which gain most, then those that take longest, so that all CPUs end together.
"""

FOR_SEQUENCE = ("detection", "filter", "matching", "single")
FOR_TRACKING = ("tracking", "frames")
"""The groups that the two steps need."""
FOR_TEXT = ("text",)
"""Used when available; until then Python reads and writes the same tables."""
_DENSE = ("dense-fit", "dense-search", "dense-links")
FOR_DENSE = (*FOR_TEXT, *_DENSE)
"""Those of the dense method: compiled and loaded only for it."""


class KernelsUnavailableError(Exception):
    """The kernels cannot be used here; the message says why."""


def installed() -> bool:
    """Whether numba and the other requirements of the kernels are installed, without importing them."""
    return all(find_spec(name) is not None for name in ("numba", "platformdirs"))


@cache
def chosen_folder() -> Path:
    """The folder for this machine, program version, numba and processor; created if it does not exist.

    Raises:
        KernelsUnavailableError: there is no location that only this user can write to.
    """
    folder = _base() / f"{FAMILY}{__version__}-numba{version('numba')}-{_fingerprint()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        raise KernelsUnavailableError(
            f"{folder}: cannot be created ({error.strerror}): set {FOLDER_VARIABLE} to a folder"
        ) from error
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & _OTHERS_WRITE):
        raise KernelsUnavailableError(f"{folder}: others can write to it: set {FOLDER_VARIABLE} to a folder of your own")
    return folder


def ready(groups: Iterable[str] | None = None) -> bool:
    """Whether groups (None: all of the standard method) are compiled and complete, so that they only have to be loaded."""
    return not missing(groups)


def missing(groups: Iterable[str] | None = None) -> list[str]:
    """The groups (None: of the standard method) that are not compiled, or not complete."""
    folder = chosen_folder()
    wanted = [group for group in GROUPS if group not in _DENSE] if groups is None else groups
    return [group for group in wanted if not _is_whole(folder, group)]


def sums(folder: Path, files: Iterable[str]) -> bytes:
    """The contents of :func:`sums_path` for a group's files, given as paths below a folder."""
    return json.dumps({name: digest((folder / name).read_bytes()) for name in files}).encode()


def sums_path(folder: Path, group: str) -> Path:
    """The list of a group's files."""
    return folder / f"{_SUMS}{group}"


def _is_whole(folder: Path, group: str) -> bool:
    try:
        expected = json.loads(sums_path(folder, group).read_bytes())
        return all(digest((folder / name).read_bytes()) == found for name, found in expected.items())
    except (OSError, ValueError, AttributeError):
        return False


def load(groups: Iterable[str]) -> None:
    """Load the machine code of groups, once per process, and log the time."""
    for group in groups:
        _load(group)


@cache
def _load(group: str) -> None:
    start = time.perf_counter()
    for name in GROUPS[group]:
        import_module(name)
    logger.debug("Kernels for %s loaded in %.2f s", group, time.perf_counter() - start)


def import_numba_alone() -> None:
    """Import numba as if scipy had no BLAS: its import takes a third of the time, and no kernel multiplies matrices.

    For processes in which no other program uses numba.
    """
    if _BLAS in sys.modules:
        return
    sys.modules[_BLAS] = None  # type: ignore[assignment]  # to Python: cannot be imported
    try:
        import_module("numba.np.arraymath")
    finally:
        del sys.modules[_BLAS]


def _base() -> Path:
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named).absolute()
    from platformdirs import user_cache_path  # part of an extra

    path = user_cache_path("pyptv-batch", appauthor=False)
    if not path.is_absolute():
        raise KernelsUnavailableError(f"{path}: no place for a cache (is HOME right?): set {FOLDER_VARIABLE} to a folder")
    return path


def _fingerprint() -> str:
    """Fingerprint of further dependencies of the machine code: the installed sources, Python, the processor."""
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    parts = [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in sources]
    parts += [sys.implementation.cache_tag or "", platform.machine(), _processor()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    """The processor and its instruction sets: a folder may be shared by different machines of a cluster."""
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
        return "\n".join(line for line in text.splitlines() if line.startswith(("model name", "flags", "Features", "CPU part")))
    return platform.processor()
