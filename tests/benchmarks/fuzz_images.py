"""Opens many damaged image files: ``python tests/benchmarks/fuzz_images.py [FIRST] [LAST]``.

Each must give an image or one clear error, within 2 s and 300 MB. Child processes do the work, so that a crash costs one
file; a line tells of each file that breaks the rule, the last line sums up. ``tests/damaged_images.py`` makes the files.
"""

from __future__ import annotations

import multiprocessing
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from damaged_images import HEIGHT, WIDTH, damaged_file, whole_files

from pyptv.core.base.errors import FrameError
from pyptv.core.experiment.folder import GreyDepths, ImageSettings
from pyptv.core.images.pixels import read_views

MOST_SECONDS, MOST_KILOBYTES = 2.0, 300_000
MOST_ADDRESSES = 4 * 2**30
BATCH = 500


def open_one(number: int, folder: Path) -> tuple[str, float]:
    """What becomes of a damaged file, and the seconds it took to open."""
    name, data = damaged_file(number)
    path = folder / ("image" + (".tif" if number % 2 and name.startswith("tiff") else ""))
    path.write_bytes(data)
    settings = ImageSettings(WIDTH, HEIGHT, grey=GreyDepths(page=(None, 1, 2)[number % 3]))
    start = time.perf_counter()
    try:
        read_views(path, settings)
        outcome = "image"
    except FrameError as error:
        clear = str(error).startswith(f"{path}: ") and "\n" not in str(error) and len(str(error)) < 500
        outcome = "error" if clear else f"unclear error {error}"
    except BaseException as error:  # the very thing that is looked for
        outcome = f"{type(error).__name__} {error}"
    finally:
        path.unlink()
    return outcome, time.perf_counter() - start


def work(first: int, last: int, pipe: multiprocessing.connection.Connection) -> None:
    """Open some, and send (number, outcome, seconds, kilobytes that the peak grew by)."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    whole_files()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, last):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            signal.alarm(20)
            outcome, seconds = open_one(number, Path(folder))
            signal.alarm(0)
            pipe.send((number, outcome, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
    pipe.send(None)


def main(first: int, last: int) -> int:
    """Open the files ``first`` to ``last``; the number of those that break the rule."""
    counts: Counter[str] = Counter()
    slowest, largest, bad = (0.0, 0), (0, 0), 0
    number = first
    while number < last:
        mine, theirs = multiprocessing.Pipe(duplex=False)
        child = multiprocessing.get_context("fork").Process(target=work, args=(number, min(last, number + BATCH), theirs))
        child.start()
        theirs.close()
        try:
            while (result := mine.recv()) is not None:
                number, outcome, seconds, grown = result
                slowest, largest = max(slowest, (seconds, number)), max(largest, (grown, number))
                fine = outcome in ("image", "error") and seconds < MOST_SECONDS and grown < MOST_KILOBYTES
                counts[outcome.split()[0]] += 1
                if not fine:
                    bad += 1
                    print(f"{number} ({damaged_file(number)[0]}): {outcome}, {seconds:.1f} s, {grown} kB", flush=True)
                number += 1
        except EOFError:
            child.join()
            print(f"{number} ({damaged_file(number)[0]}): the process died, {child.exitcode}", flush=True)
            bad, number = bad + 1, number + 1
        child.join()
    print(f"{dict(counts)}; slowest {slowest[0]:.2f} s (file {slowest[1]}), most memory {largest[0]} kB (file {largest[1]})")
    return bad


if __name__ == "__main__":
    sys.exit(min(1, main(*(int(word) for word in (sys.argv[1:] or ["0", "1000"])))))
