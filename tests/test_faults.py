"""The fault matrix of docs/reliability.md: each row is a test here, and goes through both entry points.

What every row asks: a clear line that names what failed and where, the right exit code, no partial file, no harm to other frames.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import results
from PIL import Image

FIRST, LAST, BAD = 10000, 10005, 10003
SIZE = (320, 256)


@dataclass
class Outcome:
    """What a command has left behind."""

    code: int
    log: str

    @property
    def errors(self) -> list[str]:
        """The error lines; each is one line, without a traceback."""
        return [line for line in self.log.splitlines() if " - ERROR - " in line]


@pytest.fixture(params=["serial", "parallel"])
def command(request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs a command line in this process: ``command(exp, *options)`` over all six frames, or ``frames=(first, last)``."""
    from pyptv import pyptv_batch, pyptv_batch_parallel

    def run(exp: Path, *options: str, frames: tuple[int, int] = (FIRST, LAST)) -> Outcome:
        parallel = request.param == "parallel"
        arguments = [str(exp), *map(str, frames), *(["2"] if parallel else []), *options]
        capfd.readouterr()
        code = (pyptv_batch_parallel if parallel else pyptv_batch).cli(arguments)
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        assert not list(exp.rglob("*.pyptv-tmp"))
        return Outcome(code, captured.err)

    return run


@pytest.fixture(scope="session")
def clean_results(_experiments: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, bytes]]:
    """The results of the undisturbed experiment, or of some frames of it alone, by the sequential entry."""
    from pyptv.pyptv_batch import main

    known: dict[tuple[int, int], dict[str, bytes]] = {}

    def get(first: int = FIRST, last: int = LAST) -> dict[str, bytes]:
        if (first, last) not in known:
            folder = tmp_path_factory.mktemp("clean") / "experiment"
            shutil.copytree(_experiments(), folder)
            main(folder, first, last)
            known[first, last] = results(folder)
        return known[first, last]

    return get


def image(exp: Path, camera: int = 2, frame: int = BAD) -> Path:
    return exp / "img" / f"cam{camera}.{frame}.tif"


def of_frame(files: dict[str, bytes], frame: int) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if f".{frame}" in name}


# -- a bad image: the frame fails, nothing else does -----------------------------------------------


def empty_file(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def truncated_pixels(path: Path) -> None:
    """A TIFF whose directory is whole and whose last strips are missing."""
    Image.effect_noise(SIZE, 40).save(path, "TIFF", compression="tiff_lzw")
    data = bytearray(path.read_bytes())
    data[200:-600] = bytes(len(data) - 800)
    path.write_bytes(data)


def no_image(path: Path) -> None:
    path.write_text("frame 10003 was lost\n")


def a_pipe(path: Path) -> None:
    """To open it as a file would wait for ever."""
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def wrong_size(path: Path) -> None:
    Image.new("L", (300, 256)).save(path, "TIFF")


BAD_IMAGES = {
    empty_file: "is empty",
    truncated: "cut",
    truncated_pixels: "cut or damaged",
    no_image: "cut, damaged, or not an image",
    wrong_size: "found an image of 300 x 256 px, expected 320 x 256",
    a_pipe: "found a pipe, expected a file",
    a_folder: "found a folder, expected a file",
    a_device: "found a device, expected a file",
}


@pytest.mark.parametrize("spoil", BAD_IMAGES, ids=lambda spoil: spoil.__name__)
def test_a_bad_image_fails_its_frame(command, small_experiment, clean_results, spoil):
    exp = small_experiment()
    spoil(image(exp))
    outcome = command(exp)
    assert outcome.code == 1
    assert len(outcome.errors) == 1
    assert f"frame {BAD}, camera 2: {image(exp)}: " in outcome.errors[0]
    assert BAD_IMAGES[spoil] in outcome.errors[0]
    assert not of_frame(results(exp), BAD)

    skipped = command(exp, "--on-error", "skip")
    assert skipped.code == 3
    assert f"1 frame failed and was left out: {BAD}" in skipped.log
    assert f"frame {BAD}, camera 2" in skipped.log
    assert results(exp) == clean_results(FIRST, BAD - 1) | clean_results(BAD + 1, LAST)


def test_missing_images_are_all_reported_before_the_run(command, small_experiment, clean_results):
    exp = small_experiment()
    for camera, frame in ((2, BAD), (4, BAD), (1, LAST)):
        image(exp, camera, frame).unlink()
    outcome = command(exp)
    assert outcome.code == 2
    assert f"2 frames ({BAD}, {LAST}) lack a file" in outcome.log
    assert str(image(exp)) in outcome.log
    assert str(image(exp, 1, LAST)) in outcome.log
    assert not results(exp)
    skipped = command(exp, "--on-error", "skip")
    assert skipped.code == 3
    assert results(exp) == clean_results(FIRST, BAD - 1) | clean_results(BAD + 1, LAST - 1)


# -- frames without particles ----------------------------------------------------------------------


@pytest.mark.parametrize("grey", [255, 0], ids=["all white", "all black"])
@pytest.mark.parametrize(
    "frames", [(FIRST,), (BAD,), (LAST,), (FIRST, BAD, BAD + 1, LAST)], ids=["start", "inside", "end", "several"]
)
def test_empty_frames_hold_0_and_leave_their_neighbours_alone(command, small_experiment, clean_results, grey, frames):
    exp = small_experiment()
    for frame in frames:
        for camera in (1, 2, 3, 4):
            Image.new("L", SIZE, grey).save(image(exp, camera, frame), "TIFF")
    outcome = command(exp)
    assert outcome.code == 0, outcome.log
    found = results(exp)
    expected: dict[str, bytes] = {}
    start = FIRST
    for frame in [*frames, LAST + 1]:
        if frame > start:
            expected |= clean_results(start, frame - 1)
        start = frame + 1
    for frame in frames:
        empty = of_frame(found, frame)
        assert len(empty) == 7
        assert set(empty.values()) == {b"0\n"}
        expected |= empty
    assert found == expected


# -- optv's buffers --------------------------------------------------------------------------------


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def set_lines(path: Path, **lines: object) -> None:
    """Replace lines of a .par file: ``line12="0.5"``."""
    text = path.read_text().splitlines()
    for name, value in lines.items():
        text[int(name.removeprefix("line")) - 1] = str(value)
    path.write_text("\n".join(text) + "\n")


def test_noise_at_threshold_0_is_refused(command, small_experiment):
    exp = small_experiment(image_size=(640, 512), n_frames=2)
    rng = np.random.default_rng(1)
    for camera in (1, 2, 3, 4):
        noise = rng.choice(np.array([0, 200], np.uint8), (512, 640), p=[0.85, 0.15])
        Image.fromarray(noise).save(image(exp, camera, FIRST), "TIFF")
    set_lines(exp / "parameters" / "targ_rec.par", line1=0, line2=0, line3=0, line4=0, line6=1, line8=1, line10=1, line12=0)
    outcome = command(exp, "--on-error", "skip", frames=(FIRST, FIRST))
    assert outcome.code == 3
    assert f"frame {FIRST}" in outcome.log
    assert "targets" in outcome.log


def crash_experiment(small_experiment, n_frames: int) -> Path:
    """One camera of 2200 x 2200 px; in the middle frame a grid of lines that overflows optv's blob queue for certain."""
    exp = small_experiment(n_cameras=1, n_frames=n_frames, image_size=(2200, 2200), n_particles=20)
    pixels = np.zeros((2200, 2200), np.uint8)
    pixels[10:2110:2, 10:2110] = 250
    pixels[10:2110, 10:2110:2] = 250
    Image.fromarray(pixels).save(image(exp, 1, FIRST + n_frames // 2), "TIFF")
    return exp


def test_a_frame_that_always_crashes_optv_costs_only_itself(command, small_experiment):
    exp = crash_experiment(small_experiment, 3)
    bad, last = FIRST + 1, FIRST + 2
    outcome = command(exp, "--on-error", "skip", frames=(FIRST, last))
    assert outcome.code == 3
    assert f"frame {bad}: worker killed by signal 11 (SIGSEGV) while detecting targets in camera 1" in outcome.log
    assert "tried once more, alone" in outcome.log
    whole = {path.name for path in (exp / "res").glob("rt_is.*")}
    assert whole == {f"rt_is.{FIRST}", f"rt_is.{last}"}

    aborted = command(exp, frames=(FIRST, last))
    assert aborted.code == 1
    assert any(f"frame {bad}: worker killed by signal 11 (SIGSEGV)" in line for line in aborted.errors)


@pytest.mark.parametrize("cameras", [3, 4])
def test_too_wide_eps0_fails_the_frame_with_advice(command, cavity, cameras):
    (cavity / "parameters_Run1.yaml").unlink()
    if cameras == 3:
        lines = (cavity / "parameters" / "ptv.par").read_text().splitlines()
        (cavity / "parameters" / "ptv.par").write_text("\n".join(["3", *lines[1:7], *lines[9:]]) + "\n")
        lines = (cavity / "parameters" / "sequence.par").read_text().splitlines()
        (cavity / "parameters" / "sequence.par").write_text("\n".join([*lines[:3], *lines[4:]]) + "\n")
    set_lines(cavity / "parameters" / "criteria.par", line12=0.5)
    outcome = command(cavity, frames=(FIRST, FIRST))
    assert outcome.code == 1
    assert f"frame {FIRST}: too many candidate correspondences for optv" in outcome.errors[0]
    assert "narrow eps0" in outcome.errors[0]
    assert not results(cavity)


# -- files around the images -----------------------------------------------------------------------


def garbage(path: Path) -> None:
    path.write_text("x y z\n" * 8)


def not_a_number(path: Path) -> None:
    path.write_text(path.read_text().replace(path.read_text().split()[0], "nan", 1))


@pytest.mark.parametrize("spoil", [Path.unlink, empty_file, garbage, not_a_number], ids=["missing", "empty", "garbage", "nan"])
@pytest.mark.parametrize("name", ["cam2.tif.ori", "cam2.tif.addpar"])
def test_a_bad_calibration_ends_the_run_before_it_starts(command, small_experiment, spoil, name):
    exp = small_experiment()
    path = exp / "cal" / name
    spoil(path)
    outcome = command(exp)
    assert outcome.code == 2
    assert len(outcome.errors) == 1
    assert str(path) in outcome.errors[0]
    assert not results(exp)


def cut_short(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:1]))


def non_ascii(path: Path) -> None:
    path.write_bytes(b"\xff\xfe" + path.read_bytes())


PARAMETER_FILES = ["ptv", "sequence", "criteria", "targ_rec", "track"]


@pytest.mark.parametrize(
    "spoil", [empty_file, cut_short, non_ascii, Path.unlink], ids=["empty", "truncated", "non-ascii", "missing"]
)
@pytest.mark.parametrize("name", PARAMETER_FILES)
def test_a_bad_parameter_file_ends_the_run_before_it_starts(command, small_experiment, spoil, name):
    exp = small_experiment()
    path = exp / "parameters" / f"{name}.par"
    spoil(path)
    outcome = command(exp)
    assert outcome.code == 2
    assert len(outcome.errors) == 1
    assert str(path) in outcome.errors[0]


def test_parameter_files_with_windows_line_ends_are_fine(command, small_experiment, clean_results):
    exp = small_experiment()
    for path in (exp / "parameters").glob("*.par"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert command(exp).code == 0
    assert results(exp) == clean_results()


LONG = "x" * 240


@pytest.mark.parametrize("name", ["with spaces and accénts/Größe 1", LONG], ids=["spaces and accents", "240 characters"])
def test_any_path_of_the_experiment_will_do(command, small_experiment, clean_results, name):
    exp = small_experiment(name)
    outcome = command(exp)
    assert outcome.code == 0, outcome.log
    assert results(exp) == clean_results()


def test_frame_number_0_is_a_frame_like_any_other(command, small_experiment, clean_results):
    exp = small_experiment()
    for path in list((exp / "img").iterdir()):
        camera, frame, suffix = path.name.split(".")
        path.rename(path.with_name(f"{camera}.{int(frame) - FIRST}.{suffix}"))
    assert command(exp, frames=(0, 5)).code == 0
    renamed = {}
    for file, data in clean_results().items():
        stem, number = file.removesuffix("_targets").split(".")
        targets = file.endswith("_targets")
        frame = int(number) - FIRST
        renamed[f"{stem}.{frame:04d}_targets" if targets else f"{stem}.{frame}"] = data
    assert results(exp) == renamed


# -- the disk --------------------------------------------------------------------------------------


def test_unwritable_res_is_reported_before_the_run(command, small_experiment):
    exp = small_experiment()
    (exp / "res").write_text("a file in the way")
    outcome = command(exp)
    assert outcome.code in (1, 2)
    assert len(outcome.errors) == 1
    assert str(exp / "res") in outcome.errors[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to read-only folders")
def test_read_only_res_is_reported_before_the_run(command, small_experiment):
    exp = small_experiment()
    (exp / "res").mkdir(mode=0o555)
    outcome = command(exp)
    assert outcome.code in (1, 2)
    assert str(exp / "res") in outcome.errors[0]


@pytest.mark.parametrize("limit", [2000, 7000], ids=["for the journal", "for a frame"])
def test_a_full_disk_ends_the_run_and_leaves_only_whole_files(command, small_experiment, limit):
    exp, undisturbed = (small_experiment(name, n_particles=150) for name in ("full", "undisturbed"))
    for folder in (exp, undisturbed):  # so that a frame's first file is small, and the disk is full at its second
        for frame in range(FIRST, LAST + 1):
            Image.new("L", SIZE).save(image(folder, 1, frame), "TIFF")
    assert command(undisturbed).code == 0
    whole = results(undisturbed)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))  # every larger file is cut there: EFBIG, as ENOSPC
    try:
        outcome = command(exp)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert outcome.code == 1
    assert len(outcome.errors) == 1
    assert "File too large" in outcome.errors[0]
    found = results(exp)
    assert all(data == whole[name] for name, data in found.items())
    if limit == 2000:
        assert ".pyptv/journal/" in outcome.errors[0]
    else:
        assert re.search(r"frame 1000\d: .*(_targets|rt_is\.1000\d): File too large", outcome.errors[0])
        failed = int(outcome.errors[0].split("frame ")[1].split(":")[0])
        assert not of_frame(found, failed)
    assert command(exp).code == 0
    assert results(exp) == whole


# -- results that others have touched --------------------------------------------------------------


def rt_is(exp: Path, frame: int = BAD) -> Path:
    return exp / "res" / f"rt_is.{frame}"


def points_past_the_end(path: Path) -> None:
    lines = path.read_text().splitlines()
    row = lines[1].split()
    lines[1] = " ".join([*row[:4], "9999", *row[5:]])
    path.write_text("\n".join(lines) + "\n")


BAD_RT_IS = {
    "missing": (Path.unlink, "lacks a file"),
    "empty": (empty_file, "expected the number of rows"),
    "cut": (truncated, "the file is cut or mixed"),
    "garbage": (garbage, "expected the number of rows"),
    "a pipe": (a_pipe, "found a pipe, expected a file"),
    "pointer out of range": (points_past_the_end, "found 9999, expected -1 to"),
}


@pytest.mark.parametrize("case", BAD_RT_IS)
def test_a_malformed_rt_is_is_not_tracked(command, small_experiment, clean_results, case):
    exp = small_experiment()
    assert command(exp, "--mode", "sequence").code == 0
    spoil, message = BAD_RT_IS[case]
    spoil(rt_is(exp))
    outcome = command(exp, "--mode", "tracking")
    assert outcome.code in (1, 2)
    assert len(outcome.errors) == 1
    assert str(rt_is(exp)) in outcome.errors[0]
    assert message in outcome.errors[0]

    skipped = command(exp, "--mode", "tracking", "--on-error", "skip")
    assert skipped.code == 3
    alone = clean_results(FIRST, BAD - 1) | clean_results(BAD + 1, LAST)
    found = results(exp)
    assert {name: found[name] for name in alone} == alone
    assert f"res/ptv_is.{BAD}" not in found


def test_tracking_again_starts_from_the_pristine_files(command, cavity, golden):
    (cavity / "parameters_Run1.yaml").unlink()
    assert command(cavity, frames=(10000, 10004)).code == 0
    assert results(cavity) == golden("tracking")
    assert command(cavity, "--mode", "tracking", frames=(10000, 10004)).code == 0
    assert results(cavity) == golden("tracking")
    set_lines(cavity / "parameters" / "track.par", line9=0)  # without adding particles nothing of the input changes
    assert command(cavity, "--mode", "tracking", frames=(10000, 10004)).code == 0
    sequence = golden("sequence")
    found = results(cavity)
    assert {name: found[name] for name in sequence} == sequence


def test_a_file_that_somebody_changed_counts_as_it_is(command, cavity, golden):
    assert command(cavity, frames=(10000, 10004)).code == 0
    changed = rt_is(cavity, 10002)
    lines = golden("sequence")["res/rt_is.10002"].decode().splitlines(keepends=True)
    lines[1] = lines[1].replace(lines[1][5:14], "%9.3f" % (float(lines[1][5:14]) + 0.5))
    changed.write_text("".join(lines))
    other = cavity.with_name("other")
    shutil.copytree(cavity, other)
    for name, data in golden("sequence").items():
        if name != "res/rt_is.10002":
            (other / name).write_bytes(data)
    shutil.rmtree(other / "res" / ".pyptv")
    assert command(cavity, "--mode", "tracking", frames=(10000, 10004)).code == 0
    assert command(other, "--mode", "tracking", frames=(10000, 10004)).code == 0
    assert results(cavity) == results(other)
    assert results(cavity) != golden("tracking")


def test_old_results_outside_the_range_are_kept_until_clean(command, small_experiment):
    exp = small_experiment()
    assert command(exp).code == 0
    shorter = command(exp, frames=(FIRST, FIRST + 2))
    assert shorter.code == 0
    assert "res/ holds frames 10003-10005 from an earlier run: kept, not part of this run" in shorter.log
    assert rt_is(exp, LAST).exists()
    assert command(exp, "--clean", frames=(FIRST, FIRST + 2)).code == 0
    assert {name.split(".")[1][:5] for name in results(exp)} == {"10000", "10001", "10002"}


def test_check_lists_all_problems_and_writes_nothing(command, small_experiment, capfd):
    exp = small_experiment()
    assert command(exp, "--check").code == 0
    image(exp).unlink()
    Image.new("L", (300, 256)).save(image(exp, 1, FIRST), "TIFF")
    command(exp)  # empties what was captured
    from pyptv.pyptv_batch import cli

    assert cli([str(exp), "--check"]) == 2
    table = capfd.readouterr().out
    assert str(image(exp)) in table
    assert "found an image of 300 x 256 px, expected 320 x 256" in table
    assert "The run would not start" in table
    assert not (exp / "res" / "rt_is.10000").exists()
