"""Compiling the kernels: a process for each group, as many at a time as there are CPUs; here, or in the background.

One process of a machine compiles at a time. A lock ensures this, and is released when its holder ends. Code is written to a
temporary folder and moved into place when it is complete; the list of its files, which marks a group as present, comes last. So
a killed build leaves complete groups or nothing, and the next build removes its temporary files.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pyptv.core.base.machine import usable_cpus
from pyptv.core.files.atomic import write_atomic
from pyptv.core.files.locks import HeldError, lock
from pyptv.kernels import cache
from pyptv.kernels.cache import FAMILY, FOLDER_VARIABLE, KernelsUnavailableError, chosen_folder, missing, ready

_LOCK = "building.lock"
_PLACE = "building"
_FAILED = "failed"
_KEEP_DAYS = 30
_SAID = 300
_PAUSE = 0.05
LONGEST = 1200.0
"""Maximum seconds for compiling a group, and for waiting for another process that compiles."""
_NICENESS = 5
"""Niceness of a background build. With more it would end after the run that it should speed up."""

_COMPILE = """
import gc, json, os, sys, threading, time
gc.disable()  # the compiler's many small objects live as long as the process
sys.path[:] = json.loads(sys.argv[1])
def look_for_parent(started_by):
    while os.getppid() == started_by:
        time.sleep(0.5)
    os._exit(1)
if os.name == "posix":
    threading.Thread(target=look_for_parent, args=(int(sys.argv[3]),), daemon=True).start()
from importlib import import_module
modules = json.loads(sys.argv[2])
import_module("pyptv.kernels.jit").compile_only(modules)
for name in modules:
    import_module(name)
"""

_DETACHED = """
import json, os, sys
sys.path[:] = json.loads(sys.argv[1])
if hasattr(os, "fork"):
    if os.fork():
        os._exit(0)
    os.nice(int(sys.argv[2]))
from pyptv.kernels.build import build_and_note
build_and_note()
"""


def build(groups: Sequence[str] | None = None, at_a_time: int | None = None) -> float:
    """Compile the missing groups in separate processes; returns the seconds taken.

    If another process is compiling, this waits for it.

    Args:
        groups: None: all of the standard method.
        at_a_time: number of processes; None: the number of CPUs.

    Raises:
        KernelsUnavailableError: they cannot be compiled here.
    """
    start = time.perf_counter()
    folder = chosen_folder()
    try:
        _compile_missing(folder, groups, at_a_time or usable_cpus())
    except OSError as error:
        if not ready(groups):
            raise KernelsUnavailableError(f"{folder}: the kernels cannot be stored here: {error.strerror or error}") from error
    _remove_old(folder)
    return time.perf_counter() - start


def build_in_background() -> None:
    """Start a process that compiles the missing groups, unless one is compiling already.

    It has a low priority, and may outlive the run that started it. :func:`~pyptv.kernels.cache.ready` shows whether it is done,
    :func:`failure` whether it failed.

    Raises:
        KernelsUnavailableError: there is no folder for them, or no process can be started.
    """
    folder = chosen_folder()
    with suppress(OSError):
        (folder / _FAILED).unlink()
    command = [sys.executable, "-P", "-c", _DETACHED, json.dumps(sys.path), str(_NICENESS)]
    nowhere = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    try:
        if os.name == "posix":
            subprocess.run(command, check=True, start_new_session=True, **nowhere)  # type: ignore[call-overload]  # noqa: S603
        else:
            flags = getattr(subprocess, "DETACHED_PROCESS", 0) | getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
            subprocess.Popen(command, creationflags=flags, **nowhere)  # type: ignore[call-overload]  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise KernelsUnavailableError(f"no process to compile the kernels can be started: {error}") from error


def build_and_note() -> None:
    """:func:`build` in the background: there is no terminal for an error message, so it is written to a file.

    A CPU is left to the run that waits, so that the first group, the most useful one, does not wait for the others.
    """
    folder = chosen_folder()
    try:
        build(at_a_time=max(1, usable_cpus() - 1))
    except Exception as error:
        with suppress(OSError):
            write_atomic(folder / _FAILED, str(error).encode())
        raise


def failure() -> str | None:
    """Why the last background build failed; None: it has not failed."""
    try:
        return (chosen_folder() / _FAILED).read_text(encoding="utf-8", errors="replace")[: 2 * _SAID]
    except OSError:
        return None


def _compile_missing(folder: Path, wanted: Sequence[str] | None, at_a_time: int) -> None:
    deadline = time.monotonic() + LONGEST
    while groups := missing(wanted):
        try:
            file, _ = lock(folder / _LOCK, patience=1.0)
        except HeldError:
            if time.monotonic() > deadline:
                raise KernelsUnavailableError(f"{folder}: another process has been compiling the kernels for too long") from None
            continue
        with file:
            groups = missing(wanted)  # another process may just have compiled them
            shutil.rmtree(folder / _PLACE, ignore_errors=True)
            (folder / _PLACE).mkdir()
            try:
                _compile(folder, groups, at_a_time)
            finally:
                shutil.rmtree(folder / _PLACE, ignore_errors=True)
        if not ready(groups):
            raise KernelsUnavailableError(f"{folder}: the kernels differ from what was written (is the disk full?)")


def _compile(folder: Path, groups: list[str], at_a_time: int) -> None:
    """Compile groups, and install each as soon as it is ready."""
    waiting, running = list(groups), dict[str, _Compiler]()
    try:
        while waiting or running:
            while waiting and len(running) < at_a_time:
                group = waiting.pop(0)
                running[group] = _Compiler(folder, group)
            for group in [group for group, compiler in running.items() if compiler.is_done]:
                running.pop(group).install()
            time.sleep(_PAUSE)
    finally:
        for compiler in running.values():
            compiler.kill()


class _Compiler:
    """The process that compiles a group."""

    def __init__(self, folder: Path, group: str) -> None:
        self._folder = folder
        self._group = group
        self._base = folder / _PLACE / f"{group}-{os.getpid()}"
        self._base.mkdir(mode=0o700)
        self._since = time.monotonic()
        self._said = open(self._base / "errors", "w+b")  # noqa: SIM115 -- closed with the process
        self._process = subprocess.Popen(  # noqa: S603 -- this interpreter, our own lines
            [sys.executable, "-P", "-c", _COMPILE, json.dumps(sys.path), json.dumps(cache.GROUPS[group]), str(os.getpid())],
            env=os.environ | {FOLDER_VARIABLE: str(self._base), "NUMBA_COLOR_SCHEME": "no_color"},  # colours cost time
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
        )

    @property
    def is_done(self) -> bool:
        """Whether the process has ended."""
        if time.monotonic() - self._since > LONGEST:
            raise KernelsUnavailableError(f"the kernels cannot be compiled here: {self._group} took more than {LONGEST:.0f} s")
        return self._process.poll() is not None

    def install(self) -> None:
        """Move the code into place; the list of its files comes last."""
        with self._said:
            self._said.seek(0)
            said = self._said.read().decode("utf-8", "replace").strip().splitlines()
        if self._process.returncode != 0:
            said = said or [f"exit status {self._process.returncode}"]
            raise KernelsUnavailableError(f"the kernels cannot be compiled here: {said[-1][:_SAID]}")
        made = self._base / self._folder.name
        files = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
        listed = cache.sums(made, files)
        for name in files:
            (self._folder / name).parent.mkdir(mode=0o700, exist_ok=True)
            (made / name).replace(self._folder / name)
        write_atomic(cache.sums_path(self._folder, self._group), listed)

    def kill(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._said.close()


def _remove_old(kept: Path) -> None:
    """Remove kernels of other versions that were last compiled more than a month ago."""
    for other in kept.parent.glob(f"{FAMILY}*"):
        with suppress(OSError):
            if other != kept and not other.is_symlink() and time.time() - other.stat().st_mtime > _KEEP_DAYS * 86400:
                shutil.rmtree(other)
