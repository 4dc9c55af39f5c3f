"""One :class:`multiprocessing.Pool` for all workers.

A worker of the standard pool that is killed while it waits holds the lock of the pool's queue, and the task of a dead worker is
lost unnoticed. So the workers run their own loop in the pool's initializer, which never returns, each connected to this
process (:mod:`pyptv.core.execute.line`). The queues and their locks are never used: the pool only starts
processes, replaces those that have died, and ends them all.
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
"""Time [s] that a process has to end before it is killed, and to disappear once it is killed."""

_UNKNOWN = 256
"""The exit code of a process whose real one is lost."""

_MOMENT = 0.01

_FAULTS = {signal.SIGSEGV, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
"""Signals that a crashing process receives."""


class WorkerPool(pool.Pool):
    """The processes of a run's workers, including the replacements of dead ones."""

    def __init__(self, n: int, initializer: Callable[..., object], initargs: tuple[Any, ...], context: BaseContext) -> None:
        """Start the processes.

        Raises:
            Exception: a process could not be started.
        """
        self.crew: list[WorkerProcess] = []
        self._turn = _Turn()
        made = False
        try:
            with _quiet_start():  # the pool's threads inherit the blocked signals
                super().__init__(n, initializer, initargs, context=context)
                self._turn.take()
                made = True
        except BaseException:  # it may be impossible to start a thread; a signal handler may raise once signals are unblocked
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
        """Called by the pool for each process, also in its own thread."""
        process = WorkerProcess(ctx.Process(*args, **kwargs), self._turn)  # type: ignore[attr-defined]
        self.crew.append(process)
        return process

    @contextmanager
    def may_start(self) -> Iterator[None]:
        """Around the parent's waiting: a process is forked only there, not while the parent works and may hold locks."""
        self._turn.end()
        try:
            yield
        finally:
            self._turn.take()

    def shut_down(self) -> None:
        """End all processes: those that were asked to end, and all others."""
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
    """Whose turn it is: the parent's, or that of the pool's thread that starts processes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.over = False
        """No further process may be started."""

    def take(self) -> None:
        """Wait for the turn."""
        self._lock.acquire()

    def take_to_start(self) -> bool:
        """The same before a process is started; False: it must not be started."""
        while not self._lock.acquire(timeout=_MOMENT * 10):
            if self.over or not threading.main_thread().is_alive():  # the interpreter's exit waits for the pool's thread
                return False
        if self.over:
            self._lock.release()
        return not self.over

    def end(self) -> None:
        """Give the turn to the other one."""
        with suppress(RuntimeError):  # a signal may have come while it was taken
            self._lock.release()


class WorkerProcess:
    """A process with the interface that the pool needs: the pool does not wait for it, and it raises nothing in its thread."""

    def __init__(self, process: BaseProcess, turn: _Turn) -> None:
        self._process = process
        self._turn = turn
        self.failure: Exception | None = None
        """Why the process could not be started."""
        self.name = process.name
        self.daemon = True
        self.quiet = 0.0
        """Seconds since the start without a greeting."""

    def start(self) -> None:
        """Start the process while the parent waits, with the signals of the group blocked."""
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
        """The process id."""
        return self._process.pid

    @property
    def sentinel(self) -> int:
        """A handle that becomes ready when the process has ended. A process that was never started has none."""
        if self.failure is not None:
            raise AttributeError("it was never started")
        return self._process.sentinel

    @property
    def exitcode(self) -> int | None:
        """The exit code; None: the process is alive. If the calling program ignores SIGCHLD, the real code is never available."""
        if self.failure is not None:
            return 1
        code = self._process.exitcode
        if code is None and _is_gone(self._process.pid):
            time.sleep(_MOMENT)  # another thread may have received it and not stored it yet
            code = self._process.exitcode
            if code is None:
                code = self._process._popen.returncode = _UNKNOWN  # type: ignore[attr-defined]  # noqa: SLF001
        return code

    def cause(self) -> str:
        """Why the process died."""
        if self.failure is not None:
            return f"could not be started ({self.failure})"
        code = self.exitcode or 0
        return "ended for an unknown reason (SIGCHLD is ignored)" if code == _UNKNOWN else cause_of(code)

    def is_alive(self) -> bool:
        """Whether the process has not ended yet."""
        return self.exitcode is None

    def ask_to_end(self) -> None:
        """SIGTERM."""
        if self.pid is not None and self.is_alive():
            with suppress(OSError, ValueError):
                self._process.terminate()

    def terminate(self) -> None:
        """Kill the process; a stopped one reacts to nothing else."""
        if self.pid is not None and self.is_alive():
            with suppress(OSError, ValueError):
                self._process.kill()

    def join(self, timeout: float = _GRACE) -> None:
        """Wait for the end of the process, for a limited time: one that hangs in the operating system cannot be killed."""
        if self.pid is not None and self.is_alive():
            with suppress(OSError, ValueError, AssertionError):
                self._process.join(timeout)

    def let_go(self) -> None:
        """Make the interpreter's exit not wait for a process that cannot be killed."""
        if self.is_alive():
            import multiprocessing.process as module

            module._children.discard(self._process)  # type: ignore[attr-defined]  # noqa: SLF001


def cause_of(code: int) -> str:
    """The cause of death given by the exit code of a process."""
    if code >= 0:
        return f"ended with exit status {code}"
    with suppress(ValueError):
        return f"killed by signal {-code} ({signal.Signals(-code).name})"
    return f"killed by signal {-code}"


@contextmanager
def _quiet_start() -> Iterator[None]:
    """Around the start of a process.

    No signal may reach a half-started worker, which has this process's handlers, nor a half-made pool, which cannot be ended:
    workers, like the pool's threads, start with all possible signals blocked, and unblock them when they are ready.
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
    """Whether the process no longer exists, not even as one whose exit code has not been collected."""
    if pid is None or os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False
