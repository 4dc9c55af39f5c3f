"""The journal: what is read of it is true, whatever happened to the file."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyptv.core.base.events import FrameDone, FrameFailed, StepDone, TaskDone
from pyptv.core.history.journal import Journal, Past, differences, read_journal

INPUTS = {"parameters": {"imx": 1280}, "versions": {"optv": "0.3.2"}}


def frame(number: int, digest: str = "abc") -> FrameDone:
    return FrameDone(number, (3, 4), (5, 6), 7, digest, 100, ((10, 20), (30, 40)), {"read": 0.1})


def step(number: int, digest: str = "def") -> StepDone:
    return StepDone(1, number, digest, current=5, next=6, links=4, lost=1, added=2, stretch=0, last=9)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.jsonl"


@pytest.fixture
def written(path):
    """A journal of three frames, two of them tracked."""
    journal = Journal(path, INPUTS, Past())
    for event in (frame(1), frame(2), step(1), frame(3), step(2)):
        journal.record(event)
    journal.close()
    return path


numbers = st.integers(0, 2**40)
texts = st.text(max_size=5)
frames = st.builds(
    FrameDone,
    numbers,
    st.lists(numbers).map(tuple),
    st.lists(numbers).map(tuple),
    numbers,
    texts,
    numbers,
    st.lists(st.tuples(numbers, numbers)).map(tuple),
)
steps = st.builds(StepDone, numbers, numbers, texts, numbers, numbers, numbers, numbers, numbers, numbers, st.none() | numbers)


class TestRoundTrip:
    def test_frames_and_steps(self, written):
        past = read_journal(written)
        assert past.inputs == INPUTS
        assert past.frames[1] == FrameDone(1, (3, 4), (5, 6), 7, "abc", 100, ((10, 20), (30, 40)))
        assert sorted(past.frames) == [1, 2, 3]
        assert past.steps == {1: step(1), 2: step(2)}

    @settings(max_examples=40)
    @given(st.lists(frames | steps, max_size=12))
    def test_any_events(self, events):
        with TemporaryDirectory() as folder:
            journal = Journal(Path(folder) / "j", INPUTS, Past())
            for event in events:
                journal.record(event)
            journal.close()
            past = read_journal(Path(folder) / "j")
            expected_frames, expected_steps = {}, {}
            for event in events:
                if isinstance(event, FrameDone):
                    expected_frames[event.frame] = event
                    expected_steps.pop(event.frame, None)
                else:
                    expected_steps[event.frame] = event
            assert (past.frames, past.steps) == (expected_frames, expected_steps)
            again = Journal(Path(folder) / "k", INPUTS, past)
            again.close()
            assert read_journal(Path(folder) / "k") == past

    def test_what_is_kept_of_an_earlier_run_comes_first(self, written):
        past = read_journal(written)
        journal = Journal(written, {"new": 1}, Past(None, {1: past.frames[1]}, {}))
        journal.record(frame(8))
        journal.close()
        again = read_journal(written)
        assert again.inputs == {"new": 1}
        assert sorted(again.frames) == [1, 8]
        assert again.steps == {}

    def test_a_frame_done_again_loses_its_links(self, written):
        journal = Journal(written, INPUTS, read_journal(written))
        journal.record(frame(1, "other"))
        journal.close()
        past = read_journal(written)
        assert past.frames[1].digest == "other"
        assert sorted(past.steps) == [2]

    def test_only_what_is_done_is_noted(self, path):
        journal = Journal(path, INPUTS, Past())
        before = path.read_bytes()
        journal.record(FrameFailed(1, "too bad"))
        journal.record(TaskDone(1))
        journal.close()
        assert path.read_bytes() == before

    def test_a_line_is_on_disk_as_soon_as_it_is_recorded(self, path):
        journal = Journal(path, INPUTS, Past())
        journal.record(frame(1))
        assert sorted(read_journal(path).frames) == [1]
        journal.close()


class TestDamage:
    def test_no_journal(self, path):
        assert read_journal(path) == Past()

    def test_an_empty_one(self, path):
        path.write_bytes(b"")
        assert read_journal(path) == Past()

    def test_a_cut_anywhere_loses_only_what_follows(self, written):
        data = written.read_bytes()
        whole = read_journal(written)
        for length in range(len(data)):
            written.write_bytes(data[:length])
            past = read_journal(written)
            lines = data[:length].count(b"\n")
            assert (past.inputs is not None) == (lines > 0)
            assert len(past.frames) + len(past.steps) == max(0, lines - 1)
            assert past.frames.items() <= whole.frames.items()
            assert past.steps.items() <= whole.steps.items()

    def test_a_changed_byte_loses_only_its_line(self, written):
        data = written.read_bytes()
        whole = read_journal(written)
        for place in range(len(data)):
            written.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            past = read_journal(written)
            if past.inputs is not None:
                assert past.inputs == INPUTS
            assert all(whole.frames[number] == event for number, event in past.frames.items())
            assert all(whole.steps[number] == event for number, event in past.steps.items())
            assert len(past.frames) + len(past.steps) >= 3  # two lines at most: the byte may be the end of one

    @pytest.mark.parametrize("garbage", [b"garbage\n", b"\0" * 4096, b"\xff\xfe\n\n\n", b"00000000 {}\n", b"zzzzzzzz {}\n"])
    def test_garbage_between_lines(self, written, garbage):
        whole = read_journal(written)
        lines = written.read_bytes().splitlines(keepends=True)
        written.write_bytes(
            garbage.join(lines[:3]) + b"".join(lines[3:]) if garbage.endswith(b"\n") else b"".join(lines) + garbage
        )
        assert read_journal(written) == whole

    @pytest.mark.parametrize(
        "entry",
        [
            [],
            5,
            {"kind": "frame"},
            {"kind": "frame", "frame": 9, "images": [[1]], "targets": [], "counts": []},
            {"kind": "step", "frame": 9, "colour": "red"},
            {"kind": "inputs", "format": 99, "inputs": {}},
            {"kind": "inputs"},
            {"kind": "song"},
        ],
    )
    def test_lines_of_another_version_do_not_count(self, written, entry):
        whole = read_journal(written)
        text = json.dumps(entry).encode()
        with written.open("ab") as file:
            file.write(b"%08x %s\n" % (zlib.crc32(text), text))
        assert read_journal(written) == whole

    @given(st.binary(max_size=200))
    def test_random_bytes(self, data):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "j"
            path.write_bytes(data)
            assert read_journal(path) == Past()


class TestDifferences:
    def test_none(self):
        assert differences(INPUTS, json.loads(json.dumps(INPUTS))) == []

    def test_values_lists_and_missing_ones(self):
        before = {"parameters": {"imx": 1280, "thresholds": [1, 2]}, "camera 1": {"cc": 80.0}}
        now = {"parameters": {"imx": 1281, "thresholds": [1, 3]}, "camera 2": {"cc": 80.0}}
        assert differences(before, now) == [
            "parameters.imx: 1280 -> 1281",
            "parameters.thresholds: [1, 2] -> [1, 3]",
            "camera 1.cc: 80.0 -> nothing",
            "camera 2.cc: nothing -> 80.0",
        ]

    def test_a_tuple_is_as_good_as_a_list(self):
        assert differences({"a": [1, 2]}, {"a": (1, 2)}) == []
