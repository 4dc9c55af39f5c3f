"""The reconstruction of the dense method: kernels against plain NumPy, made-up particles found again, self-calibration."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from pyptv.core.engines import disparity
from pyptv.core.experiment.folder import load_experiment
from pyptv.core.images.full_depth import Views, read_frame
from pyptv.core.images.grey_values import decide
from pyptv.kernels import cache
from pyptv.synthetic import make_experiment
from pyptv.synthetic.optics import true_calibrations
from pyptv.synthetic.plan import checked_parameters, parameter_tree
from pyptv.synthetic.render import draw_spots
from pyptv.synthetic.settings import Settings as Scene

pytest.importorskip("numba")
from pyptv.core.engines.dense.background import ground, noise
from pyptv.core.engines.dense.calibrate import fit_spots, self_calibrate
from pyptv.core.engines.dense.cameras import Cameras
from pyptv.core.engines.dense.links import previous
from pyptv.core.engines.dense.model import dilated, with_margins, without_margins
from pyptv.core.engines.dense.particles import Spots, Start
from pyptv.core.engines.dense.reconstruct import reconstruct
from pyptv.core.engines.dense.refine import refined
from pyptv.core.engines.dense.search import search
from pyptv.core.engines.dense.tracks import start
from pyptv.kernels.dense import spots as spot_kernels
from pyptv.kernels.dense.lines import PIECES
from pyptv.kernels.dense.peaks import find_peaks
from pyptv.kernels.dense.pixels import smoothed, subtract_ground
from pyptv.kernels.dense.shake import shake

SIZE = (320, 256)
SIGMA = 0.7


@dataclass
class Lab:
    """Cameras, and images of particles as they see them."""

    cameras: Cameras
    rng: np.random.Generator

    def see(self, positions, peaks=100.0, noise_level=1.0, ground=10.0, sigma=SIGMA) -> Views:
        """Images of particles; ``peaks`` one for all, (n,) or (n, n_cams); ``sigma`` one for all, or (n,)."""
        projections = self.cameras.project(np.asarray(positions, float))
        peaks = np.broadcast_to(np.reshape(peaks, (-1, 1)) if np.ndim(peaks) == 1 else peaks, projections.shape[:2])
        values = np.full((self.cameras.n_cams, SIZE[1], SIZE[0]), ground, np.float32)
        for c, image in enumerate(values):
            draw_spots(image, projections[:, c], peaks[:, c].astype(float), sigma)
        values += noise_level * self.rng.standard_normal(values.shape)
        return Views.of(np.clip(values, 0, 255))

    def scatter(self, n: int) -> np.ndarray:
        """Positions (n, 3) in the volume."""
        return self.rng.uniform(-0.5, 0.5, (n, 3)) * [90, 70, 38]

    @property
    def spots(self) -> Spots:
        """As they are."""
        return Spots.round(self.cameras.n_cams, SIGMA, 100.0)


def lab_of(n_cameras: int) -> Lab:
    """The cameras of a synthetic experiment."""
    parameters = checked_parameters(parameter_tree(Scene(image_size=SIZE, n_cameras=n_cameras), _still()))
    return Lab(Cameras.of(parameters, true_calibrations(n_cameras)), np.random.default_rng(7))


def _still():
    from pyptv.synthetic.flow import Extremes

    return Extremes(np.ones(3), 1.0)


@pytest.fixture(scope="module", autouse=True)
def _kernels():
    cache.load(cache.FOR_DENSE)


@pytest.fixture
def lab() -> Lab:
    return lab_of(4)


def hits(found, true, pixels: float, cameras: Cameras) -> tuple[int, float]:
    """True particles with exactly one found within some pixels in all images; and the rms distance in px of an axis."""
    apart = cameras.project(found)[:, None] - cameras.project(np.asarray(true, float))[None]
    far = np.linalg.norm(apart, axis=3).max(axis=2)
    near = far < pixels
    once = near.sum(axis=0) == 1
    pairs = near & once
    rms = float(np.sqrt((apart[pairs] ** 2).mean())) if pairs.any() else np.nan
    return int(once.sum()), rms


def test_a_drawn_spot_is_the_formula(lab):
    """Also where it is cut by the edge; and subtracting what was drawn leaves nothing."""
    for u, v in ((50.3, 60.8), (0.4, 100.0), (319.9, 255.2)):
        image = with_margins(np.zeros((1, SIZE[1], SIZE[0]), np.float32))
        where, peak = np.array([[[u, v]]]), np.array([[-80.0]], np.float32)
        sharp = np.array([[[0.5 / 0.7**2, 0.5 / 1.1**2]]], np.float32)
        spot_kernels.subtract(image, where, peak, sharp, 7)
        x, y = np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1])[:, None] + 0.5
        expected = 80 * np.exp(-0.5 * ((x - u) / 0.7) ** 2 - 0.5 * ((y - v) / 1.1) ** 2)
        inner = without_margins(image)[0]
        assert np.abs(inner - expected).max() < 1e-3
        assert image.sum() == pytest.approx(inner.sum(), rel=1e-6)  # nothing is drawn into the margins
        spot_kernels.subtract(image, where, -peak, sharp, 7)
        assert np.abs(image).max() < 1e-4


@pytest.mark.parametrize(("radius", "sharpness"), [(3, 1.0), (5, 3.1), (15, 0.03)])
def test_a_visit_measures_what_plain_numpy_does(lab, radius, sharpness):
    """A window's sums in the middle of an image and at its edge, and pixel by pixel where one of them is saturated."""
    image = with_margins(lab.rng.normal(0, 10, (1, SIZE[1], SIZE[0])).astype(np.float32))
    saturated = np.zeros((1, SIZE[1], SIZE[0]), np.uint8)
    saturated[0, 151, 200] = 1
    near_saturated = dilated(saturated, radius)
    for u, v in ((50.3, 60.8), (1.2, 254.9), (200.4, 150.1)):
        x, y = np.arange(SIZE[0]) + 0.5 - u, np.arange(SIZE[1])[:, None] + 0.5 - v
        g = np.exp(-sharpness * (x**2 + y**2))
        g[(np.abs(np.floor(u) + 0.5 - u - x) > radius) | (np.abs(np.floor(v) + 0.5 - v - y) > radius)] = 0.0
        g *= saturated[0] == 0
        own = (g * without_margins(image)[0]).sum() / (g * g).sum()
        found = np.full((1, 1), np.nan, np.float32)
        shake(
            *(np.zeros((1, 3)), np.zeros((1, 1), np.float32), found, np.array([[[u, v]]])),
            *(np.zeros((1, 1, 2, 3), np.float32), np.full((1, 1, 2), sharpness, np.float32), np.ones(1), image.copy()),
            *(saturated, near_saturated, np.ones(1), np.ones(1)),
            *(np.ones((1, SIZE[1] // 4 + 3, SIZE[0] // 4 + 3), np.uint8), 0, 1, radius, 3.0, 0.0, 0.7, 0.02, False),
        )
        assert found[0, 0] == pytest.approx(own, rel=1e-4, abs=1e-3)


def test_peaks_and_background_are_those_of_plain_numpy(lab):
    image = lab.rng.normal(0, 1, (1, SIZE[1], SIZE[0])).astype(np.float32)
    found = find_peaks(with_margins(image)[0], 1.0)
    middle = image[0, 1:-1, 1:-1]
    around = [image[0, 1 + i : SIZE[1] - 1 + i, 1 + j : SIZE[0] - 1 + j] for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
    y, x = np.nonzero((middle > np.max(around, axis=0)) & (middle > 1.0))
    assert len(found) == len(x)
    assert np.abs(found[:, :2] - np.column_stack([x, y]) - 1.5).max() <= 0.6 + 1e-9
    ramp = (20 + 0.1 * np.arange(SIZE[0]) + 0.05 * np.arange(SIZE[1])[:, None])[None].astype(np.float32)
    left = ramp + image
    subtract_ground(left, ground(left, 32), 32, 1.0, 0)
    assert np.abs((left - image)[0, 48:-48, 48:-48]).max() < 1.0
    grounds = lab.rng.normal(0, 1, (1, 8, 10)).astype(np.float32)
    x, y = (np.clip((np.arange(n) + 0.5) / 32 - 0.5, 0, n // 32 - 1) for n in SIZE)
    rows = [np.interp(x, np.arange(10), row) for row in grounds[0]]
    expected = np.array([np.interp(y, np.arange(8), column) for column in np.transpose(rows)]).T
    flat = np.zeros((1, SIZE[1], SIZE[0]), np.float32)
    subtract_ground(flat, grounds, 32, 1.0, 0)
    assert flat[0] == pytest.approx(-expected, abs=1e-5)
    assert noise(image)[0] == pytest.approx(1.0, abs=0.05)
    plain = image[0].astype(float)
    for axis in (0, 1):
        lines = np.moveaxis(plain.copy(), axis, 0)
        np.moveaxis(plain, axis, 0)[1:-1] = 0.5 * lines[1:-1] + 0.25 * (lines[:-2] + lines[2:])
    smooth = smoothed(with_margins(image))
    assert without_margins(smooth)[0] == pytest.approx(plain, abs=1e-5)
    assert np.abs(smooth).sum() == np.abs(without_margins(smooth)).sum()


@pytest.mark.parametrize("n_cameras", [2, 3, 4])
def test_one_particle_to_a_hundredth_of_a_pixel(n_cameras):
    lab = lab_of(n_cameras)
    true = np.array([[10.3, -7.7, 4.2]])
    peaks = np.array([[80.0, 100.0, 110.0, 90.0][:n_cameras]])
    found = reconstruct(lab.see(true, peaks, noise_level=0.3), lab.cameras, lab.spots).particles
    assert len(found) == 1
    assert hits(found.positions, true, 0.03, lab.cameras) == (1, pytest.approx(0, abs=0.01))
    assert found.intensities.mean() == pytest.approx(peaks.mean(), rel=0.02)
    assert np.argsort(found.intensities[0]).tolist() == np.argsort(peaks[0]).tolist()  # each is tied to their mean
    assert found.seen.all()
    assert found.misfit[0] < 0.01


@pytest.mark.parametrize("apart", [1.0, 1.5, 2.0])
def test_two_spots_on_top_of_each_other(lab, apart):
    """They overlap in all four images: the camera's pixels, not the particles' distance, is what they are apart."""
    true = [[5.0, 0.0, 0.0], [5.0, apart * lab.cameras.step, 0.0]]
    found = reconstruct(lab.see(true, noise_level=0.5), lab.cameras, lab.spots).particles
    if apart >= 1.5:  # 2.1 sigma
        assert len(found) == 2
        assert hits(found.positions, true, 0.4, lab.cameras)[0] == 2
    else:  # 1.4 sigma in every image: one blob without a dip
        assert 1 <= len(found) <= 3
        assert hits(found.positions, true, 0.6, lab.cameras)[0] >= 1


def test_two_particles_in_one_spot_are_divided(lab):
    """Pairs 0.8 px apart, which have one peak in each image, among single ones of all brightness: each pair is found, no more."""
    single = lab.scatter(200)
    pairs = single[:20]
    aside = lab.rng.standard_normal((20, 3)) * [1, 1, 0]
    aside *= 0.8 * lab.cameras.step / np.linalg.norm(aside, axis=1, keepdims=True)
    true = np.concatenate([single, pairs + aside])
    peaks = lab.rng.normal(80, 12, len(true))
    peaks[:20] = peaks[200:]
    found = reconstruct(lab.see(true, peaks), lab.cameras, replace(lab.spots, level=80.0)).particles.positions
    n_pairs = sum((np.linalg.norm(found - place, axis=1) < 2 * lab.cameras.step).sum() == 2 for place in pairs + aside / 2)
    assert n_pairs >= 15
    assert len(found) <= len(true) + 2


def test_many_particles_and_what_a_start_is_worth(lab):
    """0.006 particles per pixel; all of them are found, nothing else; a start is shaken, pruned, and named."""
    true = lab.scatter(500)
    views = lab.see(true, lab.rng.uniform(60, 140, 500))
    done = reconstruct(views, lab.cameras, lab.spots)
    n_hit, rms = hits(done.particles.positions, true, 0.5, lab.cameras)
    assert n_hit >= 0.99 * len(true)
    assert len(done.particles) <= 1.01 * len(true)
    assert rms < 0.05
    assert done.energy_left.max() < 0.1
    assert done.iterations[-1].total == len(done.particles)
    left, particles = with_margins(views.values), done.particles  # all exchanges of spots leave what is drawn at the end
    subtract_ground(left, done.ground, 32.0, 1.0, 24)
    sharp = lab.spots.sharpness_at(particles.projections, SIZE, particles.scale)
    spot_kernels.subtract(left, particles.projections, particles.intensities, sharp, 3)
    np.testing.assert_allclose(done.residual, without_margins(left), atol=0.01)
    known = np.concatenate([true[:400] + 0.02, [[0.0, 0.0, 400.0], [1.0, 2.0, 3.0]]])
    again = reconstruct(views, lab.cameras, lab.spots, start=Start.at(known, 4))
    assert hits(again.particles.positions, true, 0.5, lab.cameras)[0] >= 0.99 * len(true)
    origin = again.particles.origin
    own = origin >= 0
    assert np.count_nonzero(own & (origin < 400)) >= 395
    assert 400 not in origin  # outside of the volume
    moved = np.linalg.norm(again.particles.positions[own] - known[origin[own]], axis=1)
    assert np.median(moved) < 0.1


def test_frames_with_nothing_to_find(lab):
    """Black, saturated and pure noise: at most one particle out of noise for each 10 000 pixels of an image."""
    black = Views.of(np.zeros((4, SIZE[1], SIZE[0])))
    white = Views.of(np.full((4, SIZE[1], SIZE[0]), 255.0))
    for views in (black, white):
        for spots in (None, lab.spots):
            assert len(reconstruct(views, lab.cameras, spots).particles) == 0
    empty = lab.see(np.empty((0, 3)), noise_level=5.0, ground=50.0)
    assert len(reconstruct(empty, lab.cameras, lab.spots).particles) == 0
    assert len(reconstruct(empty, lab.cameras, None).particles) <= SIZE[0] * SIZE[1] / 10_000


def test_saturated_pixels_are_left_out(lab):
    true = lab.scatter(60)
    views = lab.see(true, 600.0, noise_level=0.5)
    assert views.saturated.any()
    found = reconstruct(views, lab.cameras, replace(lab.spots, level=600.0)).particles
    n_hit, rms = hits(found.positions, true, 0.5, lab.cameras)
    assert n_hit >= 55
    assert rms < 0.1
    assert np.median(found.intensities[found.seen]) > 400  # more than a pixel can hold


def test_spots_are_fitted(lab):
    frames = [lab.see(lab.scatter(250), np.tile([60.0, 80.0, 100.0, 120.0], (250, 1)), sigma=1.0) for _ in range(2)]
    spots = fit_spots(frames, lab.cameras)
    assert spots.sigma[:, :, 0] == pytest.approx(np.full((4, 2), 1.0), abs=0.05)
    assert spots.gains == pytest.approx(np.array([60, 80, 100, 120]) / 90, rel=0.05)
    assert spots.level == pytest.approx(90, rel=0.1)


def test_particles_of_unlike_size_at_a_signal_to_noise_ratio_of_7(lab):
    """The scatter of sizes is measured, each particle gets its own, and hardly any comes out of the noise."""
    true, sizes = [], []
    frames = []
    for _ in range(3):
        true.append(lab.scatter(700))
        sizes.append(np.exp(0.25 * lab.rng.standard_normal(700)))
        frames.append(lab.see(true[-1], lab.rng.uniform(70, 140, 700), noise_level=14.0, ground=50.0, sigma=SIGMA * sizes[-1]))
    spots = fit_spots(frames[:2], lab.cameras)
    assert spots.scatter == pytest.approx(0.25, abs=0.06)
    crowd, unlike = lab.scatter(1500), SIGMA * np.exp(0.25 * lab.rng.standard_normal(1500))
    views = lab.see(crowd, 100.0, noise_level=14.0, ground=50.0, sigma=unlike)
    fitted = reconstruct(views, lab.cameras, replace(lab.spots, scatter=0.25), fits_spots=True).spots
    assert fitted.sigma[:, :, 0].mean() == pytest.approx(SIGMA, abs=0.04)  # not less, and each particle larger
    found = reconstruct(frames[2], lab.cameras, spots).particles
    n_hit, rms = hits(found.positions, true[2], 1.0, lab.cameras)
    assert n_hit >= 0.96 * len(true[2])
    assert len(found) <= 1.01 * len(true[2])
    assert rms < 0.15
    far = np.linalg.norm(lab.cameras.project(found.positions)[:, None] - lab.cameras.project(true[2])[None], axis=3).max(axis=2)
    row, of = np.nonzero(far < 0.4)
    assert np.corrcoef(np.log(found.scale[row]), np.log(sizes[2][of]))[0, 1] > 0.85
    alike = fit_spots([lab.see(lab.scatter(700), 100.0, noise_level=5.0)], lab.cameras)
    assert alike.scatter == 0


def test_faint_particles_are_told_from_noise(lab):
    """0.018 per pixel, half of them at a signal to noise ratio of 3.5: what chance would make comes last in a search.

    With the nearest peaks first, and thresholds that keep out what that brings, 678 of the faint ones were found.
    """
    true = lab.scatter(1500)
    peaks = np.repeat([100.0, 50.0], 750)
    found = reconstruct(lab.see(true, peaks, noise_level=14.0, ground=50.0), lab.cameras, lab.spots).particles
    assert hits(found.positions, true[:750], 1.0, lab.cameras)[0] >= 745
    assert hits(found.positions, true[750:], 1.0, lab.cameras)[0] >= 710
    assert len(found) <= 1.005 * hits(found.positions, true, 1.5, lab.cameras)[0]


def test_other_cameras_see_a_ray_where_its_points_project(lab):
    """The table of a camera's rays, between its places, against the ray itself; with a correction of the calibration."""
    wrong = [replace(disparity.none(SIZE), coefficients=c) for c in lab.rng.normal(0.0, 0.5, (4, 2, disparity.TERMS))]
    cameras = lab.cameras.corrected(wrong)
    order, places = (2, 0, 3, 1), lab.rng.uniform([0, 0], SIZE, (40, 2))
    table, spacing = cameras.sightlines(order)
    starts = np.array([0, 0, 0, len(places), len(places)])
    ray = cameras.rays(places, starts)
    low, high = lab.cameras.layers[2], lab.cameras.layers[4]  # the same for all x
    for k, depth in enumerate(np.linspace(low, high, PIECES + 1)):
        points = ray[:, :3] + ((depth - ray[:, 2]) / ray[:, 5])[:, None] * ray[:, 3:]
        a, b = (places / spacing).T
        column, row = a.astype(int), b.astype(int)
        a, b = (a - column)[:, None], (b - row)[:, None]
        upper = (1 - a) * table[row, column] + a * table[row, column + 1]
        lower = (1 - a) * table[row + 1, column] + a * table[row + 1, column + 1]
        seen = ((1 - b) * upper + b * lower)[:, : 6 * (PIECES + 1)].reshape(-1, 3, PIECES + 1, 2)[:, :, k]
        np.testing.assert_allclose(seen, cameras.project(points)[:, order[1:]], atol=0.05)


@pytest.mark.parametrize("lacking", [False, True])
def test_what_a_search_finds_meets_as_plain_numpy_says(lab, lacking):
    """Peaks of 150 particles, a third of which one camera does not see, and 150 of nothing in each image."""
    true, tolerance, gone = lab.scatter(150), 0.8, lab.rng.integers(0, 12, 150)  # from 4 on: of no camera
    projections = lab.cameras.project(true)
    seen = (gone[:, None] != np.arange(4)) & ((projections > 4) & (projections < np.array(SIZE) - 4)).all(axis=2)
    values = np.zeros((4, SIZE[1], SIZE[0]), np.float32)
    for c, image in enumerate(values):
        noise_ = lab.rng.uniform([4, 4], np.array(SIZE) - 4, (150, 2))
        moved = projections[seen[:, c], c] + lab.rng.normal(0.0, 0.1, (seen[:, c].sum(), 2))
        draw_spots(image, moved, lab.rng.uniform(60, 100, len(moved)), SIGMA)
        draw_spots(image, noise_, lab.rng.uniform(20, 60, 150), SIGMA)
    images = with_margins(values)
    met = search(images, np.full(4, 10.0), lab.cameras, tolerance, dark=np.full(4, -1.0) if lacking else None, by_chance=0.1)
    rays = lab.cameras.rays(met.places, np.cumsum([0, *(len(find_peaks(image, 10.0)) for image in images)]))
    for position, distance, group in zip(met.positions, met.distances, met.peaks, strict=True):
        used = group >= 0
        planes = np.eye(3) - rays[group[used], 3:, None] * rays[group[used], None, 3:]
        meeting = np.linalg.solve(planes.sum(axis=0), (planes @ rays[group[used], :3, None]).sum(axis=0)[:, 0])
        np.testing.assert_allclose(position, meeting, atol=1e-6)
        off = np.linalg.norm(lab.cameras.project(meeting[None])[0, used] - met.places[group[used], :2], axis=1)
        assert (off < tolerance).all()
        assert distance**2 * 4 == pytest.approx((off**2).sum() + (4 - used.sum()) * tolerance**2)
    expected = seen.sum(axis=1) >= (3 if lacking else 4)
    assert hits(met.positions, true[expected], 1.5, lab.cameras)[0] > 0.9 * expected.sum()
    assert len(met.positions) < 1.1 * expected.sum()


def test_images_whose_background_is_cut_off_have_some_noise():
    """More than half of the pixels are 0: the median of their distances from the median says nothing."""
    assert noise(np.zeros((1, 64, 64), np.float32))[0] == pytest.approx(0.3)


class Linked:
    """Three frames of particles that move alike, linked; the first of the frame in the middle is not in the other two."""

    def __init__(self, rng: np.random.Generator) -> None:
        here = rng.uniform(0, 50, (200, 3))
        self.moved = np.array([1.0, -0.5, 0.2])
        self.frames = [here[1:] - self.moved, here, here[1:] + self.moved]
        self.to = [np.arange(1, 200), np.arange(200) - 1, np.full(199, -2)]
        self.to[1][0] = -2

    def positions(self, frame):
        return self.frames[frame] if 0 <= frame < 3 else np.empty((0, 3))

    def next(self, frame):
        return self.to[frame] if 0 <= frame < 3 else np.empty(0, np.int64)

    def previous(self, frame):
        return previous(self.next(frame - 1), len(self.positions(frame)))


def test_what_is_found_once_is_looked_for_on_both_sides(lab):
    """Where the neighbours' motion leads from it; and a particle that no other frame confirms is no start."""
    linked = Linked(lab.rng)
    lone = linked.positions(1)[0]
    for frame, moved in ((0, -linked.moved), (2, linked.moved)):
        kept, places = start(linked, frame)
        assert kept.all()
        assert places == pytest.approx((lone + moved)[None])
    kept, places = start(linked, 1)
    assert np.flatnonzero(~kept).tolist() == [0]
    assert len(places) == 0


def test_self_calibration_finds_what_was_put_in(lab):
    """Cameras that see what the calibration does not say: the part that cameras can disagree about is found."""
    off = [disparity.none(SIZE) for _ in range(4)]
    off[1] = replace(off[1], coefficients=np.array([[1.5, 0.8, 0, 0, 0, 0], [-1.0, 0, 0.6, 0, 0, 0.5]]))
    seeing = Lab(lab.cameras.corrected(off), lab.rng)
    frames = [seeing.see(seeing.scatter(150)) for _ in range(4)]
    found = self_calibrate(frames, lab.cameras)
    assert [camera.n_used > 100 for camera in found.cameras] == [True] * 4
    before = np.sqrt(np.mean([camera.rms_before**2 for camera in found.cameras]))
    after = np.sqrt(np.mean([camera.rms_after**2 for camera in found.cameras]))
    assert before > 0.4
    assert after < 0.1
    true = seeing.scatter(200)
    corrected = lab.cameras.corrected(found.cameras)
    particles = reconstruct(seeing.see(true), corrected, lab.spots).particles
    plain = reconstruct(seeing.see(true), lab.cameras, lab.spots).particles
    assert len(particles) >= 195 > len(plain)


def test_self_calibration_of_dense_images_measures_at_reconstructed_particles(lab):
    """Peaks of dense images are displaced by what overlaps them; the particles under them are not, and there are more."""
    off = [disparity.none(SIZE) for _ in range(4)]
    off[1] = replace(off[1], coefficients=np.array([[0.3, 0.2, 0, 0, 0, 0], [-0.2, 0, 0.2, 0, 0, 0]]))
    seeing = Lab(lab.cameras.corrected(off), lab.rng)
    frames = [seeing.see(seeing.scatter(2500))]  # 0.03 particles per pixel
    rough = self_calibrate(frames, lab.cameras)
    fine = refined(frames, lab.cameras, rough)
    assert fine.uncertainty < min(0.02, rough.uncertainty / 3)
    true = seeing.scatter(200)

    def disagreement(found):
        """What is left between the cameras [px], where a displacement of space has been fitted away."""
        cameras = lab.cameras.corrected(found.cameras)
        return reconstruct(seeing.see(true, noise_level=0.2), cameras, lab.spots).particles.misfit.mean()

    assert disagreement(fine) < disagreement(rough) / 3
    few = [seeing.see(seeing.scatter(150))]
    rough = self_calibrate(few, lab.cameras)
    assert refined(few, lab.cameras, rough) is rough


def test_a_disparity_is_robust_and_says_how_sure_it_is():
    rng = np.random.default_rng(1)
    coefficients = np.array([[1, 0.3, 0.2, 0.5, -0.3, 0.1], [-0.4, 0, 0.6, 0.1, 0.2, -0.5]])
    for n, wrong, within in ((4, 0.0, None), (40, 0.1, 0.4), (2000, 0.3, 0.05)):
        places = rng.uniform(0, SIZE, (n, 2))
        true = disparity.design(places, SIZE) @ coefficients.T
        shifts = true + rng.normal(0, 0.1, true.shape)
        shifts[rng.random(n) < wrong] += 3.0
        fitted = disparity.fit(places, shifts, SIZE)
        if within is None:
            assert fitted.n_used == 0
            assert not fitted.evaluate(places).any()
        else:
            assert np.abs(fitted.evaluate(places) - true).max() < within
            assert fitted.rms_after < fitted.rms_before
            assert fitted.uncertainty < within


def test_grey_values_keep_all_bits(tmp_path):
    """12-bit images in 16-bit files: the particles' images differ from the 8-bit ones by less than one of their steps."""
    folder = make_experiment(tmp_path / "deep", 1, 20, image_size=SIZE, depth=12, hot_pixels=1)
    experiment = load_experiment(folder)
    views, stamps = read_frame(experiment, decide(experiment, 12).settings, 10000)
    assert views.values.shape == (4, SIZE[1], SIZE[0])
    assert views.values.dtype == np.float32
    assert len(stamps) == 4
    assert len(np.unique(views.values)) > 256
    assert views.values.max() == pytest.approx(255.0 * 4080 / 4095, abs=0.01)  # the hot pixels are 255 of the upper 8 bits
