"""``res/run_report.json``: the complete record of a run, for other programs. ``docs/run_report.md`` lists every field.

A run writes it however it ends, unless it ended before it began. ``run_report.schema.json`` beside this module defines what
is written and what is accepted when it is read.
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
import platform
import reprlib
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pyptv import __version__
from pyptv.core.base.errors import FormatError
from pyptv.core.base.frames import FrameRange
from pyptv.core.base.machine import host
from pyptv.core.base.options import Engine, Options
from pyptv.core.base.regular_files import read_regular
from pyptv.core.experiment.calibration import calibration_files
from pyptv.core.experiment.folder import Experiment
from pyptv.core.experiment.parameters.dialects import parameter_files
from pyptv.core.files.atomic import write_atomic
from pyptv.core.record.dense import DenseRecord
from pyptv.core.record.json_schema import first_problem, read_bounded
from pyptv.core.record.measures import Times
from pyptv.core.record.tally import Tally
from pyptv.core.schedule.tracker_runs import SeamCounts

FILE_NAME = "run_report.json"
SCHEMA_FILE = Path(__file__).with_name("run_report.schema.json")

_OPTIONS = ("mode", "tracking", "on_error", "resume", "clean", "bit_depth", "page", "n_processes", "serial_tracking")
_MOST_BYTES = 500_000_000
"""Six million frames."""
_MOST_CONTAINERS = 1_000_000
_MOST_TEXTS = 10_000_000
"""A million frames that failed."""
_DEEPEST = 3
"""Levels of the parameters' values: sections, keys, lists."""
_LONGEST_NUMBER = 18
"""Digits of a whole number: what 64 bits hold."""
_DIGITS = bytes(ord("0") if chr(byte).isdecimal() else byte for byte in range(256))
"""For ``translate``: every digit is a 0."""
_LONG_NUMBER = b"0" * (_LONGEST_NUMBER + 1)
_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Request:
    """The request for a run."""

    experiment: str
    """Folder or YAML file, as given."""
    kind: str = "batch"
    """``"batch"`` or ``"parallel batch"``: its name in the log."""
    argv: tuple[str, ...] | None = None
    """The words of the command line; None: called from Python."""


class RunReport:
    """The record of a run: created before its checks, updated with the events of its workers, written at its end."""

    def __init__(self, request: Request, experiment: Experiment, frames: FrameRange, options: Options) -> None:
        """Start the clock, and compute the fingerprints of the files that have just been read."""
        self.times = Times()
        self.hooks: tuple[str, ...] = ()
        self.plugins: dict[str, str] = {}
        self._started, self._clock = datetime.now(UTC), time.perf_counter()
        self.request = request
        self._experiment, self._frames, self._options = experiment, frames, options
        self._inputs = _inputs(experiment)

    @property
    def path(self) -> Path:
        """The path of the report."""
        return self._experiment.results / FILE_NAME

    def write(self, tree: dict[str, Any]) -> None:
        """Write the report, completely or not at all; raises ``OSError`` if that is impossible."""
        write_atomic(self.path, (_render(tree) + "\n").encode("ascii"))

    def as_tree(
        self,
        report: Tally,
        seams: SeamCounts | None,
        engine: Engine,
        error: BaseException | None,
        dense: DenseRecord | None = None,
    ) -> dict[str, Any]:
        """The report as plain dictionaries, lists, texts and numbers.

        Args:
            report: the tally of the frames.
            seams: None if there could not be any.
            engine: of the run.
            error: that ended the run; None: it reached its end.
            dense: record of the dense method; None: the standard method.
        """
        sequence, tracking = report.columns.sequence(), report.columns.tracking()
        return {
            "schema": _SCHEMA_VERSION,
            "program": {"name": "pyptv-batch", "version": __version__},
            "versions": _versions(engine),
            "host": host(),
            "command": self._command(engine) | {"method": "standard" if dense is None else "dense"},
            "inputs": self._inputs,
            "run": {
                "started": _stamp(self._started),
                "finished": _stamp(datetime.now(UTC)),
                "seconds": round(time.perf_counter() - self._clock, 3),
                "outcome": report.outcome(error),
                "exit_code": report.exit_code_after(error),
                "error": report.error_text(error),
            },
            "frames": _frame_counts(self._frames, report, sequence["frame"], tracking["frame"]),
            "sequence": sequence,
            "tracking": tracking,
            "seconds": self.times.as_tree(),
            "seams": asdict(seams) if seams is not None else None,
            "passes": asdict(report.passes) if report.passes is not None else None,
            "dense": dense.as_tree() if dense is not None else None,
        }

    def _command(self, engine: Engine) -> dict[str, Any]:
        request, options = self.request, self._options
        return {
            "kind": request.kind,
            "argv": list(request.argv) if request.argv is not None else None,
            "experiment": request.experiment,
            "folder": str(self._experiment.folder),
            "output": str(self._experiment.output) if self._experiment.output is not None else None,
            **{name: getattr(options, name) for name in _OPTIONS},
            "engine": engine,
            "hooks": list(self.hooks),
            "plugins": self.plugins,
        }


def read_run_report(results: Path) -> dict[str, Any] | None:
    """The report of the last run in ``res/``; None: no report.

    Returns:
        The report as defined by ``run_report.schema.json``; columns that belong together have the same length.

    Raises:
        FormatError: it cannot be read, is of another version, or is damaged.
        ProcessingError: the extra ``report`` is not installed.
    """
    path = results / FILE_NAME
    text = read_bounded(path, _MOST_BYTES)
    if text is None:
        return None
    try:
        _check_size(text)
        parse_int = _whole if _LONG_NUMBER in text.translate(_DIGITS) else None  # a function call per number costs seconds
        tree = json.loads(text, parse_int=parse_int, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: found {error or 'no JSON'}, expected the JSON of a run report: remove it") from error
    if problem := _other_version(tree) or first_problem(tree, run_report_schema()) or _uneven(tree) or _too_deep(tree):
        raise FormatError(f"{path}: {problem}: not a run report of this version, or damaged: remove it")
    found: dict[str, Any] = tree
    return found


def run_report_schema() -> dict[str, Any]:
    """The JSON Schema of a run report."""
    schema: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return schema


def _other_version(tree: Any) -> str | None:
    """A message if the report is of another version, which explains all other differences."""
    found = tree.get("schema", _SCHEMA_VERSION) if isinstance(tree, dict) else _SCHEMA_VERSION
    return None if found == _SCHEMA_VERSION else f"schema: found {reprlib.repr(found)}, expected {_SCHEMA_VERSION}"


def _check_size(text: bytes) -> None:
    """Raise ``ValueError`` for text that would take many times its size as Python objects."""
    if len(text) > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES} bytes")
    if text.count(b"{") + text.count(b"[") > _MOST_CONTAINERS:
        raise ValueError(f"more than {_MOST_CONTAINERS} objects and arrays")
    if text.count(b'"') > 2 * _MOST_TEXTS:
        raise ValueError(f"more than {_MOST_TEXTS} texts")


def _too_deep(tree: dict[str, Any]) -> str | None:
    """A message if the parameters' values, which the schema does not restrict, are nested deeper than parameters are."""
    level: list[Any] = [tree["inputs"]["values"]]
    for _ in range(_DEEPEST):
        level = [item for value in level if isinstance(value, dict | list) for item in _items(value)]
    deep = any(isinstance(value, dict | list) for value in level)
    return f"inputs.values: found more than {_DEEPEST} levels, expected sections with values and lists" if deep else None


def _items(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _uneven(tree: dict[str, Any]) -> str | None:
    """A message if a column does not have one number per frame, which a schema cannot express."""
    for step in ("sequence", "tracking"):
        columns = {name: column for name, column in tree[step].items() if column is not None and name != "targets"}
        if step == "sequence":
            columns |= {f"targets[{camera}]": column for camera, column in enumerate(tree[step]["targets"])}
        for name, column in columns.items():
            if len(column) != len(columns["frame"]):
                return f"{step}.{name}: found {len(column)} numbers, expected {len(columns['frame'])}, one per frame"
        if any(map(operator.ge, columns["frame"], columns["frame"][1:])):
            return f"{step}.frame: found frames out of order, expected ascending ones"
    return None


def _whole(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text)} characters")
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"the number {text}")
    return number


def _frame_counts(frames: FrameRange, report: Tally, done: Iterable[int], tracked: list[int]) -> dict[str, Any]:
    first, last = frames
    finished = set(done)
    return {
        "first": first,
        "last": last,
        "asked": last - first + 1,
        "done": len(finished),
        "kept": report.kept,
        "tracked": len(tracked),
        "failed": [
            {"frame": frame, "step": failed.step, "reason": failed.reason} for frame, failed in sorted(report.failed.items())
        ],
        "not_reached": last - first + 1 - len(finished | report.failed.keys()),
    }


def _inputs(experiment: Experiment) -> dict[str, Any]:
    calibrations = [
        path
        for image in experiment.parameters.ptv.calibration_images[: experiment.num_cams]
        for path in calibration_files(experiment.folder, image)
    ]
    return {
        "parameters": {"file": _within(experiment, experiment.source), "sha256": parameters_digest(experiment.source)},
        "calibrations": [{"file": _within(experiment, path), "sha256": _sum(path)} for path in calibrations],
        "values": experiment.parameters.as_tree(),
    }


def parameters_digest(source: Path) -> str:
    """SHA-256 of a parameter file, or of a folder's: of the list of its files and their digests."""
    files = parameter_files(source)
    if files == [source]:
        return _sum(source)
    listed = "".join(f"{_sum(path)}  {path.name}\n" for path in files)
    return hashlib.sha256(listed.encode()).hexdigest()


def _sum(path: Path) -> str:
    try:
        return hashlib.sha256(read_regular(path)).hexdigest()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from error


def _within(experiment: Experiment, path: Path) -> str:
    """A path relative to the folder; a calibration may be elsewhere."""
    return path.relative_to(experiment.folder).as_posix() if path.is_relative_to(experiment.folder) else path.as_posix()


def _versions(engine: Engine) -> dict[str, str]:
    names = ["numpy", "optv", "Pillow", *(["numba"] if engine == "compiled" else [])]
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _render(value: Any, indent: str = "") -> str:
    """JSON with a line for each field: a column is one line, so that people and ``diff`` can read it."""
    deeper = indent + "  "
    if isinstance(value, dict) and value:
        fields = [f"{deeper}{json.dumps(name)}: {_render(item, deeper)}" for name, item in value.items()]
        return "{\n" + ",\n".join(fields) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return "[\n" + ",\n".join(deeper + json.dumps(item, allow_nan=False) for item in value) + f"\n{indent}]"
    return json.dumps(value, allow_nan=False)
