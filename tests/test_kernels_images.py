"""Compiled high-pass and detection against optv: the same bytes, the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sample_tree
from optv.image_processing import preprocess_image
from optv.parameters import ControlParams, TargetParams
from optv.segmentation import target_recognition

from pyptv.core.engines.compiled.backend import CompiledFrameBackend
from pyptv.core.engines.optv.backend import OptvFrameBackend
from pyptv.core.experiment.folder import load_experiment
from pyptv.core.experiment.parameters.attrdict import AttrDict
from pyptv.core.experiment.parameters.checks import build_parameters
from pyptv.core.experiment.parameters.schema import HIGH_PASS_SPAN
from pyptv.core.images.pixels import read_image
from pyptv.kernels.images.detection import detect
from pyptv.kernels.images.high_pass import high_pass
from pyptv.synthetic.optics import true_calibrations

INVENTED = [(1, 1.0, 1.0, 1, 1, 1, 1, -1)]
"""optv's answer to an image without targets, the number aside."""
ANY = {"disco": 255, "nn": (1, 10**6), "nx": (1, 10**6), "ny": (1, 10**6), "sumg": 0}


def size_of(image: np.ndarray) -> ControlParams:
    control = ControlParams(4)
    control.set_image_size((image.shape[1], image.shape[0]))
    return control


def optv_high_pass(image: np.ndarray, span: int = HIGH_PASS_SPAN) -> np.ndarray:
    return preprocess_image(image, 0, size_of(image), span)


def optv_targets(image: np.ndarray, threshold: int, options: dict[str, Any]) -> list[tuple[float, ...]]:
    parameters = TargetParams(4)
    parameters.set_grey_thresholds([threshold] * 4)
    parameters.set_max_discontinuity(options["disco"])
    parameters.set_pixel_count_bounds(options["nn"])
    parameters.set_xsize_bounds(options["nx"])
    parameters.set_ysize_bounds(options["ny"])
    parameters.set_min_sum_grey(options["sumg"])
    found = target_recognition(image, parameters, 0, size_of(image))
    found.sort_y()
    rows = [(t.pnr(), *t.pos(), *t.count_pixels(), t.sum_grey_value(), t.tnr()) for t in found]
    return [] if [row[1:] for row in rows] == [row[1:] for row in INVENTED] else rows


def targets(image: np.ndarray, threshold: int, **options: Any) -> list[tuple[float, ...]]:
    options = ANY | options
    limits = [threshold, options["disco"], *options["nn"], *options["nx"], *options["ny"], options["sumg"]]
    return [tuple(row) for row in detect(image, np.array(limits)).tolist()]


def compare(image: np.ndarray, threshold: int, **options: Any) -> list[tuple[float, ...]]:
    """The kernel's targets, after a check that optv finds the same."""
    found = targets(image, threshold, **options)
    assert found == optv_targets(image, threshold, ANY | options)
    return found


def picture(*rows: str, unit: int = 10) -> np.ndarray:
    """An image from rows of digits, in units of grey values, with a dark frame around it."""
    return np.pad(np.array([[int(digit) * unit for digit in row] for row in rows], np.uint8), 1)


def smooth(rng: np.random.Generator, shape: tuple[int, int], rounds: int) -> np.ndarray:
    """Smooth noise, 0 to 1."""
    noise = rng.normal(size=shape)
    for _ in range(rounds):
        noise = noise + sum(np.roll(noise, step, axis) for step in (-1, 1) for axis in (0, 1))
    return (noise - noise.min()) / max(np.ptp(noise), 1e-9)


def any_image(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Noise, smooth noise, plateaus, saturated areas, two values, or one value."""
    bumps = smooth(rng, shape, int(rng.integers(1, 6)))
    kinds = [
        lambda: rng.integers(0, rng.integers(2, 257), shape),
        lambda: bumps * 255,
        lambda: np.floor(bumps * rng.integers(2, 9)) * rng.integers(1, 30),
        lambda: np.clip(bumps * 600 - 200, 0, 255),
        lambda: np.where(rng.random(shape) < rng.random(), rng.integers(1, 256), 0),
        lambda: np.full(shape, rng.integers(0, 256)),
    ]
    return kinds[rng.integers(len(kinds))]().astype(np.uint8)


@pytest.fixture(scope="session")
def real_images(shared: Path) -> list[tuple[int, np.ndarray]]:
    """The images of test_cavity: (camera, pixels)."""
    experiment = load_experiment(shared / "data" / "test_cavity")
    size = (experiment.parameters.ptv.imx, experiment.parameters.ptv.imy)
    return [
        (camera, read_image(experiment.image_path(camera, frame), size)[0])
        for camera in range(4)
        for frame in range(10000, 10005)
    ]


@pytest.mark.parametrize("span", [1, 2, 3, 7, HIGH_PASS_SPAN])
def test_high_pass_of_any_image(span: int) -> None:
    rng = np.random.default_rng(span)
    least = 2 * span + 1
    for _ in range(40):
        image = any_image(rng, (least + int(rng.integers(0, 40)), least + int(rng.integers(0, 40))))
        np.testing.assert_array_equal(high_pass(image, span), optv_high_pass(image, span))


@pytest.mark.parametrize("shape", [(51, 51), (51, 90), (90, 51), (52, 53)])
@pytest.mark.parametrize("value", [1, 100, 255])
def test_high_pass_of_a_constant_image(shape: tuple[int, int], value: int) -> None:
    """Nothing but optv's bright rows at the lower border."""
    image = np.full(shape, value, np.uint8)
    filtered = high_pass(image, HIGH_PASS_SPAN)
    np.testing.assert_array_equal(filtered, optv_high_pass(image))
    assert not filtered[:-HIGH_PASS_SPAN].any()
    assert filtered[-1].all()


def test_high_pass_leaves_its_input_alone() -> None:
    image = np.random.default_rng(1).integers(0, 256, (60, 70)).astype(np.uint8)
    before = image.copy()
    image.setflags(write=False)
    high_pass(image, HIGH_PASS_SPAN)
    np.testing.assert_array_equal(image, before)


def test_targets_of_any_image() -> None:
    rng = np.random.default_rng(3)
    n_found = 0
    for _ in range(4000):
        image = any_image(rng, (int(rng.integers(3, 26)), int(rng.integers(3, 26))))
        options: dict[str, Any] = {"disco": int(rng.choice([rng.integers(0, 60), rng.integers(0, 256)]))}
        if rng.random() < 0.5:
            for name, most in (("nn", 40), ("nx", 9), ("ny", 9)):
                low = int(rng.integers(0, most))
                options[name] = (low, low + int(rng.integers(0, most)))
            options["sumg"] = int(rng.integers(0, 800))
        n_found += len(compare(image, int(rng.choice([rng.integers(0, 30), rng.integers(0, 256)])), **options))
    assert n_found > 4000


@pytest.mark.parametrize(
    ("rows", "options", "sizes"),
    [
        (["5"], {}, [1]),
        (["54"], {}, [2]),
        (["50", "04"], {}, [1, 1]),  # corners do not touch
        (["5453"], {"disco": 10}, [4]),
        (["5453"], {"disco": 9}, [2, 2]),
        (["112"], {"disco": 0}, [1, 2]),  # the middle one is next to a pixel too bright for the first
        (["112"], {"disco": 10}, [3]),
        (["555", "555", "555"], {}, [9]),
        (["5055", "5555"], {}, [7]),
        (["505", "555", "505"], {}, [7]),
        (["9890", "0009", "9990"], {"disco": 0}, [2, 1, 1, 3]),
    ],
)
def test_how_targets_grow(rows: list[str], options: dict[str, Any], sizes: list[int]) -> None:
    found = compare(picture(*rows), 9, **options)
    assert sorted(int(target[3]) for target in found) == sorted(sizes)


def test_a_pixel_beside_a_target_may_become_a_peak() -> None:
    """The 6 has a brighter neighbour at its corner, until the target that begins left of it has taken that."""
    assert [int(target[3]) for target in compare(picture("906", "880"), 9)] == [1, 3]


@pytest.mark.parametrize("threshold", [0, 49, 50, 254, 255])
@pytest.mark.parametrize("value", [1, 50, 255])
def test_the_threshold_must_be_exceeded(threshold: int, value: int) -> None:
    image = np.zeros((5, 6), np.uint8)
    image[2, 3] = value
    assert compare(image, threshold) == ([(0, 3.5, 2.5, 1, 1, 1, value, -1)] if value > threshold else [])


def test_the_centroid_weighs_what_exceeds_the_threshold() -> None:
    assert compare(picture("54"), 10) == [(0, 1.5 + 30 / 70, 1.5, 2, 2, 1, 90, -1)]


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"nn": (6, 6)}, True), ({"nn": (7, 9)}, False), ({"nn": (1, 5)}, False),
        ({"nx": (3, 3)}, True), ({"nx": (4, 9)}, False), ({"nx": (1, 2)}, False),
        ({"ny": (2, 2)}, True), ({"ny": (3, 9)}, False), ({"ny": (1, 1)}, False),
        ({"sumg": 239}, True), ({"sumg": 240}, False),
    ],
)  # fmt: skip
def test_targets_beyond_a_limit_are_left_out(options: dict[str, Any], kept: bool) -> None:
    assert len(compare(picture("444", "444"), 9, **options)) == kept


def test_what_a_target_left_out_took_is_gone() -> None:
    assert compare(picture("955"), 9, nn=(1, 2)) == []


def test_outermost_pixels_are_seen_but_not_taken() -> None:
    image = np.full((6, 7), 50, np.uint8)
    assert compare(image, 9) == [(0, 3.5, 3.0, 20, 5, 4, 1000, -1)]
    image[0, :] = 60
    assert [int(target[3]) for target in compare(image, 9, disco=9)] == [15]
    image[2:-1, 1:-1] = 0
    assert compare(image, 9) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (2, 9), (9, 2)])
def test_an_image_without_inside_has_no_targets(shape: tuple[int, int]) -> None:
    assert targets(np.full(shape, 200, np.uint8), 9) == []


def test_equal_y_are_ordered_as_optv_orders_them() -> None:
    rng = np.random.default_rng(5)
    for _ in range(100):
        image = np.zeros((int(rng.integers(5, 40)), int(rng.integers(5, 40))), np.uint8)
        inside = image[1:-1:2, 1:-1:2]
        inside[:] = rng.integers(0, 2, inside.shape) * 50
        compare(image, 9)


def test_no_number_of_targets_is_too_large() -> None:
    """optv has room for 20480 targets, and crashes."""
    image = np.zeros((401, 403), np.uint8)
    image[1::2, 1::2] = 77
    found = detect(image, np.array([9, 100, 1, 9, 1, 9, 1, 9, 0]))
    assert found.shape == (200 * 201, 8)
    assert set(found[:, 6]) == {77.0}
    assert (np.diff(found[:, 2]) >= 0).all()


def test_no_target_is_too_large() -> None:
    """optv's queue holds 2048 pixels, and it does not look."""
    found = targets(np.full((2100, 2200), 255, np.uint8), 9, nn=(1, 10**7))
    assert found == [(0, 1100.0, 1050.0, 2198 * 2098, 2198, 2098, 255 * 2198 * 2098, -1)]


def test_sums_above_32_bit() -> None:
    image = np.zeros((400, 1200), np.uint8)
    image[5:395, 1100:1160] = np.random.default_rng(2).integers(200, 256, (390, 60))
    assert len(compare(image, 9)) == 1


def test_real_images(real_images: list[tuple[int, np.ndarray]]) -> None:
    for camera, image in real_images:
        filtered = high_pass(image, HIGH_PASS_SPAN)
        np.testing.assert_array_equal(filtered, optv_high_pass(image))
        assert len(compare(filtered, 9 + camera, disco=100, nn=(4, 500), nx=(2, 100), ny=(2, 100), sumg=150)) > 300


@pytest.mark.parametrize("threshold", [9, 30, 100])
@pytest.mark.parametrize("disco", [0, 5, 255])
def test_real_images_with_other_limits(real_images: list[tuple[int, np.ndarray]], threshold: int, disco: int) -> None:
    for _, image in real_images[::7]:
        assert compare(high_pass(image, HIGH_PASS_SPAN), threshold, disco=disco)


@pytest.mark.parametrize("field", [1, 2])
def test_fields_of_interlaced_images(field: int) -> None:
    """Every second line in the upper half, also of an odd number of lines."""
    rng = np.random.default_rng(field)
    for _ in range(20):
        shape = int(rng.integers(51, 90)), int(rng.integers(51, 90))
        tree = sample_tree()
        tree["ptv"] |= {"imx": shape[1], "imy": shape[0], "chfield": field}
        setting = build_parameters(AttrDict(tree), lambda *place: ".".join(place)), true_calibrations(4)
        image = any_image(rng, shape)
        expected = OptvFrameBackend(*setting).high_pass(image)
        np.testing.assert_array_equal(CompiledFrameBackend(*setting).high_pass(image), expected)
        assert (expected[shape[0] // 2 + 1 :] == 2).all()
