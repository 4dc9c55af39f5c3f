"""Trajectories: links followed right, through gaps and damaged files, and derivatives that are those of the motion."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import refusal, sample_tree
from hypothesis import given
from hypothesis import strategies as st

from pyptv.core.base.errors import FormatError, ProcessingError
from pyptv.core.experiment.folder import Experiment, load_experiment
from pyptv.core.experiment.parameters.attrdict import AttrDict
from pyptv.core.experiment.parameters.checks import build_parameters
from pyptv.core.files.formats import LINKS
from pyptv.evaluate.matching import match
from pyptv.pyptv_batch import main
from pyptv.synthetic import read_truth
from pyptv.trajectories import Trajectories, ordered, read_trajectories, stream, stream_trajectories
from pyptv.trajectories.fit import Fit
from pyptv.trajectories.links import linked_frames
from pyptv.trajectories.ordered import OrderedTrajectories

pytest.importorskip("scipy", reason='velocities need the extra "trajectories"')
from scipy.signal import savgol_filter

Links = dict[int, list[tuple[int, int]]]
"""Frame -> (previous, next) of each row."""


def positions(frame: int, n: int) -> np.ndarray:
    """(n, 3) where the rows of a frame are: each number tells frame and row."""
    return np.column_stack([np.full(n, frame), np.arange(n), np.full(n, -1.5)]).astype(float)


def write_links(folder: Path, links: Links) -> None:
    (folder / "res").mkdir(exist_ok=True)
    for frame, rows in links.items():
        table = np.zeros(len(rows), LINKS.dtype)
        table["previous"], table["next"] = np.array(rows, dtype=int).reshape(-1, 2).T
        table["x"], table["y"], table["z"] = positions(frame, len(rows)).T
        (folder / "res" / f"ptv_is.{frame}").write_bytes(LINKS.render(table))


@pytest.fixture
def experiment(small_experiment: Callable[..., Path]) -> Experiment:
    """An experiment without results and without images."""
    return load_experiment(small_experiment(images=False))


@pytest.fixture
def linked(experiment: Experiment) -> Callable[[Links], Experiment]:
    """A factory of an experiment with some links."""

    def make(links: Links) -> Experiment:
        write_links(experiment.folder, links)
        return experiment

    return make


def chains(trajectories: Trajectories) -> dict[int, list[tuple[int, int]]]:
    """Id -> (frame, row) of each of its particles, rows being told by the positions."""
    places = list(zip(trajectories.position[:, 0].astype(int), trajectories.position[:, 1].astype(int), strict=True))
    assert [frame for frame, _ in places] == trajectories.frame.tolist()
    starts, stops = trajectories.offsets[:-1], trajectories.offsets[1:]
    return {int(trajectories.id[a]): places[a:b] for a, b in zip(starts, stops, strict=True)}


THREE = {
    5: [(-1, 1), (-1, -2), (-1, 0)],
    6: [(2, -2), (0, 1), (-1, 0)],
    7: [(2, -2), (1, -2)],
}
"""Row 0 goes to row 1 and 1, row 1 stays alone, row 2 goes to row 0; row 2 of frame 6 is new."""


class TestLinks:
    def test_ids_count_by_first_frame_and_row(self, linked):
        trajectories = read_trajectories(linked(THREE))
        assert chains(trajectories) == {
            0: [(5, 0), (6, 1), (7, 1)],
            1: [(5, 1)],
            2: [(5, 2), (6, 0)],
            3: [(6, 2), (7, 0)],
        }
        assert trajectories.lengths.tolist() == [3, 1, 2, 2]
        assert trajectories.offsets.tolist() == [0, 3, 4, 6, 8]
        assert (trajectories.id.dtype, trajectories.frame.dtype, trajectories.offsets.dtype) == (np.int64,) * 3

    def test_a_least_length_leaves_ids_as_they_are(self, linked):
        trajectories = read_trajectories(linked(THREE), min_length=2)
        assert list(chains(trajectories)) == [0, 2, 3]
        assert len(read_trajectories(linked(THREE), min_length=4).id) == 0

    def test_a_range_cuts_trajectories(self, linked):
        linked(THREE)
        assert chains(read_trajectories(linked(THREE), 5, 6)) == {
            0: [(5, 0), (6, 1)],
            1: [(5, 1)],
            2: [(5, 2), (6, 0)],
            3: [(6, 2)],
        }
        assert chains(read_trajectories(linked(THREE), first=7)) == {0: [(7, 0)], 1: [(7, 1)]}

    def test_a_missing_frame_ends_all(self, linked):
        straight = [(0, 0), (1, 1)]
        links = dict.fromkeys((1, 2, 4, 5), straight)
        trajectories = read_trajectories(linked(links))
        assert chains(trajectories) == {
            0: [(1, 0), (2, 0)],
            1: [(1, 1), (2, 1)],
            2: [(4, 0), (5, 0)],
            3: [(4, 1), (5, 1)],
        }

    def test_an_empty_frame_is_no_gap_but_ends_all(self, linked):
        trajectories = read_trajectories(linked({1: [(-1, -2)], 2: [], 3: [(-1, -2)]}))
        assert chains(trajectories) == {0: [(1, 0)], 1: [(3, 0)]}
        assert len(read_trajectories(linked({1: [], 2: [], 3: []})).id) == 0

    def test_a_link_that_one_side_has_is_none_and_is_said(self, linked, caplog):
        links = {1: [(-1, 0), (-1, 0), (-1, -2)], 2: [(1, -2), (2, -2)]}  # row 0 claims what is row 1's; row 1 claims row 2
        with caplog.at_level(logging.WARNING):
            trajectories = read_trajectories(linked(links))
        assert chains(trajectories) == {0: [(1, 0)], 1: [(1, 1), (2, 0)], 2: [(1, 2)], 3: [(2, 1)]}
        assert "2 links are in only one of two ptv_is files" in caplog.text

    def test_other_files_in_the_folder_do_not_matter(self, linked):
        experiment = linked(THREE)
        for name in (
            "ptv_is.",
            "ptv_is.x",
            "ptv_is.007",
            "ptv_is.-5",
            "ptv_is.٣",
            "ptv_is.99999999999999999999",
            "added.5",
            ".ptv_is.9.1.pyptv-tmp",
        ):
            (experiment.results / name).write_bytes(b"rubbish")
        assert len(read_trajectories(experiment).id) == 8

    def test_a_folder_or_a_parameter_file_will_do(self, linked):
        experiment = linked(THREE)
        by_path = read_trajectories(experiment.folder)
        assert chains(by_path) == chains(read_trajectories(experiment.source.parent))


class TestStream:
    @pytest.mark.parametrize("at_once", [1, 4, 10**6])
    def test_gives_what_reading_gives(self, linked, monkeypatch, at_once):
        monkeypatch.setattr(stream, "ROWS_AT_ONCE", at_once)
        experiment = linked(THREE)
        streamed = {
            t.id: [(t.first + i, int(row)) for i, row in enumerate(t.position[:, 1])]
            for t in stream_trajectories(experiment, 0, 99)
        }
        assert streamed == chains(read_trajectories(experiment))
        assert [t.id for t in stream_trajectories(experiment, 0, 99, min_length=3)] == [0]

    def test_ended_trajectories_come_while_files_are_read(self, linked, monkeypatch):
        """What has ended is not kept until the end: it is there before a later file is found damaged."""
        monkeypatch.setattr(stream, "ROWS_AT_ONCE", 10)
        links = {frame: [(-1, 0) if frame % 5 == 0 else (0, -2 if frame % 5 == 4 else 0), (1, 1)] for frame in range(100, 200)}
        experiment = linked(links)
        (experiment.results / "ptv_is.199").write_bytes(b"2\n")
        found = []
        with pytest.raises(FormatError, match=r"ptv_is\.199"):
            found.extend(stream_trajectories(experiment, 100, 199))
        assert [t.first for t in found] == list(range(100, 190, 5))
        assert all(len(t.position) == 5 for t in found)

    def test_a_long_trajectory_is_put_together(self, linked, monkeypatch):
        monkeypatch.setattr(stream, "ROWS_AT_ONCE", 7)
        (only,) = stream_trajectories(linked({frame: [(0, 0)] for frame in range(50)}), 0, 49)
        np.testing.assert_array_equal(only.position, np.vstack([positions(frame, 1) for frame in range(50)]))


HOSTILE = [
    (b"", "line 1: found '', expected the number of rows"),
    (b"2\n  -1   -2      1.000      1.000      1.000\n", "line 1: 2 rows announced, 1 whole rows found"),
    (b"1\n  -1   -2      1.000      1.000\n", "line 2: found 4 columns, expected 5"),
    (b"1\n  -1   -2      1.000        inf      1.000\n", "line 2, column y: found 'inf', expected a finite number"),
    (b"1\n  -1  1.5      1.000      1.000      1.000\n", "line 2, column next: found '1.5', expected a whole number"),
    (
        b"1\n  -3   -2      1.000      1.000      1.000\n",
        "line 2, column previous: found -3, expected a row, or -1 or -2 for none",
    ),
    (b"1\n  -1   -9      1.000      1.000      1.000\n", "line 2, column next: found -9, expected a row, or -1 or -2 for none"),
]


class TestRefusals:
    @pytest.mark.parametrize(("data", "message"), HOSTILE)
    def test_a_damaged_file_is_named_with_the_line(self, linked, data, message):
        experiment = linked(THREE)
        path = experiment.results / "ptv_is.6"
        path.write_bytes(data)
        with pytest.raises(FormatError) as raised:
            read_trajectories(experiment)
        assert str(raised.value).startswith(f"{path}, {message}")
        with pytest.raises(FormatError):
            list(stream_trajectories(experiment, 5, 7))

    @pytest.mark.parametrize(
        ("frame", "row", "message"),
        [
            (5, (-1, 3), "ptv_is.5, line 4, column next: found row 3, but the next frame has 3 rows"),
            (6, (3, -2), "ptv_is.6, line 4, column previous: found row 3, but the previous frame has 3 rows"),
        ],
    )
    def test_a_link_out_of_the_neighbouring_frame(self, linked, frame, row, message):
        experiment = linked(THREE | {frame: [*THREE[frame][:2], row]})
        assert (refusal(read_trajectories, experiment) or "").endswith(message)

    def test_not_tracked(self, experiment):
        message = refusal(read_trajectories, experiment)
        assert message == f"{experiment.results}: no ptv_is file: run the tracking step first"

    def test_a_range_without_frames(self, linked):
        experiment = linked(THREE)
        message = refusal(lambda: read_trajectories(experiment, 10, 20))
        assert message == f"{experiment.results}: no ptv_is file from 10 to 20; there are those of 5-7"

    def test_results_that_are_no_folder(self, experiment):
        experiment.results.write_bytes(b"")
        assert "cannot be read" in (refusal(read_trajectories, experiment) or "")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"first": 7, "last": 5}, r"First frame \(7\) must be <= last frame \(5\)"),
            ({"first": -1}, "First frame must be >= 0, got -1"),
            ({"min_length": 0}, "min_length: found 0, expected at least 1 frame"),
            ({"window": 4}, "window: found 4, expected an odd number of frames, 3 to 99"),
            ({"window": 101}, "window: found 101"),
            ({"window": 1}, "window: found 1"),
            ({"order": 1}, "order: found 1, expected 2 to 4 with a window of 5 frames"),
            ({"order": 6, "window": 9}, "order: found 6, expected 2 to 5 with a window of 9 frames"),
            ({"frame_rate": 0}, "frame_rate: found 0, expected a number of frames per second above 0"),
            ({"frame_rate": float("nan")}, "frame_rate: found nan"),
            ({"frame_rate": float("inf")}, "frame_rate: found inf"),
        ],
    )
    def test_bad_arguments(self, linked, options, message):
        with pytest.raises(ValueError, match=message):
            read_trajectories(linked(THREE), **options)

    def test_scipy_is_named_where_it_lacks(self, linked, monkeypatch):
        monkeypatch.setitem(sys.modules, "scipy.signal", None)
        with pytest.raises(ProcessingError, match=r"pyptv-batch\[trajectories\]"):
            read_trajectories(linked(THREE))
        assert len(list(stream_trajectories(linked(THREE), 5, 7))) == 4  # needs none


def polynomial(order: int, time: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position, velocity and acceleration, each (n, 3), of a motion whose coordinates are polynomials of time."""
    coefficients = np.random.default_rng(order).normal(size=(order + 1, 3)) / 10.0 ** np.arange(order + 1)[:, None]
    chain = [np.polynomial.polynomial.polyder(coefficients, m) for m in (0, 1, 2)]
    p, v, a = (np.polynomial.polynomial.polyval(time, derivative).T for derivative in chain)
    return p, v, a


class TestDerivatives:
    @pytest.mark.parametrize(("window", "order"), [(3, 2), (5, 2), (5, 4), (7, 3), (21, 5)])
    @pytest.mark.parametrize("frame_rate", [None, 50.0])
    def test_a_polynomial_motion_is_found_exactly(self, window, order, frame_rate):
        time = np.arange(40) / (frame_rate or 1)
        position, true_velocity, true_acceleration = polynomial(order, time)
        velocity, acceleration = Fit(window, order, frame_rate).derivatives(np.zeros(40, np.int64), position)
        np.testing.assert_allclose(velocity, true_velocity, rtol=1e-9, atol=1e-8 * (frame_rate or 1))
        np.testing.assert_allclose(acceleration, true_acceleration, rtol=1e-9, atol=1e-8 * (frame_rate or 1) ** 2)

    def test_is_the_filter_of_scipy_for_each_trajectory(self):
        rng = np.random.default_rng(0)
        lengths = rng.integers(1, 30, 50)
        identity = np.repeat(np.sort(rng.choice(1000, 50, replace=False)), lengths)
        position = rng.normal(size=(len(identity), 3))
        velocity, acceleration = Fit(7, 3, 20.0).derivatives(identity, position)
        for start, stop in zip(np.cumsum(lengths) - lengths, np.cumsum(lengths), strict=True):
            rows = slice(start, stop)
            if stop - start < 7:
                assert np.isnan(velocity[rows]).all()
                assert np.isnan(acceleration[rows]).all()
                continue
            for found, deriv in ((velocity, 1), (acceleration, 2)):
                expected = savgol_filter(position[rows], 7, 3, deriv=deriv, delta=1 / 20, axis=0, mode="interp")
                np.testing.assert_allclose(found[rows], expected, rtol=1e-9, atol=1e-9)

    def test_parts_of_many_rows_make_no_difference(self, monkeypatch):
        identity = np.repeat([1, 2], 20)
        position = np.random.default_rng(0).normal(size=(40, 3))
        whole = Fit(5, 2).derivatives(identity, position)
        monkeypatch.setattr("pyptv.trajectories.fit._ROWS_AT_ONCE", 3)
        np.testing.assert_array_equal(Fit(5, 2).derivatives(identity, position), whole)

    def test_short_trajectories_have_none(self, linked):
        links = {frame: [(0, 0)] + [(1, 1)] * (frame < 4) for frame in range(5)}
        links[3] = [(0, 0), (1, -2)]
        trajectories = read_trajectories(linked(links))
        assert trajectories.lengths.tolist() == [5, 4]
        np.testing.assert_allclose(trajectories.velocity[:5], [[1, 0, 0]] * 5, atol=1e-12)
        np.testing.assert_allclose(trajectories.acceleration[:5], 0, atol=1e-12)
        assert np.isnan(trajectories.velocity[5:]).all()
        assert np.isnan(trajectories.acceleration[5:]).all()
        faster = read_trajectories(linked(links), window=3, frame_rate=10)
        np.testing.assert_allclose(faster.velocity, [[10, 0, 0]] * 9, atol=1e-11)
        assert (faster.frame_rate, faster.window, faster.order) == (10, 3, 2)

    def test_a_position_that_is_not_known_spoils_the_windows_that_hold_it(self, linked):
        experiment = linked({frame: [(0, 0), (1, 1)] for frame in range(12)})
        path = experiment.results / "ptv_is.4"
        path.write_bytes(path.read_bytes().replace(b"4.000      0.000", b"  nan      0.000"))
        trajectories = read_trajectories(experiment)
        assert np.flatnonzero(np.isnan(trajectories.position).any(axis=1)).tolist() == [4]
        # windows of frames 0-4 to 4-8; the first one serves for frames 0 and 1 as well
        for values in (trajectories.velocity, trajectories.acceleration):
            assert np.flatnonzero(np.isnan(values[:, 0])).tolist() == [0, 1, 2, 3, 4, 5, 6]

    @pytest.mark.parametrize(("window", "order"), [(3, 2), (5, 2), (7, 2), (9, 2), (9, 3), (15, 3)])
    def test_the_noise_of_rounding_is_what_the_document_says(self, window, order):
        document = (Path(__file__).parents[1] / "docs" / "trajectories.md").read_text(encoding="utf-8")
        rng = np.random.default_rng(1)
        exact = rng.uniform(-1, 1, (3000, 1)) + rng.normal(0, 0.3, (3000, 1)) * np.arange(window)
        error = np.repeat((np.round(exact, 3) - exact).reshape(-1, 1), 3, axis=1)
        derivatives = Fit(window, order).derivatives(np.repeat(np.arange(3000), window), error)
        row = next(line for line in document.splitlines() if line.startswith(f"| {window} | {order} | "))
        said = [float(cell) for cell in row.split("|")[3:7]]
        found = [values[point::window, 0].std() for point in (window // 2, 0) for values in derivatives]
        np.testing.assert_allclose(found, said, rtol=0.06, atol=5e-7)


class TestRealData:
    @pytest.fixture
    def tracked(self, cavity: Path, golden: Callable[[str], dict[str, bytes]]) -> Path:
        for name, data in golden("tracking").items():
            (cavity / name).parent.mkdir(exist_ok=True)
            (cavity / name).write_bytes(data)
        return cavity

    def test_every_row_is_in_one_trajectory_at_its_place(self, tracked):
        trajectories = read_trajectories(tracked)
        n_links = 0
        for frame in range(10000, 10005):
            rows = LINKS.read(tracked / "res" / f"ptv_is.{frame}")
            here = trajectories.frame == frame
            expected = np.column_stack([rows[axis] for axis in "xyz"])
            np.testing.assert_array_equal(np.sort(trajectories.position[here], axis=0), np.sort(expected, axis=0))
            n_links += np.count_nonzero(rows["next"] >= 0)
        assert n_links == 1795
        assert (trajectories.lengths - 1).sum() == n_links
        assert not refusal(lambda: list(stream_trajectories(load_experiment(tracked), 10000, 10004)))

    def test_linked_rows_follow_each_other(self, tracked, caplog):
        experiment = load_experiment(tracked)
        frames = list(linked_frames(experiment, list(range(10000, 10005))))
        for before, after in pairwise(frames):
            following = LINKS.read(tracked / "res" / f"ptv_is.{before.number}")["next"]
            linked = following >= 0
            np.testing.assert_array_equal(before.identity[linked], after.identity[following[linked]])
            assert not np.isin(before.identity[~linked], after.identity).any()
        assert caplog.text == ""


def test_trajectories_of_a_synthetic_experiment_are_the_truth(small_experiment):
    folder = small_experiment(n_frames=12, n_particles=60, dropout=0.0, displacement=0.02, images=False)
    main(folder)
    truth = read_truth(folder / "truth.csv")
    trajectories = read_trajectories(folder)
    identity = np.full(len(trajectories.id), -1)
    for frame in range(10000, 10012):
        rows, here = truth.rows_of(frame), np.flatnonzero(trajectories.frame == frame)
        pairs = match(trajectories.position[here], truth.position[rows], 0.3)
        assert (pairs >= 0).all()
        identity[here] = truth.identity[rows][pairs]
    # slow particles: every link is right, and each trajectory is one particle for as long as that is there
    owners = identity[trajectories.offsets[:-1]]
    np.testing.assert_array_equal(identity, np.repeat(owners, trajectories.lengths))
    found = set(
        zip(owners.tolist(), trajectories.frame[trajectories.offsets[:-1]].tolist(), trajectories.lengths.tolist(), strict=True)
    )
    assert found == true_stretches(truth.identity, truth.frame)


def true_stretches(identity: np.ndarray, frame: np.ndarray) -> set[tuple[int, int, int]]:
    """(particle, first frame, number of frames) of every unbroken stretch."""
    places = set(zip(identity.tolist(), frame.tolist(), strict=True))
    found = set()
    for name, number in places:
        if (name, number - 1) not in places:
            last = number
            while (name, last + 1) in places:
                last += 1
            found.add((name, number, last - number + 1))
    return found


@given(seed=st.integers(0, 10**6), n_frames=st.integers(1, 6), at_once=st.integers(1, 30))
def test_any_links_give_what_walking_along_them_gives(tmp_path_factory, seed, n_frames, at_once):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 7, n_frames)
    links: Links = {}
    previous = [
        np.where(rng.random(n) < 0.7, rng.integers(0, before, n) if before else -1, -1)
        for before, n in zip([0, *counts], counts, strict=False)
    ]
    following = [
        np.where(rng.random(n) < 0.7, rng.integers(0, after, n) if after else -2, -2)
        for n, after in zip(counts, [*counts[1:], 0], strict=True)
    ]
    for frame in range(n_frames):
        links[frame] = list(zip(previous[frame].tolist(), following[frame].tolist(), strict=True))
    expected, number = {}, 0
    for frame in range(n_frames):
        for row in range(counts[frame]):
            back = previous[frame][row]
            if frame and back >= 0 and following[frame - 1][back] == row:
                continue
            chain = [(frame, row)]
            while (after := following[chain[-1][0]][chain[-1][1]]) >= 0 and previous[chain[-1][0] + 1][after] == chain[-1][1]:
                chain.append((chain[-1][0] + 1, int(after)))
            expected[number] = chain
            number += 1
    folder = tmp_path_factory.mktemp("links")
    write_links(folder, links)
    parameters = build_parameters(AttrDict(sample_tree()), lambda section, key: f"{section}.{key}")
    experiment = Experiment(folder, folder, parameters, ())
    assert chains(read_trajectories(experiment)) == expected
    if n_frames > 3:
        (folder / "res" / "ptv_is.2").unlink()  # a gap
        expected = chains(read_trajectories(experiment))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "ROWS_AT_ONCE", at_once)
        assert {t.id: t.first for t in stream_trajectories(experiment, 0, 9)} == {k: chain[0][0] for k, chain in expected.items()}
        patch.setattr(ordered, "ROWS_AT_ONCE", at_once)
        patch.setattr(ordered, "_IDS_AT_ONCE", 1 + at_once // 3)
        patch.setattr(ordered, "_ENTRIES_AT_ONCE", 1 + at_once // 2)
        for least in (1, 2):
            in_order(experiment, least)


def in_order(experiment: Experiment, least: int) -> None:
    """That what comes from disk in blocks is what is read at once, twice."""
    expected = read_trajectories(experiment, min_length=least)
    shelf = OrderedTrajectories(experiment, None, None, min_length=least)
    for _ in range(2):
        blocks = list(shelf.blocks())
        for name in ("id", "frame", "position"):
            found = [row for block in blocks for row in getattr(block, name).tolist()]
            assert found == getattr(expected, name).tolist()
    assert (shelf.rows, shelf.trajectories) == (len(expected.id), len(expected.lengths))
    if blocks:
        frames, counts = shelf.frames
        assert np.repeat(frames, counts).tolist() == sorted(expected.frame.tolist())
    shelf.close()
