"""The computer: what it is called, and how much of it this process may use."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def usable_cpus() -> int:
    """The CPUs that this process may use: affinity and the limit of a container count, not the machine."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:  # control groups, version 2: "max 100000" or "150000 100000"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        cpus = min(cpus, max(1, -(-int(quota) // int(period))))
    except (OSError, ValueError):
        pass
    return cpus


def host() -> dict[str, str | int]:
    """Name, system, machine type and usable CPUs, as a run report has them."""
    return {
        "name": platform.node(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpus": usable_cpus(),
    }
