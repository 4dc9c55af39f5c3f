"""The process that does the tasks of one thread of a Dask worker: a crash of the C library ends only this process."""

from __future__ import annotations

import mmap
import pickle
import sys
from pathlib import Path
from typing import NoReturn

from pyptv.core.base.machine import use_one_thread
from pyptv.core.execute import pool_worker
from pyptv.core.execute.progress import Row

START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from pyptv.core.execute.cluster.child import main
main()
"""
"""The program of the process; its argument is the module path of the process that starts it."""


def main() -> NoReturn:
    """Do tasks until there are no more. The job is read from standard input, from the process that started this one."""
    job, address, board = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 -- from our own parent
    with Path(board).open("r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    use_one_thread()
    pool_worker.load_kernels(job)  # before it serves, which excludes loaded objects from garbage collection
    pool_worker.serve(job, address, lambda _number: Row(memory, 0))
