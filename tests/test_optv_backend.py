"""The guards around optv: what would crash, corrupt or silently lose becomes a right answer or an error."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import refusal, run_python, sample_tree
from optv.correspondences import MatchedCoords, correspondences
from optv.orientation import point_positions
from optv.segmentation import target_recognition
from optv.tracking_framebuf import TargetArray

from pyptv.core.base.errors import FrameError, TaintedHeapError
from pyptv.core.engines.optv.backend import OptvFrameBackend, project
from pyptv.core.engines.optv.c_library import captured_output, zero_small_blocks
from pyptv.core.engines.optv.tracker import TrackerBackend
from pyptv.core.experiment.folder import ImageSettings, load_experiment
from pyptv.core.experiment.parameters.attrdict import AttrDict
from pyptv.core.experiment.parameters.checks import build_parameters
from pyptv.core.files.formats import TARGETS
from pyptv.core.images.pixels import read_views
from pyptv.synthetic.optics import true_calibrations

FIRST = 10_000


def parameters_with(**changes):
    """The sample's parameters; ``imx=60`` changes a value of any section."""
    tree = sample_tree()
    for section in tree.values():
        if isinstance(section, dict):
            section.update({key: value for key, value in changes.items() if key in section})
    tree["num_cams"] = changes.get("num_cams", 4)
    return build_parameters(AttrDict(tree), lambda *place: ".".join(place))


def backend_with(**changes) -> OptvFrameBackend:
    parameters = parameters_with(**changes)
    return OptvFrameBackend(parameters, true_calibrations(parameters.num_cams))


def filtered_views(folder, backend, frame=FIRST):
    """The high-pass filtered images of a frame, one a camera."""
    experiment = load_experiment(folder)
    settings = ImageSettings(experiment.parameters.ptv.imx, experiment.parameters.ptv.imy)
    views = [read_views(experiment.image_path(camera, frame), settings)[0][0] for camera in range(experiment.num_cams)]
    return [backend.high_pass(view) for view in views]


def detected(folder, backend, frame=FIRST):
    return [backend.detect(view, camera) for camera, view in enumerate(filtered_views(folder, backend, frame))]


def backend_of(folder):
    experiment = load_experiment(folder)
    return OptvFrameBackend(experiment.parameters, experiment.calibrations)


def as_tuples(targets):
    return [(t.pnr(), *t.pos(), *t.count_pixels(), t.sum_grey_value(), t.tnr()) for t in targets]


class TestImages:
    @pytest.fixture
    def backend(self):
        return backend_with(imx=120, imy=80)

    @pytest.fixture
    def image(self):
        image = np.full((80, 120), 10, np.uint8)
        for row, column in ((20, 30), (41, 77), (60, 100)):
            image[row : row + 3, column : column + 4] = 200
        return image

    @pytest.mark.parametrize(
        "layout",
        [
            np.asfortranarray,
            lambda image: np.repeat(np.repeat(image, 2, 0), 2, 1)[::2, ::2],
            lambda image: np.ascontiguousarray(image[::-1, ::-1])[::-1, ::-1],
            lambda image: np.block([[image, image + 1]])[:, :120],
        ],
        ids=["Fortran", "strided", "backwards", "part of a wider one"],
    )
    def test_any_memory_layout_gives_the_same(self, backend, image, layout):
        strange = layout(image)
        assert not strange.flags.c_contiguous
        filtered = backend.high_pass(image)
        np.testing.assert_array_equal(backend.high_pass(strange), filtered)
        found = as_tuples(backend.detect(filtered, 0))
        assert len(found) == 3
        assert as_tuples(backend.detect(layout(filtered), 0)) == found

    @pytest.mark.parametrize("shape", [(79, 120), (80, 121), (120, 80), (80, 120, 1), (9600,)])
    def test_another_shape_is_refused(self, backend, shape):
        with pytest.raises(FrameError, match=r"found an image of \(.*\) uint8, expected \(80, 120\) uint8"):
            backend.high_pass(np.zeros(shape, np.uint8))

    def test_another_type_is_refused(self, backend):
        with pytest.raises(FrameError, match=r"found an image of \(80, 120\) uint16, expected \(80, 120\) uint8"):
            backend.high_pass(np.zeros((80, 120), np.uint16))

    def test_targets_are_sorted_by_y(self, backend, image):
        rows = [y for _, _, y, *_ in as_tuples(backend.detect(backend.high_pass(image), 0))]
        assert rows == sorted(rows)
        np.testing.assert_allclose(rows, [21.5, 42.5, 61.5], atol=0.6)


class TestDetection:
    def test_the_invented_target_is_dropped(self):
        backend = backend_with(imx=120, imy=80)
        black = np.zeros((80, 120), np.uint8)
        invented = target_recognition(black, backend._detection, 0, backend._control)
        assert [target[1:7] for target in as_tuples(invented)] == [(1.0, 1.0, 1, 1, 1, 1)]  # what the guard is for
        assert len(backend.detect(black, 0)) == 0

    def test_a_lone_real_target_is_kept(self):
        backend = backend_with(imx=120, imy=80)
        image = np.zeros((80, 120), np.uint8)
        image[40:43, 50:53] = 200
        assert len(backend.detect(image, 0)) == 1

    def test_the_threshold_is_that_of_the_camera(self):
        backend = backend_with(imx=120, imy=80, gvthres=[50, 250, 50, 250])
        image = np.zeros((80, 120), np.uint8)
        image[40:43, 50:53] = 200
        assert [len(backend.detect(image, camera)) for camera in range(4)] == [1, 0, 1, 0]

    @staticmethod
    def grid(columns: int, rows: int):
        """A backend and an image with single bright pixels, three pixels apart."""
        backend = backend_with(imx=606, imy=320, nnmin=1, nxmin=1, nymin=1, sumg_min=1)
        image = np.zeros((320, 606), np.uint8)
        image[1 : 3 * rows : 3, 1 : 3 * columns : 3] = 200
        return backend, image

    def test_as_many_targets_as_the_tracker_holds(self):
        backend, image = self.grid(200, 100)
        assert len(backend.detect(image, 0)) == 20_000

    def test_more_targets_than_the_tracker_holds(self):
        backend, image = self.grid(201, 100)
        with pytest.raises(
            FrameError, match=r"found 20100 targets, optv holds at most 20000: raise gvthres, nnmin or sumg_min"
        ) as c:
            backend.detect(image, 0)
        assert not isinstance(c.value, TaintedHeapError)

    def test_more_than_optv_has_room_for_taints_the_process(self):
        """Written past the end of a buffer: in a process of its own."""
        code = """
from test_optv_backend import TestDetection
from pyptv.core.base.errors import TaintedHeapError
import os
backend, image = TestDetection.grid(201, 102)
try:
    backend.detect(image, 0)
except TaintedHeapError as error:
    assert "found 20502 targets" in str(error), error
    os._exit(42)
"""
        done = run_python("-c", code, cwd=Path(__file__).parent)
        assert done.returncode == 42 or done.returncode < 0, done.stderr  # its heap is broken: it may die first

    @pytest.mark.parametrize(
        ("bright", "risk"),
        [
            (0, None),
            (2048, None),
            (2049, "2049 px above the threshold could be one blob that overflows optv's queue of 2048"),
            (4 * 20_481, "81924 px above the threshold could be more than 20480 targets"),
        ],
    )
    def test_risk(self, bright, risk):
        backend = backend_with(imx=400, imy=300, nnmin=4)
        image = np.zeros((300, 400), np.uint8)
        image.flat[:bright] = 200
        assert backend.overflow_risk(image, 0) == risk

    def test_pixels_at_the_threshold_are_no_risk(self):
        backend = backend_with(imx=400, imy=300)
        assert backend.overflow_risk(np.full((300, 400), 9, np.uint8), 0) is None
        assert backend.overflow_risk(np.full((300, 400), 10, np.uint8), 0) is not None


class TestLoadedTargets:
    ROWS = np.array(
        [(5, 1.5, 90.25, 7, 3, 2, 70, 12), (6, 2.5, 10.5, 8, 3, 3, 80, -1), (7, 3.5, 50.0, 9, 3, 3, 90, 99999)], TARGETS.dtype
    )

    def test_they_are_as_detection_gives_them(self):
        found = as_tuples(backend_with().load_targets(self.ROWS))
        assert found == [(0, 2.5, 10.5, 8, 3, 3, 80, -1), (1, 3.5, 50.0, 9, 3, 3, 90, -1), (2, 1.5, 90.25, 7, 3, 2, 70, -1)]

    def test_none(self):
        assert len(backend_with().load_targets(self.ROWS[:0])) == 0


class TestMatching:
    def test_no_targets_anywhere(self):
        matches = backend_with().match([TargetArray(0) for _ in range(4)])
        assert len(matches.particles) == 0
        assert matches.counts == (0, 0, 0)
        assert [len(rows) for rows in matches.targets] == [0] * 4

    def test_no_targets_in_one_camera(self, small_experiment):
        folder = small_experiment()
        backend = backend_of(folder)
        targets = detected(folder, backend)
        targets[2] = TargetArray(0)
        matches = backend.match(targets)
        assert matches.counts[0] == 0
        assert matches.counts[1] > 0
        assert (matches.particles["target3"] == -1).all()

    @pytest.mark.parametrize("n", [2, 3, 4])
    def test_positions_are_those_of_the_truth(self, small_experiment, n):
        from pyptv.synthetic import read_truth

        folder = small_experiment(n_cameras=n, n_particles=12)
        backend = backend_of(folder)
        matches = backend.match(detected(folder, backend))
        truth = read_truth(folder / "truth.csv")
        true = truth.position[truth.rows_of(FIRST)]
        found = np.stack([matches.particles[axis] for axis in "xyz"], axis=1)
        distance = np.linalg.norm(found[:, None] - true[None], axis=2).min(axis=1)
        assert len(found) >= 8
        assert np.median(distance) < 0.3

    def test_every_pointer_leads_back(self, small_experiment):
        folder = small_experiment()
        backend = backend_of(folder)
        matches = backend.match(detected(folder, backend))
        for camera, rows in enumerate(matches.targets):
            pointers = matches.particles[f"target{camera + 1}"]
            for particle, target in enumerate(pointers.tolist()):
                if target >= 0:
                    assert rows[target][-1] == particle

    @pytest.mark.parametrize("all_cameras", [False, True])
    def test_three_cameras_give_what_plain_optv_gives(self, small_experiment, all_cameras):
        folder = small_experiment(n_cameras=3, n_particles=60)
        path = folder / "parameters" / "ptv.par"
        lines = path.read_text().splitlines()
        lines[8] = str(int(all_cameras))
        path.write_text("\n".join(lines))
        backend = backend_of(folder)
        assert backend._all_cameras is all_cameras

        plain = detected(folder, backend)
        flat = [MatchedCoords(found, backend._control, cal) for found, cal in zip(plain, backend._calibrations, strict=True)]
        with captured_output():
            sorted_pos, groups, _ = correspondences(plain, flat, backend._calibrations, backend._volume, backend._control)
        numbers = np.concatenate(groups, axis=1)
        points = np.array([coords.get_by_pnrs(row) for coords, row in zip(flat, numbers, strict=True)]).transpose(1, 0, 2)
        positions, _ = point_positions(np.ascontiguousarray(points), backend._control, backend._calibrations, backend._volume)
        assert len(sorted_pos) == len(groups)

        ours = backend.match(detected(folder, backend))
        assert ours.counts == tuple(group.shape[1] for group in groups)
        assert ours.counts[0] > 20
        for camera in range(3):
            np.testing.assert_array_equal(ours.particles[f"target{camera + 1}"], numbers[camera])
            assert [row[-1] for row in ours.targets[camera]] == [target.tnr() for target in plain[camera]]
        np.testing.assert_array_equal(np.stack([ours.particles[axis] for axis in "xyz"], axis=1), positions)
        assert (ours.particles["target4"] == -1).all()

    @pytest.mark.parametrize("num_cams", [3, 4])
    def test_a_wide_band_on_real_images_is_an_error_with_advice(self, shared, num_cams):
        """With three cameras plain optv crashes here: in a process of its own."""
        code = f"""
from dataclasses import replace
from pyptv.core.base.errors import FrameError
from pyptv.core.experiment.folder import load_experiment
from pyptv.core.engines.optv.backend import OptvFrameBackend
from test_optv_backend import filtered_views
folder = {str(shared / "data" / "test_cavity")!r}
experiment = load_experiment(folder)
p = experiment.parameters
p = replace(p, num_cams={num_cams}, criteria=replace(p.criteria, eps0=0.5))
backend = OptvFrameBackend(p, experiment.calibrations[:{num_cams}])
targets = [backend.detect(view, camera) for camera, view in enumerate(filtered_views(folder, backend)[:{num_cams}])]
try:
    backend.match(targets)
except FrameError as error:
    print(error)
"""
        done = run_python("-c", code, cwd=Path(__file__).parent)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("too many candidate correspondences for optv (")
        assert (
            "some of them would be lost: use --engine compiled, or narrow eps0 or raise corrmin, cn, cnx, cny, csumg"
            in done.stdout
        )
        assert done.stdout.count("\n") == 1  # nothing that C said


class TestTracker:
    @pytest.mark.parametrize("name", ["ä", "x" * 200])
    def test_paths_that_c_cannot_take(self, tmp_path, name):
        message = refusal(TrackerBackend, parameters_with(), true_calibrations(4), tmp_path / name, 5)
        assert message.startswith(f"scratch folder {tmp_path / name}: optv's tracker needs a short ASCII path")

    def test_names_of_files(self):
        assert TrackerBackend.file_names(2, 3) == {
            "targets1": "t1.0003_targets",
            "targets2": "t2.0003_targets",
            "rt_is": "rt.3",
            "added": "add.3",
            "ptv_is": "ptv.3",
        }


def test_projection_is_the_way_back_of_triangulation(small_experiment):
    folder = small_experiment()
    experiment = load_experiment(folder)
    points = np.array([[0.0, 0.0, 0.0], [5.0, -4.0, 3.0]])
    pixels = project(points, experiment.parameters, experiment.calibrations)
    assert pixels.shape == (4, 2, 2)
    backend = backend_of(folder)
    targets = []
    for camera in range(4):
        rows = np.zeros(2, TARGETS.dtype)
        rows["x"], rows["y"] = pixels[camera].T
        rows["n"] = rows["nx"] = rows["ny"] = rows["sumg"] = 9
        targets.append(backend.load_targets(rows))
    matches = backend.match(targets)
    found = sorted(zip(*(matches.particles[axis].tolist() for axis in "xyz"), strict=True))
    np.testing.assert_allclose(found, points, atol=1e-3)


class TestCapturedOutput:
    def test_what_c_prints_is_caught_and_nothing_reaches_the_terminal(self, capfd):
        library = ctypes.CDLL(None)
        with captured_output() as printed:
            library.puts(b"from C")
            os.write(1, b"and past it\n")
        assert sorted(printed().splitlines()) == ["and past it", "from C"]
        assert capfd.readouterr().out == ""

    def test_order_with_what_python_prints(self, capfd):
        print("before", flush=False)
        with captured_output() as printed:
            os.write(1, b"inside")
        print("after")
        assert printed() == "inside"
        assert capfd.readouterr().out == "before\nafter\n"

    def test_an_error_inside_puts_the_terminal_back(self, capfd):
        def fail() -> None:
            raise RuntimeError("inside")

        with pytest.raises(RuntimeError, match="inside"), captured_output():
            fail()
        os.write(1, b"visible")
        assert capfd.readouterr().out == "visible"

    def test_no_descriptor_is_left_open(self):
        lowest = os.dup(0)
        os.close(lowest)
        for _ in range(5):
            with captured_output():
                pass
        again = os.dup(0)
        os.close(again)
        assert again == lowest


@pytest.mark.skipif(sys.platform != "linux", reason="knows glibc's way to hand out small blocks")
def test_small_blocks_are_zero_whatever_was_in_them():
    library = ctypes.CDLL(None)
    library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    sizes = (72, 88, 104, 120, 136)
    blocks = [(size, library.malloc(size)) for size in sizes for _ in range(200)]
    for size, block in blocks:
        ctypes.memset(block, 0xFF, size)
    for _, block in blocks:
        library.free(block)
    zero_small_blocks()
    for size in sizes:
        again = [library.malloc(size) for _ in range(5)]
        contents = [ctypes.string_at(block, size) for block in again]
        for block in again:
            library.free(block)
        assert [content[16:] for content in contents] == [bytes(size - 16)] * 5  # the first 16 are malloc's own
