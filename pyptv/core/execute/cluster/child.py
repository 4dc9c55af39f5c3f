"""The process that does the tasks of one thread of a Dask worker: where the C library crashes, it takes this process only."""

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
"""What the interpreter of the process runs; its argument is the path of modules of the one that starts it."""


def main() -> NoReturn:
    """Do tasks until there are no more. What they are about comes on standard input, from the process that has started this."""
    job, address, board = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 -- from our own parent
    with Path(board).open("r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    use_one_thread()
    pool_worker.load_kernels(job)  # before it serves, which leaves what is loaded to no collector of garbage
    pool_worker.serve(job, address, lambda _number: Row(memory, 0))
