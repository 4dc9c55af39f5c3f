"""The tables of the page: cells are plain strings, which the template escapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from pyptv.core.experiment.calibration import Calibration
from pyptv.core.experiment.parameters.schema import SECTIONS, key_of
from pyptv.report.record import Record
from pyptv.report.views import View
from pyptv.report.words import NOT_RECORDED, count, duration, moment, number, percent

MOST_FAILURES = 200
"""Maximum number of rows in the table of failed frames."""

_SHOWN_DIGEST = 16


@dataclass(frozen=True)
class Table:
    """A table: caption, column headings, and rows, whose first cell is the row heading."""

    caption: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numeric: bool = False
    """The cells after the first contain numbers."""


@dataclass(frozen=True)
class Bar:
    """A row of the table of times, with its share of the total."""

    name: str
    text: str
    share: float


def parameters(record: Record) -> list[Table]:
    """All parameters, one table per section."""
    tree = record.values
    heads = ("Parameter", "Value", "Unit", "Meaning")
    tables = [
        Table(
            "General",
            heads,
            [("num_cams", shown_value(tree.get("num_cams")), "", "number of cameras; with a splitter, of views")],
        )
    ]
    for section, kind in SECTIONS.items():
        values = tree.get(section)
        values = values if isinstance(values, dict) else {}
        known = [(f.metadata["unit"].replace("^2", "²"), f.metadata["meaning"], key_of(f)) for f in fields(kind)]
        rows = [(key, shown_value(values.get(key)), unit, meaning) for unit, meaning, key in known]
        tables.append(Table(f"Section {section}", heads, rows))
    return tables


def calibrations(record: Record) -> Table:
    """The present calibration of each camera."""
    heads = ("Camera", *(str(camera) for camera in range(1, record.num_cams + 1)))
    cameras = [_calibration(one) for one in record.experiment.calibrations]
    rows = [(name, *(_shown(camera[name]) for camera in cameras)) for name in cameras[0]]
    return Table("Calibration of each camera", heads, rows, numeric=True)


def agreement(views: list[View]) -> Table:
    """Agreement of targets and particles of the frame in each camera."""
    rows = []
    for view in views:
        n = "–" if view.marks.targets is None else number(len(view.marks.targets))
        far = view.marks.distance
        within = "–" if far is None or not len(far) else number(float(np.percentile(far, 95)))
        rows.append((f"Camera {view.camera}", n, number(view.marks.matched), number(view.marks.error), within))
    heads = ("Camera", "Targets", "In particles", "Median distance [px]", "95 % within [px]")
    return Table("Targets, and their distances from projected particles", heads, rows, numeric=True)


def failures(record: Record) -> Table | None:
    """Failed frames with their reasons."""
    rows = [(str(one.frame), one.step, one.reason) for one in record.failures]
    rows += [(str(frame), NOT_RECORDED, "no result files") for frame in record.missing]
    if not rows:
        return None
    more = f", the first {MOST_FAILURES} of {number(len(rows))}" if len(rows) > MOST_FAILURES else ""
    return Table(f"Reasons{more}", ("Frame", "Step", "Reason"), rows[:MOST_FAILURES])


def stages(record: Record) -> list[Bar]:
    """Seconds of each stage, over all workers."""
    seconds = record.run["seconds"]["stages"] if record.run is not None else {}
    return _bars({name: float(value) for name, value in seconds.items() if value})  # a method does not have all of them


def workers(record: Record) -> list[Bar]:
    """Seconds that each worker was busy."""
    rows = record.run["seconds"]["workers"] if record.run is not None else []
    named = {
        f"Worker {one['worker']} ({count(int(one['frames']), 'frame')}, {count(int(one['steps']), 'tracking step')})": float(
            one["busy"]
        )
        for one in rows
    }
    return _bars(named)


def origin(record: Record) -> Table:
    """Program, versions, machine, command: how the results were made."""
    run = record.run
    if run is None:
        rows = [
            ("Experiment", str(record.experiment.folder)),
            ("Results", str(record.experiment.results)),
            ("Parameters", str(record.experiment.source)),
            *((name, NOT_RECORDED) for name in ("Program", "Command", "Host", "Started")),
        ]
        return Table("How the results were made", ("What", "Value"), rows)
    command, host, inputs = run["command"], run["host"], run["inputs"]
    argv = command["argv"]
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    rows = [
        ("Program", f"{run['program']['name']} {run['program']['version']}"),
        ("Command", f"{command['kind']}, called from Python" if argv is None else " ".join(map(str, argv))),
        ("Options", ", ".join(f"{name} {shown_value(command[name])}" for name in _OPTIONS if name in command)),
        ("Experiment", str(command["folder"])),
        ("Results", str(record.experiment.results)),
        ("Started", moment(str(run["run"]["started"]))),
        ("Finished", moment(str(run["run"]["finished"]))),
        ("Outcome", f"{run['run']['outcome']}, exit code {run['run']['exit_code']}"),
        ("Versions", versions),
        ("Host", f"{host['name']}: {host['system']}, {host['machine']}, {host['cpus']} CPUs"),
        *_digests(inputs),
    ]
    return Table("How the results were made", ("What", "Value"), rows)


def _digests(inputs: dict[str, Any]) -> list[tuple[str, str]]:
    files = [("Parameters", inputs["parameters"]), *(("Calibration", one) for one in inputs["calibrations"])]
    return [(what, f"{one['file']}, SHA-256 {str(one['sha256'])[:_SHOWN_DIGEST]}…") for what, one in files]


_OPTIONS = ("mode", "on_error", "resume", "clean", "n_processes", "serial_tracking", "engine", "method")


def _calibration(one: Calibration) -> dict[str, tuple[float, ...]]:
    return {
        "x0, y0, z0 [mm]": one.position,
        "omega, phi, kappa [rad]": tuple(math.remainder(angle, 2 * math.pi) for angle in one.angles),
        "cc [mm]": (one.principal_distance,),
        "xh, yh [mm]": one.principal_point,
        "k1, k2, k3": one.radial_distortion,
        "p1, p2": one.decentering,
        "scx, she": one.affine,
        "glass x, y, z [mm]": one.glass,
        "distance to the origin [mm]": (math.dist(one.position, (0, 0, 0)),),
    }


def _shown(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.5g}".replace("-", "−") for value in values)


def shown_value(value: Any) -> str:
    """A parameter's value as text."""
    if value is None:
        return NOT_RECORDED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(shown_value(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value) or "–"


def _bars(seconds: dict[str, float]) -> list[Bar]:
    total = sum(seconds.values())
    most = max(seconds.values(), default=0.0)
    if not most > 0:
        return []
    return [Bar(name, f"{duration(value)} ({percent(value / total)})", 100 * value / most) for name, value in seconds.items()]
