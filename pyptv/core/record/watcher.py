"""Who follows a run from outside: a progress bar, say."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from pyptv.core.record.progress import Meter


class Watcher(Protocol):
    """Follows a run."""

    def begin(self, meter: Meter) -> None:
        """The first frame is about to be begun; ``meter`` counts from here on."""

    def advance(self) -> None:
        """The meter has moved. Called for every frame and step: it must be quick."""

    def finish(self, report: dict[str, Any]) -> None:
        """The run has ended, well or not; its report, as ``run_report.json`` has it."""

    def wrote(self, path: Path) -> None:
        """A report lies there."""
