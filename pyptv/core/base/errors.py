"""What can go wrong, as types.

Everything that this package raises on purpose is a :class:`ProcessingError`, except a bad argument of ``main()``,
which is a :class:`ValueError`. The command line turns the type into an exit code.
"""

from __future__ import annotations


class ProcessingError(Exception):
    """A run that cannot be done, or a frame that cannot: one clear sentence, file and value first."""


class InvalidExperimentError(ProcessingError):
    """The experiment folder, a parameter or a calibration is wrong: nothing was processed.

    ``problems`` holds one sentence each; the message is all of them.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        return f"{len(self.problems)} problems:\n" + "\n".join(f"  - {problem}" for problem in self.problems)


class FormatError(InvalidExperimentError):
    """A file of the experiment does not hold what its format asks for."""


class FrameError(ProcessingError):
    """One frame cannot be processed; the others are not touched by it."""


class ImageError(FrameError):
    """An image file is not read; the message says why, and whoever opened the file puts its path in front."""


class WorkersDieError(ProcessingError):
    """Workers die before they do anything: it is not a frame's fault."""

    def __init__(self, n: int, cause: str) -> None:
        super().__init__(
            f"{n} workers in succession {cause} before they began a frame: "
            "is there enough memory, and is the calling script guarded by 'if __name__ == \"__main__\":'?"
        )


class Terminated(KeyboardInterrupt):
    """SIGTERM came: the command line raises this where Ctrl-C raises a ``KeyboardInterrupt``."""


class LimitError(FrameError):
    """More than optv's fixed buffers hold: the compiled kernels do such a frame."""


class TaintedHeapError(LimitError):
    """A frame overflowed a buffer of optv before that could be seen: the process must not be used again."""
