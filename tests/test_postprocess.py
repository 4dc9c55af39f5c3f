"""Post-processing: right joins and no wrong ones, estimates that are those of the model, files of the run untouched."""

from __future__ import annotations

import csv
import logging
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from conftest import results

from pyptv.core.experiment.folder import Experiment, load_experiment
from pyptv.core.files.formats import LINKS, PARTICLES, TARGET_COLUMNS
from pyptv.evaluate import evaluate
from pyptv.export import FORMATS, export
from pyptv.export.__main__ import cli
from pyptv.pyptv_batch import cli as batch_cli
from pyptv.pyptv_batch import main
from pyptv.synthetic import make_experiment
from pyptv.trajectories import read_trajectories
from pyptv.trajectories.postprocess import PostProcessing, ProcessedTrajectories, chains, process, rounds, smoother, tracks
from pyptv.trajectories.postprocess.learn import learn
from pyptv.trajectories.postprocess.model import JERK, TRANSITION, Bridges, MotionModel
from pyptv.trajectories.postprocess.smoother import smooth

pytest.importorskip("scipy", reason='post-processing needs the extra "trajectories"')

MODEL = MotionModel(
    noise=np.array([0.02, 0.03, 0.1]),
    jerk=np.array([1e-4, 4e-4, 2e-4]),
    mean_velocity=np.array([0.5, 0.0, -0.2]),
    velocity_spread=np.array([0.4, 0.3, 0.5]),
    acceleration_spread=np.array([0.05, 0.02, 0.04]),
    windows=1000,
)


def drawn(rng: np.random.Generator, n: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of n particles that move as MODEL says, true and measured, (n, length, 3) each."""
    true = np.empty((n, length, 3))
    for axis in range(3):
        state = np.zeros((n, 3))
        state[:, 0] = rng.uniform(-40, 40, n)
        state[:, 1] = MODEL.mean_velocity[axis] + MODEL.velocity_spread[axis] * rng.standard_normal(n)
        state[:, 2] = MODEL.acceleration_spread[axis] * rng.standard_normal(n)
        push = np.linalg.cholesky(MODEL.jerk[axis] * JERK)
        for step in range(length):
            true[:, step, axis] = state[:, 0]
            state = state @ TRANSITION.T + rng.standard_normal((n, 3)) @ push.T
    return true, true + MODEL.noise * rng.standard_normal(true.shape)


def joint(axis: int, frames: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of measured positions in some frames, relative to the first one's expectation, by plain algebra.

    The first position is anywhere: its variance is large.
    """
    start = np.diag([1e3, MODEL.velocity_spread[axis] ** 2, MODEL.acceleration_spread[axis] ** 2])
    states = {0: (np.array([0, MODEL.mean_velocity[axis], 0]), start)}
    for step in range(1, max(frames) + 1):
        mean, covariance = states[step - 1]
        states[step] = TRANSITION @ mean, TRANSITION @ covariance @ TRANSITION.T + MODEL.jerk[axis] * JERK
    cross = np.empty((len(frames), len(frames)))
    for i, early in enumerate(frames):
        for j, late in enumerate(frames):
            if early <= late:
                ahead = np.linalg.matrix_power(TRANSITION, late - early) @ states[early][1]
                cross[i, j] = cross[j, i] = ahead[0, 0]
    return np.array([states[frame][0][0] for frame in frames]), cross


class TestModel:
    def test_it_is_learnt_from_what_it_has_made(self):
        _, measured = drawn(np.random.default_rng(1), 1500, 12)
        model = learn(measured)
        assert model is not None
        assert np.allclose(model.noise, MODEL.noise, rtol=0.1)
        assert np.allclose(model.jerk, MODEL.jerk, rtol=0.3)
        assert model.inflation < 1.3
        assert model.outliers < 0.02

    def test_wrong_links_do_not_spoil_it(self):
        rng = np.random.default_rng(2)
        _, measured = drawn(rng, 1000, 12)
        measured[:80, 6:] += rng.normal(0, 5, (80, 1, 3))
        model = learn(measured)
        assert model is not None
        assert np.allclose(model.noise, MODEL.noise, rtol=0.2)

    def test_too_few_are_none(self):
        assert learn(np.zeros((5, 12, 3))) is None

    @pytest.mark.parametrize(("tail", "gap", "head"), [(1, 0, 4), (3, 1, 2), (8, 2, 4)])
    def test_a_bridge_is_the_conditional_density(self, tail, gap, head):
        frames = [*range(tail), *range(tail + gap, tail + gap + head)]
        position = np.random.default_rng(3).normal(0, 1, (1, len(frames), 3))
        squared, _ = Bridges(MODEL)(tail, gap, head).mismatch(position - position[:, :1])
        expected = 0.0
        for axis in range(3):
            mean, covariance = joint(axis, frames)
            covariance = covariance + np.eye(len(frames)) * MODEL.noise[axis] ** 2
            off = position[0, :, axis] - mean
            whole = off @ np.linalg.solve(covariance, off)
            expected += whole - off[:tail] @ np.linalg.solve(covariance[:tail, :tail], off[:tail])
        assert squared[0] == pytest.approx(expected, rel=0.02)


class TestSmoother:
    def test_estimates_are_those_of_plain_algebra(self):
        _, measured = drawn(np.random.default_rng(4), 2, 9)
        measured[0, [3, 4]] = np.nan
        estimate = smooth(MODEL, measured.reshape(-1, 3), np.array([0, 9, 18]))
        for axis in range(3):
            mean, covariance = joint(axis, list(range(9)))
            seen = np.flatnonzero(np.isfinite(measured[0, :, axis]))
            gain = covariance[:, seen] @ np.linalg.inv(covariance[np.ix_(seen, seen)] + np.eye(7) * MODEL.noise[axis] ** 2)
            value = mean + gain @ (measured[0, seen, axis] - mean[seen])
            error = np.sqrt(np.diag(covariance - gain @ covariance[seen]))
            assert np.allclose(estimate.value[0, :9, axis], value, atol=1e-3)
            assert np.allclose(estimate.error[0, :9, axis], error, rtol=1e-2)

    def test_errors_are_as_large_as_they_say(self):
        true, measured = drawn(np.random.default_rng(5), 300, 20)
        estimate = smooth(MODEL, measured.reshape(-1, 3), np.arange(0, 6001, 20))
        off = np.abs(estimate.value[0] - true.reshape(-1, 3))
        assert np.allclose((off < estimate.error[0]).mean(axis=0), 0.683, atol=0.03)
        assert (estimate.error[0] < MODEL.noise).all()

    def test_long_trajectories_are_done_in_parts(self, monkeypatch):
        _, measured = drawn(np.random.default_rng(6), 1, 150)
        measured[0, 60:63] = np.nan
        whole = smooth(MODEL, measured[0], np.array([0, 150]))
        monkeypatch.setattr(smoother, "_SPAN", 20)
        monkeypatch.setattr(smoother, "_OVERLAP", 30)
        parts = smooth(MODEL, measured[0], np.array([0, 150]))
        assert np.allclose(parts.value[0], whole.value[0], atol=0.01)
        assert np.isfinite(parts.value).all()


def write_tracks(folder: Path, positions: np.ndarray, follows: dict[int, np.ndarray] | None = None, first: int = 10000) -> None:
    """Write ``ptv_is`` files of some particles (n, length, 3); where one is NaN it is missing.

    ``follows``: step -> the particle that the run takes each one for in the next frame, where it is not the same.
    """
    (folder / "res").mkdir(exist_ok=True)
    n, length = positions.shape[:2]
    seen = np.isfinite(positions).all(axis=2)
    row = np.where(seen, np.cumsum(seen, axis=0) - 1, -9)
    for step in range(length):
        here = np.flatnonzero(seen[:, step])
        rows = np.zeros(len(here), LINKS.dtype)
        for axis, name in enumerate("xyz"):
            rows[name] = positions[here, step, axis]
        rows["previous"], rows["next"] = -1, -2
        for name, there, after in (("next", step + 1, step), ("previous", step - 1, step - 1)):
            if 0 <= there < length:
                particle = (follows or {}).get(after, np.arange(n))
                pointer = row[particle if name == "next" else np.argsort(particle), there][here]
                rows[name] = np.where(pointer >= 0, pointer, rows[name])
        (folder / "res" / f"ptv_is.{first + step}").write_bytes(LINKS.render(rows))


@pytest.fixture
def bare(small_experiment) -> Experiment:
    return load_experiment(small_experiment(images=False))


@pytest.fixture
def done(bare):
    """A factory of the post-processed trajectories of ``bare``."""
    with ExitStack() as stack:
        yield lambda min_length=1, **settings: stack.enter_context(
            ProcessedTrajectories(bare, settings=PostProcessing(**settings), min_length=min_length)
        )


class TestSteps:
    def test_a_wrong_link_is_cut_and_its_particles_joined_right(self, bare, done):
        _, measured = drawn(np.random.default_rng(8), 60, 16)
        swapped = np.arange(60)
        swapped[[0, 1]] = 1, 0
        write_tracks(bare.folder, measured, {8: swapped})
        processed = done()
        assert (processed.counts.cuts, processed.counts.joins) == (2, 2)
        for block in processed.blocks():
            track = block.position[block.id == 0]
            assert np.allclose(track, np.round(measured[0], 3))
        uncut = done(cut=False)
        assert uncut.counts.cuts == uncut.counts.joins == 0
        unjoined = done(max_gap=None)
        flags = {int(row["id"]): (row["cut_before"], row["cut_after"], row["measured"]) for row in unjoined.records}
        assert flags[0] == (0, 1, 9)
        assert sorted(flags)[-2:] == [60, 61]
        assert flags[60] == flags[61] == (1, 0, 7)

    def test_gaps_are_joined_up_to_the_largest_one(self, bare, done):
        _, measured = drawn(np.random.default_rng(8), 80, 16)
        measured[:10, 7] = np.nan
        measured[10:20, 7:10] = np.nan
        write_tracks(bare.folder, measured)
        found = {}
        for gap in (1, 3):
            processed = done(max_gap=gap, min_length=10)
            found[gap] = processed.counts.joins, processed.counts.estimated
            whole = processed.records[(processed.records["first"] == 10000) & (processed.records["last"] == 10015)]
            assert len(whole) == processed.trajectories
        assert found == {1: (10, 10), 3: (20, 40)}
        block = next(processed.blocks())
        gap = (block.id == 0) & (block.frame == 10007)
        assert block.detail is not None
        assert (block.detail.source[gap], block.detail.origin[gap]) == (-1, chains.ESTIMATED)
        assert np.isfinite(block.position).all()

    def test_a_bad_position_beside_a_gap_is_no_obstacle(self, bare, done):
        """The last one before it, or the first one after it, is off as where spots lie on each other: it is cut out."""
        _, measured = drawn(np.random.default_rng(8), 400, 16)
        good = measured.copy()
        measured[:10, 7] = np.nan
        measured[:5, 6] += 12 * MODEL.noise
        measured[5:10, 8] -= 12 * MODEL.noise
        write_tracks(bare.folder, measured)
        processed = done()
        block = next(processed.blocks())
        joined = processed.records[:10][processed.records["pieces"][:10] == 2]
        assert len(joined) >= 9  # a good end fits in 99.5 %
        for track in joined:
            assert (track["first"], track["last"], track["estimated"]) == (10000, 10015, 2)
            rows = (block.id == track["id"]) & (block.frame >= 10006) & (block.frame <= 10008)
            assert np.allclose(block.position[rows], good[track["id"], 6:9], atol=5 * MODEL.noise.max())
        alone = processed.records[processed.records["first"] == processed.records["last"]]["first"].tolist()
        assert alone.count(10006) >= 4
        assert alone.count(10008) >= 4

    def test_what_does_not_move_and_what_is_short_is_left_out(self, bare, done):
        _, measured = drawn(np.random.default_rng(9), 80, 12)
        measured[:5] = np.array([3.0, 4.0, 5.0]) + np.arange(5)[:, None, None]
        measured[5:8, 3:] = np.nan
        write_tracks(bare.folder, measured)
        processed = done(remove_stationary=True, cut=False, min_length=4)
        assert processed.counts.left_out_stationary == 5
        assert not set(range(8)) & set(processed.records["id"].tolist())

    def test_blocks_of_any_size_give_the_same(self, bare, done, monkeypatch):
        _, measured = drawn(np.random.default_rng(10), 70, 14)
        measured[:30:2, 6] = np.nan
        write_tracks(bare.folder, measured)
        whole = done(smooth=True)
        for module, name in ((process, "ROWS_AT_ONCE"), (rounds, "ROWS_AT_ONCE"), (tracks, "_AT_ONCE")):
            monkeypatch.setattr(module, name, 25)
        small = done(smooth=True)
        assert np.array_equal(small.records, whole.records)
        positions = [np.concatenate([block.position for block in one.blocks()]) for one in (whole, small)]
        assert np.allclose(*positions, atol=1e-9)

    def test_too_little_data_stays_as_it_is(self, bare, done, caplog):
        _, measured = drawn(np.random.default_rng(11), 3, 6)
        write_tracks(bare.folder, measured)
        with caplog.at_level(logging.WARNING):
            processed = done(smooth=True)
        assert "too few trajectories for a motion model" in caplog.text
        assert processed.counts == process.Counts()
        block = next(processed.blocks())
        assert np.allclose(block.position, read_trajectories(bare).position)
        assert np.isnan(block.detail.smoothed.position_error).all()

    def test_wrong_settings(self):
        for wrong in ({"max_gap": 21}, {"max_gap": -1}, {"max_gap": True}, {"fill": True, "max_gap": 0}):
            with pytest.raises(ValueError, match="max_gap"):
                PostProcessing(**wrong)


@pytest.fixture(scope="module")
def flickering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A processed experiment in which particles are missed by all cameras at times."""
    folder = tmp_path_factory.mktemp("flickering") / "experiment"
    make_experiment(folder, 12, 150, image_size=(320, 256), blinking=0.04, dropout=0.0)
    source = folder / "parameters_synthetic.yaml"
    main(source, 10000, 10011)
    return source


class TestWhole:
    def test_truth(self, flickering, tmp_path, capsys):
        before = results(flickering.parent)
        run = evaluate(flickering.parent)
        arguments = [str(flickering), "--to", "ptv_is", "--output", str(tmp_path / "out")]
        assert cli([*arguments, "--postprocess"]) == 0
        assert " joins" in capsys.readouterr().out
        whole = evaluate(tmp_path / "out")
        assert whole.link_recall > run.link_recall + 0.05
        assert whole.link_precision > run.link_precision - 0.002
        assert whole.pure_lengths.mean() > run.pure_lengths.mean() + 1
        assert cli([*arguments, "--postprocess", "--smooth", "--fill", "--remove-stationary"]) == 0  # over the first one
        smoothed = evaluate(tmp_path / "out")
        assert smoothed.rms[2] < whole.rms[2]
        assert results(flickering.parent) == before

    def test_files_again_are_those_of_the_run_where_nothing_was_done(self, flickering, tmp_path):
        export(flickering, "ptv_is", output=tmp_path / "out")
        ours, theirs = read_trajectories(tmp_path / "out"), read_trajectories(flickering)
        assert np.array_equal(ours.lengths, theirs.lengths)
        assert np.array_equal(ours.position, theirs.position)
        for frame in (10000, 10006):
            new, old = (PARTICLES.read(place / "res" / f"rt_is.{frame}") for place in (tmp_path / "out", flickering.parent))
            for column in TARGET_COLUMNS:
                assert sorted(new[column]) == sorted(old[column])

    def test_a_particle_that_the_run_lost_is_found_among_the_targets(self, small_experiment):
        folder = small_experiment(n_particles=80, n_frames=10, dropout=0.0)
        main(folder, 10000, 10009)
        whole = read_trajectories(folder, min_length=10)
        lost = [remove(folder, whole.position[start + 5], 10005) for start in whole.offsets[:-1:4]]
        with ProcessedTrajectories(load_experiment(folder), settings=PostProcessing(fill=True)) as processed:
            block = next(processed.blocks())
        assert processed.counts.found >= 0.8 * len(lost) > 1
        found = block.position[(block.detail.origin == chains.FOUND) & (block.frame == 10005)]
        distance = np.linalg.norm(found[:, None] - np.array(lost), axis=2).min(axis=1)
        assert np.count_nonzero(distance < 0.1) >= 0.8 * len(lost)

    def test_every_format_says_where_rows_come_from(self, flickering, tmp_path):
        settings = PostProcessing(smooth=True)
        experiment = load_experiment(flickering)
        with ProcessedTrajectories(experiment, settings=settings, min_length=5) as processed:
            block = next(processed.blocks())
        path = export(flickering, "csv", output=tmp_path / "t.csv", min_length=5, frame_rate=50, postprocess=settings)
        with path.open() as file:
            rows = list(csv.DictReader(file))
        assert [int(row["source"]) for row in rows] == block.detail.source.tolist()
        assert [int(row["origin"]) for row in rows] == block.detail.origin.tolist()
        assert np.allclose([float(row["vx"]) for row in rows], 50 * block.detail.smoothed.velocity[:, 0])
        assert np.allclose([float(row["ay_error"]) for row in rows], 2500 * block.detail.smoothed.acceleration_error[:, 1])
        with (tmp_path / "t-record.csv").open() as file:
            record = list(csv.DictReader(file))
        assert [int(row["id"]) for row in record] == np.unique(block.id).tolist()
        assert sum(int(row["estimated"]) for row in record) == np.count_nonzero(block.detail.origin == chains.ESTIMATED) > 0
        for name in ("h5", "vtk"):  # the others share their way of giving details
            try:
                FORMATS[name].require()
            except Exception:
                continue
            target = export(flickering, name, output=tmp_path / f"x.{name}", min_length=5, units="m", postprocess=settings)
            assert target.exists()
            if name == "h5":
                import tables
                from flowtracks.scene import Scene

                with tables.open_file(str(target)) as file:
                    table = file.root.particles
                    assert np.array_equal(table.col("origin"), block.detail.origin)
                    assert np.allclose(table.col("position_error"), block.detail.smoothed.position_error / 1000)
                    assert file.get_node_attr("/", "postprocess_joins") == processed.counts.joins
                lengths = [len(one) for one in Scene(str(target)).iter_trajectories()]
                assert sorted(lengths) == sorted(np.unique(block.id, return_counts=True)[1])

    def test_after_a_run(self, small_experiment, capsys):
        folder = small_experiment(n_particles=40)
        assert batch_cli([str(folder), "--postprocess", "csv", "-q"]) == 0
        assert (folder / "res" / "export" / "trajectories-record.csv").exists()
        for mode in ("sequence", "match"):
            assert batch_cli([str(folder), "--postprocess", "csv", "--mode", mode]) == 2
            assert f"--postprocess: found --mode {mode}" in capsys.readouterr().err
        assert batch_cli([str(folder), "--postprocess", "csv", "--part", "1/2"]) == 2
        assert "part cannot be combined with finish, clean, report and postprocess" in capsys.readouterr().err

    def test_usage(self, flickering, tmp_path, capsys):
        base = [str(flickering), "--to", "csv", "--output", str(tmp_path / "t.csv")]
        for wrong in (["--smooth"], ["--postprocess", "--no-join", "--max-gap", "2"], ["--postprocess", "--max-gap", "99"]):
            assert cli([*base, *wrong]) == 2
            assert capsys.readouterr().err.startswith("error: ")
        (tmp_path / "home" / "res").mkdir(parents=True)
        (tmp_path / "home" / "res" / "mine").touch()
        assert cli([str(flickering), "--to", "ptv_is", "--output", str(tmp_path / "home")]) == 1
        assert (tmp_path / "home" / "res" / "mine").exists()


def remove(folder: Path, position: np.ndarray, frame: int) -> np.ndarray:
    """Take a particle out of ``rt_is`` and ``ptv_is`` of a frame, its targets stay; returns its position."""
    paths = {number: folder / "res" / f"ptv_is.{number}" for number in (frame - 1, frame, frame + 1)}
    links = {number: LINKS.read(path) for number, path in paths.items()}
    row = int(np.argmin(np.linalg.norm(np.column_stack([links[frame][axis] for axis in "xyz"]) - position, axis=1)))
    particles = PARTICLES.read(folder / "res" / f"rt_is.{frame}")
    for number, column, none in ((frame - 1, "next", -2), (frame + 1, "previous", -1)):
        pointers = links[number][column]
        pointers[pointers == row] = none
        pointers[pointers > row] -= 1
    links[frame] = np.delete(links[frame], row)
    particles = np.delete(particles, row)
    particles["number"] = np.arange(1, len(particles) + 1)
    (folder / "res" / f"rt_is.{frame}").write_bytes(PARTICLES.render(particles))
    for number, path in paths.items():
        path.write_bytes(LINKS.render(links[number]))
    return position
