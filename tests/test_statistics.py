"""Lagrangian statistics: the numbers that numpy gives for the same trajectories at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pyptv.core.base.errors import ProcessingError
from pyptv.core.experiment.folder import load_experiment
from pyptv.core.files.formats import LINKS
from pyptv.pyptv_batch import main
from pyptv.report.__main__ import main as report
from pyptv.synthetic import make_experiment
from pyptv.trajectories import ordered, read_trajectories
from pyptv.trajectories.postprocess import PostProcessing
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


def test_an_analytical_flow(small_experiment):
    """Particles on circles, carried by a shear: every number is known. Of the fit's attenuation, 0.6 %, nothing is taken out."""
    turn, radius, shear, n, length, rate = 0.1, 5.0, 0.02, 600, 24, 50
    folder = small_experiment(images=False)
    (folder / "res").mkdir()
    phase = 2 * np.pi * np.arange(n) / n
    z = np.random.default_rng(1).permutation(np.linspace(-20, 20, n))
    for step in range(length):
        rows = np.zeros(n, LINKS.dtype)
        angle = turn * step + phase
        rows["x"], rows["y"], rows["z"] = shear * z * step + radius * np.cos(angle), radius * np.sin(angle), z
        rows["previous"] = np.arange(n) if step else -1
        rows["next"] = np.arange(n) if step + 1 < length else -2
        (folder / "res" / f"ptv_is.{10000 + step}").write_bytes(LINKS.render(rows))
    found = read_statistics(folder, frame_rate=rate)
    assert (found.trajectories, found.rows) == (n, n * length)

    speed, push = radius * turn * rate, radius * turn**2 * rate**2
    across = found.velocity[1]  # free of the shear: the arcsine distribution
    assert across.mean == pytest.approx(0, abs=0.01 * speed)
    assert across.rms == pytest.approx(speed / np.sqrt(2), rel=0.01)
    assert found.acceleration[1].rms == pytest.approx(push / np.sqrt(2), rel=0.02)
    assert found.velocity[2].rms < 0.001 * speed
    middle, width = (across.edges[1:] + across.edges[:-1]) / 2, np.diff(across.edges)
    assert across.density[np.abs(middle) > speed + width].max() == 0
    assert (across.density * width)[np.abs(middle) < speed / 2].sum() == pytest.approx(1 / 3, abs=0.05)

    along_z = found.profiles[2]
    middle = (along_z.edges[1:] + along_z.edges[:-1]) / 2
    assert along_z.samples.sum() == n * length
    noise = 4 * speed / np.sqrt(along_z.samples.min() / length)  # a slice has some 30 circles
    assert np.allclose(along_z.mean[:, 0], shear * middle * rate, atol=noise)
    assert np.polyfit(middle, along_z.mean[:, 0], 1)[0] == pytest.approx(shear * rate, abs=0.1)
    assert np.allclose(along_z.rms[:, 1], speed / np.sqrt(2), rtol=0.25)

    structure = found.structure
    assert np.allclose(structure.lag, np.arange(1, length) / rate)
    assert structure.samples.tolist() == [n * (length - lag) for lag in range(1, length)]
    beyond = slice(found.window - 1, None)  # lags below the window share positions
    truth = speed**2 * (1 - np.cos(turn * rate * structure.lag))
    assert np.allclose(structure.value[beyond, :2], truth[beyond, None], rtol=0.03)


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
    assert "post-processed" not in text
    assert report([str(tracked), "--statistics", "--postprocess"]) == 0
    text = page.read_text(encoding="utf-8")
    whole = read_statistics(tracked, postprocess=PostProcessing())
    assert "Trajectory lengths, post-processed" in text
    assert f"of {whole.trajectories} trajectories" in text
    assert whole.rows >= read_statistics(tracked).rows
