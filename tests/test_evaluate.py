"""The scorer on cases whose score is known by hand, and against a plain search where it is not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyptv.core.base.errors import FormatError, ProcessingError
from pyptv.core.files.formats import LINKS, PARTICLES
from pyptv.evaluate import evaluate
from pyptv.evaluate.__main__ import main
from pyptv.evaluate.compare import pixel_in_space
from pyptv.evaluate.matching import follow, match
from pyptv.evaluate.table import table
from pyptv.synthetic import Truth, read_truth
from pyptv.synthetic.truth import write_truth

pytest.importorskip("scipy", reason='scoring needs the extra "evaluate"')

N_FRAMES, N_PARTICLES, FIRST = 4, 9, 100
PX = 0.1  # mm


def true_positions(frame: int) -> np.ndarray:
    """(9, 3) a grid of 10 mm that moves by 1 mm a frame."""
    x, y = np.mgrid[:3, :3] * 10.0
    return np.column_stack([x.ravel() + frame - FIRST, y.ravel(), 0.3 * x.ravel() + 0.1 * y.ravel()])


class Case:
    """A perfect result, to be spoilt before it is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.positions = {frame: true_positions(frame) for frame in range(FIRST, FIRST + N_FRAMES)}
        self.next = {frame: np.arange(N_PARTICLES) for frame in self.positions}
        self.next[FIRST + N_FRAMES - 1] = np.full(N_PARTICLES, -2)
        frames = np.repeat(list(self.positions), N_PARTICLES)
        truth = np.vstack(list(self.positions.values()))
        pixels = np.stack([truth[:, :2] / PX, truth[:, 1:] / PX])
        write_truth(folder / "truth.csv", Truth(frames, np.tile(np.arange(N_PARTICLES) + 1, N_FRAMES), truth, pixels))

    def add(self, frame: int, position: tuple[float, float, float]) -> None:
        """One more measured particle, without links."""
        self.positions[frame] = np.vstack([self.positions[frame], position])
        self.next[frame] = np.append(self.next[frame], -2)

    def write(self, *, tracked: bool = True) -> Path:
        results = self.folder / "res"
        results.mkdir()
        for frame, position in self.positions.items():
            rows = np.zeros(len(position), PARTICLES.dtype)
            rows["number"] = np.arange(len(position)) + 1
            links = np.zeros(len(position), LINKS.dtype)
            links["previous"], links["next"] = -1, self.next[frame]
            for axis, values in zip("xyz", position.T, strict=True):
                rows[axis] = links[axis] = values
            (results / f"rt_is.{frame}").write_bytes(PARTICLES.render(rows))
            if tracked:
                (results / f"ptv_is.{frame}").write_bytes(LINKS.render(links))
        return self.folder


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


def test_all_found(case):
    score = evaluate(case.write())
    assert (score.recall, score.precision, score.link_recall, score.link_precision, score.pure_tracks) == (1, 1, 1, 1, 1)
    assert (score.total("particles"), score.ghosts, score.total("links")) == (36, 0, 27)
    assert score.rms == (0, 0, 0)
    assert score.pure_lengths.tolist() == [4] * 9
    assert score.true_lengths == (4,) * 9
    assert score.missing_frames == ()
    assert score.tolerance_mm == pytest.approx(0.3, rel=0.2)  # 3 px


def test_a_ghost(case):
    case.add(FIRST + 1, (5, 5, 5))
    score = evaluate(case.write())
    assert score.ghosts == 1
    assert score.precision == 36 / 37
    assert score.recall == 1
    assert score.link_precision == 1


def test_a_link_to_a_ghost(case):
    case.add(FIRST + 1, (5, 5, 5))
    case.next[FIRST][4] = 9  # instead of particle 4
    score = evaluate(case.write())
    assert score.link_precision == 26 / 27
    assert score.link_recall == 26 / 27
    # the trajectory that ends in the ghost is not pure; the rest of particle 4 still is, 3 frames long
    assert sorted(score.tracks.lengths.tolist()) == [2, 3, *[4] * 8]
    assert sorted(score.pure_lengths.tolist()) == [3, *[4] * 8]


def test_a_link_between_ghosts_is_not_true(case):
    case.add(FIRST, (5, 5, 5))
    case.add(FIRST + 1, (5, 5, 5))
    case.next[FIRST][9] = 9
    score = evaluate(case.write())
    assert (score.link_precision, score.link_recall) == (27 / 28, 1)
    assert score.pure_tracks == 9 / 10


def test_a_true_particle_that_leaves_and_comes_back(case):
    truth = read_truth(case.folder / "truth.csv")
    kept = (truth.frame != FIRST + 2) | (truth.identity != 1)
    left = Truth(truth.frame[kept], truth.identity[kept], truth.position[kept], truth.pixels[:, kept])
    write_truth(case.folder / "truth.csv", left)
    score = evaluate(case.write())
    assert sorted(score.true_lengths) == [2, *[4] * 8]
    assert score.total("links") == 25
    assert score.ghosts == 1


def test_two_measured_for_one_true(case):
    x, y, z = case.positions[FIRST][0]
    case.add(FIRST, (x + 0.05, y, z))  # farther than the right one, still within the tolerance
    score = evaluate(case.write())
    assert (score.recall, score.precision) == (1, 36 / 37)


def test_a_particle_not_found(case):
    case.positions[FIRST + 3] = case.positions[FIRST + 3][:-1]
    case.next[FIRST + 3] = case.next[FIRST + 3][:-1]
    case.next[FIRST + 2][8] = -2
    score = evaluate(case.write())
    assert (score.recall, score.precision) == (35 / 36, 1)
    assert (score.link_recall, score.link_precision) == (26 / 27, 1)
    assert sorted(score.pure_lengths.tolist()) == [3, *[4] * 8]


def test_two_tracks_swapped(case):
    case.next[FIRST + 1][[2, 7]] = [7, 2]
    score = evaluate(case.write())
    assert (score.recall, score.precision) == (1, 1)
    assert (score.link_recall, score.link_precision) == (25 / 27, 25 / 27)
    assert score.pure_tracks == 7 / 9
    assert score.pure_lengths.tolist() == [4] * 7


def test_swapped_and_swapped_back_is_not_pure(case):
    case.next[FIRST + 1][[2, 7]] = [7, 2]
    case.next[FIRST + 2][[2, 7]] = [7, 2]
    score = evaluate(case.write())
    assert score.link_precision == 23 / 27
    assert score.pure_tracks == 7 / 9


def test_a_missing_frame(case):
    folder = case.write()
    for kind in ("rt_is", "ptv_is"):
        (folder / "res" / f"{kind}.{FIRST + 1}").unlink()
    score = evaluate(folder)
    assert score.missing_frames == (FIRST + 1,)
    assert (score.recall, score.precision) == (27 / 36, 1)
    assert (score.link_recall, score.link_precision) == (9 / 27, 1)
    assert score.frames[1].recall == 0
    assert score.pure_lengths.tolist() == [2] * 9
    assert "frames without results" in table(score)


def test_a_range_of_frames(case):
    case.add(FIRST, (5, 5, 5))
    score = evaluate(case.write(), FIRST + 1, FIRST + 2)
    assert (score.total("particles"), score.total("links"), score.ghosts) == (18, 9, 0)
    assert score.pure_lengths.tolist() == [2] * 9


def test_rms_error_of_each_axis(case):
    offsets = np.array([[0.05, 0, 0.1], [-0.05, 0, 0.1], [0.05, 0.03, -0.1]])
    for frame in case.positions:
        case.positions[frame] = case.positions[frame] + np.tile(offsets, (3, 1))
    score = evaluate(case.write())
    np.testing.assert_allclose(score.rms, (0.05, 0.03 / np.sqrt(3), 0.1), rtol=1e-9)
    np.testing.assert_allclose(score.frames[2].rms, score.rms, rtol=1e-9)
    assert score.recall == 1


def test_the_tolerance_divides_true_from_ghost(case):
    case.positions[FIRST][3] += [0, 0, 0.2]
    folder = case.write()
    assert evaluate(folder, tolerance_mm=0.21).ghosts == 0
    strict = evaluate(folder, tolerance_mm=0.19)
    assert (strict.ghosts, strict.total("true"), strict.total("links_true")) == (1, 35, 26)


def test_the_order_of_rows_does_not_matter(case):
    rng = np.random.default_rng(0)
    orders = {frame: rng.permutation(N_PARTICLES) for frame in case.positions}
    place = {frame: np.argsort(order) for frame, order in orders.items()}
    for frame, order in orders.items():
        case.positions[frame] = case.positions[frame][order]
        case.next[frame] = case.next[frame][order]
        if frame + 1 in place:
            case.next[frame] = place[frame + 1][case.next[frame]]
    score = evaluate(case.write())
    assert (score.recall, score.link_recall, score.link_precision, score.pure_tracks) == (1, 1, 1, 1)


def test_without_tracking_links_are_not_judged(case):
    score = evaluate(case.write(tracked=False))
    assert not score.tracked
    assert score.recall == 1
    assert "not tracked" in table(score)
    assert "link precision" not in table(score)


def test_an_empty_frame_is_a_result(case):
    case.positions[FIRST + 3], case.next[FIRST + 3] = np.empty((0, 3)), np.empty(0, int)
    case.next[FIRST + 2][:] = -2
    score = evaluate(case.write())
    assert score.missing_frames == ()
    assert (score.recall, score.link_recall) == (27 / 36, 18 / 27)


class TestRefusals:
    def test_no_truth(self, tmp_path):
        with pytest.raises(ProcessingError, match="only a synthetic experiment"):
            evaluate(tmp_path)

    def test_no_results(self, case):
        with pytest.raises(ProcessingError, match="run the batch first"):
            evaluate(case.folder)

    def test_a_cut_file(self, case):
        path = case.write() / "res" / f"rt_is.{FIRST}"
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(FormatError, match=rf"rt_is.{FIRST}"):
            evaluate(case.folder)

    def test_a_link_out_of_range(self, case):
        case.next[FIRST][0] = 9
        with pytest.raises(FormatError, match="row 9"):
            evaluate(case.write())

    def test_links_of_another_run(self, case):
        folder = case.write()
        rows = LINKS.read(folder / "res" / f"ptv_is.{FIRST}")
        (folder / "res" / f"ptv_is.{FIRST}").write_bytes(LINKS.render(rows[:-1]))
        with pytest.raises(FormatError, match="from different runs"):
            evaluate(folder)

    def test_scipy_is_named_where_it_lacks(self, case, monkeypatch):
        monkeypatch.setitem(sys.modules, "scipy.spatial", None)
        with pytest.raises(ProcessingError, match=r"pyptv-batch\[evaluate\]"):
            evaluate(case.write())

    def test_matplotlib_is_named_where_it_lacks(self, case, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        assert main([str(case.write()), "--plot"]) == 1
        assert "pyptv-batch[plot]" in capsys.readouterr().err


class TestCommandLine:
    def test_prints_a_table_and_writes_json(self, case):
        case.add(FIRST, (5, 5, 5))
        folder = case.write()
        command = [sys.executable, "-m", "pyptv.evaluate", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert "3-D precision             0.9730   1 ghosts in 37 found" in done.stdout
        lines = done.stdout.splitlines()
        assert max(map(len, lines[:-1])) <= 80  # the last one names a path
        tree = json.loads((folder / "score.json").read_text())
        assert tree["precision"] == 36 / 37
        assert tree["frames"][0]["found"] == 10
        assert tree["pure_length_max"] == 4

    def test_json_has_no_nan(self, case):
        folder = case.write(tracked=False)
        assert main([str(folder), "--json", str(folder / "other.json")]) == 0
        tree = json.loads((folder / "other.json").read_text(), parse_constant=pytest.fail)
        assert tree["link_precision"] is None
        assert tree["link_recall"] is None

    def test_json_to_standard_output(self, case, capsys):
        case.add(FIRST, (5, 5, 5))
        folder = case.write()
        assert main([str(folder), "--json", "-"]) == 0
        assert json.loads(capsys.readouterr().out)["precision"] == 36 / 37
        assert not (folder / "score.json").exists()

    def test_an_error_is_a_message_and_exit_code_1(self, tmp_path, capsys):
        assert main([str(tmp_path)]) == 1
        assert capsys.readouterr().err.startswith("error: ")

    def test_plot(self, case):
        pytest.importorskip("matplotlib")
        folder = case.write()
        assert main([str(folder), "--plot"]) == 0
        assert (folder / "score.png").read_bytes().startswith(b"\x89PNG")
        assert main([str(folder), "--plot", str(folder / "other.svg")]) == 0
        assert "<svg" in (folder / "other.svg").read_text()


def test_size_of_a_pixel(case):
    assert pixel_in_space(read_truth(case.folder / "truth.csv")) == pytest.approx(PX, rel=0.2)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n_found=st.integers(0, 30), n_true=st.integers(0, 30), tolerance=st.floats(0.01, 3))
def test_matching_is_what_a_full_search_finds(seed, n_found, n_true, tolerance):
    rng = np.random.default_rng(seed)
    found, true = rng.uniform(0, 5, (n_found, 3)), rng.uniform(0, 5, (n_true, 3))
    expected = np.full(n_found, -1)
    if n_found and n_true:
        distance = np.linalg.norm(found[:, None] - true[None], axis=2)
        for row in range(n_found):
            nearest = distance[row].argmin()
            if distance[:, nearest].argmin() == row and distance[row, nearest] <= tolerance:
                expected[row] = nearest
    np.testing.assert_array_equal(match(found, true, tolerance), expected)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n_frames=st.integers(1, 6))
def test_trajectories_are_what_walking_along_the_links_finds(seed, n_frames):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 8, n_frames)
    identities = [rng.choice([-1, 1, 1, 1, 2], count) for count in counts]
    links = []
    for count, after in zip(counts, [*counts[1:], 0], strict=True):
        rows = np.full(count, -1)
        n_links = min(count, after)
        rows[rng.permutation(count)[:n_links]] = rng.permutation(after)[:n_links]
        links.append(np.where(rng.random(count) < 0.7, rows, -1))
    claimed = {(frame + 1, int(row)) for frame, rows in enumerate(links) for row in rows if row >= 0}
    expected = []
    for frame, count in enumerate(counts):
        for row in range(count):
            if (frame, row) in claimed:
                continue
            chain, at, place = [identities[frame][row]], frame, row
            while links[at][place] >= 0:
                at, place = at + 1, links[at][place]
                chain.append(identities[at][place])
            if len(chain) > 1:
                expected.append((len(chain), chain[0] != -1 and len(set(chain)) == 1))
    tracks = follow(links, identities)
    assert sorted(zip(tracks.lengths.tolist(), tracks.pure.tolist(), strict=True)) == sorted(expected)
