"""Log lines on the terminal, in a file, and in a handler of your own.

Run it: ``python docs/demos/logger_demo.py``. It works in a temporary folder and leaves nothing behind.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections import Counter
from pathlib import Path

from pyptv.pyptv_batch import main
from pyptv.synthetic import make_experiment

FORMAT = "%(asctime)s - %(levelname)s - %(message)s"


class LevelCounter(logging.Handler):
    """Counts records by level: a handler is any class with ``emit``."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Count a record."""
        self.counts[record.levelname] += 1


def demo(folder: Path) -> None:
    """Run a small experiment with three handlers on the package's logger."""
    experiment = make_experiment(folder / "experiment", n_frames=5, n_particles=40, image_size=(320, 256))

    package = logging.getLogger("pyptv")
    package.setLevel(logging.DEBUG)  # a logger lets through what its most curious handler wants

    terminal = logging.StreamHandler(sys.stdout)  # 1: what a user reads
    terminal.setLevel(logging.INFO)
    log_file = logging.FileHandler(folder / "run.log", encoding="utf-8")  # 2: everything, for later
    counter = LevelCounter()  # 3: whatever you like
    for handler in (terminal, log_file, counter):
        handler.setFormatter(logging.Formatter(FORMAT))
        package.addHandler(handler)

    print("On the terminal, INFO and above:")
    main(experiment, 10000, 10004)

    for handler in (terminal, log_file, counter):
        package.removeHandler(handler)
        handler.close()
    lines = (folder / "run.log").read_text(encoding="utf-8").splitlines()
    print(f"\nIn the file, {len(lines)} lines; those of frame 10002:")
    for line in lines:
        if "Frame 10002" in line or "Step 10002" in line:
            print(f"  {line}")
    print(f"\nIn a handler of our own: {dict(counter.counts)}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        demo(Path(temporary))
