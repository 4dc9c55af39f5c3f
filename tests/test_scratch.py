"""The scratch folder of a run, and the locks that tell whether its run is alive."""

from __future__ import annotations

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
    monkeypatch.setattr(scratch.os, "access", lambda *_: False)
    assert refusal(scratch_folder).endswith("needs a temporary folder with a short ASCII path: set TMPDIR to one")


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
