"""The errors of this package.

Every error that this package raises is a :class:`ProcessingError`, except for a bad argument of ``main()``,
which is a :class:`ValueError`. The command line turns the type into an exit code.
"""

from __future__ import annotations


class ProcessingError(Exception):
    """A run or a frame cannot be processed: one clear sentence, file and value first."""


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
    """A file of the experiment does not have the required format."""


class FrameError(ProcessingError):
    """One frame cannot be processed; other frames are not affected."""


class ImageError(FrameError):
    """An image file cannot be read; the message states the reason, and the caller adds the path."""


class WorkersDieError(ProcessingError):
    """Workers die before they begin a frame, so no frame is the cause."""

    def __init__(self, n: int, cause: str) -> None:
        super().__init__(
            f"{n} workers in succession {cause} before they began a frame: "
            "is there enough memory, and is the calling script guarded by 'if __name__ == \"__main__\":'?"
        )


class Terminated(KeyboardInterrupt):
    """SIGTERM was received: the command line raises this as Ctrl-C raises a ``KeyboardInterrupt``."""


class LimitError(FrameError):
    """A frame exceeds optv's fixed buffers: the compiled kernels can process it."""


class TaintedHeapError(LimitError):
    """A frame overflowed a buffer of optv before this could be detected: the process must not be used again."""
