"""Batch runs in processes of their own, and what ``/proc`` says of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

FIRST, N_FRAMES = 10000, 30
LAST = FIRST + N_FRAMES - 1
MODULES = {"serial": "pyptv.pyptv_batch", "parallel": "pyptv.pyptv_batch_parallel"}


class Run:
    """A batch run in a process group of its own."""

    def __init__(self, kind: str, exp: Path, *options: str, last: int = LAST, processes: int = 2, **popen) -> None:
        numbers = [str(FIRST), str(last), *([str(processes)] if kind == "parallel" else [])]
        numbers += ["--engine", "optv"]  # the slower one: time to kill something
        self.log = Path(tempfile.mkstemp(".log", dir=exp.parent)[1])
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", MODULES[kind], str(exp), *numbers, *options], stderr=log, start_new_session=True, **popen
            )
        self.seen: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_group()

    def open_files(self) -> int:
        """How many descriptors it has."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def threads(self) -> int:
        """How many threads it has."""
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def workers(self) -> list[int]:
        """The processes that this one has started and that are there now."""
        found: list[str] = []
        for children in Path(f"/proc/{self.process.pid}/task").glob("*/children"):  # replacements are a thread's
            with suppress(OSError):
                found += children.read_text().split()
        alive = [int(pid) for pid in found if is_alive(int(pid))]
        self.seen.update(alive)
        return alive

    def wait_for(self, what: Callable[[], object], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.005)

    def finish(self, seconds: float = 60) -> tuple[int, str]:
        code = self.process.wait(seconds)
        return code, self.log.read_text()

    def kill_group(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until_gone(pids: set[int], seconds: float = 3) -> list[int]:
    deadline = time.monotonic() + seconds
    while (left := [pid for pid in pids if is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left
