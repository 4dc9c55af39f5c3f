"""``--check``: a table, an estimate, all problems; and nothing is written."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from pyptv.core.cli.check import _bytes
from pyptv.core.record.progress import duration
from pyptv.pyptv_batch import cli
from pyptv.pyptv_batch_parallel import cli as parallel_cli


@pytest.fixture
def folder(small_experiment):
    return small_experiment()


def test_a_good_experiment(folder, capsys):
    before = sorted(folder.rglob("*"))
    assert cli([str(folder), "--check"]) == 0
    out = capsys.readouterr().out
    rows = dict(re.findall(r"^(\w[\w ]{0,11}?) {2,}(.+)$", out, re.MULTILINE))
    assert rows["Experiment"] == str(folder)
    assert rows["Parameters"] == "parameters/ptv.par"
    assert rows["Frames"] == "10000 to 10005 (6)"
    assert rows["Steps"] == "sequence, tracking"
    assert rows["Cameras"] == "4, 320 x 256 px"
    assert re.fullmatch(r"targets \d+, \d+, \d+, \d+; \d+ particles", rows["First frame"])
    assert re.fullmatch(r"about \d+ s on 1 process, engine optv", rows["Time"])
    assert re.fullmatch(r"about \d+ kB, \d+(\.\d)? [GT]B free", rows["Disk"])
    assert out.endswith("The run can start.\n")
    assert sorted(folder.rglob("*")) == before


def test_the_number_of_processes_counts(folder, capsys):
    assert parallel_cli([str(folder), "10000", "10005", "2", "--check", "--mode", "sequence"]) == 0
    out = capsys.readouterr().out
    assert "on 2 processes" in out
    assert "sequence\n" in out


def test_all_problems_are_listed(folder, capsys):
    (folder / "img" / "cam2.10003.tif").unlink()
    (folder / "img" / "cam1.10000.tif").write_bytes(b"")
    assert cli([str(folder), "--check"]) == 2
    out = capsys.readouterr().out
    assert (
        f"  - 1 frame (10003) lacks a file: {folder / 'img' / 'cam2.10003.tif'}. "
        "All cameras have images of frames 10000-10002, 10004-10005\n"
    ) in out
    assert f"  - {folder / 'img' / 'cam1.10000.tif'}: the file is empty\n" in out
    assert out.endswith("The run would not start.\n")


def test_broken_parameters(folder, capsys):
    (folder / "cal" / "cam1.tif.ori").unlink()
    (folder / "cal" / "cam2.tif.ori").unlink()
    assert cli([str(folder), "--check"]) == 2
    out = capsys.readouterr().out
    assert out.count("calibration cannot be read") == 2
    assert "Problems:" in out


def test_a_first_frame_that_fails_is_a_problem(folder, capsys):
    path = folder / "img" / "cam3.10000.tif"
    Image.fromarray(np.full((256, 320), 7, np.float32)).save(path)
    assert cli([str(folder), "--check"]) == 2
    assert f"  - frame 10000, camera 3: {path}: " in capsys.readouterr().out


def test_hints_do_not_refuse(folder, capsys):
    path = folder / "cal" / "cam2.tif.addpar"
    path.write_text(path.read_text().replace("1.0", "1.01", 1) if " 1.0 " in path.read_text() else "0 0 0 0 0 1.01 0\n")
    assert cli([str(folder), "--check"]) == 0
    out = capsys.readouterr().out
    assert "Hints:\n  - cal/cam2.tif.addpar: scx is 1.01" in out


def test_frames_in_the_wrong_order(folder, capsys):
    assert cli([str(folder), "5", "1", "--check"]) == 2
    assert "First frame (5) must be <= last frame (1)" in capsys.readouterr().err


def test_tracking_alone_is_checked_without_a_trial(folder, capsys):
    assert cli([str(folder), "--check", "--mode", "tracking"]) == 2
    assert "6 frames (10000-10005) lack a file" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (59.4, "59 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (3600, "1 h 00 min"), (90061, "25 h 01 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1500, "2 kB"), (3e6, "3 MB"), (7e9, "7 GB"), (2.5e12, "2.5 TB")]
)
def test_sizes(size, text):
    assert _bytes(size) == text
