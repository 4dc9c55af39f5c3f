"""``--method dense`` from the front door: what it finds, that it does not depend on how it is run, and what others read of it."""

from __future__ import annotations

import io
import json
import os
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from conftest import refusal, results

pytest.importorskip("numba")

from pyptv import pyptv_batch, pyptv_batch_parallel
from pyptv.core.base.errors import InvalidExperimentError
from pyptv.core.files.formats import LINKS, PARTICLES, QUALITY, TARGETS
from pyptv.core.files.tables import Tables
from pyptv.core.record.run_report import read_run_report
from pyptv.evaluate import evaluate
from pyptv.synthetic import make_experiment

FRAMES = 6


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense experiment (0.03 particles per pixel), processed once as the demo does it; ``printed`` is what that says."""
    folder = tmp_path_factory.mktemp("dense") / "exp"
    make_experiment(folder, n_frames=FRAMES, n_particles=500, image_size=(128, 128), displacement=0.2, hot_pixels=0, seed=5)
    said = io.StringIO()
    with redirect_stdout(said):
        assert pyptv_batch.cli(["--demo", str(folder), "--method", "dense"]) == 0
    (folder.parent / "printed").write_text(said.getvalue(), encoding="utf-8")
    return folder


@pytest.fixture
def again(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to work in."""
    copy = tmp_path / "exp"
    shutil.copytree(made, copy)
    return copy


def everything(folder: Path) -> dict[str, bytes]:
    """All result files, those of the method included."""
    files = results(folder)
    for pattern in ("res/quality.*", "res/self_calibration.csv"):
        files |= {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.glob(pattern))}
    return files


def without_results(folder: Path) -> None:
    shutil.rmtree(folder / "res")
    for path in folder.glob("img/*_targets"):
        path.unlink()


def test_it_finds_what_the_standard_method_does_not(made: Path, tmp_path: Path) -> None:
    dense = evaluate(made)
    assert dense.recall > 0.93
    assert dense.precision > 0.98
    assert dense.link_recall > 0.9
    assert dense.link_precision > 0.98
    standard = tmp_path / "exp"
    shutil.copytree(made, standard)
    pyptv_batch.main(standard)
    assert evaluate(standard).recall < dense.recall - 0.1


def test_the_demo_scores_it_against_its_truth(made: Path) -> None:
    printed = (made.parent / "printed").read_text(encoding="utf-8")
    score = json.loads((made / "score.json").read_text(encoding="utf-8"))
    assert score["recall"] == pytest.approx(evaluate(made).recall)
    assert f"{score['recall']:.4f}" in printed
    assert str(made / "truth.csv") in printed


def test_the_report_has_a_chapter_on_it(again: Path) -> None:
    """With its figures, and the reason where one cannot be shown."""
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    from pyptv.core.experiment.folder import load_experiment
    from pyptv.report.dense.chapter import read_chapter
    from pyptv.report.page import fill
    from pyptv.report.record import read_record

    chapter = fill("dense.j2", {"dense": read_chapter(read_record(load_experiment(again)))})
    assert chapter.count("<img ") == 2 * 4
    assert [f"disparity-{camera}-title" in chapter for camera in (1, 2, 3, 4)] == [True] * 4
    assert "last shaking" in chapter
    ids = [part.split('"')[0] for part in chapter.split(' id="')[1:]]
    assert len(set(ids)) == len(ids)
    (again / "res/self_calibration.csv").write_bytes(b"camera,x,y,matches,before_x,before_y,after_x,after_y\n1,2,nan\n")
    Tables(again / "res/.pyptv/dense").path("view", -1).write_bytes(b"{}")
    found = read_chapter(read_record(load_experiment(again)))
    assert found is not None
    assert not found.disparity
    assert "line 2: found '1,2,nan'" in found.disparity_problem
    assert "damaged" in found.views_problem
    assert found.figures[-1][0] == "By chance"


def test_the_report_says_how_it_found_them(made: Path) -> None:
    """No targets, no eps0, no dacc were used; that targets, being projections, lie on their particles is no accuracy."""
    pytest.importorskip("jinja2")
    pytest.importorskip("scipy")
    from pyptv.core.experiment.folder import load_experiment
    from pyptv.report.figures import figures_of
    from pyptv.report.methods import citations, methods
    from pyptv.report.page import read_evidence

    evidence = read_evidence(load_experiment(made))
    said = methods(evidence)
    assert "After a self-calibration of the cameras (Wieneke 2008), particles were fitted to the images" in said
    assert "in 2 passes" in said
    assert [word for word in ("high-pass", "epipolar", "accelerations", "reprojection", "OpenPTV") if word in said] == []
    assert [one.split(",")[0] for one in citations(evidence.record)][:4] == ["Wieneke", "Schanz", "Wieneke", "Baek"]
    assert evidence.sample is not None
    assert evidence.sample.errors == ()
    assert "Reprojection" not in [name for name, _, _ in figures_of(evidence, None)]


def test_its_files_are_those_of_openptv(made: Path) -> None:
    frame = 10002
    particles = PARTICLES.read(made / f"res/rt_is.{frame}")
    links, before = LINKS.read(made / f"res/ptv_is.{frame}"), LINKS.read(made / f"res/ptv_is.{frame - 1}")
    quality = QUALITY.read(made / f"res/quality.{frame}")
    assert len(particles) == len(links) == len(quality) > 300
    assert (particles["number"] == np.arange(1, len(particles) + 1)).all()
    here = np.flatnonzero(links["previous"] >= 0)
    assert len(here) > 200
    assert (before["next"][links["previous"][here]] == here).all()
    views = np.zeros(len(particles), int)
    for camera in range(1, 5):
        targets = TARGETS.read(made / f"img/cam{camera}.{frame}_targets")
        assert (np.diff(targets["y"]) >= 0).all()
        assert (particles[f"target{camera}"][targets["tnr"]] == targets["pnr"]).all()
        assert len(set(targets["tnr"])) == len(targets)
        assert (targets[["n", "nx", "ny", "sumg"]].tolist() > np.array(0)).all() if len(targets) else True
        views += particles[f"target{camera}"] >= 0
    assert (views == quality["cameras"]).all()
    assert (np.diff(views) <= 0).all()


def test_other_programs_read_it(made: Path) -> None:
    from flowtracks.io import trajectories_ptvis

    from pyptv.trajectories import read_trajectories

    found = trajectories_ptvis(str(made / "res/ptv_is.%d"), first=10000, last=10000 + FRAMES - 1)
    assert len(found) > 300
    assert len(read_trajectories(made).lengths) > 300


def test_processes_do_not_matter(again: Path) -> None:
    expected = everything(again)
    for n in (2, 3):
        without_results(again)
        pyptv_batch_parallel.main(again, n_processes=n, method="dense")
        assert everything(again) == expected


def test_a_stopped_run_goes_on_to_the_same_files(again: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = everything(again)
    tables = Tables(again / "res/.pyptv/dense")
    # as after a kill in the middle: some tables, some files, one of each damaged
    for frame in (10002, 10003):
        tables.path("published", frame).unlink()
        (again / f"res/rt_is.{frame}").unlink()
    tables.path("found-2", 10003).unlink()
    tables.path("links-1", 10004).write_bytes(b"{")
    (again / "res/ptv_is.10005").write_bytes(b"1\n")
    kept = tables.path("found-1", 10001).stat().st_mtime_ns
    with caplog.at_level("INFO"):
        pyptv_batch.main(again, method="dense", resume=True)
    assert everything(again) == expected
    assert tables.path("found-1", 10001).stat().st_mtime_ns == kept
    assert "Resumed: 3 frames and the links of 3 were kept" in caplog.text


def test_a_killed_worker_changes_nothing(again: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker dies twice in different frames and steps; each frame is tried once more."""
    expected = everything(again)
    without_results(again)
    from pyptv.core.stages.dense.find import FindStep
    from pyptv.core.stages.dense.link import LinkStep

    for step, name, at in ((FindStep, "find", 10001), (LinkStep, "link", 10003)):
        done = getattr(step, name)
        mark = again / f"killed-{name}"

        def once(self, frame, *arguments, done=done, mark=mark, at=at):
            if frame == at and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), 9)
            return done(self, frame, *arguments)

        monkeypatch.setattr(step, name, once)
    pyptv_batch_parallel.main(again, n_processes=2, method="dense", start_method="fork")
    assert (again / "killed-find").exists()
    assert (again / "killed-link").exists()
    assert everything(again) == expected


def test_a_frame_that_fails_costs_itself(again: Path) -> None:
    without_results(again)
    (again / "img/cam2.10003.tif").write_bytes(b"no image")
    message = refusal(lambda: pyptv_batch.main(again, method="dense"))
    assert message is not None
    assert message.startswith("frame 10003, camera 2: ")
    assert pyptv_batch.cli([str(again), "--method", "dense", "--on-error", "skip", "--resume", "--quiet"]) == 3
    assert not (again / "res/rt_is.10003").exists()
    assert (LINKS.read(again / "res/ptv_is.10002")["next"] == -2).all()
    assert (LINKS.read(again / "res/ptv_is.10004")["previous"] == -1).all()
    assert (LINKS.read(again / "res/ptv_is.10000")["next"] >= 0).any()


def test_the_run_report_says_what_was_done(made: Path) -> None:
    report = read_run_report(made / "res")
    assert report is not None
    assert report["command"]["method"] == "dense"
    dense = report["dense"]
    assert [len(one["frame"]) for one in dense["passes"]] == [FRAMES, FRAMES]
    assert sum(dense["passes"][0]["begun_with"]) == 0
    assert sum(dense["passes"][1]["begun_with"]) > 300 * FRAMES
    first = dense["passes"][0]["iterations"]
    assert first[0]["frames"] == FRAMES
    assert first[0]["new"] > first[1]["new"] > 0
    assert all(0 < left < 0.3 for left in dense["passes"][1]["energy_left"])
    assert dense["unsettled"] == []
    chance = dense["chance"]
    assert chance["sampled_links"] > 350  # of one frame
    assert chance["chance_tracks"] < 0.1 * chance["sampled_tracks"]
    assert [camera["matches"] > 100 for camera in dense["self_calibration"]["cameras"]] == [True] * 4
    assert (made / "res/self_calibration.csv").read_text().startswith("camera,x,y,matches,before_x")


def test_frames_alone_and_links_alone(again: Path) -> None:
    """Mode sequence makes no links; mode tracking links particles that are there, whoever found them."""
    before = results(again)
    without_results(again)
    pyptv_batch.main(again, method="dense", mode="sequence")
    assert not list(again.glob("res/ptv_is.*"))
    assert evaluate(again).recall > 0.93
    pyptv_batch.main(again, method="dense", mode="tracking")
    assert evaluate(again).link_recall > 0.85
    sequence = {name: data for name, data in results(again).items() if "rt_is" in name or "targets" in name}
    pyptv_batch.main(again, mode="tracking")  # the standard tracker finds the same input, and may be undone
    pyptv_batch.main(again, method="dense", mode="tracking")
    assert {name: results(again)[name] for name in sequence} == sequence
    assert before.keys() == results(again).keys()


def test_frames_that_do_not_converge_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.06 particles per pixel, and no more than two searches."""
    from pyptv.core.engines.dense.settings import Settings

    two = Settings(searches=2, reduced_searches=0)
    monkeypatch.setattr(Settings, "of_pass", staticmethod(lambda _number, _passes: two))
    folder = make_experiment(tmp_path / "exp", 1, 550, image_size=(96, 96), hot_pixels=0)
    pyptv_batch.main(folder, method="dense", mode="sequence", self_calibration=False)
    assert "--method dense: has not converged in frames 10000: too many particles" in caplog.text
    report = read_run_report(folder / "res")
    assert report is not None
    assert report["dense"]["unsettled"] == [10000]


@pytest.mark.parametrize("n_cameras", [2, 3])
def test_few_particles_in_large_images(tmp_path: Path, n_cameras: int) -> None:
    """Peaks of noise are many more than particles, and those of two or three cameras meet by chance."""
    folder = make_experiment(tmp_path / "exp", 1, 20, n_cameras=n_cameras, image_size=(640, 512))
    pyptv_batch.main(folder, method="dense", mode="sequence", self_calibration=False)
    score = evaluate(folder)
    assert (score.recall, score.precision) == (1, 1)


def test_the_standard_method_afterwards_is_untouched(again: Path, tmp_path: Path) -> None:
    clean = tmp_path / "clean"
    shutil.copytree(again, clean)
    without_results(clean)
    pyptv_batch.main(clean)
    pyptv_batch.main(again)
    assert results(again) == results(clean)
    assert not list(again.glob("res/quality.*"))


def test_the_key_does_what_the_option_does(again: Path) -> None:
    expected = everything(again)
    without_results(again)
    parameters = next(again.glob("*.y*ml"))
    parameters.write_text(parameters.read_text().replace("\nptv:\n", "\nptv:\n  method: dense\n", 1))
    pyptv_batch.main(again)
    assert everything(again) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "optv"}, "--engine optv: found with --method dense, which has compiled kernels only: leave it out"),
        ({"method": "dens"}, "method must be one of standard, dense, got 'dens': did you mean 'dense'?"),
        ({"min_track": 0}, "min_track must be 1 to 10, got 0"),
    ],
)
def test_what_cannot_be_is_refused(made: Path, options: dict, message: str) -> None:
    with pytest.raises((ValueError, InvalidExperimentError)) as raised:
        pyptv_batch.main(made, **({"method": "dense"} | options))
    assert str(raised.value) == message


def test_without_numba_it_says_what_to_install(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyptv.kernels import cache

    monkeypatch.setattr(cache, "installed", lambda: False)
    with pytest.raises(InvalidExperimentError) as raised:
        pyptv_batch.main(made, method="dense")
    assert str(raised.value) == '--method dense needs numba: pip install "pyptv-batch[fast]"'


def test_tables_are_whole_or_not_there(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    tables.write(
        "found-1", 7, "key", {"a": np.arange(6.0).reshape(2, 3), "b": np.ones(2, bool)}, notes={"n": 2}, stamps=[(1, 2, 3)]
    )
    table = tables.read("found-1", 7)
    assert table is not None
    assert table.header.stamps == ((1, 2, 3),)
    assert json.dumps(table.header.notes) == '{"n": 2}'
    assert table.arrays["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    path = tables.path("found-1", 7)
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        assert tables.read("found-1", 7) is None, at
        path.write_bytes(good[:at])
        assert tables.read("found-1", 7) is None, at
    tables.forget(7)
    assert not path.exists()


def test_a_worker_forgets_what_others_have_made_anew(tmp_path: Path) -> None:
    """Tables and links of two frames stay in memory from task to task, as long as the tables are the same."""
    from pyptv.core.engines.dense.links import Limits, Linker
    from pyptv.core.stages.dense.window import Window
    from pyptv.core.stages.tasks import table_name

    tables, places = Tables(tmp_path), np.random.default_rng(1).uniform(0, 10, (40, 3))
    window = Window(tables, (1, 2), 1)
    linker = Linker(window.particles, Limits(np.full(3, -0.5), np.full(3, 0.5)))

    def links(n: int) -> int:
        for frame, moved in ((1, 0.0), (2, 0.1)):
            tables.write(table_name("find", 1), frame, "", {"positions": places[:n] + moved})
        window.renewed()
        linker.renewed({frame: window.found_digest(frame) for frame in (1, 2)})
        return int((linker.links(1) >= 0).sum())

    assert window.particles(1) is None
    assert links(20) == 20
    assert links(40) == 40
    assert links(40) == 40


def test_crowded_images_are_reconstructed_three_times(tmp_path: Path) -> None:
    """The sample of frames decides, unless the parameters do."""
    make_experiment(tmp_path / "exp", n_frames=3, n_particles=250, image_size=(64, 64), hot_pixels=0, seed=5)
    pyptv_batch.main(tmp_path / "exp", method="dense", self_calibration=False)
    report = read_run_report(tmp_path / "exp/res")
    assert report is not None
    assert [len(one["frame"]) for one in report["dense"]["passes"]] == [3, 3, 3]
