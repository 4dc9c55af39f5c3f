"""The whole pipeline against the truth: how much is found, how much of it is true, how exact it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pyptv.core.base.errors import ProcessingError
from pyptv.core.cli.demo import prepare_demo, score_text
from pyptv.core.engines.optv.backend import project
from pyptv.core.experiment.folder import Experiment, load_experiment
from pyptv.core.files.formats import PARTICLES, TARGETS
from pyptv.evaluate import evaluate
from pyptv.evaluate.matching import match
from pyptv.pyptv_batch import main
from pyptv.pyptv_batch_parallel import run_sequence_chunk
from pyptv.synthetic import Settings, Truth, make_experiment, read_truth

pytest.importorskip("scipy", reason='scoring needs the extra "evaluate"')

FIRST, LAST = 10_000, 10_009


@pytest.fixture(scope="module")
def processed(tmp_path_factory):
    """The default experiment: 500 particles, 4 cameras, default noise; sequence and tracking done."""
    folder = make_experiment(tmp_path_factory.mktemp("accuracy") / "e", 10, 500)
    main(folder, FIRST, LAST)
    return folder


def implied_errors(points: np.ndarray, experiment: Experiment, noise_px: float) -> np.ndarray:
    """(3,) the least rms error [mm] of x, y, z that any unbiased estimator can have (Cramer-Rao), mean over the points.

    The covariance is noise^2 (J^T J)^-1, J being how the 8 pixel coordinates of a point change with x, y, z.
    """
    step = 1e-3
    shifted = [
        project(points + step * axis, experiment.parameters, experiment.calibrations)
        - project(points - step * axis, experiment.parameters, experiment.calibrations)
        for axis in np.eye(3)
    ]
    jacobian = np.stack(shifted, axis=-1).transpose(1, 0, 2, 3).reshape(len(points), -1, 3) / (2 * step)
    information = np.einsum("nij,nik->njk", jacobian, jacobian)
    return noise_px * np.sqrt(np.linalg.inv(information).diagonal(axis1=1, axis2=2).mean(axis=0))


def errors(folder: Path, truth: Truth, frame: int, keep: np.ndarray | None = None) -> np.ndarray:
    """(n, 3) errors [mm] of the true detections of a frame, those of the true particles ``keep`` (a mask)."""
    rows = PARTICLES.read(folder / "res" / f"rt_is.{frame}")
    true = truth.position[truth.rows_of(frame)]
    found = np.column_stack([rows[axis] for axis in "xyz"])
    pairs = match(found, true, 0.3)
    used = (pairs >= 0) if keep is None else (pairs >= 0) & keep[pairs]
    return found[used] - true[pairs[used]]


def alone_in_all_cameras(truth: Truth, frame: int, distance_px: float = 8) -> np.ndarray:
    """(n,) whether no other spot is near, in any camera."""
    pixels = truth.pixels[:, truth.rows_of(frame)]
    distances = np.linalg.norm(pixels[:, :, None] - pixels[:, None], axis=3)
    distances[:, np.arange(pixels.shape[1]), np.arange(pixels.shape[1])] = np.inf
    return (distances.min(axis=2) > distance_px).all(axis=0)


def detection_noise(folder: Path, truth: Truth, frame: int) -> float:
    """Standard deviation [px] of the detected positions of spots that stand alone, over all cameras."""
    offsets = []
    alone = alone_in_all_cameras(truth, frame)
    for camera in range(4):
        rows = TARGETS.read(folder / "img" / f"cam{camera + 1}.{frame}_targets")
        detected = np.column_stack([rows["x"], rows["y"]])
        true = truth.pixels[camera, truth.rows_of(frame)][alone]
        all_offsets = detected[None] - true[:, None]
        nearest = all_offsets[np.arange(len(true)), np.linalg.norm(all_offsets, axis=2).argmin(axis=1)]
        offsets.append(nearest[np.linalg.norm(nearest, axis=1) < 0.5])  # a dropped spot has no detection
    return float(np.concatenate(offsets).std())


def test_default_experiment_is_reconstructed(processed):
    score = evaluate(processed)
    assert score.total("particles") > 4500
    assert score.missing_frames == ()
    assert score.recall >= 0.98
    assert score.precision >= 0.995
    assert score.link_precision >= 0.99
    assert score.link_recall >= 0.98
    assert score.pure_tracks >= 0.98
    assert score.pure_lengths.mean() > 8


def test_detection_noise_is_the_predicted_one(processed):
    truth = read_truth(processed / "truth.csv")
    assert detection_noise(processed, truth, FIRST) == pytest.approx(Settings().position_noise, rel=0.25)


def test_rms_error_is_what_the_pixel_noise_implies(processed):
    truth, experiment = read_truth(processed / "truth.csv"), load_experiment(processed)
    noise = np.sqrt(np.mean([detection_noise(processed, truth, frame) ** 2 for frame in range(FIRST, LAST + 1)]))
    implied = implied_errors(truth.position, experiment, noise)
    alone = [errors(processed, truth, frame, alone_in_all_cameras(truth, frame)) for frame in range(FIRST, LAST + 1)]
    assert sum(map(len, alone)) > 1500
    # optv takes the mean over pairs of rays, which is not the best estimator: 1.0 to 1.5 times the least error.
    # A few spots are dropped in one camera, which costs a little more.
    ratio = np.sqrt((np.vstack(alone) ** 2).mean(axis=0)) / implied
    assert (ratio > 0.8).all()
    assert (ratio < 2).all()
    # spots that overlap are worse, but do not spoil the whole
    assert (np.array(evaluate(processed).rms) < 5 * implied).all()


def test_rms_error_with_exactly_known_noise(tmp_path):
    folder = make_experiment(tmp_path / "e", 4, 500, images=False, dropout=0)
    run_sequence_chunk(folder, FIRST, FIRST + 3)
    truth = read_truth(folder / "truth.csv")
    implied = implied_errors(truth.position, load_experiment(folder), Settings().position_noise)
    found = np.vstack([errors(folder, truth, frame) for frame in range(FIRST, FIRST + 4)])
    assert len(found) >= 0.995 * len(truth.frame)
    ratio = np.sqrt((found**2).mean(axis=0)) / implied
    assert (ratio > 0.95).all()  # nothing can be better
    assert (ratio < 1.7).all()


def test_without_noise_only_rounding_is_left(tmp_path):
    folder = make_experiment(tmp_path / "e", 2, 300, images=False, noise=0, dropout=0)
    run_sequence_chunk(folder, FIRST, FIRST + 1)
    score = evaluate(folder)
    assert score.recall >= 0.995
    assert max(score.rms) < 1e-3  # files hold 4 decimals in px, 3 in mm


def test_a_calibration_error_costs_accuracy(tmp_path, processed):
    folder = make_experiment(tmp_path / "e", 2, 500, images=False, calibration_error_px=0.5)
    run_sequence_chunk(folder, FIRST, FIRST + 1)
    score = evaluate(folder)
    assert score.recall > 0.95
    assert score.rms[2] > 3 * evaluate(processed).rms[2]


@pytest.mark.parametrize(
    "options",
    [{"depth": 16}, {"splitter": True}, {"negative": True}, {"mask": True}, {"depth": 16, "negative": True, "mask": True}],
    ids="-".join,
)
def test_every_kind_of_image_gives_the_same_quality(tmp_path, options):
    folder = make_experiment(tmp_path / "e", 1, 300, image_size=(960, 768), **options)
    run_sequence_chunk(folder, FIRST, FIRST)
    score = evaluate(folder)
    assert score.recall >= 0.98
    assert score.precision >= 0.985


def test_touching_spots_are_told_apart(tmp_path):
    folder = make_experiment(tmp_path / "e", 1, 3277, image_size=(640, 512))  # 0.01 particles per pixel
    run_sequence_chunk(folder, FIRST, FIRST)
    score = evaluate(folder)
    assert score.recall >= 0.93
    assert score.precision >= 0.99


def test_three_cameras_find_nearly_as_much(tmp_path):
    folder = make_experiment(tmp_path / "e", 1, 500, n_cameras=3)
    run_sequence_chunk(folder, FIRST, FIRST)
    score = evaluate(folder)
    assert score.recall >= 0.97
    assert score.precision >= 0.98


class TestDemo:
    def test_is_made_once_and_scored(self, tmp_path, monkeypatch):
        monkeypatch.setattr("pyptv.core.cli.demo._N_FRAMES", 4)
        monkeypatch.setattr("pyptv.core.cli.demo._N_PARTICLES", 100)
        folder, first, last = prepare_demo(tmp_path / "demo")
        assert (folder, first, last) == (tmp_path / "demo", FIRST, FIRST + 3)
        assert score_text(folder).startswith("No score: ")
        main(folder, first, last)
        text = score_text(folder)
        assert "link precision" in text
        assert str(folder / "res") in text
        assert (folder / "score.json").exists()
        before = (folder / "truth.csv").stat().st_mtime_ns
        assert prepare_demo(folder) == (folder, first, last)
        assert (folder / "truth.csv").stat().st_mtime_ns == before

    def test_default_folder(self, tmp_path, monkeypatch):
        monkeypatch.setattr("pyptv.core.cli.demo._N_FRAMES", 1)
        monkeypatch.setattr("pyptv.core.cli.demo._N_PARTICLES", 20)
        monkeypatch.chdir(tmp_path)
        assert prepare_demo(None)[0] == Path("pyptv-demo")
        assert (tmp_path / "pyptv-demo" / "truth.csv").exists()

    def test_somebody_elses_folder_is_refused(self, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(ProcessingError, match="is not empty"):
            prepare_demo(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
