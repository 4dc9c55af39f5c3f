"""Names of images: every form becomes one printf pattern, and what a form leaves open the files decide."""

from __future__ import annotations

import logging
import pickle

import pytest

from pyptv.core.experiment.image_names import (
    expand,
    fixed_folder,
    frames_there,
    name_problem,
    patterns_there,
    resolve,
    what_is_there,
)
from pyptv.core.experiment.listing import FolderListing

UNPADDED = ["cam1.8", "cam1.9", "cam1.10", "cam1.10_targets", "cam1.123456789_targets", "cam2.8", "cam1.tif.ori"]
PADDED = ["cam1.0098", "cam1.0099", "cam1.0100", "cam1.12345"]


def files(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ("there", "written", "pattern"),
    [
        (UNPADDED, "img/cam1.%d", "img/cam1.%d"),
        (UNPADDED, "img/cam1.", "img/cam1.%d"),
        (UNPADDED, "img/cam1.#", "img/cam1.%d"),
        (PADDED, "img/cam1.", "img/cam1.%04d"),
        (PADDED, "img/cam1.%d", "img/cam1.%d"),  # says what it wants
        ([f"{name}.tif" for name in UNPADDED], "img/cam1.", "img/cam1.%d.tif"),
        ([f"{name}.TIF" for name in PADDED], "img\\cam1.#", "img/cam1.%04d.TIF"),
        (["cam1_10001.tif", "cam1_10002.tif"], "img/cam1_#.tif", "img/cam1_%d.tif"),
        (["Cam10000000999.tif", "Cam10000001000.tif"], "img/Cam1000000#.tif", "img/Cam1000000%04d.tif"),
        (["Cam10000001000.tif", "Cam10000001001.tif"], "img/Cam1000000#.tif", "img/Cam1000000%d.tif"),
        (["0007/a.png", "0008/a.png"], "img/####/a.png", "img/%04d/a.png"),
        ([], "img/cam1.", "img/cam1.%d"),
        ([], "img/cam1.####", "img/cam1.%04d"),
        (["c1", "c2", "c1.tif", "c2.tif", "c3.tif"], "img/c", "img/c%d.tif"),  # what names more files
        (["c1", "c2", "c1.tif", "c2.tif"], "img/c", "img/c%d"),  # the C library's own form
        (["c1.txt", "c2.dat", "c7_targets"], "img/c", "img/c%d"),
        (["7.tif"], "img/", "img/%d.tif"),
        (["a#3/c7"], "img/a#3/c#", "img/a#3/c%d"),
        (["50%/c7"], "img/50%%/c", "img/50%%/c%d"),
    ],
)
def test_what_the_files_decide(tmp_path, caplog, there, written, pattern):
    files(tmp_path / "img", *there)
    with caplog.at_level(logging.DEBUG, "pyptv"):
        assert resolve(written, tmp_path, FolderListing()) == pattern
    if "%d" in written:
        assert caplog.messages == []
    else:
        assert f"are read as {pattern}: " in caplog.messages[0]


@pytest.mark.parametrize("written", ["--", "---", "", "img/%d_%d", "img/%s", "img/50%/c", "img/c%", "img/%5.2f", "a\0b", "a\nb"])
def test_what_is_no_name(written):
    assert "expected" in name_problem(written)


@pytest.mark.parametrize("written", ["img/cam1.", "img/cam1.%d", "img/%05d.tif", "img/#", "img/50%%/c%i", "%d", "cam-"])
def test_what_is_one(written):
    assert name_problem(written) is None


def test_frames_that_are_there(tmp_path):
    files(tmp_path / "img", "c.0009.tif", "c.0010.tif", "c.10.tif", "c.12345.tif", "c.0011.tif_targets", "d.0007.tif")
    files(tmp_path / "seq", "3/c.tif", "4/c.tif")
    assert frames_there("img/c.%04d.tif", tmp_path, FolderListing()) == {9, 10, 12345}
    assert frames_there("img/c.%d.tif", tmp_path, FolderListing()) == {10, 12345}
    assert frames_there("seq/%d/c.tif", tmp_path, FolderListing()) == {3, 4}
    assert frames_there("none/%d", tmp_path, FolderListing()) == set()
    assert (fixed_folder("seq/%d/c.tif"), fixed_folder("c%d"), fixed_folder("a/b%%/c%d")) == ("seq", ".", "a/b%")
    assert expand("img/50%%/c%.4d", 7) == "img/50%/c0007"


def test_what_is_there_instead(tmp_path):
    """The pattern of the same camera is proposed, never that of another one."""
    (tmp_path / "img").mkdir()
    assert what_is_there("img/cam1.%d", tmp_path, FolderListing()) == "img is empty"
    files(tmp_path / "img", "notes.txt")
    assert what_is_there("img/cam1.%d", tmp_path, FolderListing()) == "img holds no image with a number in its name"
    files(tmp_path / "img", "cam1_0001.tif", "cam1_0002.tif", "cam2.1.tif", "cam2.2.tif", "cam2.3.tif")
    proposed = "img holds cam1_0001.tif to cam1_0002.tif (2 files): write img/cam1_%04d.tif"
    assert what_is_there("img/cam1.%d.tif", tmp_path, FolderListing()) == proposed
    assert what_is_there("img/cam3.%d.tif", tmp_path, FolderListing()) == "img holds cam2.1.tif to cam2.3.tif (3 files)"
    assert patterns_there(["a_01.png", "a_02.png", "b.7", "b.8_targets", "x"]) == {
        "a_%02d.png": ("a_01.png", "a_02.png", 2),
        "b.%d": ("b.7", "b.7", 1),
    }


def test_a_listing_is_handed_over_once_and_stays_at_home(tmp_path):
    files(tmp_path, "a")
    listing = FolderListing()
    assert listing.names(tmp_path) == {"a"}
    files(tmp_path, "b")
    later = listing.hand_over()
    assert later.names(tmp_path) == {"a"}
    assert listing.names(tmp_path) == {"a", "b"}
    assert pickle.loads(pickle.dumps(later)).names(tmp_path) == {"a", "b"}
