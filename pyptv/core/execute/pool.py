"""One :class:`multiprocessing.Pool` for all workers.

A worker of the standard pool that is killed while it waits holds the lock of the pool's queue, and one that dies takes its task
with it unseen. So the workers run a loop of their own in the pool's initializer, which never returns, each on a line to this
process (:mod:`pyptv.core.execute.line`). The queues and their locks are never touched: what the pool does is to start
processes, to start others where some have died, and to end them all.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import pool
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

_GRACE = 0.5
"""Time [s] that a process gets to end before it is killed, and to be gone once it is killed."""

_UNKNOWN = 256
"""The exit code of a process whose own is lost."""

_MOMENT = 0.01

_FAULTS = {signal.SIGSEGV, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
"""Signals that a crash sends to itself."""


class WorkerPool(pool.Pool):
    """The processes of a run's workers: those that are there, and those that the pool has put in place of dead ones."""

    def __init__(self, n: int, initializer: Callable[..., object], initargs: tuple[Any, ...], context: BaseContext) -> None:
        """Start the processes.

        Raises:
            Exception: what kept one from being started.
        """
        self.crew: list[WorkerProcess] = []
        self._turn = _Turn()
        made = False
        try:
            with _quiet_start():  # the pool's threads inherit the blocked signals
                super().__init__(n, initializer, initargs, context=context)
                self._turn.take()
                made = True
        except BaseException:  # a thread may not be startable any more; a signal's handler may raise once it is let in
            self._turn.over = True
            for process in self.crew:
                process.terminate()
            if made:
                self.shut_down()
            raise
        for process in self.crew:
            if process.failure is not None:
                self.shut_down()
                raise process.failure

    def Process(  # type: ignore[override]  # noqa: N802 -- the pool's name for it
        self, ctx: BaseContext, *args: Any, **kwargs: Any
    ) -> WorkerProcess:
        """What the pool calls for each process, also in its own thread."""
        process = WorkerProcess(ctx.Process(*args, **kwargs), self._turn)  # type: ignore[attr-defined]
        self.crew.append(process)
        return process

    @contextmanager
    def may_start(self) -> Iterator[None]:
        """Around the parent's waiting: a process is forked only there, not while the parent is at work and holds locks."""
        self._turn.end()
        try:
            yield
        finally:
            self._turn.take()

    def shut_down(self) -> None:
        """End all processes: those that have been told to go, and any other."""
        self._turn.over = True
        self._turn.end()
        self.close()  # no further worker is started
        deadline = time.monotonic() + _GRACE
        for process in self.crew:
            process.join(max(0.0, deadline - time.monotonic()))
        for process in self.crew:
            process.terminate()
        for process in self.crew:
            process.join()
            process.let_go()
        self.terminate()


class _Turn:
    """Who is at work: the parent, or the pool's thread that starts processes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.over = False
        """Nobody is to be started any more."""

    def take(self) -> None:
        """Wait until the other one is done."""
        self._lock.acquire()

    def take_to_start(self) -> bool:
        """The same for one that wants to start a process; False: it must not."""
        while not self._lock.acquire(timeout=_MOMENT * 10):
            if self.over or not threading.main_thread().is_alive():  # the interpreter's exit waits for the pool's thread
                return False
        if self.over:
            self._lock.release()
        return not self.over

    def end(self) -> None:
        """Let the other one work."""
        with suppress(RuntimeError):  # a signal may have come while it was taken
            self._lock.release()


class WorkerProcess:
    """A process as the pool knows it: the pool does not wait for it, and it raises nothing in the pool's thread."""

    def __init__(self, process: BaseProcess, turn: _Turn) -> None:
        self._process = process
        self._turn = turn
        self.failure: Exception | None = None
        """Why it could not be started."""
        self.name = process.name
        self.daemon = True
        self.quiet = 0.0
        """Seconds since it was started, without a sign of it."""

    def start(self) -> None:
        """Start it, at a moment when the parent waits, and with the signals of the group blocked."""
        if not self._turn.take_to_start():
            self.failure = RuntimeError("the run ends")
            return
        try:
            with _quiet_start():
                self._process.name, self._process.daemon = self.name, self.daemon
                self._process.start()
        except Exception as error:  # in the pool's thread it would be lost
            self.failure = error
        finally:
            self._turn.end()

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self._process.pid

    @property
    def sentinel(self) -> int:
        """What is ready once it has ended. One that was never started has none."""
        if self.failure is not None:
            raise AttributeError("it was never started")
        return self._process.sentinel

    @property
    def exitcode(self) -> int | None:
        """As of a process; None: it lives. Where the calling program ignores SIGCHLD, no exit code is to be had, ever."""
        if self.failure is not None:
            return 1
        code = self._process.exitcode
        if code is None and _is_gone(self._process.pid):
            time.sleep(_MOMENT)  # another thread may have got it and not noted it yet
            code = self._process.exitcode
            if code is None:
                code = self._process._popen.returncode = _UNKNOWN  # type: ignore[attr-defined]  # noqa: SLF001
        return code

    def cause(self) -> str:
        """What it died of."""
        if self.failure is not None:
            return f"could not be started ({self.failure})"
        code = self.exitcode or 0
        return "ended for an unknown reason (SIGCHLD is ignored)" if code == _UNKNOWN else cause_of(code)

    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return self.exitcode is None

    def ask_to_end(self) -> None:
        """SIGTERM."""
        if self.pid is not None and self.is_alive():
            with suppress(OSError, ValueError):
                self._process.terminate()

    def terminate(self) -> None:
        """Kill it, for a stopped one takes note of nothing else."""
        if self.pid is not None and self.is_alive():
            with suppress(OSError, ValueError):
                self._process.kill()

    def join(self, timeout: float = _GRACE) -> None:
        """Wait for its end, for a limited time: a process that hangs in the system cannot be killed."""
        if self.pid is not None and self.is_alive():
            with suppress(OSError, ValueError, AssertionError):
                self._process.join(timeout)

    def let_go(self) -> None:
        """Let the interpreter's exit not wait for one that cannot be killed."""
        if self.is_alive():
            import multiprocessing.process as module

            module._children.discard(self._process)  # type: ignore[attr-defined]  # noqa: SLF001


def cause_of(code: int) -> str:
    """What the exit code of a process says that it died of."""
    if code >= 0:
        return f"ended with exit status {code}"
    with suppress(ValueError):
        return f"killed by signal {-code} ({signal.Signals(-code).name})"
    return f"killed by signal {-code}"


@contextmanager
def _quiet_start() -> Iterator[None]:
    """Around the start of a process.

    A signal must not meet a half-made worker, which has this process's handlers, nor a half-made pool, which could not be ended:
    the worker is born, as the pool's threads are, with all signals blocked that may be, and lets them in once it is ready.
    Python >= 3.12 warns of a fork in a process with threads; the worker uses none of this process's locks.
    """
    signals = signal.valid_signals() - _FAULTS
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals) if hasattr(signal, "pthread_sigmask") else None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
            yield
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _is_gone(pid: int | None) -> bool:
    """Whether there is no such process, not even one whose exit code waits to be taken."""
    if pid is None or os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False
