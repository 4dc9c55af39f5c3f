"""Lagrangian statistics: the numbers that numpy gives for the same trajectories at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pyptv.core.base.errors import ProcessingError
from pyptv.core.experiment.folder import load_experiment
from pyptv.pyptv_batch import main
from pyptv.report.__main__ import main as report
from pyptv.synthetic import make_experiment
from pyptv.trajectories import ordered, read_trajectories
from pyptv.trajectories.statistics import read_statistics

pytest.importorskip("scipy", reason='statistics need the extra "trajectories"')


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_experiment(tmp_path_factory.mktemp("tracked") / "experiment", 10, 60, images=False)
    main(folder / "parameters_synthetic.yaml", 10000, 10009)
    return folder / "parameters_synthetic.yaml"


def test_numbers(tracked, monkeypatch):
    monkeypatch.setattr(ordered, "ROWS_AT_ONCE", 90)  # several blocks
    found = read_statistics(tracked, frame_rate=20)
    whole = read_trajectories(tracked, min_length=5, frame_rate=20)
    assert (found.trajectories, found.rows) == (len(whole.lengths), len(whole.id))
    assert (found.velocity_unit, found.acceleration_unit) == ("mm/s", "mm/s^2")
    for distributions, values in ((found.velocity, whole.velocity), (found.acceleration, whole.acceleration)):
        for axis, one in enumerate(distributions):
            assert one.samples == np.count_nonzero(np.isfinite(values[:, axis]))
            assert one.mean == pytest.approx(values[:, axis].mean())
            assert one.rms == pytest.approx(values[:, axis].std())
            inside = np.abs(values[:, axis] - one.mean) < 6 * one.rms
            assert (one.density * np.diff(one.edges)).sum() == pytest.approx(inside.mean())
    for axis, profile in enumerate(found.profiles):
        assert profile.samples.sum() == len(whole.id)
        into = (whole.position[:, axis] >= profile.edges[3]) & (whole.position[:, axis] < profile.edges[4])
        assert profile.samples[3] == np.count_nonzero(into)
        assert np.allclose(profile.mean[3], whole.velocity[into].mean(axis=0))
        assert np.allclose(profile.rms[3], whole.velocity[into].std(axis=0))
    squares = [
        (whole.velocity[start + 2 : stop] - whole.velocity[start : stop - 2]) ** 2
        for start, stop in zip(whole.offsets[:-1], whole.offsets[1:], strict=True)
    ]
    assert found.structure.lag[1] == pytest.approx(0.1)
    assert np.allclose(found.structure.value[1], np.concatenate(squares).mean(axis=0))
    assert found.structure.samples[1] == sum(map(len, squares))


def test_nothing_to_make_them_of(small_experiment):
    experiment = load_experiment(small_experiment(images=False))
    with pytest.raises(ProcessingError, match="no ptv_is file"):
        read_statistics(experiment)


def test_the_report_shows_them_on_request(tracked):
    pytest.importorskip("jinja2", reason='needs the extra "report"')
    page = tracked.parent / "res" / "report.html"
    assert report([str(tracked), "--statistics"]) == 0
    text = page.read_text(encoding="utf-8")
    for title in ("Probability density of velocity", "Velocity along z", "Lagrangian structure function"):
        assert title in text
    assert "samples of" in text
