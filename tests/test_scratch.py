"""The scratch folder of a run, and the locks that tell whether its run is alive."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from conftest import refusal, run_python

from pyptv.core.files import scratch
from pyptv.core.files.locks import HeldError, lock
from pyptv.core.files.scratch import remove_scratch, scratch_folder


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A short place for scratch folders."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def test_a_folder_of_ones_own(base):
    one, two = scratch_folder(), scratch_folder()
    assert one.parent == two.parent == base
    assert one != two
    assert one.stat().st_mode & 0o077 == 0
    for folder in (one, two):
        remove_scratch(folder)
    assert list(base.iterdir()) == []


def test_those_of_dead_runs_are_removed_and_no_others(base):
    code = f"""
import os, tempfile
tempfile.tempdir = {str(base)!r}
from pyptv.core.files.scratch import scratch_folder
(scratch_folder() / "file").write_text("")
os._exit(9)
"""
    assert run_python("-c", code).returncode == 9
    assert len(list(base.iterdir())) == 1
    (base / "pyptv-run-of-somebody-else").mkdir()
    (base / "precious").mkdir()
    (base / "pyptv-run-link").symlink_to(base / "precious")
    alive = scratch_folder()
    mine = scratch_folder()
    assert sorted(base.iterdir()) == sorted(
        [alive, mine, base / "pyptv-run-of-somebody-else", base / "precious", base / "pyptv-run-link"]
    )
    remove_scratch(alive)
    remove_scratch(mine)


def test_one_that_another_run_removes_before_it_is_locked_is_made_again(base, monkeypatch):
    taken = []

    def late(path: Path):
        if len(taken) == 0:
            taken.append(path)
            raise HeldError(str(path))
        file, locked = lock(path)
        if len(taken) == 1:
            taken.append(path)
            shutil.rmtree(path.parent)
        return file, locked

    monkeypatch.setattr(scratch, "lock", late)
    folder = scratch_folder()
    assert folder.is_dir()
    assert folder / "lock" not in taken
    remove_scratch(folder)


def test_a_place_that_c_cannot_take_is_not_used(base, monkeypatch):
    strange = base / "é"
    strange.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(strange))
    folder = scratch_folder()
    assert folder.parent != strange
    remove_scratch(folder)


def test_no_place_at_all(monkeypatch):
    monkeypatch.setattr(scratch, "_bases", lambda: [Path("/proc/none"), Path("/sys/none")])
    message = refusal(scratch_folder)
    assert message.startswith("No scratch folder for the tracker (/proc/none: No such file or directory; /sys/none: ")
    assert message.endswith("a temporary folder with a short ASCII path that can be written: set TMPDIR to one")


def test_without_a_temporary_folder_another_place_is_found(base, monkeypatch):
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    folder = scratch_folder()
    assert folder.parent != base
    remove_scratch(folder)
    assert not folder.exists()


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can make folders of other users")
def test_those_of_other_users_are_left_alone(base):
    theirs = base / "pyptv-run-abcdefgh"
    theirs.mkdir()
    (theirs / "lock").touch()
    os.chown(theirs, 65534, 65534)
    folder = scratch_folder()  # root may look into it, and must not
    assert theirs.is_dir()
    remove_scratch(folder)


class TestLocks:
    def test_one_holder(self, tmp_path):
        held, locked = lock(tmp_path / "lock")
        assert locked
        with pytest.raises(HeldError):
            lock(tmp_path / "lock")
        held.close()
        again, locked = lock(tmp_path / "lock")
        assert locked
        again.close()

    def test_no_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            lock(tmp_path / "none" / "lock")

    def test_it_ends_with_the_process(self, tmp_path):
        path = tmp_path / "lock"
        code = f"import os, pathlib; from pyptv.core.files.locks import lock; lock(pathlib.Path({str(path)!r})); os._exit(9)"
        assert run_python("-c", code).returncode == 9
        held, locked = lock(path)
        assert locked
        held.close()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
    def test_a_forked_process_can_leave_it_to_its_parent(self, tmp_path):
        path = tmp_path / "lock"
        code = f"""
import os, pathlib, sys, time
from pyptv.core.files.locks import leave_to_parent, lock
lock_file, _ = lock(pathlib.Path({str(path)!r}))
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    os.close(0), os.close(1), os.close(2)
    leave_to_parent()
    os.write(write, b"x")
    time.sleep(10)
    os._exit(0)
os.read(read, 1)
try:
    lock(pathlib.Path({str(path)!r}))
except Exception as error:
    print(type(error).__name__)
os._exit(9)
"""
        done = run_python("-c", code)
        assert (done.returncode, done.stdout) == (9, "HeldError\n")
        held, locked = lock(path)  # the child still lives
        assert locked
        held.close()
