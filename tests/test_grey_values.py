"""What grey values mean: bit depths, dialects of TIFF, pages, one image for two cameras. Through the front door.

The fault matrix of docs/reliability.md names these tests.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import refusal, results
from PIL import Image

from pyptv import pyptv_batch, pyptv_batch_parallel
from pyptv.core.experiment.folder import GreyDepths, load_experiment
from pyptv.core.images.grey_values import SAMPLES, decide, sampled_images
from pyptv.pyptv_batch import main
from pyptv.pyptv_batch_parallel import run_sequence_chunk
from pyptv.synthetic.writer import write_yaml

FIRST, LAST = 10000, 10005
CAMERAS = (1, 2, 3, 4)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs a command line in this process: (exit code, what it said)."""

    def run(exp: Path, *options: str, frames: tuple[int, int] = (FIRST, LAST), parallel: bool = False) -> tuple[int, str]:
        cli = pyptv_batch_parallel.cli if parallel else pyptv_batch.cli
        capfd.readouterr()
        code = cli([str(exp), *map(str, frames), *(["2"] if parallel else []), *options])
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out + captured.err

    return run


@pytest.fixture(params=["serial", "parallel"])
def command(request: pytest.FixtureRequest, run) -> Callable[..., tuple[int, str]]:
    """:func:`run` for each of the entry points."""
    return partial(run, parallel=request.param == "parallel")


def change_images(exp: Path, change: Callable[[np.ndarray], np.ndarray], cameras=CAMERAS, frames=range(FIRST, LAST + 1)) -> None:
    """Other pixels in the images of some cameras and frames."""
    for camera in cameras:
        for frame in frames:
            path = exp / "img" / f"cam{camera}.{frame}.tif"
            Image.fromarray(change(np.asarray(Image.open(path)))).save(path)


def set_key(exp: Path, section: str, **values: object) -> Path:
    """Values in the YAML parameters, which are made where there are .par files only; the path of the file."""
    path = exp / "parameters_synthetic.yaml"
    if not path.exists():
        write_yaml(exp, load_experiment(exp).parameters.as_tree())
    tree = yaml.safe_load(path.read_text())
    tree[section] |= values
    path.write_text(yaml.safe_dump(tree))
    return path


def sixteen(image: np.ndarray, factor: int = 1) -> np.ndarray:
    return image.astype(np.uint16) * np.uint16(factor)


class TestTwelveBits:
    def test_they_stop_a_run_with_advice(self, command, small_experiment):
        exp = small_experiment(depth=12)
        code, said = command(exp)
        assert code == 2
        assert re.search(r"cameras 1, 2, 3, 4: found 16-bit images whose highest value is \d{4} \(24 images looked at\)", said)
        assert re.search(r"as PyPTV does, they keep 1\d of \d\d+ grey levels\. Add --bit-depth 12 \(or bit_depth: 12", said)
        assert not results(exp)
        checked, table = command(exp, "--check")
        assert (checked, "Add --bit-depth 12" in table, "would not start" in table) == (2, True, True)
        assert refusal(run_sequence_chunk, exp, FIRST, FIRST) in said

    def test_with_the_option_they_give_the_particles_of_8_bits(self, command, small_experiment):
        pytest.importorskip("scipy")
        from pyptv.evaluate import evaluate

        of_8, of_12 = small_experiment("of_8"), small_experiment("of_12", depth=12)
        assert command(of_8)[0] == 0
        code, said = command(of_12, "--bit-depth", "12")
        assert code == 0
        assert "grey levels" not in said
        scores = [evaluate(exp) for exp in (of_8, of_12)]
        assert abs(scores[0].recall - scores[1].recall) < 0.002
        assert min(score.recall for score in scores) > 0.95

    def test_the_key_does_what_the_option_does(self, small_experiment):
        exp = small_experiment(depth=12)
        main(exp, bit_depth=12)
        wanted = results(exp)
        path = set_key(exp, "ptv", bit_depth=12)
        main(path)
        assert results(exp) == wanted
        main(exp, mode="sequence", bit_depth=12)
        of_run = results(exp)
        run_sequence_chunk(path, FIRST, FIRST + 2)
        run_sequence_chunk(exp, FIRST + 3, LAST, bit_depth=12)
        assert results(exp) == of_run

    @pytest.mark.parametrize(("bits", "said"), [(8, "expected at most 255"), (10, "expected at most 1023 in 10-bit images")])
    def test_too_few_bits_are_refused_before_the_run(self, run, small_experiment, bits, said):
        exp = small_experiment(depth=12)
        code, log = run(exp, "--bit-depth", str(bits))
        assert code == 2
        assert re.search(rf"cameras 1, 2, 3, 4: found a highest value of \d{{4}}, {said}", log)

    def test_16_bits_are_what_pyptv_makes_of_them(self, run, small_experiment):
        exp, by_hand = small_experiment("exp", depth=12), small_experiment("by_hand", depth=12)
        code, log = run(exp, "--bit-depth", "16")
        assert code == 0
        assert re.search(r"taken as 16-bit values, as asked for, they keep \d+ of \d+ grey levels", log)
        change_images(by_hand, lambda image: (image >> 8).astype(np.uint8))
        assert run(by_hand)[0] == 0
        assert results(exp) == results(by_hand)

    @pytest.mark.parametrize("value", [9, "twelve", True, [12], 12.5])
    def test_a_key_out_of_its_choices(self, small_experiment, value):
        path = set_key(small_experiment(), "ptv", bit_depth=value)
        assert f"ptv.bit_depth: found {value!r}, expected auto, 8, 10, 12, 14, 16: bits of a grey value" in refusal(main, path)

    @pytest.mark.parametrize("options", [{"bit_depth": 9}, {"bit_depth": "12 bits"}, {"page": 0}, {"page": "1"}])
    def test_an_argument_out_of_its_choices(self, small_experiment, options):
        with pytest.raises(ValueError, match=f"{next(iter(options))} must be "):
            main(small_experiment(), **options)

    def test_a_brighter_image_than_those_looked_at_fails_its_frame(self, run, small_experiment):
        exp = small_experiment(depth=12, n_frames=12)
        seen = {path.name for path in decide_samples(exp)}
        unseen = next(frame for frame in range(FIRST, FIRST + 12) if f"cam2.{frame}.tif" not in seen)
        change_images(exp, lambda image: image * np.uint16(2), (2,), (unseen,))
        code, log = run(exp, "--bit-depth", "12", frames=(unseen, unseen))
        assert code == 1
        assert re.search(
            rf"frame {unseen}, camera 2: .*cam2.{unseen}.tif: found a value of 8\d{{3}}, expected at most 4095, because",
            log,
        )


def decide_samples(exp: Path) -> list[Path]:
    """The images of camera 2 that are looked at."""
    return sampled_images(load_experiment(exp), 1, os.listdir)


class TestAuto:
    """PyPTV's bytes, decided for the whole experiment."""

    def test_every_range_decides_alike(self, command, small_experiment):
        """Frame 10005 had 0 targets in one range and 72 in another: 8-bit values in 16-bit files, and one bright frame."""
        exp = small_experiment()
        change_images(exp, sixteen)
        change_images(exp, lambda image: sixteen(image, 200), (2,), (FIRST,))
        assert command(exp)[0] == 0
        whole = results(exp)
        last = {name: data for name, data in whole.items() if name.startswith("img/cam") and str(LAST) in name}
        assert len(last) == len(CAMERAS)
        for frames in ((LAST - 1, LAST), (LAST, LAST)):
            assert command(exp, "--mode", "sequence", frames=frames)[0] == 0
            assert {name: strip(results(exp)[name]) for name in last} == {name: strip(data) for name, data in last.items()}
        run_sequence_chunk(exp, LAST, LAST)
        assert {name: strip(results(exp)[name]) for name in last} == {name: strip(data) for name, data in last.items()}

    def test_8_bit_values_in_16_bit_files_are_taken_as_they_are(self, run, small_experiment):
        exp, plain = small_experiment("exp"), small_experiment("plain")
        change_images(exp, sixteen)
        code, log = run(exp)
        assert code == 0
        assert re.search(r"cameras 1, 2, 3, 4: 16-bit images whose highest value is 255: taken as 8-bit values", log)
        assert run(plain)[0] == 0
        assert results(exp) == results(plain)

    @pytest.mark.parametrize("factor", [256, 257])
    def test_16_bits_are_shifted(self, small_experiment, factor, caplog):
        exp, plain = small_experiment("exp"), small_experiment("plain")
        change_images(exp, lambda image: sixteen(image, factor))
        main(exp)
        assert "grey levels" not in caplog.text
        main(plain)
        assert results(exp) == results(plain)

    def test_dim_images_that_lose_nothing_are_no_problem(self, small_experiment):
        """8 bits in the upper byte, and all of them dark: nothing is lost, though the highest value has 14 bits."""
        exp = small_experiment()
        change_images(exp, lambda image: sixteen(image // 5, 256))
        decision = decide(load_experiment(exp))
        assert (decision.problems, decision.notes) == ([], [])
        assert decision.settings.grey == GreyDepths((16,) * 4)

    def test_a_dark_frame_among_bright_ones_stays_dark(self, small_experiment):
        """PyPTV decides for each image by itself, and makes that one 256 times too bright."""
        exp = small_experiment()
        change_images(exp, lambda image: sixteen(image, 256))
        change_images(exp, lambda image: np.full_like(image, 200), (1,), (LAST,))
        main(exp, LAST, LAST)
        assert (exp / "img" / f"cam1.{LAST}_targets").read_text() == "0\n"

    def test_images_of_the_whole_experiment_are_looked_at(self, small_experiment):
        exp = small_experiment(n_frames=30, n_particles=5)
        names = [path.name for path in decide_samples(exp)]
        assert len(names) == SAMPLES
        assert (names[0], names[-1]) == ("cam2.10000.tif", "cam2.10029.tif")
        for other in ("cam2.1.tif.bak", "cam2.x.tif", "cam2.010003.tif", "cam22.10001.tif", "cam2.10001_targets"):
            (exp / "img" / other).write_bytes(b"")
        assert [path.name for path in decide_samples(exp)] == names

    def test_numbers_in_the_names_of_folders(self, small_experiment):
        exp = small_experiment(depth=12)
        for frame in range(FIRST, LAST + 1):
            (exp / "img" / str(frame)).mkdir()
            for camera in CAMERAS:
                (exp / "img" / f"cam{camera}.{frame}.tif").replace(exp / "img" / str(frame) / f"cam{camera}.tif")
        path = set_key(exp, "sequence", base_name=[f"img/%d/cam{camera}.tif" for camera in CAMERAS])
        assert len(decide_samples(path)) == 6
        assert "Add --bit-depth 12" in refusal(main, path)

    def test_8_bit_files_are_no_question(self, small_experiment):
        decision = decide(load_experiment(small_experiment()), 12)
        assert (decision.notes, decision.problems) == ([], [])


def strip(targets: bytes) -> list[bytes]:
    """Rows of a ``_targets`` file without the last column, which tells of particles."""
    return [row.rsplit(maxsplit=1)[0] if len(row.split()) > 1 else row for row in targets.splitlines()]


class TestMasks:
    """A background image means what the images of its camera mean."""

    @pytest.fixture
    def masked(self, small_experiment):
        """An experiment with masks, as images and masks of other types."""

        def make(name: str, images: Callable[[np.ndarray], np.ndarray], masks: Callable[[np.ndarray], np.ndarray]) -> Path:
            exp = small_experiment(name, mask=True)
            change_images(exp, images)
            for camera in CAMERAS:
                path = exp / "img" / f"mask{camera}.tif"
                Image.fromarray(masks(np.asarray(Image.open(path)))).save(path)
            return exp

        return make

    @pytest.fixture
    def wanted(self, masked):
        exp = masked("wanted", lambda image: image, lambda mask: mask)
        main(exp)
        return results(exp)

    @pytest.mark.parametrize(
        ("images", "masks", "depth"),
        [(256, 256, None), (16, 16, 12), (1, 1, None), (0, 1, None), (0, 256, None), (0, 16, 12), (16, 0, 12)],
    )
    def test_any_depth_gives_the_same(self, masked, wanted, images, masks, depth):
        """Factors to 8 bits, 0 for 8-bit files."""
        of_images, of_masks = (lambda a, f=f: sixteen(a, f) if f else a for f in (images, masks))
        exp = masked("exp", of_images, of_masks)
        main(exp, bit_depth=depth)
        assert results(exp) == wanted

    def test_a_dark_mask_of_16_bit_images_is_dark(self, masked):
        """200 of 65535 was subtracted as 200 of 255: no target was left."""
        exp = masked("exp", lambda image: sixteen(image, 256), lambda mask: np.full_like(mask, 200, np.uint16))
        plain = masked("plain", lambda image: image, lambda mask: mask * 0)
        main(exp, FIRST, FIRST)
        main(plain, FIRST, FIRST)
        assert results(exp) == results(plain)

    def test_a_12_bit_mask_of_8_bit_images_needs_a_word(self, masked):
        exp = masked("exp", lambda image: image, lambda mask: sixteen(mask, 16) + sixteen(mask % 16))
        assert re.search("masks 1, 2, 3, 4: found 16-bit images .* Add --bit-depth (10|12)", refusal(main, exp))


def stack(*pages: np.ndarray) -> Callable[[Path], None]:
    first, *others = map(Image.fromarray, pages)
    return lambda path: first.save(path, "TIFF", save_all=True, append_images=others)


class TestPages:
    @pytest.fixture
    def double(self, small_experiment):
        """An experiment whose files hold the image and, as page 2, the one of the next frame."""
        exp = small_experiment("double")
        for camera in CAMERAS:
            paths = [exp / "img" / f"cam{camera}.{frame}.tif" for frame in range(FIRST, LAST + 1)]
            images = [np.asarray(Image.open(path)) for path in paths]
            for path, image, following in zip(paths, images, [*images[1:], images[0]], strict=True):
                stack(image, following)(path)
        return exp

    def test_which_one_must_be_said(self, command, double):
        code, log = command(double)
        assert code == 2
        names = ", ".join(str(double / "img" / f"cam{camera}.{FIRST}.tif") for camera in CAMERAS)
        said = "found several pages of 320 x 256 px, expected one: say which with --page 1, --page 2, ... (page of section ptv)"
        assert f"{names}: {said}" in log

    def test_each_page_is_an_experiment(self, run, double, small_experiment):
        plain = small_experiment("plain")
        assert run(plain)[0] == 0
        wanted = results(plain)
        assert run(double, "--page", "1")[0] == 0
        assert results(double) == wanted
        assert run(set_key(double, "ptv", page=2), frames=(FIRST, LAST - 1))[0] == 0
        for camera in CAMERAS:
            of_second_pages = (double / "img" / f"cam{camera}.{FIRST}_targets").read_bytes()
            assert strip(of_second_pages) == strip(wanted[f"img/cam{camera}.{FIRST + 1}_targets"])

    def test_a_page_that_is_not_there(self, run, double):
        code, log = run(double, "--page", "3")
        assert code == 2
        assert "found 2 pages, expected page 3 (--page, page of section ptv)" in log

    def test_one_such_file_fails_its_frame(self, command, small_experiment):
        exp = small_experiment()
        path = exp / "img" / f"cam2.{LAST}.tif"
        stack(*[np.asarray(Image.open(path))] * 2)(path)
        code, log = command(exp)
        assert code == 1
        assert f"frame {LAST}, camera 2: {path}: found several pages of 320 x 256 px" in log

    def test_a_thumbnail_is_no_page(self, run, small_experiment):
        exp, plain = small_experiment("exp"), small_experiment("plain")
        for path in (exp / "img").glob("*.tif"):
            image = np.asarray(Image.open(path))
            stack(image, image[::4, ::4].copy())(path)
        assert run(exp)[0] == run(plain)[0] == 0
        assert results(exp) == results(plain)

    def test_a_mask_of_one_page_serves_all(self, small_experiment):
        exp, plain = small_experiment("exp", mask=True), small_experiment("plain", mask=True)
        for path in (exp / "img").glob("cam*.tif"):
            image = np.asarray(Image.open(path))
            stack(image[::-1].copy(), image)(path)
        main(exp, page=2)
        main(plain)
        assert results(exp) == results(plain)


class TestOneImageForTwoCameras:
    @pytest.mark.parametrize("same", ["pattern", "dots", "symbolic link", "hard link", "linked folder"])
    def test_it_is_an_error(self, run, small_experiment, same):
        exp = small_experiment()
        names = [f"img/cam{camera}.%d.tif" for camera in CAMERAS]
        if same == "pattern":
            names[2] = names[0]
        elif same == "dots":
            names[2] = "img/../img/cam1.%d.tif"
        elif same == "linked folder":
            (exp / "more").symlink_to("img")
            names[2] = "more/cam1.%d.tif"
        else:
            make = os.symlink if same == "symbolic link" else os.link
            for frame in range(FIRST, LAST + 1):
                (exp / "img" / f"cam3.{frame}.tif").unlink()
                make(exp / "img" / f"cam1.{frame}.tif", exp / "img" / f"cam3.{frame}.tif")
        path = set_key(exp, "sequence", base_name=names)
        code, log = run(path)
        assert code == 2
        assert re.search(
            r"cameras 1 and 3: found the same image for both \(.*cam1.10000.tif.* at frame 10000\), expected a separate one", log
        )
        assert not results(exp)
        assert "cameras 1 and 3: found the same image" in refusal(run_sequence_chunk, path, FIRST, LAST)

    def test_targets_that_are_there_need_no_images(self, small_experiment):
        exp = small_experiment(images=False)
        main(set_key(exp, "sequence", base_name=["img/cam.%d.tif"] * 4))
        assert (exp / "res" / f"ptv_is.{LAST}").exists()


def test_dialects_are_named_once_a_run(run, small_experiment):
    """White-is-zero TIFF: PyPTV's bytes, and a line."""
    exp, plain = small_experiment("exp"), small_experiment("plain")
    for path in (exp / "img").glob("*.tif"):
        image = np.asarray(Image.open(path))
        Image.fromarray(image).save(path, "TIFF")
        data = path.read_bytes()
        entry = data.index(b"\x06\x01\x03\x00\x01\x00\x00\x00\x01")  # photometric interpretation, SHORT, 1 value: 1
        path.write_bytes(data[: entry + 8] + b"\0" + data[entry + 9 :])
    code, log = run(exp)
    assert code == 0
    assert log.count("TIFF images in which 0 is white: the stored values are taken, as PyPTV does") == 1
    assert run(plain)[0] == 0
    assert results(exp) == results(plain)
