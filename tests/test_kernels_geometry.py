"""Projection, flat coordinates, rays and positions, against optv's own functions."""

from __future__ import annotations

import numpy as np
import pytest
from optv.calibration import Calibration as OptvCalibration
from optv.correspondences import MatchedCoords
from optv.imgcoord import flat_image_coordinates
from optv.orientation import point_positions
from test_optv_backend import parameters_with

from pyptv.core.engines.optv.backend import OptvFrameBackend, project
from pyptv.core.experiment.calibration import Calibration, rotation_matrix
from pyptv.core.files.formats import TARGETS
from pyptv.synthetic.optics import true_calibrations

pytest.importorskip("numba")
import compiled_geometry as geometry

AIR = {"mmp_n1": 1.0, "mmp_n2": 1.0, "mmp_n3": 1.0, "mmp_d": 0.0}
SET_UPS = {
    "glass": {},
    "air only": AIR,
    "a thick glass before air": {"mmp_n3": 1.0, "mmp_d": 30.0},
    "air as layers of equal index": AIR | {"mmp_d": 5.0},
    "cameras in water": {"mmp_n1": 1.33, "mmp_n3": 1.0},
    "odd lines": {"chfield": 1},
    "even lines": {"chfield": 2},
    "oblong pixels": {"pix_y": 0.017, "imx": 1100},
}
LENSES = {
    "pinhole": {},
    "radial": {"radial_distortion": (4e-4, -3e-6, 2e-8)},
    "decentered": {"decentering": (2e-4, -1e-4)},
    "sheared": {"affine": (1.0, 0.01)},
    "scaled": {"affine": (1.02, 0.0)},
    "all": {"radial_distortion": (4e-4, -3e-6, 2e-8), "decentering": (2e-4, -1e-4), "affine": (0.99, -0.02)},
}
cases = pytest.mark.parametrize(
    ("layers", "lens"),
    [pytest.param(SET_UPS[s], LENSES[k], id=f"{s}, {k}") for s in SET_UPS for k in ("pinhole", "all")]
    + [pytest.param({}, LENSES[k], id=k) for k in LENSES],
)


def cameras(lens) -> list[Calibration]:
    """Four cameras that look at the origin through a slanted glass."""
    rng = np.random.default_rng(7)
    made = []
    for camera in true_calibrations(4):
        angles = tuple(np.array(camera.angles) + rng.normal(size=3) * 0.02)
        glass = tuple(np.array(camera.glass) + rng.normal(size=3) * 2)
        made.append(Calibration(camera.position, angles, (0.3, -0.2), camera.principal_distance, glass, **lens))
    return made


def points(n: int = 50):
    return np.random.default_rng(3).uniform(-30, 30, (n, 3)) * [1, 1, 0.6]


def kernel_rows(parameters, calibrations):
    return geometry.camera_rows(parameters, calibrations), geometry.optics_row(parameters)


def test_the_rotation_matrix_bit_for_bit():
    camera = OptvCalibration()
    for angles in np.random.default_rng(1).uniform(-7, 7, (500, 3)):
        camera.set_angles(angles)
        np.testing.assert_array_equal(rotation_matrix(tuple(angles)), camera.get_rotation_matrix())


@cases
def test_projection(layers, lens):
    parameters, calibrations = parameters_with(**layers), cameras(lens)
    backend = OptvFrameBackend(parameters, calibrations)
    rows, optics = kernel_rows(parameters, calibrations)
    pixels = project(points(), parameters, calibrations)
    for camera in range(4):
        flat = flat_image_coordinates(points(), backend._calibrations[camera], backend._control.get_multimedia_params())
        ours = [geometry.project_flat(rows[camera], optics, *point) for point in points().tolist()]
        np.testing.assert_allclose(ours, flat, rtol=0, atol=1e-12)
        ours = [geometry.project_pixel(rows[camera], optics, *point) for point in points().tolist()]
        np.testing.assert_allclose(ours, pixels[camera], rtol=0, atol=1e-9)
        ours = [geometry.project_closely(rows[camera], optics, *point) for point in points().tolist()]
        np.testing.assert_allclose(ours, pixels[camera], rtol=0, atol=0.01)


@cases
def test_the_close_projection_is_where_the_ray_comes_from(layers, lens):
    rows, optics = kernel_rows(parameters_with(**layers), cameras({**lens, "affine": (1.0, 0.0)}))  # others have no inverse
    for row in rows:
        for point in points():
            flat = geometry.pixel_to_flat(row, optics, *geometry.project_closely(row, optics, *point))
            x, y, z, *direction = geometry.ray(row, optics, *flat)
            assert np.linalg.norm(np.cross(point - [x, y, z], direction)) < 2e-3  # flat coordinates are iterated to 1e-5 mm


def test_refraction_that_is_hardly_found():
    """Seen at a steep slant the refraction takes 15 steps to more than 40, beyond which it is left out: 14 mm on the sensor."""
    camera = Calibration((-123.9, 34.1, -570.2), (-3.1, -0.2, -3.1), (0.0, 0.0), 70.0, (114.9, 75.1, -82.8))
    parameters = parameters_with()
    backend = OptvFrameBackend(parameters, [camera] * 4)
    rows, optics = kernel_rows(parameters, [camera])
    places = np.random.default_rng(2).uniform(-1, 1, (3000, 3)) * [50, 50, 22]
    flat = flat_image_coordinates(places, backend._calibrations[0], backend._control.get_multimedia_params())
    ours = [geometry.project_flat(rows[0], optics, *place) for place in places.tolist()]
    np.testing.assert_allclose(ours, flat, rtol=0, atol=1e-11)


@cases
def test_flat_coordinates_and_positions(layers, lens):
    parameters, calibrations = parameters_with(**layers), cameras(lens)
    backend = OptvFrameBackend(parameters, calibrations)
    rows, optics = kernel_rows(parameters, calibrations)
    pixels = project(points(), parameters, calibrations)
    flat = np.empty((50, 4, 2))
    for camera in range(4):
        targets = np.zeros(50, TARGETS.dtype)
        targets["x"], targets["y"] = pixels[camera].T
        found = backend.load_targets(targets)
        by_number = np.array([target.pos() for target in found])
        xy, numbers = MatchedCoords(found, backend._control, backend._calibrations[camera]).as_arrays()
        ours = np.array([geometry.pixel_to_flat(rows[camera], optics, x, y) for x, y in by_number.tolist()])
        np.testing.assert_allclose(ours[numbers], xy, rtol=0, atol=1e-13)
        flat[:, camera] = [geometry.pixel_to_flat(rows[camera], optics, x, y) for x, y in pixels[camera].tolist()]
    for seen in (4, 3, 2):
        expected, _ = point_positions(flat[:, :seen].copy(), backend._control, backend._calibrations[:seen], backend._volume)
        for point, by_camera in zip(expected, flat[:, :seen].tolist(), strict=True):
            rays = np.array([geometry.ray(row, optics, x, y) for row, (x, y) in zip(rows, by_camera, strict=False)])
            np.testing.assert_allclose(geometry.triangulate(rays, seen), point, rtol=0, atol=1e-9)


def test_a_point_below_the_camera_is_not_shifted():
    parameters = parameters_with()
    calibration = Calibration((5.0, 7.0, 600.0), (0.1, 0.0, 0.0), (0.0, 0.0), 70.0, (0.0, 0.0, 60.0))
    rows, optics = kernel_rows(parameters, [calibration] * 4)
    expected = project(np.array([[5.0, 7.0, -10.0]]), parameters, [calibration])[0, 0]
    np.testing.assert_allclose(geometry.project_pixel(rows[0], optics, 5.0, 7.0, -10.0), expected, atol=1e-9)


def test_total_reflection_is_nan():
    parameters = parameters_with(mmp_n1=1.33, mmp_n3=1.0)
    calibration = Calibration((5.0, 7.0, 600.0), (0.1, 0.0, 0.0), (0.0, 0.0), 70.0, (0.0, 0.0, 60.0))
    rows, optics = kernel_rows(parameters, [calibration] * 4)
    far = np.array([[900.0, 7.0, -10.0]])
    assert np.isnan(project(far, parameters, [calibration])[0, 0, 0])
    assert np.isnan(geometry.project_pixel(rows[0], optics, *far[0])[0])


def test_one_ray_is_nowhere():
    parameters = parameters_with()
    rows, optics = kernel_rows(parameters, cameras({}))
    ray = np.array([geometry.ray(rows[0], optics, 0.1, 0.2)])
    assert np.isnan(geometry.triangulate(ray, 1)).all()
