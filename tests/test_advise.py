"""Advice from the data alone, on experiments whose truth is known: bad parameters in, good ones out, nothing touched."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pyptv.advise.__main__ import main
from pyptv.advise.calibration import changed, values_of
from pyptv.core.experiment.folder import load_experiment
from pyptv.core.images.grey_values import decide
from pyptv.evaluate.matching import match
from pyptv.measures.bench import Workbench
from pyptv.measures.chance import expected_ghosts
from pyptv.measures.detection import peak_locking
from pyptv.measures.frames import sample
from pyptv.measures.motion import expected_false, measure_motion
from pyptv.synthetic import make_experiment, read_truth

EXPERIMENT = {"n_frames": 5, "n_particles": 100, "image_size": (320, 256), "calibration_error_px": 0.7, "noise": 1.0}


def sums(folder: Path) -> dict[str, str]:
    """File -> fingerprint."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def advised(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, str], dict]:
    """An experiment with a threshold twice too high, disco 100 and eps0 four times too wide, after one round of advice."""
    folder = make_experiment(tmp_path_factory.mktemp("advice") / "experiment", **EXPERIMENT)
    (folder / "parameters_synthetic.yaml").rename(folder.parent / "good.yaml")
    for name, lines in (("targ_rec", {0: 10, 1: 10, 2: 10, 3: 10, 4: 100}), ("criteria", {11: 0.45})):
        path = folder / "parameters" / f"{name}.par"
        values = path.read_text().splitlines()
        for line, value in lines.items():
            values[line] = str(value)
        path.write_text("\n".join(values) + "\n")
    before = sums(folder)
    options = ["--engine", "optv", "--fix-calibration", str(folder / "cal2"), "--write", str(folder / "parametersNew")]
    assert main([str(folder), *options, "--json", str(folder.parent / "advice.json"), "--quiet"]) == 0
    return folder, folder / "parametersNew", before, json.loads((folder.parent / "advice.json").read_text())


def test_what_is_written_finds_more_and_nothing_else_is_touched(advised, capsys) -> None:
    folder, new, before, tree = advised
    after = sums(folder)
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[0] for name in after.keys() - before.keys()} == {"cal2", "parametersNew"}
    truth = read_truth(folder / "truth.csv")
    recall = {}
    for name in (folder / "parameters", new):
        experiment = load_experiment(name)
        bench = Workbench(experiment, "optv", decide(experiment).settings)
        frames = [bench.match(bench.detect(bench.filtered(number)), number) for number in range(10000, 10005)]
        true = [match(frame.position, truth.position[truth.rows_of(frame.number)], 1.5) >= 0 for frame in frames]
        recall[name.name] = sum(int(one.sum()) for one in true) / len(truth.frame)
    assert recall["parametersNew"] > 0.95 > recall["parameters"] - 0.02
    assert tree["calibration"]["refined"]["after_px"] < 0.3 * tree["calibration"]["refined"]["before_px"]
    assert {advice["key"] for advice in tree["advice"]} >= {"gvthres", "disco", "eps0", "dvxmin", "dacc"}
    assert all(advice["measured"] or advice["why"] for advice in tree["advice"])
    assert main([str(new), "1", "0"]) == 2
    assert "must be <=" in capsys.readouterr().err


def test_refusals(small_experiment, capsys) -> None:
    folder = small_experiment(n_cameras=1)
    assert main([str(folder), "--quiet"]) == 2
    assert "one camera" in capsys.readouterr().err


def test_help_fits_80_columns(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_ghosts_and_noise_against_the_truth(tmp_path: Path) -> None:
    """Dense images, a band that is too wide: within a factor of two as many ghosts are expected as there are
    (``docs/advice.md`` has more); the noise is about that of the truth."""
    folder = make_experiment(tmp_path / "e", n_frames=6, n_particles=700, image_size=(320, 256), seed=5)
    experiment, truth = load_experiment(folder / "parameters"), read_truth(folder / "truth.csv")
    criteria = experiment.parameters.criteria
    bench = Workbench(experiment, "optv", decide(experiment).settings).with_criteria(replace(criteria, eps0=4 * criteria.eps0))
    frames = [bench.match(bench.detect(bench.filtered(number)), number) for number in range(10000, 10006)]
    found = [match(frame.position, truth.position[truth.rows_of(frame.number)], 1.2) >= 0 for frame in frames[::3]]
    ghosts = sum(int((~one).sum()) for one in found)
    assert ghosts > 20
    assert ghosts / 2 < sum(expected_ghosts(bench, frames[::3]).expected) < 2 * ghosts
    motion = measure_motion([frames])
    assert motion.true_share > 0.5
    errors = []
    for frame in frames:
        true = truth.position[truth.rows_of(frame.number)]
        pairs = match(frame.position, true, 1.2)
        errors.append(frame.position[pairs >= 0] - true[pairs[pairs >= 0]])
    scatter = 1.4826 * np.median(np.abs(np.concatenate(errors)), axis=0)
    np.testing.assert_allclose(motion.noise, scatter, rtol=0.35)


def test_small_parts() -> None:
    assert sample(0, 99, 3, 5) == [range(5), range(48, 53), range(95, 100)]
    assert sample(3, 9, 3, 5) == [range(3, 10)]
    assert expected_false(0, 0, 0) == 0
    assert 0 < expected_false(90, 50, 100) < 20
    rng = np.random.default_rng(0)
    spread = np.zeros((3000, 8))
    spread[:, 1:3] = rng.uniform(0, 100, (3000, 2))
    assert not peak_locking([spread]).locked
    spread[:, 1] = np.rint(spread[:, 1]) + rng.normal(0, 0.1, 3000)
    assert peak_locking([spread]).locked


def test_a_calibration_changes_by_what_is_asked(small_experiment) -> None:
    calibration = load_experiment(small_experiment()).calibrations[0]
    moved = changed(calibration, {"x0": 1.0, "k1": 1e-6})
    assert values_of(moved)["x0"] == values_of(calibration)["x0"] + 1
    assert moved.radial_distortion == (1e-6, 0.0, 0.0)
    assert moved.angles == calibration.angles
