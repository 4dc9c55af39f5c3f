"""Who follows a run from outside: a progress bar, say."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from pyptv.core.base.events import Event


class Watcher(Protocol):
    """Follows a run."""

    def expect(self, frames: int, steps: int, done: int = 0) -> None:
        """So many frames will go through so many steps; ``done`` of these are kept from an earlier run."""

    def watch(self, event: Event) -> None:
        """This has happened."""

    def finish(self, report: dict[str, Any]) -> None:
        """The run has ended, well or not; its report, as ``run_report.json`` has it."""

    def wrote(self, path: Path) -> None:
        """A report lies there."""
