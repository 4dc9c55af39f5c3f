"""Correspondence and positions by compiled kernels: optv's bytes, and the complete answer where optv has none."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from conftest import rounds
from test_kernels_geometry import LENSES, SET_UPS, cameras
from test_optv_backend import filtered_views, parameters_with

from pyptv.core.base.errors import FrameError
from pyptv.core.engines.compiled.text import render_columns
from pyptv.core.engines.optv.backend import OptvFrameBackend, project
from pyptv.core.experiment.folder import load_experiment
from pyptv.core.files.formats import PARTICLES, TARGETS

pytest.importorskip("numba")
import compiled_geometry as geometry

from pyptv.core.engines.compiled.backend import CompiledFrameBackend
from pyptv.kernels.images.detection import order_by_y

LAYOUTS = list(product((4, 3, 2, 1), (False, True)))


def rendered(matches):
    return matches.files(), matches.counts


def rows_of(matches):
    """The rows of ``rt_is`` and those of ``_targets``, one array a camera."""
    files = matches.files()
    targets = [TARGETS.parse(data, name) for name, data in files.items() if name != "rt_is"]
    return PARTICLES.parse(files["rt_is"], "rt_is"), targets


def assert_same(parameters, calibrations, rows):
    """Both backends on the same targets; returns the counts, None where optv overflows."""
    old, new = OptvFrameBackend(parameters, calibrations), CompiledFrameBackend(parameters, calibrations)
    try:
        expected = rendered(old.match([old.load_targets(found) for found in rows]))
    except FrameError:
        return None  # optv overflowed
    assert rendered(new.match([new.load_targets(found) for found in rows])) == expected
    return expected[1]


def seen_points(parameters, calibrations, positions, rng, *, noise=0.0, lost=0.0, false=0, doubled=0):
    """Targets of points, a camera at a time: with noise (px), some lost, some false, some there twice."""
    views = []
    for pixels in project(positions, parameters, calibrations):
        kept = pixels[rng.random(len(pixels)) >= lost] + 0
        kept += rng.normal(size=kept.shape) * noise
        kept = np.concatenate([kept, rng.uniform(0, 1, (false, 2)) * [parameters.ptv.imx, parameters.ptv.imy]])
        rows = np.zeros(len(kept), TARGETS.dtype)
        rows["x"], rows["y"] = kept.T
        rows["nx"], rows["ny"] = rng.integers(2, 6, (2, len(rows)))
        rows["n"] = rows["nx"] * rows["ny"] - rng.integers(0, 3, len(rows))
        rows["sumg"] = rows["n"] * rng.integers(20, 200, len(rows))
        rows = np.concatenate([rows, rows[rng.integers(0, len(rows), doubled)]]) if len(rows) else rows
        views.append(rng.permutation(rows))
    return views


def cloud(n, rng):
    return rng.uniform(-1, 1, (n, 3)) * [20, 16, 10]


@pytest.fixture(scope="module")
def experiment(shared):
    return load_experiment(shared / "data" / "test_cavity")


@pytest.fixture(scope="module")
def frames(shared, experiment):
    """The targets as detected, a list of four arrays for each of the five frames."""
    backend = CompiledFrameBackend(experiment.parameters, experiment.calibrations)
    folder = shared / "data" / "test_cavity"
    return {
        frame: [backend.detect(view, camera) for camera, view in enumerate(filtered_views(folder, backend, frame))]
        for frame in range(10_000, 10_005)
    }


class TestRealImages:
    def test_the_reference_results(self, experiment, frames, golden):
        files = golden("sequence")
        backend = CompiledFrameBackend(experiment.parameters, experiment.calibrations)
        for frame, targets in frames.items():
            expected = {f"targets{camera + 1}": files[f"img/cam{camera + 1}.{frame}_targets"] for camera in range(4)}
            assert backend.match(targets).files() == expected | {"rt_is": files[f"res/rt_is.{frame}"]}

    @pytest.mark.parametrize(("num_cams", "all_cameras"), LAYOUTS)
    def test_any_number_of_cameras(self, experiment, frames, num_cams, all_cameras):
        p = experiment.parameters
        p = replace(p, num_cams=num_cams, ptv=replace(p.ptv, all_cameras=all_cameras))
        found = [TARGETS.parse(render_columns(TARGETS, columns), "targets") for columns in frames[10_000][:num_cams]]
        counts = assert_same(p, experiment.calibrations[:num_cams], found)
        assert (counts[0] == 0) == (num_cams == 2 and all_cameras)  # then optv matches nothing

    def test_where_optv_overflows_nothing_is_lost(self, experiment, frames):
        p = experiment.parameters
        wide = replace(p, criteria=replace(p.criteria, eps0=0.5))
        optv, ours = OptvFrameBackend(wide, experiment.calibrations), CompiledFrameBackend(wide, experiment.calibrations)
        with pytest.raises(FrameError, match="too many candidate correspondences"):
            optv.match([optv.load_targets(TARGETS.parse(render_columns(TARGETS, c), "targets")) for c in frames[10_000]])
        matches = ours.match(frames[10_000])
        assert matches.counts[0] > 600
        assert matches.counts[0] > CompiledFrameBackend(p, experiment.calibrations).match(frames[10_000]).counts[0]


@pytest.mark.parametrize(("layers", "lens"), list(product(SET_UPS, LENSES)))
def test_layers_and_lenses(layers, lens):
    rng = np.random.default_rng(sum(map(ord, layers + lens)))
    num_cams, all_cameras = LAYOUTS[rng.integers(len(LAYOUTS))]
    parameters = parameters_with(**SET_UPS[layers], num_cams=num_cams, allcam_flag=all_cameras)
    calibrations = cameras(LENSES[lens])[:num_cams]
    views = seen_points(parameters, calibrations, cloud(60, rng), rng, noise=0.3, lost=0.1, false=10)
    counts = assert_same(parameters, calibrations, views)
    assert (sum(counts) > 0) != (num_cams == 2 and all_cameras)


@pytest.mark.parametrize("seed", range(rounds(30, 60)))
def test_random_set_ups(seed):
    rng = np.random.default_rng(seed)
    num_cams = int(rng.choice([2, 3, 4, 4]))
    low, high = rng.uniform(-25, -8, 2), rng.uniform(8, 25, 2)
    parameters = parameters_with(
        num_cams=num_cams,
        allcam_flag=bool(rng.random() < 0.3),
        eps0=float(rng.choice([0.005, 0.02, 0.1, 0.5, 3.0])),
        corrmin=float(rng.choice([0.0, 33.0, 1e4])),
        **dict(zip(("cn", "cnx", "cny", "csumg"), rng.choice([0.0, 0.02, 0.3, 0.5], 4).tolist(), strict=True)),
        Zmin_lay=low.tolist(),
        Zmax_lay=high.tolist(),
        X_lay=sorted(rng.uniform(-40, 40, 2).tolist()),
    )
    calibrations = cameras(LENSES[list(LENSES)[seed % len(LENSES)]])[:num_cams]
    views = seen_points(
        parameters,
        calibrations,
        cloud(int(rng.integers(1, 80)), rng),
        rng,
        noise=float(rng.choice([0.0, 0.2, 2.0])),
        lost=float(rng.choice([0.0, 0.3])),
        false=int(rng.integers(0, 30)),
        doubled=int(rng.choice([0, 3, 20])),
    )
    if seed % 7 == 0:
        views[seed % num_cams] = views[seed % num_cams][: seed % 3]
    if assert_same(parameters, calibrations, views) is None:
        assert parameters.criteria.eps0 >= 0.5


class TestMoreThanOptvHolds:
    def test_every_combination_of_a_small_frame(self):
        """18 targets a camera, each a candidate of each: 104976 quadruplets, and optv has room for 80960."""
        rng = np.random.default_rng(5)
        parameters = parameters_with(eps0=40.0, corrmin=0.0)
        calibrations = cameras(LENSES["all"])
        views = seen_points(parameters, calibrations, cloud(18, rng), rng)
        assert assert_same(parameters, calibrations, views) is None
        backend = CompiledFrameBackend(parameters, calibrations)
        matches = backend.match([backend.load_targets(rows) for rows in views])
        expected = best_quadruplets(parameters, calibrations, [np.sort(rows, order="y") for rows in views])
        particles, _ = rows_of(matches)
        found = [tuple(row) for row in particles[["target1", "target2", "target3", "target4"]].tolist()]
        assert found[: matches.counts[0]] == expected
        assert len(expected) > 10

    def test_more_targets_than_optv_holds(self):
        rng = np.random.default_rng(6)
        parameters = parameters_with(num_cams=2, eps0=0.0005)
        calibrations = cameras({})[:2]
        positions = cloud(25_000, rng)
        views = []
        for pixels in project(positions, parameters, calibrations):
            rows = np.zeros(len(pixels), TARGETS.dtype)
            rows["x"], rows["y"] = pixels.T
            rows["n"] = rows["nx"] = rows["ny"] = rows["sumg"] = 9
            views.append(rows)
        backend = CompiledFrameBackend(parameters, calibrations)
        loaded = [backend.load_targets(rows) for rows in views]
        matches = backend.match(loaded)
        particles, targets = rows_of(matches)
        assert [len(rows) for rows in targets] == [25_000] * 2
        assert matches.counts[0] > 200
        for camera in range(2):
            pointers = particles[f"target{camera + 1}"]
            np.testing.assert_array_equal(targets[camera]["tnr"][pointers], np.arange(len(pointers)))


def best_quadruplets(parameters, calibrations, views):
    """All quadruplets by plain loops over everything, then the best of them, each target once."""
    c = parameters.criteria
    rows, optics = geometry.camera_rows(parameters, calibrations), geometry.optics_row(parameters)
    flat = [[geometry.pixel_to_flat(row, optics, t["x"], t["y"]) for t in view] for row, view in zip(rows, views, strict=True)]
    order = [sorted(range(len(xy)), key=lambda k, xy=xy: xy[k][0]) for xy in flat]
    edges = {}
    for a, b in combinations(range(4), 2):
        for i, j in product(order[a], order[b]):
            x, y, z, *direction = geometry.ray(rows[a], optics, *flat[a][i])
            share = (x - c.X_lay[0]) / (c.X_lay[1] - c.X_lay[0])
            ends = []
            for limits in (c.Zmin_lay, c.Zmax_lay):
                depth = limits[0] + share * (limits[1] - limits[0])
                along = (depth - z) / direction[2]
                ends.append(geometry.project_flat(rows[b], optics, x + along * direction[0], y + along * direction[1], depth))
            (x0, y0), (x1, y1) = ends
            slope = (y1 - y0) / (x1 - x0)
            distance = abs(flat[b][j][1] - slope * flat[b][j][0] - (y0 - slope * x0)) / np.sqrt(slope**2 + 1)
            one, other = views[a][i], views[b][j]
            n, nx, ny, sumg = (min(one[k], other[k]) / max(one[k], other[k]) for k in ("n", "nx", "ny", "sumg"))
            assert distance < c.eps0
            if min(n - c.cn, nx - c.cnx, ny - c.cny) >= 0 and sumg > c.csumg:
                edges[a, i, b, j] = (4 * sumg + 2 * n + nx + ny) * (int(one["sumg"]) + int(other["sumg"])), distance
    pairs = list(combinations(range(4), 2))
    quadruplets = []
    for members in product(*order):
        six = [edges.get((a, members[a], b, members[b])) for a, b in pairs]
        if None not in six:
            quadruplets.append((sum(grade for grade, _ in six) / sum(distance for _, distance in six), members))
    taken, used = [], set()
    for _, members in sorted(quadruplets, key=lambda found: -found[0]):
        if not used.intersection(enumerate(members)):
            used.update(enumerate(members))
            taken.append(members)
    return taken


def at_heights(y):
    """Targets of which nothing but y counts."""
    targets = np.zeros((len(y), 8))
    targets[:, 2] = y
    return targets


class TestOrdering:
    @pytest.mark.parametrize("n", [0, 1, 2, 3, 1000])
    def test_without_equal_keys_it_sorts(self, n):
        keys = np.random.default_rng(n).normal(size=n)
        np.testing.assert_array_equal(order_by_y(at_heights(keys)), np.argsort(keys))

    def test_equal_keys_are_ordered_as_optv_orders_equal_heights(self):
        for seed in range(30):
            rng = np.random.default_rng(seed)
            rows = np.zeros(rng.integers(1, 50), TARGETS.dtype)
            rows["x"], rows["y"] = np.arange(len(rows)), rng.integers(0, 6, len(rows))
            old, new = OptvFrameBackend(p := parameters_with(), c := cameras({})), CompiledFrameBackend(p, c)
            expected = [target.pos()[0] for target in old.load_targets(rows)]
            assert new.load_targets(rows)[:, 1].tolist() == expected

    def test_an_order_that_defeats_the_middle_pivot(self):
        heights = np.zeros(4000)
        heights[2000] = -1.0
        assert order_by_y(at_heights(heights))[0] == 2000


def test_matching_leaves_its_input_alone():
    rng = np.random.default_rng(1)
    parameters, calibrations = parameters_with(), cameras({})
    backend = CompiledFrameBackend(parameters, calibrations)
    views = [backend.load_targets(rows) for rows in seen_points(parameters, calibrations, cloud(30, rng), rng)]
    before = [rows.copy() for rows in views]
    backend.match(views)
    for rows, old in zip(views, before, strict=True):
        np.testing.assert_array_equal(rows, old)
