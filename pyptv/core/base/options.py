"""How to run: the choices of a user, checked."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing import get_all_start_methods
from typing import Literal

Mode = Literal["both", "sequence", "tracking"]
MODES: tuple[Mode, ...] = ("both", "sequence", "tracking")
ON_ERROR = ("abort", "skip")
Engine = Literal["optv", "compiled"]
"""What does correspondence and tracking: the C code of optv, or the compiled kernels."""

ENGINES = ("auto", "optv", "compiled")
BIT_DEPTHS: tuple[int | str, ...] = ("auto", 8, 10, 12, 14, 16)
"""Bits that grey values may have in images that store more than 8; ``auto``: judged from the images."""


@dataclass(frozen=True)
class Options:
    """How to run. Checked: a wrong value is a ``ValueError``."""

    mode: Mode = "both"
    on_error: str = "abort"
    resume: bool = False
    clean: bool = False
    n_processes: int = 1
    serial_tracking: bool = True
    engine: str = "auto"
    """``auto``: the compiled kernels where they are installed and the run is long enough to pay for loading them."""
    report: bool = False
    """Make ``res/report.html`` after the run."""
    bit_depth: int | str | None = None
    """Bits of a grey value in images that store more than 8; ``auto``: judged from the images; None: ``ptv.bit_depth``."""
    page: int | None = None
    """Of image files with several, counted from 1; None: ``ptv.page``."""
    start_method: str | None = None
    """Of multiprocessing; None: the platform's."""
    frame_timeout: float | None = None
    """Seconds at one part of a frame without progress, after which a worker is killed and replaced. 0: never. None: 300 s, or 20
    times the slowest part of a frame so far, whichever is longer."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"Mode must be one of {', '.join(MODES)}, got {self.mode!r}")
        if self.on_error not in ON_ERROR:
            raise ValueError(f"on_error must be one of {', '.join(ON_ERROR)}, got {self.on_error!r}")
        if self.engine not in ENGINES:
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {self.engine!r}")
        if self.bit_depth is not None and self.bit_depth not in BIT_DEPTHS:
            raise ValueError(f"bit_depth must be one of {', '.join(map(str, BIT_DEPTHS))}, got {self.bit_depth!r}")
        if self.page is not None and (isinstance(self.page, bool) or not isinstance(self.page, int) or self.page < 1):
            raise ValueError(f"page must be a whole number >= 1, got {self.page!r}")
        if self.n_processes < 1:
            raise ValueError(f"Number of processes must be >= 1, got {self.n_processes}")
        methods = get_all_start_methods()
        if self.start_method is not None and self.start_method not in methods:
            raise ValueError(f"start_method must be one of {', '.join(methods)}, got {self.start_method!r}")
        timeout = self.frame_timeout
        if timeout is not None and not (isinstance(timeout, int | float) and timeout >= 0):
            raise ValueError(f"frame_timeout must be a number of seconds >= 0, got {timeout!r}")

    @property
    def steps(self) -> int:
        """How often each frame is worked at."""
        return 2 if self.mode == "both" else 1
