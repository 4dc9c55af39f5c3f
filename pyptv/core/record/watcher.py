"""The interface of observers of a run, for example a progress bar."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from pyptv.core.record.progress import Meter


class Watcher(Protocol):
    """Observes a run."""

    def begin(self, meter: Meter) -> None:
        """The first frame is about to be begun; ``meter`` counts from here on."""

    def advance(self) -> None:
        """The meter has moved. Called for every frame and step: it must be quick."""

    def finish(self, report: dict[str, Any]) -> None:
        """The run has ended, successfully or not; ``report`` as in ``run_report.json``."""

    def wrote(self, path: Path) -> None:
        """A report was written to ``path``."""
