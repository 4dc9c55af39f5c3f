"""Two engines, one result: the compiled kernels against optv, byte for byte, and how an engine is chosen."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import refusal, results, rounds
from random_experiments import RandomExperiment, random_experiment
from yaml import safe_dump, safe_load

from pyptv import pyptv_batch, pyptv_batch_parallel
from pyptv.core.base.errors import FrameError
from pyptv.core.engines.optv.backend import OptvFrameBackend
from pyptv.core.engines.optv.tracker import OptvTracker
from pyptv.core.experiment.optics_checks import total_reflection
from pyptv.core.files.formats import LINKS, PARTICLES, TARGET_COLUMNS, TARGETS

pytest.importorskip("numba", reason="the compiled engine needs numba")
FIRST, LAST = 10_000, 10_004
SEEDS = rounds(60, 200)
EXTREME_SEEDS = rounds(40, 100)
SEEDS_A_TEST = 10


def matched(backend: OptvFrameBackend, experiment: RandomExperiment) -> list[dict[str, bytes]]:
    """The sequence step's files of each frame."""
    frames = []
    for cameras in experiment.frames:
        matches = backend.match([backend.load_targets(rows) for rows in cameras])
        frames.append(matches.files())
    return frames


def tracked(tracker, frames: list[dict[str, bytes]]) -> list:
    """What a tracker makes of frames that are fed just in time: the numbers of each step, and the files."""
    done = []
    tracker.end_at(len(frames))
    try:
        fed = 0
        for index in range(1, len(frames) + 1):
            while fed < min(index + tracker.LOOK_AHEAD, len(frames)):
                fed += 1
                tracker.feed(fed, frames[fed - 1])
            numbers = tracker.finish() if index == len(frames) else tracker.step()
            done.append((numbers, tracker.take(index)))
    finally:
        tracker.close()
    return done


def handed_on(make, frames: list[dict[str, bytes]]) -> list:
    """The same by a new tracker for each step, as long as the state can be saved."""
    done, saved = [], None
    for index in range(1, len(frames) + 1):
        if index == 1 or saved is not None:
            tracker, fed = make(index), max(index - 2, 1) - 1
        while fed < min(index + tracker.LOOK_AHEAD, len(frames)):
            fed += 1
            tracker.feed(fed, frames[fed - 1])
            if saved is not None and fed == index + 1:
                tracker.go_on(index - 1, saved)
        tracker.end_at(len(frames))
        numbers = tracker.finish() if index == len(frames) else tracker.step()
        done.append((numbers, tracker.take(index)))
        saved = tracker.save()
    return done


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_A_TEST))
def test_random_experiments(first: int, tmp_path: Path) -> None:
    """Small ones: every file of both steps."""
    for seed in range(first, first + SEEDS_A_TEST):
        compare(random_experiment(seed), seed, tmp_path / f"s{seed}")


@pytest.mark.parametrize("first", range(0, EXTREME_SEEDS, SEEDS_A_TEST))
def test_random_experiments_at_the_limits_of_what_is_valid(first: int, tmp_path: Path) -> None:
    """Absurd optics, limits and lenses. Where light finds no way to a camera the run is refused by both."""
    compared = 0
    for seed in range(first, first + SEEDS_A_TEST):
        experiment = random_experiment(seed, extreme=True)
        ptv, criteria = experiment.parameters.ptv, experiment.parameters.criteria
        if total_reflection(ptv, criteria, experiment.calibrations) is None:
            compared += compare(experiment, seed, tmp_path / f"s{seed}")
    assert compared >= 3


def compare(experiment: RandomExperiment, seed: int, scratch: Path) -> bool:
    """Both steps by both engines; whether optv did them, for its buffers may be too small."""
    from pyptv.core.engines.compiled.backend import CompiledFrameBackend
    from pyptv.core.engines.compiled.tracker import CompiledTracker

    setting = experiment.parameters, experiment.calibrations
    try:
        frames = matched(OptvFrameBackend(*setting), experiment)
    except FrameError:
        return False  # too many candidates for optv
    assert matched(CompiledFrameBackend(*setting), experiment) == frames, f"correspondence, seed {seed}"
    whole = [frame for frame in frames if frame["rt_is"] != b"0\n"]
    if whole:
        reference = tracked(OptvTracker(*setting, 1, scratch), whole)
        assert_same_tracks(tracked(CompiledTracker(*setting, 1), whole), reference, seed)
        assert_same_tracks(handed_on(partial(CompiledTracker, *setting), whole), reference, seed)
    return True


def assert_same_tracks(ours: list, reference: list, seed: int) -> None:
    """All numbers and all files."""
    for frame, ((numbers, files), (their_numbers, their_files)) in enumerate(zip(ours, reference, strict=True), start=1):
        assert numbers == their_numbers, f"tracking, seed {seed}, frame {frame}"
        for name in their_files:
            mine, theirs = files[name], their_files[name]
            assert mine == theirs, f"tracking, seed {seed}, frame {frame}, {name}"


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """Compile once, here and not in a worker."""
    from pyptv.kernels.build import build

    build()


class TestFrontDoor:
    """The same files, whichever engine and however many workers."""

    @pytest.mark.parametrize("mode", ["sequence", "both"])
    def test_golden(self, batch, cavity, golden, mode):
        batch(cavity / "parameters_Run1.yaml", FIRST, LAST, mode=mode, engine="compiled")
        assert results(cavity) == golden("sequence" if mode == "sequence" else "tracking")

    def test_sequence_by_one_tracking_by_the_other(self, batch, cavity, golden):
        yaml = cavity / "parameters_Run1.yaml"
        batch(yaml, FIRST, LAST, mode="sequence", engine="optv")
        batch(yaml, FIRST, LAST, mode="tracking", engine="compiled")
        assert results(cavity) == golden("tracking")

    @pytest.mark.parametrize("field", [1, 2])
    def test_a_field_of_interlaced_images(self, cavity, field):
        """The filter takes one field's lines of a frame: other targets than in the whole one, the same in both engines."""
        yaml = cavity / "parameters_Run1.yaml"
        text = yaml.read_text()
        assert "chfield: 0" in text
        yaml.write_text(text.replace("chfield: 0", f"chfield: {field}"))
        made = []
        for engine in ("optv", "compiled"):
            pyptv_batch.main(yaml, FIRST, FIRST + 1, engine=engine)
            made.append(results(cavity))
        assert made[0] == made[1]
        found = TARGETS.read(cavity / "img" / f"cam1.{FIRST}_targets")
        assert 0 < found["y"].max() < 512
        assert len(PARTICLES.read(cavity / "res" / f"rt_is.{FIRST}")) > 200

    @pytest.mark.parametrize("n_cameras", [1, 2, 3])
    def test_fewer_cameras(self, small_experiment, n_cameras):
        folders = [small_experiment(engine, n_cameras=n_cameras, n_frames=8) for engine in ("optv", "compiled")]
        for folder in folders:
            pyptv_batch.main(folder, FIRST, FIRST + 7, engine=folder.name)
        assert results(folders[0]) == results(folders[1])

    def test_two_workers(self, small_experiment, caplog):
        """Whether their tracker runs meet or one of them is faster, which is a matter of luck on so few frames."""
        options = {"n_frames": 60, "images": False}
        reference, ours = small_experiment("optv", **options), small_experiment("compiled", **options)
        pyptv_batch.main(reference, FIRST, FIRST + 59, engine="optv")
        caplog.set_level("INFO", "pyptv")
        pyptv_batch_parallel.main(ours, FIRST, FIRST + 59, 2, engine="compiled")
        assert results(ours) == results(reference)
        assert "Engine: compiled" in caplog.text

    def test_what_loading_costs_is_told(self, batch, small_experiment):
        done = batch.command(small_experiment(images=False), FIRST, FIRST + 5, "--engine", "compiled", "--log-level", "DEBUG")
        assert done.returncode == 0
        assert done.stderr.count("DEBUG - Kernels for tracking loaded in ") in range(
            1, 3
        )  # by each worker that gets something to do

    @pytest.mark.parametrize("order", [("optv", "compiled"), ("compiled", "optv")])
    def test_resume_with_the_other_engine(self, small_experiment, order):
        reference, ours = small_experiment("reference", n_frames=30, images=False), small_experiment(n_frames=30, images=False)
        pyptv_batch.main(reference, FIRST, FIRST + 29, engine="optv")
        pyptv_batch.main(ours, FIRST, FIRST + 14, engine=order[0])
        pyptv_batch.main(ours, FIRST, FIRST + 29, engine=order[1], resume=True)
        assert results(ours) == results(reference)


class TestNoLimits:
    """Where optv's buffers are too small the kernels go on; that frames fail there is for optv only."""

    def test_more_candidates_than_optv_holds(self, cavity):
        yaml = cavity / "parameters_Run1.yaml"
        text = yaml.read_text()
        assert "eps0: 0.2" in text
        yaml.write_text(text.replace("eps0: 0.2", "eps0: 0.5"))
        message = refusal(pyptv_batch.main, yaml, FIRST, FIRST)
        assert "too many candidate correspondences for optv" in str(message)
        assert "--engine compiled" in str(message)
        pyptv_batch.main(yaml, FIRST, FIRST, engine="compiled")
        found = PARTICLES.read(cavity / "res" / f"rt_is.{FIRST}")
        views = sum((found[name] >= 0).astype(int) for name in TARGET_COLUMNS)
        assert (views == 4).sum() > 524  # at 0.2; optv alone gives 110 at 0.5, and no error

    @pytest.mark.parametrize(("n_cameras", "n_particles"), [(4, 120), (3, 400)])
    def test_more_candidates_than_memory_should_hold(self, small_experiment, n_cameras, n_particles):
        """Where everything could belong together: a clear error of the frame, and not all memory filled with possibilities."""
        folder = small_experiment(n_cameras=n_cameras, n_particles=n_particles, n_frames=3, images=False)
        criteria = folder / "parameters" / "criteria.par"
        criteria.write_text("\n".join([*criteria.read_text().splitlines()[:-1], "100.0"]) + "\n")
        message = str(refusal(partial(pyptv_batch.main, engine="compiled"), folder, FIRST, FIRST + 2))
        assert message.startswith(f"frame {FIRST}: more than 10 million candidate correspondences")
        assert "narrow eps0" in message
        assert not list((folder / "res").glob("rt_is.*"))

    def test_more_combinations_than_can_be_tried(self, cavity):
        """Everything may belong to everything, and nothing is good enough: it would take hours to see that."""
        yaml = cavity / "parameters_Run1.yaml"
        tree = safe_load(yaml.read_text())
        tree["criteria"] |= {"eps0": 5.0, "corrmin": 1e15, "cn": 0.0, "cnx": 0.0, "cny": 0.0, "csumg": 0.0}
        yaml.write_text(safe_dump(tree))
        message = str(refusal(partial(pyptv_batch.main, mode="sequence", engine="compiled"), yaml, FIRST, FIRST))
        assert message.startswith(f"frame {FIRST}: more than 250 million combinations of targets to try")
        assert "narrow eps0" in message
        assert not list((cavity / "res").glob("rt_is.*"))

    def test_more_targets_and_particles_than_optv_holds(self, small_experiment):
        """20100 resting particles seen by one camera."""
        folder = small_experiment(n_cameras=1, n_frames=3, images=False, image_size=(1600, 1300))
        x, y = np.meshgrid(10 + 10.0 * np.arange(150), 10 + 9.0 * np.arange(134))
        rows = np.zeros(x.size, TARGETS.dtype)
        rows["pnr"], rows["x"], rows["y"] = np.arange(x.size), x.ravel(), y.ravel()
        rows["n"], rows["nx"], rows["ny"], rows["sumg"], rows["tnr"] = 9, 3, 3, 900, -1
        for path in (folder / "img").glob("*_targets"):
            path.write_bytes(TARGETS.render(rows))
        message = refusal(partial(pyptv_batch.main, engine="optv"), folder, FIRST, FIRST + 2)
        assert "found 20100 targets, optv holds at most 20000" in str(message)
        pyptv_batch.main(folder, FIRST, FIRST + 2, engine="compiled")
        links = LINKS.read(folder / "res" / f"ptv_is.{FIRST}")
        assert len(links) == 20_100
        assert (links["next"] == np.arange(20_100)).all()
        pyptv_batch.main(folder, FIRST, FIRST + 2, engine="compiled", mode="tracking")
        assert (LINKS.read(folder / "res" / f"ptv_is.{FIRST + 1}")["previous"] == np.arange(20_100)).all()
