"""What is no file is refused at once: to open a pipe would wait for ever."""

from __future__ import annotations

import os
import socket

import pytest
from conftest import refusal

from pyptv.core.base.regular_files import NotRegularError, open_regular, read_regular
from pyptv.core.experiment.folder import load_experiment
from pyptv.core.files.formats import PARTICLES
from pyptv.core.files.locks import lock


def test_a_file_is_read(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"some\r\nbytes")
    with open_regular(path) as file:
        assert file.read() == b"some\r\nbytes"
    assert read_regular(path) == b"some\r\nbytes"
    (tmp_path / "link").symlink_to(path)
    assert read_regular(tmp_path / "link") == b"some\r\nbytes"


def test_a_file_is_made_and_appended_to(tmp_path):
    path = tmp_path / "file"
    for part in (b"one", b"two"):
        with open_regular(path, create=True) as file:
            file.write(part)
    assert path.read_bytes() == b"onetwo"


def test_too_large_a_file_is_not_read(tmp_path):
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(2**40)  # takes no place on the disk
    with pytest.raises(OSError, match="found 1099511627776 bytes, expected at most 1073741824"):
        read_regular(path)


def test_all_else_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(tmp_path / "socket"))
        for path, kind in ((tmp_path / "pipe", "a pipe"), (tmp_path, "a folder"), ("/dev/zero", "a device")):
            with pytest.raises(NotRegularError, match=f"found {kind}, expected a file"):
                open_regular(path)
        with pytest.raises(OSError, match="No such device or address"):
            open_regular(tmp_path / "socket")
    with pytest.raises(NotRegularError, match="found a pipe"):
        open_regular(tmp_path / "pipe", create=True)


@pytest.mark.parametrize("name", ["parameters/track.par", "cal/cam2.tif.ori", "cal/cam3.tif.addpar"])
def test_a_pipe_for_a_parameter_file(small_experiment, name):
    folder = small_experiment()
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert str(folder / name) in refusal(load_experiment, folder)
    assert "found a pipe, expected a file" in refusal(load_experiment, folder)


def test_a_pipe_for_a_result_or_a_lock(tmp_path):
    path = tmp_path / "rt_is.1"
    os.mkfifo(path)
    assert refusal(PARTICLES.read, path) == f"{path}: cannot be read: found a pipe, expected a file"
    with pytest.raises(NotRegularError):
        lock(path)
