"""Results on disk: whole frames, and the sequence step's files that tracking must never lose."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from conftest import refusal, sample_tree
from hypothesis import given, settings
from hypothesis import strategies as st

from pyptv.core.base.errors import ProcessingError
from pyptv.core.experiment.folder import Experiment
from pyptv.core.experiment.parameters.attrdict import AttrDict
from pyptv.core.experiment.parameters.checks import build_parameters
from pyptv.core.files.atomic import frame_digest
from pyptv.core.files.store import Store

FRAMES = (1, 9)
SEQUENCE = {"targets1": b"t1", "targets2": b"t2", "rt_is": b"particles"}
TRACKED = {"targets1": b"t1", "targets2": b"t2 with tnr", "rt_is": b"particles and more", "added": b"a", "ptv_is": b"links"}


def make_store(folder: Path, *, existing_target: bool = False) -> Store:
    (folder / "img").mkdir()
    tree = sample_tree() | {"num_cams": 2, "pft_version": {"Existing_Target": existing_target}}
    parameters = build_parameters(AttrDict(tree), lambda *place: ".".join(place))
    return Store(Experiment(folder, folder / "parameters" / "ptv.par", parameters, ()))


@pytest.fixture
def store(tmp_path):
    store = make_store(tmp_path)
    store.open(FRAMES)
    yield store
    store.close()


def tracking(store: Store, frame: int, made: dict[str, bytes]) -> str:
    """Track a frame: ``made`` is what the tracker makes of it."""
    stage = store.stage_of(1)
    stage.mkdir(exist_ok=True)
    store.put_tracked(stage, frame, store.sequence_input(frame), made)
    store.publish_tracked(stage, frame)
    assert os.listdir(stage) == []
    return frame_digest(made)


def files(store: Store, frame: int = 7) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in store.experiment.tracking_files(frame).items() if path.exists()}


class TestOpen:
    def test_the_folders_are_made(self, tmp_path):
        store = make_store(tmp_path)
        store.open(FRAMES)
        assert sorted(os.listdir(tmp_path / "res" / ".pyptv")) == ["lock", "pristine", "runs", "stages"]
        store.close()
        assert not store.stages.exists()

    def test_a_second_run_is_refused(self, store):
        message = refusal(Store(store.experiment).open, FRAMES)
        assert message == f"{store.experiment.results}: another run is working on frames 1 to 9"

    def test_a_run_that_is_just_ending_is_waited_for(self, store):
        """As the workers of a killed run: they hold the lock until they have seen that their parent is gone."""
        again = Store(store.experiment)
        ending = threading.Timer(0.4, store.close)
        ending.start()
        try:
            again.open(FRAMES)
        finally:
            ending.join()
            again.close()

    def test_separate_ranges_side_by_side(self, store):
        """The second run leaves the first one's stage alone, and the other way round."""
        again = Store(store.experiment)
        again.open((10, 19))
        staged = [one.stage_of(1) for one in (store, again)]
        for stage in staged:
            stage.mkdir()
        assert refusal(Store(store.experiment).open, (10, 10)).endswith("another run is working on frames 10 to 19")
        again.close()
        assert [stage.exists() for stage in staged] == [True, False]
        again.open((20, 29))
        again.close()
        assert staged[0].exists()

    def test_another_experiment_with_the_same_targets_folder(self, store, tmp_path):
        """Whatever link leads there."""
        other = tmp_path / "other"
        other.mkdir()
        again = make_store(other)
        (other / "img").rmdir()
        (other / "img").symlink_to(tmp_path / "img")
        message = refusal(again.open, (50, 60))
        assert message.endswith("a run of another experiment that shares it")
        store.close()
        again.open(FRAMES)
        again.close()

    def test_the_lock_ends_with_the_run(self, store):
        store.close()
        again = Store(store.experiment)
        again.open(FRAMES)
        again.close()

    @pytest.mark.parametrize("name", [".pyptv", ".pyptv/pristine", ".pyptv/stages", ".pyptv/states", ".pyptv/journal"])
    def test_links_are_refused(self, tmp_path, name):
        store = make_store(tmp_path)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "precious").write_text("")
        link = tmp_path / "res" / name
        link.parent.mkdir(parents=True)
        link.symlink_to(elsewhere)
        assert refusal(store.open, FRAMES) == f"{link}: found a link, expected a folder of this program: remove the link"
        assert os.listdir(elsewhere) == ["precious"]

    def test_res_is_a_file(self, tmp_path):
        store = make_store(tmp_path)
        (tmp_path / "res").write_text("")
        assert refusal(store.open, FRAMES) == f"{tmp_path / 'res'}: cannot be written: File exists"

    def test_what_a_killed_run_left_is_removed(self, tmp_path):
        store = make_store(tmp_path)
        leftovers = [tmp_path / "img" / ".cam1.0001_targets.5.pyptv-tmp", tmp_path / "res" / ".rt_is.1.5.pyptv-tmp"]
        staged = tmp_path / "res" / ".pyptv" / "stages" / "run-3" / "1.rt_is"
        for path in [*leftovers, staged]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
        store.open(FRAMES)
        assert not any(path.exists() for path in [*leftovers, staged])
        store.close()


class TestSequence:
    def test_files_are_put_in_place(self, store, tmp_path):
        store.publish_sequence(7, SEQUENCE)
        assert files(store) == SEQUENCE
        assert (tmp_path / "img" / "cam2.0007_targets").read_bytes() == b"t2"
        assert store.sequence_input(7) == SEQUENCE

    def test_what_tracking_made_of_an_earlier_version_goes(self, store):
        store.publish_sequence(7, SEQUENCE)
        tracking(store, 7, TRACKED)
        store.publish_sequence(7, SEQUENCE | {"rt_is": b"other particles"})
        assert files(store) == SEQUENCE | {"rt_is": b"other particles"}
        assert store.sequence_input(7) == SEQUENCE | {"rt_is": b"other particles"}

    def test_forget(self, store):
        store.publish_sequence(7, SEQUENCE)
        tracking(store, 7, TRACKED)
        store.forget(7)
        assert files(store) == {}
        assert os.listdir(store.home / "pristine") == []
        store.forget(8)

    def test_forget_keeps_targets_that_are_input(self, tmp_path):
        store = make_store(tmp_path, existing_target=True)
        store.open(FRAMES)
        store.publish_sequence(7, SEQUENCE)
        store.forget(7)
        assert files(store) == {"targets1": b"t1", "targets2": b"t2"}
        store.close()

    def test_what_targets_were_before_a_run_that_was_stopped(self, tmp_path):
        """Behind the sequence step, and behind tracking as well; until the run has come to its end, or somebody replaces them."""
        store = make_store(tmp_path, existing_target=True)
        store.open(FRAMES)
        paths = [store.experiment.targets_path(camera, 7) for camera in (0, 1)]
        for path, given_ in zip(paths, (b"t1", b"given"), strict=True):
            path.write_bytes(given_)

        def begun_from() -> list[bytes]:
            return [store.inputs.original(7, camera, path.read_bytes()) for camera, path in enumerate(paths)]

        for made in (SEQUENCE, SEQUENCE | {"targets2": b"t2 by other parameters"}):
            store.publish_sequence(7, made)
            assert (paths[1].read_bytes(), begun_from()) == (made["targets2"], [b"t1", b"given"])
        tracking(store, 7, TRACKED)
        assert (paths[1].read_bytes(), begun_from()) == (b"t2 with tnr", [b"t1", b"given"])
        paths[1].write_bytes(b"new")
        assert begun_from() == [b"t1", b"new"]
        store.inputs.forget(FRAMES)
        assert not store.inputs.folder.exists()
        store.close()

    def test_a_missing_file(self, store, tmp_path):
        store.publish_sequence(7, SEQUENCE)
        (tmp_path / "img" / "cam1.0007_targets").unlink()
        path = tmp_path / "img" / "cam1.0007_targets"
        assert refusal(store.sequence_input, 7) == f"{path}: cannot be read: No such file or directory"
        with pytest.raises(ProcessingError, match="cannot be read"):
            store.sequence_input(7)

    def test_a_link_in_the_place_of_a_result_is_replaced(self, store, tmp_path):
        (tmp_path / "precious").write_bytes(b"precious")
        (tmp_path / "res" / "rt_is.7").symlink_to(tmp_path / "precious")
        store.publish_sequence(7, SEQUENCE)
        assert (tmp_path / "precious").read_bytes() == b"precious"
        assert files(store) == SEQUENCE


class TestStates:
    """The tracker's states: the last one of each stretch is kept."""

    def test_one_for_each_stretch(self, store):
        assert store.states() == {}
        store.save_state(1, 16, "abc", b"old")
        path = store.save_state(1, 32, "def", b"new")
        other = store.save_state(50, 60, "def", b"other")
        assert store.states() == {(1, 32, "def"): path, (50, 60, "def"): other}
        assert path.read_bytes() == b"new"


class TestTracking:
    @pytest.fixture
    def tracked(self, store):
        store.publish_sequence(7, SEQUENCE)
        assert tracking(store, 7, TRACKED) == frame_digest(TRACKED)
        return store

    def test_files_are_put_in_place_and_the_input_is_kept(self, tracked):
        assert files(tracked) == TRACKED
        assert tracked.sequence_input(7) == SEQUENCE
        assert tracked.tracked(7) == TRACKED

    def test_again_with_the_same_result(self, tracked):
        tracking(tracked, 7, TRACKED)
        assert files(tracked) == TRACKED
        assert tracked.sequence_input(7) == SEQUENCE

    def test_again_with_another_result(self, tracked):
        other = TRACKED | {"targets1": b"t1 with tnr", "targets2": b"t2", "rt_is": b"particles"}
        tracking(tracked, 7, other)
        assert files(tracked) == other
        assert tracked.sequence_input(7) == SEQUENCE

    def test_unchanged_files_are_not_written(self, store, tmp_path):
        store.publish_sequence(7, SEQUENCE)
        before = (tmp_path / "img" / "cam1.0007_targets").stat().st_ino
        tracking(store, 7, TRACKED)
        assert (tmp_path / "img" / "cam1.0007_targets").stat().st_ino == before

    def test_what_another_program_wrote_since_counts(self, tracked, tmp_path):
        (tmp_path / "res" / "rt_is.7").write_bytes(b"corrected by hand")
        assert tracked.sequence_input(7) == SEQUENCE | {"rt_is": b"corrected by hand"}
        other = TRACKED | {"rt_is": b"corrected by hand and tracked"}
        tracking(tracked, 7, other)
        assert files(tracked) == other
        assert tracked.sequence_input(7) == SEQUENCE | {"rt_is": b"corrected by hand"}

    def test_drop(self, tracked):
        for _ in range(2):
            tracked.drop_links(7)
            assert files(tracked).keys() == SEQUENCE.keys()
            assert tracked.tracked(7) is None
            assert tracked.sequence_input(7) == SEQUENCE

    def test_one_file_of_the_input(self, tracked):
        assert tracked.sequence_input(7, only="rt_is") == {"rt_is": b"particles"}

    def test_in_one_step_where_it_is_known_to_be_right(self, store, tmp_path):
        store.publish_sequence(7, SEQUENCE)
        store.put_tracked(None, 7, store.sequence_input(7), TRACKED)
        assert files(store) == TRACKED
        assert store.sequence_input(7) == SEQUENCE

    def test_a_kill_between_the_moves_loses_nothing(self, store):
        """Whatever of a frame's files had been moved when the run died: its input is still known."""
        for moved in range(6):
            store.publish_sequence(7, SEQUENCE)
            stage = store.stages / f"run-{moved}"
            stage.mkdir()
            store.put_tracked(stage, 7, SEQUENCE, TRACKED)
            kept = ["pristine", *store.experiment.tracking_files(7)][moved:]
            for name in kept:
                (stage / f"7.{name}").unlink(missing_ok=True)
            store.publish_tracked(stage, 7)
            assert store.sequence_input(7) == SEQUENCE, moved

    def test_a_frame_without_particles(self, store):
        store.publish_sequence(7, SEQUENCE | {"rt_is": b"0\n"})
        fingerprint = store.publish_empty(7)
        assert files(store) == SEQUENCE | {"rt_is": b"0\n", "added": b"0\n", "ptv_is": b"0\n"}
        assert fingerprint == frame_digest(store.tracked(7))

    @pytest.mark.parametrize(
        "damage", [lambda data: b"", lambda data: data[:-3], lambda data: data[:-8] + b"damaged!", lambda _: b"[]\n"]
    )
    def test_a_damaged_copy_is_an_error_that_says_what_to_do(self, tracked, damage):
        path = tracked.home / "pristine" / "7"
        path.write_bytes(damage(path.read_bytes()))
        message = refusal(tracked.sequence_input, 7)
        assert message.startswith(f"{path}: the copy of frame 7 from before tracking is damaged")
        assert message.endswith("run the sequence step again")
        tracked.publish_sequence(7, SEQUENCE)
        assert tracked.sequence_input(7) == SEQUENCE

    def test_the_copies_do_not_grow_with_every_run(self, tracked):
        path = tracked.home / "pristine" / "7"
        sizes = []
        for run in range(30):
            tracking(tracked, 7, TRACKED | {"rt_is": b"tracked %06d" % run})
            sizes.append(path.stat().st_size)
        assert sizes[-1] == sizes[-2]
        assert tracked.sequence_input(7) == SEQUENCE

    @settings(max_examples=60)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["sequence", "track", "foreign", "drop"]), st.sampled_from("abcd"), st.sampled_from("abcd")
            ),
            max_size=12,
        )
    )
    def test_any_history(self, history):
        """The input of tracking is always what the sequence step, or another program, wrote last."""
        with TemporaryDirectory() as folder:
            store = make_store(Path(folder))
            store.open(FRAMES)
            truth = {"targets1": b"a", "targets2": b"b", "rt_is": b"c"}
            store.publish_sequence(7, truth)
            for number, (action, one, two) in enumerate(history):
                if action == "sequence":
                    truth = {"targets1": one.encode(), "targets2": two.encode(), "rt_is": b"r"}
                    store.publish_sequence(7, truth)
                elif action == "track":
                    made = {name: data + b"+" + one.encode() if two != "a" else data for name, data in truth.items()}
                    tracking(store, 7, made | {"added": b"", "ptv_is": b""})
                    assert files(store) == made | {"added": b"", "ptv_is": b""}
                elif action == "foreign":
                    name = "rt_is" if one > "b" else "targets1"
                    truth = truth | {name: b"foreign %d" % number}
                    store.experiment.sequence_files(7)[name].write_bytes(truth[name])
                else:
                    store.drop_links(7)
                    assert files(store).keys() == truth.keys()
                assert store.sequence_input(7) == truth
            store.close()
