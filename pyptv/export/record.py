"""The post-processing of each trajectory, as a table beside the export."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from pyptv.core.files.atomic import write_atomic
from pyptv.trajectories.postprocess import RECORD, ProcessedTrajectories

SUFFIX = "-record.csv"


def write_record(processed: ProcessedTrajectories, target: Path) -> Path:
    """Write ``NAME-record.csv`` beside an export: a line of names, then one row per trajectory; see :data:`RECORD`."""
    path = target.with_name(target.stem + SUFFIX)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(RECORD.names or ())
    writer.writerows(processed.records.tolist())
    write_atomic(path, text.getvalue().encode("ascii"))
    return path
