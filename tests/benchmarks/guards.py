"""What the guards around optv cost, as a share of a frame.

    python tests/benchmarks/guards.py EXP [FRAME]

Times each guard by itself on a real frame, many times, and prints the medians next to the frame's own time.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pyptv.core.engines.optv import backend as optv_backend
from pyptv.core.engines.optv.c_library import captured_output, keep_freed_memory
from pyptv.core.experiment.folder import load_experiment
from pyptv.core.files.atomic import frame_digest
from pyptv.core.files.formats import TARGETS
from pyptv.core.images.grey_values import decide
from pyptv.core.stages.frames import FramePipeline

REPEATS = 15


def median_ms(what: Callable[[], object]) -> float:
    """Median CPU time of a call, ms."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        what()
        times.append(time.process_time() - start)
    return 1000 * statistics.median(times)


def main() -> None:
    """Print the table."""
    experiment = load_experiment(Path(sys.argv[1]))
    frame = int(sys.argv[2]) if len(sys.argv) > 2 else experiment.parameters.sequence.first
    keep_freed_memory()
    pipeline = FramePipeline(experiment, decide(experiment).settings)
    result = pipeline.process(frame)
    files = result.files()
    backend = pipeline._backend
    images = [
        np.zeros((experiment.parameters.ptv.imy, experiment.parameters.ptv.imx), np.uint8) for _ in range(experiment.num_cams)
    ]
    targets = [backend.load_targets(np.array(rows, TARGETS.dtype)) for rows in result.matches.targets]

    def catch_output() -> None:
        with captured_output():
            pass

    guards = {
        "image shape, type, layout": lambda: [np.ascontiguousarray(image) for image in images],
        "overflow risk": lambda: [backend.overflow_risk(image, camera) for camera, image in enumerate(images)],
        "invented target": lambda: [optv_backend._is_invented(found) for found in targets],
        "what C prints": catch_output,
        "fingerprint of the files": lambda: frame_digest(files),
    }
    whole = median_ms(lambda: pipeline.process(frame).files())
    total = 0.0
    for name, guard in guards.items():
        cost = median_ms(guard)
        total += cost
        print(f"{name:<28}{cost:>8.3f} ms{cost / whole:>8.2%}")
    print(f"{'all guards':<28}{total:>8.3f} ms{total / whole:>8.2%}")
    print(f"{'a frame':<28}{whole:>8.1f} ms")


if __name__ == "__main__":
    main()
