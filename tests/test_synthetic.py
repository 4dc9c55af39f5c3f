"""The generator against itself: flow, optics, images and files say the same thing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from pyptv.core.base.errors import FormatError, ProcessingError
from pyptv.core.engines.optv.backend import project
from pyptv.core.experiment.calibration import calibration_files, read_calibration, rotation_matrix
from pyptv.core.experiment.folder import load_experiment
from pyptv.core.files.formats import TARGETS
from pyptv.pyptv_batch_parallel import run_sequence_chunk
from pyptv.synthetic import Settings, Truth, make_experiment, read_truth
from pyptv.synthetic.flow import extremes, random_flow
from pyptv.synthetic.optics import true_calibrations
from pyptv.synthetic.particles import VOLUME, periodic_box, simulate
from pyptv.synthetic.render import draw_spots, expose, make_scene, quantise
from pyptv.synthetic.truth import write_truth

SMALL = {"n_frames": 3, "n_particles": 40, "image_size": (320, 256)}
FIRST = 10_000


@pytest.fixture(scope="module")
def flow():
    return random_flow(np.random.default_rng(3), periodic_box(2.0), mean_speed=2.0)


@pytest.fixture
def points(flow):
    return np.random.default_rng(4).uniform(-0.5, 0.5, (500, 3)) * flow.period


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def image(folder: Path, camera: int, frame: int = FIRST) -> np.ndarray:
    return np.asarray(Image.open(folder / "img" / f"cam{camera}.{frame}.tif"))


def distance_to_nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n,) from each point to the nearest of the others, itself not counted."""
    distance = np.linalg.norm(points[:, None] - others[None], axis=2)
    distance[distance == 0] = np.inf
    return distance.min(axis=1)


class TestFlow:
    def gradient(self, flow, points, time):
        """(n, 3, 3) du_i/dx_j by the complex step: exact to rounding."""
        step = 1e-30
        return np.stack([flow.velocity(points + 1j * step * axis, time).imag / step for axis in np.eye(3)], axis=-1)

    @pytest.mark.parametrize("time", [0.0, 17.3, 1234.5])
    def test_free_of_divergence_to_rounding(self, flow, points, time):
        gradient = self.gradient(flow, points, time)
        largest = np.abs(gradient).max()
        assert largest > 0.05  # 1/frame: there is a gradient to speak of
        assert np.abs(np.trace(gradient, axis1=1, axis2=2)).max() < 20 * np.finfo(float).eps * largest

    def test_changes_with_time_and_has_the_period_of_the_box(self, flow, points):
        now = flow.velocity(points, 5.0)
        assert np.linalg.norm(flow.velocity(points, 25.0) - now, axis=1).mean() > 0.5
        np.testing.assert_allclose(flow.velocity(points + flow.period * [1, -2, 3], 5.0), now, atol=1e-12)

    def test_mean_speed_is_the_one_asked_for(self, flow, points):
        speeds = [np.linalg.norm(flow.velocity(points, time), axis=1).mean() for time in np.linspace(0, 200, 21)]
        assert np.mean(speeds) == pytest.approx(2.0, rel=0.15)

    def test_integration_is_of_fourth_order(self, flow, points):
        def after(steps):
            place = points
            for step in range(steps):
                place = flow.advance(place, step * 8 / steps, 8 / steps)
            return place

        exact = after(256)
        errors = [np.abs(after(steps) - exact).max() for steps in (8, 16, 32)]
        assert errors[0] < 1e-3  # mm over 8 frames at one step a frame
        assert errors[0] / errors[1] == pytest.approx(16, rel=0.3)
        assert errors[1] / errors[2] == pytest.approx(16, rel=0.3)


class TestParticles:
    def test_truth_follows_the_flow_and_stays_in_the_volume(self, flow):
        particles = simulate(flow, np.random.default_rng(1), 20, 300, first_frame=7)
        assert (np.abs(particles.position) <= np.array(VOLUME) / 2).all()
        assert particles.frame[0] == 7
        for frame in range(7, 26):
            now, after = particles.frame == frame, particles.frame == frame + 1
            _, here, there = np.intersect1d(particles.identity[now], particles.identity[after], return_indices=True)
            assert len(here) > 200
            moved = flow.advance(particles.position[now][here], frame - 7.0)
            np.testing.assert_allclose(particles.position[after][there], moved, atol=1e-9)

    def test_particles_leave_and_enter_and_their_number_stays(self, flow):
        particles = simulate(flow, np.random.default_rng(1), 60, 400, first_frame=0)
        counts = np.bincount(particles.frame)
        assert counts.mean() == pytest.approx(400, rel=0.05)
        assert counts.min() > 320
        first, last = (set(particles.identity[particles.frame == frame]) for frame in (0, 59))
        assert first - last
        assert last - first
        assert sorted(set(particles.identity)) == list(range(1, particles.n_identities + 1))
        pairs = np.column_stack([particles.frame, particles.identity])
        assert len(np.unique(pairs, axis=0)) == len(pairs)

    def test_a_particle_that_comes_back_has_followed_the_flow_in_between(self, flow):
        particles = simulate(flow, np.random.default_rng(1), 120, 100, first_frame=0)
        order = np.lexsort((particles.frame, particles.identity))
        frame, identity, position = particles.frame[order], particles.identity[order], particles.position[order]
        back = np.flatnonzero((identity[1:] == identity[:-1]) & (np.diff(frame) > 1))
        assert len(back) > 20
        for row in back:
            place = position[row : row + 1]
            for time_ in range(frame[row], frame[row + 1]):
                place = flow.advance(place, float(time_))
            np.testing.assert_allclose(place[0], position[row + 1], atol=1e-6)

    @pytest.mark.parametrize("displacement", [0.1, 0.6])
    def test_tracking_limits_hold_the_true_motion(self, tmp_path, displacement):
        folder = make_experiment(tmp_path / "e", 20, 300, images=False, displacement=displacement)
        track, truth = load_experiment(folder).parameters.track, read_truth(folder / "truth.csv")
        order = np.lexsort((truth.frame, truth.identity))
        frame, identity, position = truth.frame[order], truth.identity[order], truth.position[order]
        step, turn = position[1:] - position[:-1], position[2:] - 2 * position[1:-1] + position[:-2]
        step = step[(identity[1:] == identity[:-1]) & (np.diff(frame) == 1)]
        turn = turn[(identity[2:] == identity[:-2]) & (frame[2:] - frame[:-2] == 2)]
        assert len(turn) > 2000
        spacing = (np.prod(VOLUME) / 300) ** (1 / 3)
        assert np.linalg.norm(step, axis=1).mean() == pytest.approx(displacement * spacing, rel=0.25)
        assert (np.abs(step).max(axis=0) < [track.dvxmax, track.dvymax, track.dvzmax]).all()
        assert np.linalg.norm(turn, axis=1).max() < track.dacc


class TestOptics:
    def test_cameras_look_at_the_middle_and_see_the_whole_volume(self, tmp_path):
        parameters = load_experiment(make_experiment(tmp_path / "e", 1, 4)).parameters
        corners = np.array(np.meshgrid(*[(-0.5, 0.5)] * 3)).reshape(3, -1).T * VOLUME
        pixels = project(np.vstack([np.zeros(3), corners]), parameters, true_calibrations(4))
        np.testing.assert_allclose(pixels[:, 0], [[640, 512]] * 4, atol=1e-3)
        assert (pixels > 40).all()
        assert (pixels < np.array([1280, 1024]) - 40).all()

    def test_rotation_matrix_is_a_rotation(self):
        matrix = rotation_matrix((0.3, -0.7, 2.0))
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-15)
        assert np.linalg.det(matrix) == pytest.approx(1)

    def test_calibrations_are_read_back_exactly(self, tmp_path):
        folder = make_experiment(tmp_path / "e", 1, 4, images=False)
        read = [read_calibration(*calibration_files(folder, f"cal/cam{camera}.tif")) for camera in (1, 2, 3, 4)]
        assert read == true_calibrations(4)

    @pytest.mark.parametrize("error", [0.1, 0.5, 3.0])
    def test_calibration_error_is_as_large_as_asked(self, tmp_path, error):
        folder = make_experiment(tmp_path / "e", 2, 500, images=False, calibration_error_px=error, seed=5)
        experiment, truth = load_experiment(folder), read_truth(folder / "truth.csv")
        wrong = project(truth.position, experiment.parameters, experiment.calibrations)
        rms = np.sqrt(((wrong - truth.pixels) ** 2).sum(axis=2).mean(axis=1))
        np.testing.assert_allclose(rms, error, rtol=0.05)


class TestImages:
    def test_projected_truth_is_where_the_spots_are_detected(self, tmp_path):
        folder = make_experiment(tmp_path / "e", 1, 500, noise=0, dropout=0, hot_pixels=0)
        run_sequence_chunk(folder, FIRST, FIRST)
        truth = read_truth(folder / "truth.csv")
        for camera in range(4):
            true = truth.pixels[camera]
            rows = TARGETS.read(folder / "img" / f"cam{camera + 1}.{FIRST}_targets")
            detected = np.column_stack([rows["x"], rows["y"]])
            alone = distance_to_nearest(true, true) > 6
            assert alone.mean() > 0.8
            offset = np.linalg.norm(true[alone, None] - detected[None], axis=2).min(axis=1)
            assert offset.max() < 0.1
            assert len(detected) <= len(true)

    def test_a_spot_is_a_gaussian_around_its_centre(self):
        canvas = np.zeros((40, 50), dtype=np.float32)
        draw_spots(canvas, np.array([[20.25, 10.75]]), np.array([100.0]), sigma=1.5)
        y, x = np.mgrid[:40, :50] + 0.5
        expected = 100 * np.exp(-((x - 20.25) ** 2 + (y - 10.75) ** 2) / (2 * 1.5**2))
        np.testing.assert_allclose(canvas, expected, atol=0.05)

    def test_spots_over_the_edge_are_cut_and_do_not_wrap(self):
        canvas = np.zeros((30, 30), dtype=np.float32)
        centres = np.array([[0.5, 15.5], [29.5, 0.5], [-40.0, 5.0], [200.0, 200.0]])
        draw_spots(canvas, centres, np.full(4, 100.0), sigma=1.0)
        assert canvas[15, 0] == pytest.approx(100)
        assert canvas[0, 29] == pytest.approx(100)
        assert canvas[15, 20:].max() == 0
        assert canvas[20:].max() == 0
        assert canvas.sum() == pytest.approx(100 * 2 * np.pi * (0.7 + 0.5), rel=0.02)  # half and quarter, whole centre pixel

    def test_overlapping_spots_add_up(self):
        canvas = np.zeros((20, 20), dtype=np.float32)
        draw_spots(canvas, np.array([[10.5, 10.5], [10.5, 10.5]]), np.array([40.0, 70.0]), sigma=1.0)
        assert canvas.max() == pytest.approx(110)

    def test_noise_background_and_hot_pixels(self):
        settings = Settings(noise=2.0, background=20.0, hot_pixels=30)
        rng = np.random.default_rng(0)
        scene = make_scene(settings, rng)
        picture = expose(settings, scene, np.empty((0, 2)), np.empty(0), rng)
        assert np.count_nonzero(picture == 255) == 30
        middle = picture[462:562, 590:690]
        middle = middle[middle < 255].astype(float)
        assert middle.mean() == pytest.approx(20, abs=0.2)
        assert middle.std() == pytest.approx(2, rel=0.05)
        assert picture[:50, :50].mean() < 17  # darker in the corners

    def test_shot_noise_grows_with_the_root_of_the_signal(self):
        settings = Settings(noise=2.0, background=10.0, hot_pixels=0, depth=16)
        rng = np.random.default_rng(0)
        scene = make_scene(settings, rng)
        bright = type(scene)(np.full_like(scene.background, 160.0), scene.hot)
        deviation = expose(settings, bright, np.empty((0, 2)), np.empty(0), rng).std() / 256
        assert deviation == pytest.approx(8, rel=0.01)

    def test_dropped_particles_leave_no_spot(self, tmp_path):
        folder = make_experiment(tmp_path / "e", **SMALL, dropout=1.0, noise=0, hot_pixels=0)
        assert image(folder, 1).max() <= 10
        assert len(read_truth(folder / "truth.csv").frame) > 90  # they are true all the same


class TestOptions:
    def test_sixteen_bits_hold_the_same_picture(self, tmp_path):
        eight = make_experiment(tmp_path / "8", **SMALL)
        sixteen = make_experiment(tmp_path / "16", **SMALL, depth=16)
        deep = image(sixteen, 2)
        assert deep.dtype == np.uint16
        assert np.abs(deep / 256 - image(eight, 2))[deep < 65_280].max() <= 0.5

    def test_negative_is_the_inverse(self, tmp_path):
        plain = make_experiment(tmp_path / "plain", **SMALL)
        negative = make_experiment(tmp_path / "negative", **SMALL, negative=True)
        np.testing.assert_array_equal(image(negative, 3), 255 - image(plain, 3))
        assert load_experiment(negative).parameters.ptv.negative

    def test_splitter_puts_the_views_in_camera_order(self, tmp_path):
        plain = make_experiment(tmp_path / "plain", **SMALL)
        split = make_experiment(tmp_path / "split", **SMALL, splitter=True)
        views = np.asarray(Image.open(split / "img" / f"views.{FIRST}.tif"))
        assert views.shape == (512, 640)
        quadrants = [views[:256, :320], views[:256, 320:], views[256:, 320:], views[256:, :320]]
        for camera, quadrant in enumerate(quadrants, start=1):
            np.testing.assert_array_equal(quadrant, image(plain, camera))
        assert load_experiment(split).parameters.ptv.splitter

    def test_mask_takes_the_reflections_away(self, tmp_path):
        folder = make_experiment(tmp_path / "e", n_frames=1, n_particles=100, mask=True, image_size=(640, 512))
        yaml_file = folder / "parameters_synthetic.yaml"
        run_sequence_chunk(folder, FIRST, FIRST)
        n_true = len(read_truth(folder / "truth.csv").frame)
        targets = folder / "img" / f"cam1.{FIRST}_targets"
        assert len(TARGETS.read(targets)) == pytest.approx(n_true, abs=10)
        tree = yaml.safe_load(yaml_file.read_text())
        tree["masking"]["mask_flag"] = False
        yaml_file.write_text(yaml.safe_dump(tree))
        run_sequence_chunk(folder, FIRST, FIRST)
        assert len(TARGETS.read(targets)) > n_true + 100

    @pytest.mark.parametrize("n_cameras", [1, 2, 3])
    def test_fewer_cameras(self, tmp_path, n_cameras):
        folder = make_experiment(tmp_path / "e", **SMALL, n_cameras=n_cameras)
        experiment = load_experiment(folder)
        assert experiment.num_cams == len(experiment.calibrations) == n_cameras
        assert len(list((folder / "img").iterdir())) == 3 * n_cameras
        assert read_truth(folder / "truth.csv").pixels.shape[0] == n_cameras

    def test_targets_in_place_of_images(self, tmp_path):
        folder = make_experiment(tmp_path / "e", 4, 200, images=False, dropout=0)
        experiment, truth = load_experiment(folder), read_truth(folder / "truth.csv")
        assert experiment.parameters.pft_version.existing_target
        assert not list((folder / "img").glob("*.tif"))
        errors = []
        for camera in range(4):
            for frame in range(FIRST, FIRST + 4):
                rows = TARGETS.read(experiment.targets_path(camera, frame))
                true = truth.pixels[camera, truth.rows_of(frame)]
                assert len(rows) == len(true)
                assert (np.diff(rows["y"]) >= 0).all()
                np.testing.assert_array_equal(rows["pnr"], np.arange(len(rows)))
                errors.append(np.column_stack([rows["x"], rows["y"]]) - true[np.argsort(true[:, 1])])
        inner = np.abs(np.vstack(errors)) < 1  # two particles at nearly the same y may have changed places
        assert np.vstack(errors)[inner].std() == pytest.approx(Settings().position_noise, rel=0.1)

    def test_without_noise_targets_are_exact(self, tmp_path):
        folder = make_experiment(tmp_path / "e", 2, 100, images=False, noise=0, dropout=0)
        rows = TARGETS.read(folder / "img" / f"cam2.{FIRST + 1}_targets")
        truth = read_truth(folder / "truth.csv")
        true = truth.pixels[1, truth.rows_of(FIRST + 1)]
        np.testing.assert_allclose(np.column_stack([rows["x"], rows["y"]]), true[np.argsort(true[:, 1])], atol=1e-4)

    def test_long_sequences_are_cheap(self, tmp_path):
        seconds = []
        for name in "abc":
            start = os.times().user  # what the kernel takes for 2000 small files is not ours to speed up
            make_experiment(tmp_path / name, 500, 30, images=False)
            seconds.append(os.times().user - start)
        assert min(seconds) < 1.5  # 20 000 frames in less than a minute


class TestFiles:
    def test_same_seed_same_bytes(self, tmp_path):
        one, two, other = (
            make_experiment(tmp_path / name, **SMALL, seed=seed) for name, seed in zip("abc", (1, 1, 2), strict=True)
        )
        assert files_of(one) == files_of(two)
        assert not np.array_equal(image(one, 1), image(other, 1))
        assert files_of(one)["truth.csv"] != files_of(other)["truth.csv"]

    def test_images_are_lzw_tiffs(self, tmp_path):
        folder = make_experiment(tmp_path / "e", **SMALL)
        with Image.open(folder / "img" / f"cam4.{FIRST + 2}.tif") as picture:
            assert picture.format == "TIFF"
            assert picture.info["compression"] == "tiff_lzw"
            assert picture.size == (320, 256)

    def test_both_dialects_say_the_same(self, tmp_path):
        folder = make_experiment(tmp_path / "e", **SMALL)
        par, text = load_experiment(folder / "parameters"), load_experiment(folder)
        assert par.source.name == "ptv.par"
        assert text.source.suffix == ".yaml"
        assert par.parameters == text.parameters
        assert par.calibrations == text.calibrations

    def test_both_dialects_give_the_same_bytes(self, tmp_path):
        folder = make_experiment(tmp_path / "e", **SMALL)
        results = []
        for source in (folder / "parameters", folder / "parameters_synthetic.yaml"):
            run_sequence_chunk(source, FIRST, FIRST + 2)
            results.append({name: data for name, data in files_of(folder).items() if "rt_is" in name or "_targets" in name})
            for name in results[-1]:
                (folder / name).unlink()
        assert len(results[0]) == 3 * 5
        assert results[0] == results[1]

    def test_yaml_only_where_the_legacy_dialect_has_no_word(self, tmp_path):
        assert (make_experiment(tmp_path / "plain", **SMALL) / "parameters" / "ptv.par").exists()
        assert not (make_experiment(tmp_path / "mask", **SMALL, mask=True) / "parameters").exists()

    def test_truth_is_read_back(self, tmp_path):
        rng = np.random.default_rng(0)
        truth = Truth(np.array([3, 3, 4]), np.array([1, 2, 1]), rng.normal(0, 10, (3, 3)), rng.uniform(0, 99, (2, 3, 2)))
        write_truth(tmp_path / "truth.csv", truth)
        read = read_truth(tmp_path / "truth.csv")
        np.testing.assert_array_equal(read.frame, truth.frame)
        np.testing.assert_array_equal(read.identity, truth.identity)
        np.testing.assert_allclose(read.position, truth.position, atol=6e-6)
        np.testing.assert_allclose(read.pixels, truth.pixels, atol=6e-5)
        assert read.rows_of(3) == slice(0, 2)
        assert read.rows_of(5) == slice(3, 3)

    @pytest.mark.parametrize(
        ("text", "message"),
        [("a,b\n1,2\n", "line 1"), ("frame,id,x,y,z\n1,2,3,4,five\n", "five"), ("frame,id,x,y,z\n1,2,3\n", "columns")],
    )
    def test_damaged_truth_is_named(self, tmp_path, text, message):
        (tmp_path / "truth.csv").write_text(text)
        with pytest.raises(FormatError, match=message):
            read_truth(tmp_path / "truth.csv")


class TestRefusals:
    def test_a_folder_with_something_in_it(self, tmp_path):
        (tmp_path / "thesis.txt").write_text("all of it")
        with pytest.raises(ProcessingError, match="is not empty"):
            make_experiment(tmp_path, **SMALL)
        with pytest.raises(ProcessingError, match="is not a synthetic experiment"):
            make_experiment(tmp_path, **SMALL, overwrite=True)
        assert (tmp_path / "thesis.txt").read_text() == "all of it"

    def test_a_failure_leaves_nothing_behind(self, tmp_path, monkeypatch):
        make_experiment(tmp_path / "old", **SMALL)
        before = files_of(tmp_path / "old")
        monkeypatch.setattr("pyptv.synthetic.experiment.write_yaml", lambda *_: 1 / 0)
        for name, overwrite in (("old", True), ("new", False)):
            with pytest.raises(ZeroDivisionError):
                make_experiment(tmp_path / name, **SMALL, seed=9, overwrite=overwrite)
        assert files_of(tmp_path / "old") == before
        assert not list((tmp_path / "new").iterdir())

    def test_a_killed_run_is_made_again(self, tmp_path):
        (tmp_path / ".unfinished" / "img").mkdir(parents=True)
        make_experiment(tmp_path, **SMALL)
        made = sorted(path.name for path in tmp_path.iterdir())
        assert made == ["cal", "img", "parameters", "parameters_synthetic.yaml", "truth.csv"]

    def test_overwrite_replaces_a_synthetic_experiment(self, tmp_path):
        make_experiment(tmp_path / "e", **SMALL)
        make_experiment(tmp_path / "e", 1, 40, images=False, overwrite=True)
        assert not list((tmp_path / "e" / "img").glob("*.tif"))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"n_frames": 0}, "n_frames: found 0, expected 1 to"),
            ({"n_cameras": 5}, "n_cameras: found 5"),
            ({"n_particles": 2.5}, "n_particles: found 2.5, expected a whole number"),
            ({"noise": float("nan")}, "noise: found nan"),
            ({"depth": 11}, "depth: found 11, expected 8, 10, 12, 14, 16 bits"),
            ({"image_size": (320,)}, "image_size"),
            ({"splitter": True, "n_cameras": 3}, "splitter: found 3 cameras"),
            ({"images": False, "mask": True}, "images=False"),
            ({"colour": "red"}, "colour"),
        ],
    )
    def test_options_out_of_their_limits(self, tmp_path, options, message):
        with pytest.raises(ProcessingError, match=message):
            make_experiment(tmp_path / "e", **options)
        assert not (tmp_path / "e").exists()


class TestCommandLine:
    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pyptv.synthetic", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def test_makes_the_experiment_that_it_names(self, tmp_path):
        options = "--frames 2 --particles 30 --image-size 320 256 --cameras 3 --no-images --first-frame 5 --seed 4"
        done = self.run(str(tmp_path / "e"), *options.split())
        assert done.returncode == 0, done.stderr
        assert "frames 5 to 6, 3 cameras" in done.stdout
        expected = make_experiment(tmp_path / "f", 2, 30, 3, seed=4, image_size=(320, 256), images=False, first_frame=5)
        assert files_of(tmp_path / "e") == files_of(expected)

    def test_a_wrong_option_is_a_message_and_exit_code_1(self, tmp_path):
        done = self.run(str(tmp_path / "e"), "--frames", "0")
        assert done.returncode == 1
        assert done.stderr.startswith("error: n_frames: found 0")
        assert "Traceback" not in done.stderr

    def test_help_loads_neither_optv_nor_matplotlib(self):
        code = (
            "import sys; from pyptv.synthetic.__main__ import build_parser; build_parser().format_help();"
            "print([m for m in ('optv', 'matplotlib', 'scipy') if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.strip() == "[]"


def test_the_flow_that_limits_come_from_is_sampled_with_a_seed(flow):
    one, two = (extremes(flow, np.random.default_rng(2), 50) for _ in range(2))
    np.testing.assert_array_equal(one.velocity, two.velocity)
    assert one.acceleration == two.acceleration > 0


def test_quantise_clips():
    grey = np.array([-5.0, 0.4, 0.6, 254.6, 300.0], dtype=np.float32)
    np.testing.assert_array_equal(quantise(grey, 8), [0, 0, 1, 255, 255])
    np.testing.assert_array_equal(quantise(grey, 16), [0, 102, 154, 65178, 65535])
    np.testing.assert_array_equal(quantise(grey, 8, negative=True), [255, 255, 254, 0, 0])
