"""The compiled tracker: optv's bytes and numbers, and the right answer where optv has none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import refusal, sample_tree
from optv.parameters import SequenceParams
from optv.tracker import Tracker
from test_engines import assert_same_tracks, tracked

from pyptv.core.engines.optv import objects as optv_objects
from pyptv.core.engines.optv.backend import image_corners, project
from pyptv.core.engines.optv.tracker import OptvTracker
from pyptv.core.experiment.calibration import Calibration
from pyptv.core.experiment.folder import load_experiment
from pyptv.core.experiment.parameters.attrdict import AttrDict
from pyptv.core.experiment.parameters.checks import build_parameters
from pyptv.core.experiment.parameters.schema import Parameters
from pyptv.core.files.formats import ADDED, LINKS, PARTICLES, TARGETS
from pyptv.synthetic.optics import true_calibrations

pytest.importorskip("numba")
from pyptv.core.engines.compiled.tracker import CompiledTracker
from pyptv.kernels.tracking import reach
from pyptv.kernels.tracking.scene import make_scene

BACK_AND_FORTH = (0, 1, 2, 3, 4, 3, 2, 1)
SEEDS = 40
PARTS = 5
Files = dict[str, bytes]


@dataclass(frozen=True)
class Setting:
    """What trackers are made from."""

    parameters: Parameters
    calibrations: tuple[Calibration, ...]


def setting(n_cams: int = 4, lens: dict[str, Any] | None = None, ptv: dict[str, Any] | None = None, **track: Any) -> Setting:
    """The sample experiment with another lens, other layers, other limits."""
    tree = sample_tree()
    tree["num_cams"] = n_cams
    tree["ptv"] |= ptv or {}
    tree["criteria"] |= {"X_lay": [-60.0, 60.0]}
    tree["track"] |= track
    calibrations = tuple(replace(calibration, **(lens or {})) for calibration in true_calibrations(n_cams))
    return Setting(build_parameters(AttrDict(tree), lambda *_: "parameters"), calibrations)


def limits(x: float, y: float | None = None, z: float | None = None) -> dict[str, float]:
    """Symmetric limits of displacement."""
    y, z = y or x, z or x
    return {"dvxmin": -x, "dvxmax": x, "dvymin": -y, "dvymax": y, "dvzmin": -z, "dvzmax": z}


def frame_of(of: Setting, points: Any, matched: Any, *, noise: Any = 0.0, ghosts: Any = (), hidden: Any = None) -> Files:
    """The sequence step's files of a frame.

    Args:
        of: cameras.
        points: (n, 3) particles [mm].
        matched: (n,) whether the sequence step has found the particle; the targets are there all the same.
        noise: added to the targets [px].
        ghosts: (m, 2) more targets of every camera [px].
        hidden: (n_cams, n) whether a camera does not see a particle.
    """
    points, matched = np.asarray(points, float).reshape(-1, 3), np.asarray(matched, bool)
    pixels = project(points, of.parameters, of.calibrations) + noise
    order = np.flatnonzero(matched)
    row = np.full(len(points), -1)
    row[order] = np.arange(len(order))
    numbers = np.full((len(order), 4), -1)
    files = {}
    for camera, xy in enumerate(pixels):
        inside = ((xy > 0) & (xy < (of.parameters.ptv.imx, of.parameters.ptv.imy))).all(axis=1)
        seen = np.flatnonzero(inside if hidden is None else inside & ~hidden[camera])
        places = np.vstack([xy[seen], np.asarray(ghosts, float).reshape(-1, 2)])
        particle = np.concatenate([row[seen], np.full(len(places) - len(seen), -1)])
        by_y = np.argsort(places[:, 1], kind="stable")
        places, particle = places[by_y], particle[by_y]
        numbers[particle[particle >= 0], camera] = np.flatnonzero(particle >= 0)
        rows = [
            (n, *place, 9, 3, 3, 200, tnr) for n, (place, tnr) in enumerate(zip(places.tolist(), particle.tolist(), strict=True))
        ]
        files[f"targets{camera + 1}"] = TARGETS.render(rows)
    rows = [(n + 1, *points[order[n]].tolist(), *numbers[n].tolist()) for n in range(len(order))]
    return files | {"rt_is": PARTICLES.render(rows)}


def drifting(
    of: Setting, n_frames: int, seed: int = 0, n: int = 60, *, noise: float = 0.1, unmatched: float = 0.1
) -> list[Files]:
    """Particles in a turning flow, some not matched, some hidden, and ghosts."""
    rng = np.random.default_rng(seed)
    points = rng.uniform((-30, -30, -15), (30, 30, 20), (n, 3))
    turning, drift = rng.normal(0, 0.01, (3, 3)), rng.normal(0, 0.5, 3)
    frames = []
    for _ in range(n_frames):
        hidden = rng.random((len(of.calibrations), n)) < 0.05
        ghosts = rng.uniform((0, 0), (of.parameters.ptv.imx, of.parameters.ptv.imy), (rng.integers(30), 2))
        matched = ((~hidden).sum(axis=0) >= min(2, len(of.calibrations))) & (rng.random(n) >= unmatched)
        error = rng.normal(0, noise, (len(of.calibrations), n, 2))
        frames.append(frame_of(of, points + rng.normal(0, 0.02, (n, 3)), matched, noise=error, ghosts=ghosts, hidden=hidden))
        points = points + points @ turning + drift
    return frames


def compiled(of: Setting, frames: list[Files]) -> list:
    return tracked(CompiledTracker(of.parameters, of.calibrations, 1), frames)


def assert_as_optv(of: Setting, frames: list[Files], folder: Path, seed: int = 0) -> list:
    """Every file and every number; returns what both make of the frames."""
    ours = compiled(of, frames)
    reference = tracked(OptvTracker(of.parameters, of.calibrations, 1, folder), frames)
    assert_same_tracks(ours, reference, seed)
    return ours


def total(done: list, name: str) -> int:
    return sum(getattr(numbers, name) for numbers, _ in done if numbers is not None)


@pytest.fixture(scope="module")
def cavity_frames(shared: Path) -> tuple[Setting, list[Files]]:
    """The real experiment after the sequence step, as PyPTV leaves it."""
    experiment = load_experiment(shared / "data" / "test_cavity" / "parameters_Run1.yaml")
    golden = shared / "golden" / "test_cavity" / "sequence"
    frames = []
    for frame in range(10_000, 10_005):
        files = {f"targets{c}": (golden / "img" / f"cam{c}.{frame}_targets").read_bytes() for c in (1, 2, 3, 4)}
        frames.append(files | {"rt_is": (golden / "res" / f"rt_is.{frame}").read_bytes()})
    return Setting(experiment.parameters, experiment.calibrations), frames


class TestRealData:
    def test_golden(self, shared, cavity_frames):
        of, frames = cavity_frames
        golden = shared / "golden" / "test_cavity" / "tracking"
        for frame, (_, files) in enumerate(compiled(of, frames), start=10_000):
            expected = {kind: (golden / "res" / f"{kind}.{frame}").read_bytes() for kind in ("rt_is", "ptv_is", "added")}
            expected |= {f"targets{c}": (golden / "img" / f"cam{c}.{frame}_targets").read_bytes() for c in (1, 2, 3, 4)}
            assert files == expected, frame

    def test_back_and_forth(self, cavity_frames, tmp_path):
        """Noisy: fewer than half of the particles are linked, and many claim the same one."""
        of, frames = cavity_frames
        done = assert_as_optv(of, [frames[n] for n in (*BACK_AND_FORTH, 0, 1, 2)], tmp_path / "optv")
        assert total(done, "added") > 20

    def test_start_in_the_middle(self, cavity_frames, tmp_path):
        of, frames = cavity_frames
        assert_as_optv(of, frames[2:], tmp_path / "optv")


LENSES = {
    "perfect": {},
    "brown": {"radial_distortion": (2e-5, -1e-7, 1e-10), "decentering": (1e-5, -2e-5), "principal_point": (0.1, -0.05)},
    "scale and shear": {"affine": (1.01, 0.002), "radial_distortion": (1e-4, 0.0, 0.0)},
    "bulging": {"radial_distortion": (1e-5, 2.3e-6, -6e-9)},  # in a field's corners it can hardly be undone
}
LAYERS = {
    "glass": {},
    "air": {"mmp_n2": 1.0, "mmp_n3": 1.0, "mmp_d": 0.0},
    "field": {"chfield": 2},
}


@pytest.mark.parametrize("n_cams", [1, 2, 3, 4])
@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("lens", LENSES)
def test_cameras(n_cams, add, lens, tmp_path):
    of = setting(n_cams, LENSES[lens], flagNewParticles=add, **limits(3))
    done = assert_as_optv(of, drifting(of, 7), tmp_path / "optv")
    assert total(done, "links") > 20
    assert (total(done, "added") > 0) == (add and n_cams > 1)


@pytest.mark.parametrize("layers", LAYERS)
def test_layers(layers, tmp_path):
    of = setting(ptv=LAYERS[layers], **limits(3))
    assert total(assert_as_optv(of, drifting(of, 6), tmp_path / "optv"), "links") > 100


@pytest.mark.parametrize("part", range(PARTS))
def test_random_limits(part, tmp_path):
    """Narrow and wide limits, lopsided ones, sparse and dense particles, rounded places with equal distances."""
    for seed in range(part, SEEDS, PARTS):
        rng = np.random.default_rng(seed)
        least, most = -rng.uniform(0.5, 6, 3), rng.uniform(0.5, 6, 3)
        ends = [(f"dv{axis}{end}", values[k]) for end, values in (("min", least), ("max", most)) for k, axis in enumerate("xyz")]
        track: dict[str, Any] = {name: float(value) for name, value in ends}
        track |= {
            "angle": float(rng.choice([20, 100, 250])),
            "dacc": float(rng.uniform(0.1, 4)),
            "flagNewParticles": seed % 4 > 0,
        }
        of = setting(4 - seed % 3, **track)
        n = int(rng.choice([5, 60, 200]))
        frames = drifting(of, 6, seed, n, noise=float(rng.choice([0, 0.05, 0.5])), unmatched=float(rng.choice([0, 0.3])))
        assert_as_optv(of, frames, tmp_path / f"s{seed}", seed)


def test_whole_numbers(tmp_path):
    """Steady motion on a grid: angles that are NaN, displacements that are zero or just at a limit, equal costs."""
    of = setting(**limits(2))
    rng = np.random.default_rng(5)
    points = rng.integers((-25, -25, -10), (25, 25, 10), (250, 3)).astype(float)
    frames = []
    for _ in range(7):
        frames.append(frame_of(of, points, rng.random(len(points)) > 0.1))
        points += rng.integers(-1, 2, points.shape) * (rng.random((len(points), 1)) < 0.5)
    assert total(assert_as_optv(of, frames, tmp_path / "optv"), "links") > 300


def test_particles_without_a_place(tmp_path):
    """Where rays do not meet a position is NaN; such particles are linked to nothing."""
    of = setting(**limits(3))
    frames = drifting(of, 6)
    for files in frames:
        rows = PARTICLES.parse(files["rt_is"], "rt_is")
        for axis in "xyz":
            rows[axis][::7] = np.nan
        files["rt_is"] = PARTICLES.render(rows)
    done = assert_as_optv(of, frames, tmp_path / "optv")
    assert b"nan" in done[2][1]["ptv_is"]
    assert total(done, "links") > 50


@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("sloping", [False, True])
def test_measuring_volume(lens, layers, sloping):
    """optv leaves what it computes for x and z in the parameters that it is given."""
    of = setting(4, LENSES[lens], LAYERS[layers])
    depths = {"Zmin_lay": (-20.0, -31.0), "Zmax_lay": (25.0, 33.0)} if sloping else {}
    parameters = replace(of.parameters, criteria=replace(of.parameters.criteria, X_lay=(-5.0, 7.0), **depths))
    volume = optv_objects.volume_params(parameters)
    sequence = SequenceParams(num_cams=4)
    cameras = [optv_objects.optv_calibration(calibration) for calibration in of.calibrations]
    naming = {"corres": b"res/rt", "linkage": b"res/ptv", "prio": b"res/add"}
    control, track = optv_objects.control_params(parameters, 4), optv_objects.tracking_params(parameters)
    Tracker(control, volume, track, sequence, cameras, naming)
    ours = make_scene(parameters, of.calibrations, image_corners(parameters, of.calibrations)).volume
    assert ours[0] == pytest.approx(volume.get_X_lay(), abs=1e-9)
    assert ours[2] == pytest.approx([volume.get_Zmin_lay()[0], volume.get_Zmax_lay()[1]], abs=1e-9)
    assert ours[1, 0] <= 0 < ours[1, 1]


class TestShapeOfARun:
    @pytest.mark.parametrize("n_frames", [1, 2, 3, 4, 5])
    def test_short(self, n_frames, tmp_path):
        of = setting(**limits(3))
        assert_as_optv(of, drifting(of, n_frames), tmp_path / "optv")

    def test_end_that_comes_early(self, tmp_path):
        """The last step sees the frame of four steps ago in the last place; where the end is must be known by then."""
        of = setting(**limits(3))
        frames = drifting(of, 8, noise=0.3, unmatched=0.3)
        tracker = CompiledTracker(of.parameters, of.calibrations, 1)
        for index in range(1, 7):
            tracker.feed(index, frames[index - 1])
        numbers = [tracker.step() for _ in range(4)]
        done = [tracker.take(index) for index in range(1, 5)]
        tracker.end_at(8)
        for index in (7, 8):
            tracker.feed(index, frames[index - 1])
        numbers += [tracker.step() for _ in range(3)]
        tracker.finish()
        done += [tracker.take(index) for index in range(5, 9)]
        tracker.close()
        reference = tracked(OptvTracker(of.parameters, of.calibrations, 1, tmp_path / "optv"), frames)
        assert_same_tracks(list(zip([*numbers, None], done, strict=True)), reference, 0)

    def test_frame_without_particles(self):
        """optv would overwrite its files; here nothing is linked to it, and the tracks begin anew."""
        of = setting(**limits(3))
        frames = drifting(of, 7)
        frames[3] = frame_of(of, [], [])
        done = compiled(of, frames)
        assert [numbers.links > 0 for numbers, _ in done[:-1]] == [True, True, False, False, True, True]
        assert done[3][1] == {**frames[3], "ptv_is": b"0\n", "added": b"0\n"}

    def test_camera_without_targets(self, tmp_path):
        of = setting(**limits(3))
        frames = drifting(of, 5)
        hidden = np.zeros((4, 30), bool)
        hidden[1] = True
        points = np.random.default_rng(1).uniform(-20, 20, (30, 3))
        frames[2] = frame_of(of, points, np.full(30, fill_value=True), hidden=hidden)
        assert frames[2]["targets2"] == b"0\n"
        assert_as_optv(of, frames, tmp_path / "optv")

    @pytest.mark.parametrize(("table", "name", "column"), [(PARTICLES, "rt_is", "target1"), (TARGETS, "targets2", "tnr")])
    def test_pointer_to_nowhere(self, table, name, column):
        """A row that is not there would be read from any memory."""
        of = setting(**limits(3))
        frame = drifting(of, 1)[0]
        rows = table.parse(frame[name], name)
        rows[column][3] = 9999
        message = refusal(CompiledTracker(of.parameters, of.calibrations, 1).feed, 1, frame | {name: table.render(rows)})
        assert f"{name}, line 5, column {column}: found 9999" in message

    def test_cut_file(self):
        of = setting()
        frame = drifting(of, 1)[0]
        message = refusal(CompiledTracker(of.parameters, of.calibrations, 1).feed, 1, frame | {"rt_is": frame["rt_is"][:-20]})
        assert "rt_is" in message


class TestAdding:
    V = np.array([2.0, 0.3, 0.3])
    START = np.array([[0.0, 0, 0], [20, 20, 5], [-20, -10, 3], [10, -20, -5]])

    def frames(self, of: Setting, *, decoy: bool) -> list[Files]:
        """Three of four particles are not matched in the fourth frame; a decoy stands near each, too far off to be a track."""
        frames = []
        for index in range(6):
            points = self.START + index * self.V
            matched = np.full(4, fill_value=True)
            if index == 3:
                matched[:3] = False
                if decoy:
                    points = np.vstack([points, points[:3] + np.array([0.0, 5, 0])])
                    matched = np.append(matched, [True] * 3)
            frames.append(frame_of(of, points, matched))
        return frames

    @pytest.mark.parametrize("decoy", [False, True])
    def test_after_a_link(self, decoy, tmp_path):
        """Where the search ahead may not add (the displacement back is out of the limits), a particle is added where the path
        goes on, but only if the search found anything there."""
        of = setting(dvxmin=-0.5, dvxmax=6.0, dvymin=-6.0, dvymax=6.0, dvzmin=-6.0, dvzmax=6.0, dacc=2.0, angle=100.0)
        done = assert_as_optv(of, self.frames(of, decoy=decoy), tmp_path / "optv")
        rows = ADDED.parse(done[3][1]["added"], "added")
        assert np.count_nonzero(rows["priority"] == 2) == (3 if decoy else 0)

    def test_ahead(self, tmp_path):
        of = setting(**limits(6), dacc=2.0, angle=100.0)
        done = assert_as_optv(of, self.frames(of, decoy=False), tmp_path / "optv")
        assert [numbers.added for numbers, _ in done[:-1]] == [0, 3, 0, 0, 0]
        rows = PARTICLES.parse(done[3][1]["rt_is"], "rt_is")
        assert len(rows) == 4
        assert (rows["target1"] >= 0).all()


def test_more_than_optv_holds():
    """More than 20000 particles and targets in a frame: a lattice that drifts."""
    of = setting(2, flagNewParticles=False, **limits(0.4))
    x, y = np.meshgrid(np.linspace(-30, 30, 151), np.linspace(-25, 25, 141))
    points = np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])
    assert len(points) > 20_000
    frames = [
        frame_of(of, points + index * np.array([0.1, 0.05, 0.02]), np.full(len(points), fill_value=True)) for index in range(3)
    ]
    done = compiled(of, frames)
    rows = LINKS.parse(done[0][1]["ptv_is"], "ptv_is")
    linked = rows["next"] >= 0
    assert linked.mean() > 0.95
    assert (rows["next"][linked] == np.flatnonzero(linked)).mean() > 0.99


@pytest.mark.parametrize("track", [limits(0.5), limits(15.5), limits(2, 8, 5), {**limits(10), "dvxmin": 1.0}])
@pytest.mark.parametrize("lens", ["perfect", "brown"])
def test_bounds_of_the_reach(track, lens):
    """The table that stands for eight projections: the exact reach is always between its bounds."""
    of = setting(4, LENSES[lens], **track)
    scene = make_scene(of.parameters, of.calibrations, image_corners(of.parameters, of.calibrations))
    assert np.isfinite(scene.reach).all()
    corners = np.array(np.meshgrid(*scene.displacement, indexing="ij")).reshape(3, -1).T
    rng = np.random.default_rng(2)
    points = rng.uniform(*scene.span.T, (400, 3))
    middles = project(points, of.parameters, of.calibrations)
    around = project((points[:, None] + corners).reshape(-1, 3), of.parameters, of.calibrations).reshape(4, 400, 8, 2)
    exact = np.stack([middles - around.min(axis=2), around.max(axis=2) - middles], axis=-1).reshape(4, 400, 4)
    cells = tuple(((points - scene.span[:, 0]) / np.diff(scene.span).T * scene.reach.shape[0]).astype(int).T)
    bounds = scene.reach[cells]
    for camera in range(4):
        assert (bounds[:, camera, reach.LOWER] < exact[camera]).all()
        assert (exact[camera] < bounds[:, camera, reach.UPPER]).all()
