"""The options of a run, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from operator import index
from pathlib import Path
from reprlib import repr as short
from typing import Any, Literal

Mode = Literal["both", "sequence", "tracking", "match"]
MODES: tuple[Mode, ...] = ("both", "sequence", "tracking", "match")
"""``match``: the sequence step from stored ``_targets`` files, without its images."""
ON_ERROR = ("abort", "skip")
TRACKING = ("forward", "both")
Engine = Literal["optv", "compiled"]
"""Code for correspondence and tracking: the C code of optv, or the compiled kernels."""

ENGINES = ("auto", "optv", "compiled")
METHODS = ("standard", "dense")
"""``standard``: PyPTV's; ``dense``: particles reconstructed from the images, links by prediction."""

BIT_DEPTHS: tuple[int | str, ...] = ("auto", 8, 10, 12, 14, 16)
"""Possible bits of grey values in images that store more than 8; ``auto``: determined from the images."""

POSTPROCESS = ("h5", "zarr", "vtk", "parquet", "csv", "mat", "ptv_is")
"""Formats of trajectories; those of :mod:`pyptv.export.formats`."""

_ARGUMENTS = ("exp_path", "first", "last", "progress", "repetitions")
"""Further arguments of ``main()``."""

_CALLED_ELSEWHERE = dict.fromkeys(("n_jobs", "jobs", "workers", "n_workers", "threads", "n_procs", "max_workers"), "n_processes")
"""Keywords of other programs, and their names here."""

PLUGINS_ALONE = "a plugin of PyPTV processes all frames in one process on this machine"
DENSE_NEEDS_ALL = "its self-calibration uses frames of the whole recording, which have not arrived yet"
_LONGEST_MIN_TRACK = 10
MOST_PROCESSES = 1000
"""More than any machine can use; each is one more copy of the program in memory."""


@dataclass(frozen=True)
class Options:
    """The options of a run. A wrong value raises a ``ValueError``."""

    mode: Mode = "both"
    on_error: str = "abort"
    resume: bool = False
    clean: bool = False
    n_processes: int = 1
    tracking: str = "forward"
    """``both``: the frames are also tracked backward from the end, and the links of both passes combined."""
    serial_tracking: bool = True
    engine: str = "auto"
    """``auto``: the compiled kernels if numba is installed and the run is long enough for loading them to be worthwhile."""
    method: str | None = None
    """``standard`` or ``dense``; None: ``ptv.method``."""
    min_track: int | None = None
    """Minimum length of a track [frames] in the dense method; None: ``dense.min_track``."""
    self_calibration: bool | None = None
    """Self-calibration of the dense method; None: ``dense.self_calibration``."""
    hooks: tuple[str, ...] = ()
    """External code in the sequence step, ``NAME:key=value,...`` each; empty: the hooks named in the parameters."""
    sequence_plugin: str | None = None
    """PyPTV's plugin in place of the sequence step; None: the one selected in the parameters, if it is allowed."""
    tracking_plugin: str | None = None
    """Likewise, in place of tracking."""
    allow_plugins: bool = False
    """Allow code from the experiment's folder, or named in its parameters."""
    report: bool = False
    """Make ``res/report.html`` after the run."""
    postprocess: str | None = None
    """Format of post-processed trajectories written to ``res/export`` after the run; None: not written."""
    bit_depth: int | str | None = None
    """Bits of a grey value in images that store more than 8; ``auto``: determined from the images; None: ``ptv.bit_depth``."""
    page: int | None = None
    """Page of image files with several pages, counted from 1; None: ``ptv.page``."""
    output: Path | None = None
    """Folder for ``res/`` and the ``_targets`` files, any path; None: the experiment's folder."""
    start_method: str | None = None
    """Start method of multiprocessing; None: the platform's default."""
    frame_timeout: float | None = None
    """Seconds without progress after which a worker is killed and replaced. 0: never. None: 300 s, or 20
    times the slowest part of a frame so far, whichever is longer."""

    part: tuple[int, int] | str | None = None
    """Process only this part of the frame range, ``"3/10"`` or ``(3, 10)``: a job of an array, to be combined by ``finish``."""
    finish: bool = False
    """Combine the parts of a job array: prove the seams between them, and track frames without links."""
    scheduler: str | None = None
    """Address of a Dask scheduler, or its scheduler file: its workers do the work. None: processes of this machine."""
    client: Any = field(default=None, repr=False, compare=False)
    """An open ``distributed.Client``, in place of ``scheduler``."""
    watch: bool = False
    """Process frames as their images arrive."""
    until_idle: float | None = None
    """With ``watch``: end when no new frame has arrived for this many seconds; None: never."""
    scratch: Path | None = None
    """Folder for scratch files; None: ``$SLURM_TMPDIR``, the temporary folder, or another usual one."""

    def __post_init__(self) -> None:
        self._check_steps()
        self._check_images()
        self._check_extensions()
        self._check_how()

    def _check_steps(self) -> None:
        _check_choice("Mode", self.mode, MODES)
        _check_choice("on_error", self.on_error, ON_ERROR)
        _check_choice("tracking", self.tracking, TRACKING)
        if self.tracking == "both" and not self.tracks:
            raise ValueError(f"tracking 'both' is for modes that track, got mode {self.mode!r}")
        _check_choice("engine", self.engine, ENGINES)
        if self.postprocess is not None:
            _check_choice("postprocess", self.postprocess, POSTPROCESS)

    def _check_images(self) -> None:
        if self.bit_depth is not None and (isinstance(self.bit_depth, bool) or self.bit_depth not in BIT_DEPTHS):
            raise ValueError(f"bit_depth must be one of {', '.join(map(str, BIT_DEPTHS))}, got {short(self.bit_depth)}")
        if self.page is not None and (isinstance(self.page, bool) or not isinstance(self.page, int) or self.page < 1):
            raise ValueError(f"page must be a whole number >= 1, got {short(self.page)}")

    def _check_extensions(self) -> None:
        """Hooks and plugins."""
        object.__setattr__(self, "hooks", _texts(self.hooks, "hooks"))
        if self.hooks and not self.processes:
            raise ValueError(f"hooks work in the sequence step, got mode {self.mode!r}")
        for name, does in (("sequence_plugin", self.processes), ("tracking_plugin", self.tracks)):
            self._check_plugin(name, does=does)

    def _check_how(self) -> None:
        self._check_method()
        if self.output is not None:
            object.__setattr__(self, "output", path_argument(self.output, "output"))
        if self.start_method is not None:
            import multiprocessing  # --help must not wait for it

            _check_choice("start_method", self.start_method, multiprocessing.get_all_start_methods())
        timeout = self.frame_timeout
        if timeout is not None and not (isinstance(timeout, int | float) and timeout >= 0):
            raise ValueError(f"frame_timeout must be a number of seconds >= 0, got {short(timeout)}")
        if self.scratch is not None:
            object.__setattr__(self, "scratch", path_argument(self.scratch, "scratch"))
        object.__setattr__(self, "part", _part(self.part))
        for name in ("resume", "clean", "serial_tracking", "report", "finish", "watch", "allow_plugins"):
            object.__setattr__(self, name, _flag(getattr(self, name), name))
        object.__setattr__(self, "n_processes", whole_number(self.n_processes, "Number of processes"))
        check_processes(self.n_processes)
        self._check_combinations()

    def _check_combinations(self) -> None:
        self._check_one_run()
        if self.part is not None and (self.finish or self.clean or self.report or self.postprocess):
            raise ValueError("part cannot be combined with finish, clean, report and postprocess, which apply to the whole range")
        if self.until_idle is not None and not (isinstance(self.until_idle, int | float) and self.until_idle >= 0):
            raise ValueError(f"until_idle must be a number of seconds >= 0, got {short(self.until_idle)}")
        if self.until_idle is not None and not self.watch:
            raise ValueError("until_idle needs watch")
        if self.watch and (self.part is not None or self.finish or self.mode == "tracking"):
            raise ValueError("watch cannot be combined with part and finish, and needs the sequence step")
        if self.scheduler is not None and (not isinstance(self.scheduler, str) or not self.scheduler.strip()):
            raise ValueError(f"scheduler must be an address or a file, got {short(self.scheduler)}")
        if self.scheduler is not None and self.client is not None:
            raise ValueError("name the scheduler once: scheduler, or client")

    def _check_one_run(self) -> None:
        """Refuse combinations that need all frames at once, or all in one run on this machine."""
        if self.shared and (self.sequence_plugin or self.tracking_plugin):
            raise ValueError(f"plugins cannot be combined with part, finish, watch and scheduler: {PLUGINS_ALONE}")
        reasons = {
            "tracking 'both'": self.tracking == "both"
            and "the backward pass begins at the last frame, which has not arrived yet",
            "mode 'match'": self.mode == "match" and "it reads stored targets and does not wait for images",
            "method 'dense'": self.method == "dense" and DENSE_NEEDS_ALL,
        }
        for what, why in reasons.items():
            if self.watch and why:
                raise ValueError(f"{what} cannot be combined with watch: {why}")

    @property
    def shared(self) -> str:
        """The option by which the run is one of several, or uses other machines, or waits for its frames."""
        ways = {"part": self.part is not None, "finish": self.finish, "watch": self.watch, "scheduler": self.on_cluster}
        return next((name for name, given in ways.items() if given), "")

    @property
    def on_cluster(self) -> bool:
        """Whether the workers of a Dask scheduler do the work."""
        return self.scheduler is not None or self.client is not None

    def _check_method(self) -> None:
        if self.method is not None:
            _check_choice("method", self.method, METHODS)
        if self.min_track is not None:
            object.__setattr__(self, "min_track", whole_number(self.min_track, "min_track"))
            if not 1 <= self.min_track <= _LONGEST_MIN_TRACK:
                raise ValueError(f"min_track must be 1 to {_LONGEST_MIN_TRACK}, got {short(self.min_track)}")
        if self.self_calibration is not None:
            object.__setattr__(self, "self_calibration", _flag(self.self_calibration, "self_calibration"))

    def _check_plugin(self, name: str, *, does: bool) -> None:
        plugin = getattr(self, name)
        if plugin is None:
            return
        if not isinstance(plugin, str) or not plugin:
            raise ValueError(f"{name} must be the name of a plugin, got {short(plugin)}")
        if not does or self.mode == "match":
            raise ValueError(f"{name} {short(plugin)} is not used in mode {self.mode!r}")
        if self.tracking == "both" and name == "tracking_plugin":
            raise ValueError("tracking 'both' needs the tracker of this program, not a plugin")
        if self.hooks and name == "sequence_plugin":
            raise ValueError("hooks work in the sequence step of this program, not in that of a plugin")

    @property
    def steps(self) -> int:
        """Number of steps per frame."""
        return self.processes + self.tracks + (self.tracking == "both")

    @property
    def processes(self) -> bool:
        """The run makes the sequence results; otherwise it uses existing ones."""
        return self.mode != "tracking"

    @property
    def tracks(self) -> bool:
        """The run links frames."""
        return self.mode in ("both", "tracking")


def make_options(chosen: Mapping[str, Any]) -> Options:
    """Options from keyword arguments.

    Raises:
        ValueError: a wrong value, or an unknown option; the message names the one that was probably meant.
    """
    known = [option.name for option in fields(Options)]
    for name in chosen:
        if name not in known:
            meant = _meant(_CALLED_ELSEWHERE.get(name, name), [*_ARGUMENTS, *known])
            raise ValueError(f"Unknown option {short(name)}{meant or '.'} Options: {', '.join(known)}")
    return Options(**chosen)


def whole_number(value: Any, name: str) -> int:
    """An argument as ``int``: a whole number, or its text.

    Raises:
        ValueError: names the argument and what was found.
    """
    try:
        return int(value) if isinstance(value, str) else index(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a whole number, got {short(value)}") from None


def check_processes(n: int) -> None:
    """Raise ``ValueError`` unless ``n`` is a plausible number of worker processes."""
    if n < 1:
        raise ValueError(f"Number of processes must be >= 1, got {n}")
    if n > MOST_PROCESSES:
        raise ValueError(f"Number of processes must be at most {MOST_PROCESSES}, got {short(n)}")


def path_argument(value: Any, name: str) -> Path:
    """An argument as a path: text, or an ``os.PathLike`` of text.

    Raises:
        ValueError: names the argument and what was found.
    """
    path = value if isinstance(value, str) else getattr(value, "__fspath__", lambda: value)()
    if not isinstance(path, str):
        raise ValueError(  # noqa: TRY004 -- what main() raises for any bad argument
            f"{name} must be a path (text or pathlib.Path), got {short(value)}"
        )
    if not path or "\0" in path:
        raise ValueError(f"{name} must be a path, got {short(path)}")
    return Path(path)


def _part(value: Any) -> tuple[int, int] | None:
    """``"3/10"``, or the two numbers."""
    if value is None:
        return None
    words = value.split("/") if isinstance(value, str) else value
    try:
        number, of = (whole_number(word, "part") for word in words)
    except (TypeError, ValueError):
        raise ValueError(f"part must be I/N, such as 3/10, got {short(value)}") from None
    if not 1 <= number <= of:
        raise ValueError(f"part must be I/N with I from 1 to N, got {number}/{of}")
    return number, of


def _texts(value: Any, name: str) -> tuple[str, ...]:
    """Some texts; a single one is also accepted."""
    texts = (value,) if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name} must be texts NAME:key=value,..., got {short(value)}")
    return tuple(texts)


def _flag(value: Any, name: str) -> bool:
    """True or False; numpy's and the numbers 0 and 1 are also accepted."""
    try:
        valid = bool(value in (0, 1))
    except (TypeError, ValueError):  # arrays have more than one truth value
        valid = False
    if not valid:
        raise ValueError(f"{name} must be True or False, got {short(value)}")
    return bool(value)


def _check_choice(name: str, value: Any, choices: tuple[str, ...] | list[str]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {short(value)}{_meant(value, choices)}")


def _meant(found: Any, choices: tuple[str, ...] | list[str]) -> str:
    """``: did you mean ...?`` if one of the choices is close; otherwise empty."""
    close = get_close_matches(found.lower(), choices, n=1) if isinstance(found, str) else []
    return f": did you mean {close[0]!r}?" if close else ""
