"""Files that are whole or not there."""

from __future__ import annotations

import errno
import os
import resource
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyptv.core.files import atomic
from pyptv.core.files.atomic import digest, frame_digest, move, remove_leftovers, write_atomic


def test_a_new_file(tmp_path):
    write_atomic(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"
    assert os.listdir(tmp_path) == ["file"]


def test_an_old_file_is_replaced_and_readers_keep_what_they_opened(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with path.open("rb") as file:
        write_atomic(path, b"new")
        assert file.read() == b"old"
    assert path.read_bytes() == b"new"


def test_the_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "usual").write_bytes(b"")
    write_atomic(tmp_path / "file", b"")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_link_is_replaced_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"precious")
    (tmp_path / "file").symlink_to(tmp_path / "elsewhere")
    write_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_link_in_the_place_of_the_unfinished_file_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"precious")
    (tmp_path / f".file.{os.getpid()}.pyptv-tmp").symlink_to(tmp_path / "elsewhere")
    write_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"
    assert (tmp_path / "file").read_bytes() == b"new"


def test_an_unfinished_file_of_a_killed_run_is_no_obstacle(tmp_path):
    (tmp_path / f".file.{os.getpid()}x{atomic._TOKEN}.pyptv-tmp").write_bytes(b"half a fi")
    write_atomic(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == ["file"]


class TestFailures:
    def test_no_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError) as caught:
            write_atomic(tmp_path / "res" / "file", b"")
        assert caught.value.filename == str(tmp_path / "res" / "file")

    def test_full_disk(self, tmp_path):
        """A limit of the file size fails like a full disk: in the middle of the write."""
        path = tmp_path / "file"
        path.write_bytes(b"old")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
            with pytest.raises(OSError, match="File too large") as caught:
                write_atomic(path, b"x" * 5000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert caught.value.filename == str(path)
        assert path.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["file"]

    def test_interrupted(self, tmp_path, monkeypatch):
        def interrupt(_self: Path, _target: Path) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Path, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_atomic(tmp_path / "file", b"new")
        assert os.listdir(tmp_path) == []


class TestMove:
    def test_within_a_file_system(self, tmp_path):
        (tmp_path / "a").write_bytes(b"new")
        (tmp_path / "b").write_bytes(b"old")
        move(tmp_path / "a", tmp_path / "b")
        assert (tmp_path / "b").read_bytes() == b"new"
        assert os.listdir(tmp_path) == ["b"]

    def test_to_another_file_system(self, tmp_path, monkeypatch):
        (tmp_path / "a").write_bytes(b"new")
        replace = Path.replace

        def other_device(self: Path, target: Path) -> Path:
            if self.name == "a":
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", other_device)
        move(tmp_path / "a", tmp_path / "b")
        assert os.listdir(tmp_path) == ["b"]
        assert (tmp_path / "b").read_bytes() == b"new"

    def test_what_is_not_there(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            move(tmp_path / "a", tmp_path / "b")


def test_only_our_own_leftovers_are_removed(tmp_path):
    for name in (".rt_is.1.99.pyptv-tmp", "rt_is.1", ".hidden", "notes.pyptv-tmp"):
        (tmp_path / name).write_bytes(b"")
    assert remove_leftovers([tmp_path, tmp_path / "not there"]) == 1
    assert sorted(os.listdir(tmp_path)) == [".hidden", "notes.pyptv-tmp", "rt_is.1"]


class TestDigests:
    def test_known(self):
        assert digest(b"") == "cae66941d9efbd404e4d88758ea67670"  # b2sum --length 128

    @given(st.dictionaries(st.sampled_from(["rt_is", "targets1", "targets2"]), st.binary(max_size=5)), st.randoms())
    def test_of_a_frame_depends_on_names_and_bytes_not_on_order(self, files, random):
        items = list(files.items())
        random.shuffle(items)
        assert frame_digest(dict(items)) == frame_digest(files)
        assert frame_digest(files | {"added": b""}) != frame_digest(files)
        if files:
            name, data = items[0]
            assert frame_digest(files | {name: data + b"x"}) != frame_digest(files)
