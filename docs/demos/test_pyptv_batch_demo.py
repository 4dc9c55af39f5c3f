"""The sequential entry point from Python: the two steps, tracking again, resume, errors.

Run it: ``python docs/demos/test_pyptv_batch_demo.py``. It works in a temporary folder and leaves nothing behind.
(It is called test_... because that is what users of PyPTV know it by; pytest does not collect it.)
"""

from __future__ import annotations

import logging
import tempfile
import time
from pathlib import Path

from pyptv.pyptv_batch import ProcessingError, main
from pyptv.synthetic import make_experiment

FIRST, LAST = 10000, 10007


def results(experiment: Path) -> dict[str, bytes]:
    """Every result file of an experiment: name -> bytes."""
    files = experiment.glob("res/*.[0-9]*")
    return {path.name: path.read_bytes() for path in [*files, *experiment.glob("img/*_targets")]}


def both_steps(experiment: Path) -> None:
    """Sequence, then tracking; and tracking once more."""
    main(experiment, FIRST, LAST, mode="sequence")
    print(f"1. sequence step:  {len(results(experiment))} files, 5 for each of {LAST - FIRST + 1} frames")
    main(experiment, FIRST, LAST, mode="tracking")
    tracked = results(experiment)
    print(f"2. tracking step:  {len(tracked)} files, 7 for each frame")
    main(experiment, FIRST, LAST, mode="tracking")
    print(f"3. tracking again: the same bytes: {results(experiment) == tracked}")


def resume(experiment: Path) -> None:
    """Continue where a run was stopped: here one of its files was lost."""
    whole = results(experiment)
    (experiment / "res" / "rt_is.10003").unlink()
    start = time.perf_counter()
    main(experiment, FIRST, LAST, resume=True)
    seconds = time.perf_counter() - start
    print(f"4. resume:         the lost file is back: {results(experiment) == whole}, after {seconds:.2f} seconds")


def errors(experiment: Path) -> None:
    """Bad arguments, a bad experiment, a bad image."""
    try:
        main(experiment, LAST, FIRST)
    except ValueError as error:
        print(f"5. a bad argument is a ValueError: {error}")
    try:
        main(experiment.parent / "nothing", FIRST, LAST)
    except ProcessingError as error:
        print(f"6. all else is a ProcessingError: {str(error).replace(str(experiment.parent), '...')}")
    (experiment / "img" / "cam2.10003.tif").write_bytes(b"this is no image")
    try:
        main(experiment, FIRST, LAST)
    except ProcessingError as error:
        print(f"7. a bad image ends the run: {str(error).replace(str(experiment.parent), '...')}")
    main(experiment, FIRST, LAST, on_error="skip")
    left_out = [frame for frame in range(FIRST, LAST + 1) if not (experiment / "res" / f"rt_is.{frame}").exists()]
    print(f"8. or costs its frame: without results are {left_out}")


def demo(folder: Path) -> None:
    """All of it, on one small experiment."""
    logging.getLogger("pyptv").addHandler(logging.NullHandler())  # this demo prints what matters itself
    experiment = make_experiment(folder / "experiment", n_frames=LAST - FIRST + 1, n_particles=40, image_size=(320, 256))
    both_steps(experiment)
    resume(experiment)
    errors(experiment)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        demo(Path(temporary))
