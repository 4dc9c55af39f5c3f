"""The computer: its name, and the resources that this process may use."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS")
_UNKNOWN_OPEN = 64
"""Assumed number of open files if they cannot be counted."""


def usable_cpus() -> int:
    """The CPUs that this process may use: by affinity and the limit of a container, not all of the machine."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:  # control groups, version 2: "max 100000" or "150000 100000"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        cpus = min(cpus, max(1, -(-int(quota) // int(period))))
    except (OSError, ValueError):
        pass
    return cpus


def use_one_thread() -> None:
    """Limit BLAS to one core: a worker has only one, and on small matrices more threads take more time."""
    for name in _ONE_THREAD:
        os.environ[name] = "1"


def most_open_files() -> int | None:
    """Number of further files that this process may open after raising its soft limit; None: no limit."""
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return None if hard == resource.RLIM_INFINITY else max(0, hard - _open_now())


@contextmanager
def open_files(more: int) -> Iterator[None]:
    """Around work that opens ``more`` files: raises the soft limit if that is needed and allowed."""
    try:
        import resource  # not on Windows
    except ImportError:
        yield
        return
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = _open_now() + more
    if soft == resource.RLIM_INFINITY or soft >= need:
        yield
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (need if hard == resource.RLIM_INFINITY else min(need, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _open_now() -> int:
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        return _UNKNOWN_OPEN


def host() -> dict[str, str | int]:
    """Name, system, machine type and usable CPUs, as in a run report."""
    return {
        "name": platform.node(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpus": usable_cpus(),
    }
