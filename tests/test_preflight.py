"""Checks before any frame: everything that can be known, all at once, nothing written."""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from functools import partial
from types import SimpleNamespace

import pytest
from conftest import results
from PIL import Image

from pyptv.core.app import input_files, preflight
from pyptv.core.app.preflight import Findings, check_experiment, frames_outside
from pyptv.core.experiment.folder import load_experiment
from pyptv.pyptv_batch import main

FRAMES = (10000, 10005)


@pytest.fixture
def folder(small_experiment):
    return small_experiment()


def check(folder, frames=FRAMES, mode="both", **options) -> Findings:
    return check_experiment(load_experiment(folder), frames, mode=mode, **options)


def test_a_good_experiment(folder):
    before = sorted(folder.rglob("*"))
    findings = check(folder)
    assert (findings.problems, findings.hints, findings.missing) == ([], [], {})
    assert findings.estimated_bytes > 0
    assert sorted(folder.rglob("*")) == before


class TestMissingFiles:
    def test_all_are_listed_at_once(self, folder):
        for camera, frame in ((2, 10001), (3, 10001), (1, 10004)):
            (folder / "img" / f"cam{camera}.{frame}.tif").unlink()
        findings = check(folder)
        assert sorted(findings.missing) == [10001, 10004]
        first, second = folder / "img" / "cam2.10001.tif", folder / "img" / "cam1.10004.tif"
        there = "All cameras have images of frames 10000, 10002-10003, 10005"
        assert findings.problems == [f"2 frames (10001, 10004) lack a file: {first}, {second}. {there}"]

    def test_many_are_counted_and_some_named(self, folder):
        findings = check(folder, (10000, 20000))
        (problem,) = findings.problems
        assert problem.startswith("9995 frames (10006-20000) lack a file: ")
        assert problem.endswith("and 9990 more. All cameras have images of frames 10000-10005")

    def test_a_slip_of_the_pen_in_the_last_frame(self, folder, monkeypatch):
        """Ten thousand million frames are not looked for one by one."""
        monkeypatch.setattr(input_files, "MOST_MISSING", 1000)
        problem, *_ = check(folder, (10000, 10**10)).problems
        assert problem.startswith("1000 or more frames (10006-11005) lack a file: ")

    def test_each_folder_is_read_once(self, folder, monkeypatch):
        """Not a look at the disk for each of a hundred thousand files."""
        reads: Counter = Counter()
        listdir = os.listdir

        def counting(path):
            reads[str(path)] += 1
            return listdir(path)

        monkeypatch.setattr(preflight.os, "listdir", counting)
        check(folder, (10000, 20000))
        assert reads == {str(folder): 1, str(folder / "img"): 1, str(folder / "res"): 1}

    def test_they_are_no_problem_where_frames_may_be_skipped(self, folder):
        (folder / "img" / "cam2.10001.tif").unlink()
        findings = check(folder, skip_missing=True)
        assert findings.problems == []
        assert findings.hints[0].startswith("1 frame (10001) lacks a file")

    def test_the_first_image_is_told_once(self, folder):
        (folder / "img" / "cam2.10000.tif").unlink()
        assert len(check(folder).problems) == 1

    def test_tracking_needs_the_sequence_steps_results(self, folder):
        (problem,) = check(folder, mode="tracking").problems
        assert problem.startswith(f"6 frames (10000-10005) lack a file: {folder / 'img' / 'cam1.10000_targets'}")
        main(folder, mode="sequence")
        assert check(folder, mode="tracking").problems == []
        (folder / "res" / "rt_is.10002").unlink()
        (problem,) = check(folder, mode="tracking").problems
        assert problem == (
            f"1 frame (10002) lacks a file: {folder / 'res' / 'rt_is.10002'}. "
            "res holds particles of frames 10000-10001, 10003-10005"
        )

    def test_existing_targets_are_looked_for_in_place_of_images(self, small_experiment):
        folder = small_experiment(images=False)
        assert check(folder).problems == []
        (folder / "img" / "cam3.10002_targets").unlink()
        (problem,) = check(folder).problems
        assert problem.endswith("cam3.10002_targets. All cameras have _targets files of frames 10000-10001, 10003-10005")

    def test_targets_of_other_names_are_named(self, small_experiment):
        """PyPTV looks for cam1, cam2, ... only; openptv2 and scripts call them otherwise."""
        folder = small_experiment(images=False)
        for path in (folder / "img").glob("cam*_targets"):
            path.rename(path.with_name(path.name.replace("cam", "blob")))
        for frame in (20, 21, 123456789):
            (folder / "img" / f"cam9.{frame:04d}_targets").write_bytes(b"0\n")
        (problem,) = check(folder).problems
        assert f"lack a file: {folder / 'img' / 'cam1.10000_targets'}, " in problem
        names = [*(f"blob{n}.*_targets of frames 10000-10005" for n in (1, 2, 3, 4)), "and 1 more names"]
        assert problem.endswith(f". {folder / 'img'} holds {', '.join(names[:4])} {names[4]}")
        for path in (folder / "img").glob("blob[1-4]*"):
            path.unlink()
        assert check(folder).problems[0].endswith(f". {folder / 'img'} holds cam9.*_targets of frames 20-21")
        for name in ("0001_a_targets", "cam1.#10001_targets", "cam1_Scene77_0497_targets", "x_targets"):
            (folder / "img" / name).write_bytes(b"0\n")
        there = ["*_a_targets of frames 1", "cam1.#*_targets of frames 10001", "cam1_Scene77_*_targets of frames 497"]
        assert ", ".join(there) in check(folder).problems[0]


class TestFirstImages:
    def test_wrong_size(self, folder):
        Image.new("L", (60, 60)).save(folder / "img" / "cam2.10000.tif")
        (problem,) = check(folder).problems
        assert "cam2.10000.tif: found an image of 60 x 60 px, expected 320 x 256" in problem

    def test_not_an_image(self, folder):
        for camera in (1, 4):
            (folder / "img" / f"cam{camera}.10000.tif").write_bytes(b"no")
        first, second = (folder / "img" / f"cam{camera}.10000.tif" for camera in (1, 4))
        (problem,) = check(folder).problems  # one cause, one message
        assert problem.startswith(f"{first}, {second}: the file is cut, damaged, or not an image")

    @pytest.mark.parametrize("name", ["mask", "background"])
    def test_masks_must_be_there_whatever_their_name(self, small_experiment, name):
        folder = small_experiment(mask=True)
        path = folder / "parameters_synthetic.yaml"
        path.write_text(path.read_text().replace("img/mask%d.tif", f"img/{name}%d.tif"))
        for camera in (1, 2, 3, 4):
            (folder / "img" / f"mask{camera}.tif").replace(folder / "img" / f"{name}{camera}.tif")
        assert check(folder).problems == []
        (folder / "img" / f"{name}3.tif").unlink()
        assert check(folder).problems == [f"{folder / 'img' / name}3.tif: image does not exist"]

    def test_a_mask_has_the_size_of_a_view(self, small_experiment):
        folder = small_experiment(mask=True)
        Image.new("L", (320, 255)).save(folder / "img" / "mask2.tif")
        (problem,) = check(folder).problems
        assert "mask2.tif: found an image of 320 x 255 px" in problem

    def test_an_image_with_the_name_of_a_targets_file(self, folder):
        path = folder / "parameters" / "sequence.par"
        path.write_text(path.read_text().replace("img/cam1.%d.tif", "img/cam1.%d_targets"))
        for frame in range(10000, 10006):
            (folder / "img" / f"cam1.{frame}.tif").replace(folder / "img" / f"cam1.{frame}_targets")
        assert check(folder).problems == [f"{folder / 'img' / 'cam1.10000_targets'}: the image has the name of a _targets file"]


class TestCalibrations:
    def test_scale(self, folder):
        path = folder / "cal" / "cam2.tif.addpar"
        words = path.read_text().split()
        path.write_text(" ".join([*words[:5], "0.99", words[6]]))
        (hint,) = check(folder).hints
        assert hint.startswith("cal/cam2.tif.addpar: scx is 0.99, not 1")

    def test_a_camera_that_looks_away(self, folder):
        path = folder / "cal" / "cam3.tif.ori"
        lines = path.read_text().splitlines()
        omega, phi, kappa = map(float, lines[1].split())
        lines[1] = f"{omega} {phi + 3.14159} {kappa}"
        path.write_text("\n".join(lines) + "\n")
        (hint,) = check(folder).hints
        assert hint.startswith("camera 3 (cal/cam3.tif.ori) looks 1")
        assert "is it the right calibration?" in hint

    def test_the_real_ones_are_fine(self, cavity):
        findings = check(cavity, (10000, 10004))
        assert (findings.problems, findings.hints) == ([], [])


class TestDisk:
    @pytest.fixture
    def free(self, monkeypatch):
        return lambda size: monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _path: SimpleNamespace(free=size))

    def test_enough(self, folder, free):
        free(10**12)
        assert (check(folder).hints, check(folder).problems) == ([], [])

    def test_little(self, folder, free):
        free(check(folder).estimated_bytes - 1)
        (hint,) = check(folder).hints
        assert "GB free, the results may need" in hint
        assert check(folder).problems == []

    def test_next_to_none(self, folder, free):
        free(check(folder).estimated_bytes // 20 - 1)
        (problem,) = check(folder).problems
        assert problem.endswith("not enough for the results of this range")

    def test_longer_ranges_need_more(self, folder):
        assert check(folder, (10000, 10005)).estimated_bytes == 6 * check(folder, (10000, 10000)).estimated_bytes


class TestStaleResults:
    @pytest.fixture
    def done(self, folder):
        main(folder)
        return folder

    def test_they_are_a_hint(self, done):
        assert check(done, (10001, 10002)).hints == [
            "res/ holds frames 10000, 10003-10005 from an earlier run: kept, not part of this run (--clean removes them)",
            (
                "the links between this range and frames 10000, 10003-10005 will be cut: "
                "--mode tracking over 10000 to 10005 links them again"
            ),
        ]

    def test_not_where_they_will_be_removed(self, done):
        assert check(done, (10001, 10002), clean=True).hints == []

    def test_foreign_names_are_none(self, done):
        for name in ("rt_is", "rt_is.", "rt_is.abc", "rt_is.01", "rt_is.-1", "other.7", "rt_is.7.bak", "rt_is.²"):
            (done / "res" / name).write_text("")
        assert check(done).hints == []
        assert frames_outside(load_experiment(done), FRAMES) == []
        assert (done / "res" / "rt_is.01").exists()

    def test_clean_removes_them_and_nothing_else(self, done):
        (done / "res" / "notes.txt").write_text("mine")
        names = {name for name in results(done) if "10001" in name or "10002" in name}
        assert frames_outside(load_experiment(done), (10001, 10002)) == [10000, 10003, 10004, 10005]
        main(done, 10001, 10002, clean=True)
        assert set(results(done)) == names
        assert (done / "res" / "notes.txt").exists()
        assert len(list((done / "img").glob("*.tif"))) == 24

    def test_clean_keeps_targets_that_were_given(self, small_experiment):
        folder = small_experiment(images=False)
        main(folder)
        main(folder, 10001, 10002, clean=True)
        assert len(list((folder / "img").glob("*_targets"))) == 24
        assert len(list((folder / "res").glob("*_is.*"))) == 4

    def test_through_the_front_door(self, done, caplog):
        with caplog.at_level(logging.INFO, "pyptv"):
            main(done, 10001, 10002, clean=True)
        assert "Removed the results of 4 frames outside the range: 10000, 10003-10005" in caplog.messages
        assert {name.split(".")[1][:5] for name in results(done)} == {"10001", "10002"}


def test_results_in_a_folder_that_is_not_there(folder):
    shutil.rmtree(folder / "res", ignore_errors=True)
    assert check(folder).problems == []


class TestListings:
    def test_each_folder_is_listed_once(self, small_experiment, monkeypatch):
        """A folder may hold a million files. Counted in the process of the command, which alone lists."""
        exp = small_experiment()
        listed: Counter[str] = Counter()

        def counted(of, path="."):
            listed[os.path.relpath(path, exp) if not isinstance(path, int) else ""] += 1
            return of(path)

        for name in ("listdir", "scandir"):
            monkeypatch.setattr(os, name, partial(counted, getattr(os, name)))
        steps = ({}, {"resume": True}, {"part": "1/2"}, {"part": "2/2"}, {"finish": True}, {"mode": "tracking", "clean": True})
        for options in steps:
            listed.clear()
            main(exp, 10000, 10005, engine="optv", **options)
            found = {folder: listed[folder] for folder in ("img", "res", "res/.pyptv/pristine")}
            assert max(found.values()) == 1, (options, found)
            assert listed["img"], "the test counts what it means to count"
