"""The journal: what is read of it is true, whatever happened to the files."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyptv.core.base.events import FrameDone, StepDone
from pyptv.core.history import journal as module
from pyptv.core.history.journal import Journal, Writer, differences, read_entry, start

INPUTS = {"parameters": {"imx": 1280}, "versions": {"optv": "0.3.2"}}
IDS = {"frames": "f1", "track": "a1"}
RANGE = (1, 9)


def frame(number: int, digest: str = "abc") -> FrameDone:
    images = ((10, 20, 1), (30, 40, 2))
    return FrameDone(number, (3, 4), (5, 6), 7, digest, "part", size=100, images=images, seconds={"read": 0.1})


def step(number: int, digest: str = "def") -> StepDone:
    return StepDone(1, number, digest, current=5, next=6, links=4, lost=1, added=2, stretch=0, last=9)


def write(folder: Path, *events, ids=IDS, inputs=INPUTS) -> int:
    """One run of one worker."""
    serial = start(folder, {stage: (fingerprint, inputs) for stage, fingerprint in ids.items()})
    writer = Writer(folder, serial, ids)
    for event in events:
        writer.note(event)
    writer.close()
    return serial


def read(folder: Path, ids=IDS, frames=RANGE) -> tuple[dict[int, str], dict[int, str]]:
    """The fingerprints of frames and of their links, as they are noted."""
    journal = Journal(folder, frames, ids)
    found: tuple[dict[int, str], dict[int, str]] = {}, {}
    for number in range(frames[0], frames[1] + 1):
        for kept, entry in zip(found, journal.past(number) or (), strict=False):
            line = read_entry(folder, entry) if entry else None
            if line is not None:
                assert line["frame"] == number
                kept[number] = line["digest"]
    return found


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "journal"


@pytest.fixture
def written(folder):
    """Three frames, two of them tracked, in one file; and its path."""
    write(folder, frame(1), frame(2), step(1), frame(3), step(2))
    (path,) = [path for path in folder.iterdir() if "inputs" not in path.name]
    return path


class TestRoundTrip:
    def test_frames_and_steps(self, folder, written):
        assert read(folder) == ({1: "abc", 2: "abc", 3: "abc"}, {1: "def", 2: "def"})
        assert Journal(folder, RANGE, IDS).inputs == {"frames": INPUTS, "track": INPUTS}

    def test_all_that_a_later_run_needs(self, folder, written):
        past = Journal(folder, RANGE, IDS).past(1)
        line = read_entry(folder, past.frame)
        assert line["targets"], line["images"] == ([3, 4], [[10, 20, 1], [30, 40, 2]])
        assert (line["counts"], line["particles"], line["particles_digest"], line["size"]) == ([5, 6], 7, "part", 100)
        line = read_entry(folder, past.step)
        assert {name: line[name] for name in ("current", "next", "links", "lost", "added", "stretch", "last")} == {
            "current": 5,
            "next": 6,
            "links": 4,
            "lost": 1,
            "added": 2,
            "stretch": 0,
            "last": 9,
        }

    def test_a_later_run_adds_and_forgets_nothing(self, folder, written):
        assert write(folder, frame(1, "new"), frame(5)) == 2
        assert read(folder)[0] == {1: "new", 2: "abc", 3: "abc", 5: "abc"}

    def test_other_inputs_do_not_count_and_do_not_replace(self, folder, written):
        write(folder, frame(1, "other"), ids={"frames": "f2", "track": "a1"}, inputs={"parameters": {"imx": 99}})
        assert read(folder)[0] == {1: "abc", 2: "abc", 3: "abc"}
        assert read(folder, ids={"frames": "f2", "track": "a1"})[0] == {1: "other"}
        assert read(folder, ids={"frames": None, "track": "a1"})[0] == {1: "other", 2: "abc", 3: "abc"}
        journal = Journal(folder, RANGE, {"frames": "f2", "track": "a1"})
        assert journal.inputs["frames"] == {"parameters": {"imx": 99}}
        assert journal.other_frames == 3

    def test_frames_outside_the_range_are_passed_over(self, folder, written):
        assert read(folder, frames=(2, 2)) == ({2: "abc"}, {2: "def"})

    def test_a_line_is_on_disk_as_soon_as_it_is_noted(self, folder):
        writer = Writer(folder, start(folder, {}), IDS)
        writer.note(frame(1))
        assert read(folder)[0] == {1: "abc"}
        writer.close()

    @settings(max_examples=30)
    @given(st.lists(st.lists(st.tuples(st.booleans(), st.integers(1, 9), st.integers(0, 3)), max_size=5), max_size=7))
    def test_many_files_become_one(self, runs):
        """What counts stays the same when the files of earlier runs are put together."""
        with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
            folder = Path(name) / "journal"
            for number, run in enumerate(runs):
                events = [frame(f, f"{number}.{d}") if is_frame else step(f, f"{number}.{d}") for is_frame, f, d in run]
                write(folder, *events)
            before = read(folder)
            patch.setattr(module, "_MOST_FILES", 1)
            write(folder)
            assert read(folder) == before
            assert len(list(folder.iterdir())) <= 2


class TestDamage:
    def test_no_journal(self, folder):
        assert read(folder) == ({}, {})

    def test_a_cut_anywhere_loses_only_what_follows(self, folder, written):
        data = written.read_bytes()
        whole = read(folder)
        for length in range(0, len(data), 7):
            written.write_bytes(data[:length])
            frames, steps = read(folder)
            assert len(frames) + len(steps) == data[:length].count(b"\n")
            assert frames.items() <= whole[0].items()
            assert steps.items() <= whole[1].items()

    def test_a_changed_byte_loses_only_its_line(self, folder, written):
        data = written.read_bytes()
        whole = read(folder)
        for place in range(0, len(data), 5):
            written.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            frames, steps = read(folder)
            assert frames.items() <= whole[0].items()
            assert steps.items() <= whole[1].items()
            assert len(frames) + len(steps) >= 3  # two lines at most: the byte may be the end of one

    @pytest.mark.parametrize(
        "garbage", [b"garbage\n", b"\xff\xfe\n\n\n", b"00000000 {}\n", b"zzzzzzzz {}\n", b"[" * 5000 + b"\n"]
    )
    def test_garbage_between_lines(self, folder, written, garbage):
        whole = read(folder)
        written.write_bytes(garbage.join(written.read_bytes().splitlines(keepends=True)))
        assert read(folder) == whole

    @pytest.mark.parametrize("size", [4096, 3 * 2**20])
    def test_a_line_without_an_end(self, folder, written, size):
        whole = read(folder)
        with written.open("ab") as file:
            file.write(b"0" * size)
        assert read(folder) == whole

    @pytest.mark.parametrize(
        "entry", [[], 5, {"kind": "frame"}, {"kind": "inputs", "format": 99, "inputs": {}}, {"kind": "song"}]
    )
    def test_lines_of_another_version_do_not_count(self, folder, written, entry):
        whole = read(folder)
        text = json.dumps(entry).encode()
        with written.open("ab") as file:
            file.write(b"%08x %s\n" % (zlib.crc32(text), text))
        assert read(folder) == whole
        assert Journal(folder, RANGE, IDS).inputs == {"frames": INPUTS, "track": INPUTS}

    def test_a_line_that_is_gone_by_the_time_it_is_read(self, folder, written):
        past = Journal(folder, RANGE, IDS).past(1)
        written.write_bytes(b"")
        assert read_entry(folder, past.frame) is None
        written.unlink()
        assert read_entry(folder, past.frame) is None

    @given(st.binary(max_size=200))
    def test_random_bytes(self, data):
        with TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "000001-x.jsonl").write_bytes(data)
            assert read(folder) == ({}, {})


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
