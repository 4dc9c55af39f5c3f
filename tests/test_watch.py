"""Watching: files that are written slowly, in bursts, out of order, cut first; the end by idleness or Ctrl-C, and going on."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import results

from pyptv.core.app import watch
from pyptv.core.app.watch import Arrivals
from pyptv.core.base.errors import ProcessingError
from pyptv.core.base.options import Options
from pyptv.pyptv_batch import main

FIRST, LAST = 1, 12


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    """An experiment with images, and what a run over them makes of it when they are all there."""
    from pyptv.synthetic import make_experiment

    folder = tmp_path_factory.mktemp("watch") / "made"
    make_experiment(folder, n_frames=LAST, n_particles=25, n_cameras=2, image_size=(320, 256), first_frame=FIRST)
    truth = shutil.copytree(folder, folder.with_name("truth"))
    main(truth, FIRST, LAST, engine="optv")
    return folder, results(truth)


@pytest.fixture
def exp(made, tmp_path) -> Path:
    """The experiment with the first image of each camera only."""
    folder = shutil.copytree(made[0], tmp_path / "experiment")
    for image in _images(folder):
        if _frame(image) != FIRST:
            image.unlink()
    return folder


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "img").iterdir() if not path.name.endswith("_targets"))


def _frame(image: Path) -> int:
    return int(image.name.split(".")[1])


def _write(made: Path, exp: Path, frames: list[int], *, slowly: bool) -> None:
    """Write images as a bad copy does: half a file, a pause, the rest; and in any order."""
    for frame in frames:
        for image in _images(made):
            if _frame(image) == frame:
                data = image.read_bytes()
                with (exp / "img" / image.name).open("wb", buffering=0) as file:
                    file.write(data[: len(data) // 2])
                    time.sleep(random.uniform(0.0, 0.1) if slowly else 0)
                    file.write(data[len(data) // 2 :])
        time.sleep(random.choice([0, 0, 0.3]) if slowly else 0)


def test_slowly_in_bursts_and_out_of_order(exp, made, caplog):
    order = [*range(FIRST + 1, LAST + 1)]
    random.Random(3).shuffle(order)
    cut = exp / "img" / _images(made[0])[2].name  # one that stays cut for longer than it is looked at twice
    thread = threading.Thread(target=_write, args=(made[0], exp, [f for f in order if f != _frame(cut)]), kwargs={"slowly": True})
    whole = (made[0] / "img" / cut.name).read_bytes()
    cut.write_bytes(whole[:3000])
    for other in _images(made[0]):
        if _frame(other) == _frame(cut) and other.name != cut.name:
            shutil.copy(other, exp / "img" / other.name)
    timer = threading.Timer(2.5, lambda: cut.write_bytes(whole))
    thread.start()
    timer.start()
    main(exp, FIRST, LAST, engine="optv", watch=True, until_idle=20)
    thread.join()
    timer.join()
    assert results(exp) == made[1]
    report = json.loads((exp / "res/run_report.json").read_text())
    assert (report["run"]["outcome"], report["frames"]["done"], report["frames"]["tracked"]) == ("done", LAST, LAST)


def test_idle_ends_it_and_resume_goes_on(exp, made, tmp_path):
    """What has come is processed and tracked to its end, as if the range ended there; a gap fails its frame."""
    _write(made[0], exp, [2, 3, 4, 5, 6], slowly=False)
    main(exp, FIRST, LAST, engine="optv", watch=True, until_idle=1)
    short = shutil.copytree(made[0], tmp_path / "short")
    main(short, FIRST, 6, engine="optv")
    assert results(exp) == results(short)
    _write(made[0], exp, [8], slowly=False)
    for image in _images(exp):  # a camera or a file server whose clock is off
        if _frame(image) in {2, 8}:
            os.utime(image, (4e9, 4e9) if _frame(image) == 8 else (1e3, 1e3))
    with pytest.raises(ProcessingError, match="frame 7"):
        main(exp, FIRST, LAST, engine="optv", watch=True, until_idle=1, resume=True)
    _write(made[0], exp, [7, 9, 10, 11, 12], slowly=False)
    main(exp, FIRST, LAST, engine="optv", watch=True, until_idle=5, resume=True)
    assert results(exp) == made[1]
    assert json.loads((exp / "res/run_report.json").read_text())["frames"]["kept"] >= 6


def test_ctrl_c_ends_it_as_a_normal_run(exp, made, tmp_path):
    """Until then its page shows how it stands; it is made beside the run, anew now and then."""
    pytest.importorskip("matplotlib")
    _write(made[0], exp, [2, 3, 4, 5, 6], slowly=False)
    words = [str(exp), str(FIRST), str(LAST), "--watch", "--engine", "optv", "-q", "--report"]
    run = subprocess.Popen([sys.executable, "-m", "pyptv.pyptv_batch", *words])
    page = exp / "res/report.html"
    deadline = time.monotonic() + 90
    while (len(list(exp.glob("res/rt_is.*"))) < 6 or not page.exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    interim = page.read_text()
    run.send_signal(signal.SIGINT)
    assert run.wait(60) == 0
    assert page.read_text() != interim
    short = shutil.copytree(made[0], tmp_path / "short")
    main(short, FIRST, 6, engine="optv")
    assert results(exp) == results(short)


class TestArrivals:
    def test_a_file_that_grows_is_not_taken(self, exp, made, monkeypatch):
        from pyptv.core.experiment.folder import load_experiment

        monkeypatch.setattr(watch, "_INTERVAL", 0.0)
        arrivals = Arrivals(load_experiment(exp), (FIRST, LAST), None)
        assert arrivals.poll() == []
        assert arrivals.poll() == [FIRST]
        _write(made[0], exp, [3], slowly=False)
        first, second = (image for image in _images(exp) if _frame(image) == 3)
        assert arrivals.poll() == []
        for size in (first.stat().st_size + 1, first.stat().st_size + 2):
            os.truncate(first, size)
            assert arrivals.poll() == []
        os.truncate(second, 0)
        assert arrivals.poll() == []
        assert (arrivals.end, arrivals.over) == (FIRST, False)

    def test_the_last_frame_may_pause_too(self, exp, monkeypatch):
        """It is tried again like any other; that it was taken does not end the watching."""
        from pyptv.core.experiment.folder import load_experiment

        monkeypatch.setattr(watch, "_INTERVAL", 0.0)
        arrivals = Arrivals(load_experiment(exp), (FIRST, FIRST), None)
        assert [arrivals.poll(), arrivals.poll()] == [[], [FIRST]]
        assert [arrivals.poll(), arrivals.over] == [[], False]
        assert arrivals.failed(FIRST)
        assert [arrivals.poll(), arrivals.over] == [[FIRST], False]
        assert arrivals.failed(FIRST)
        watch.ask_to_end()
        try:
            assert [arrivals.poll(), arrivals.over] == [[FIRST], False]  # what has come by then is taken
            assert arrivals.failed(FIRST)
            assert [arrivals.poll(), arrivals.over] == [[FIRST], True]  # once more, and then for good
        finally:
            watch.ask_to_end(asked=False)
        assert not arrivals.failed(FIRST)

    def test_nothing_comes(self, exp):
        for image in _images(exp):
            image.unlink()
        with pytest.raises(ProcessingError, match="No frame of 1 to 12 has arrived"):
            main(exp, FIRST, LAST, watch=True, until_idle=0.2)

    def test_what_does_not_go_together(self):
        for wrong in ({"until_idle": 3}, {"watch": True, "until_idle": -1}, {"watch": True, "mode": "tracking"}):
            with pytest.raises(ValueError, match=r"until_idle|watch"):
                Options(**wrong)
