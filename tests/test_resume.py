"""``--resume``: what is whole and made from the same inputs is kept, and the result is that of an uninterrupted run."""

from __future__ import annotations

import logging
import os
import re
import shutil

import pytest
from conftest import refusal, results

from pyptv.pyptv_batch import cli, main

FIRST, LAST = 10_000, 10_005


@pytest.fixture
def done(small_experiment, batch):
    """An experiment that was processed by one of the entry points, and its results."""
    folder = small_experiment()
    batch(folder)
    return folder, results(folder)


def kept(caplog) -> tuple[int, int]:
    """(frames kept, of them tracked) as the log says."""
    (line,) = [message for message in caplog.messages if message.startswith("Resuming: ")]
    return tuple(int(number) for number in re.findall(r"\d+", line))


@pytest.fixture
def resume(batch, caplog):
    """Goes on, by the same entry point; returns what was kept."""

    def resume(folder, first=None, last=None, **options):
        caplog.clear()
        with caplog.at_level(logging.INFO, "pyptv"):
            batch(folder, first, last, resume=True, **options)
        return kept(caplog)

    return resume


class TestKept:
    def test_all_of_a_finished_run(self, done, resume):
        folder, before = done
        times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.1000?") if path.is_file()}
        assert resume(folder) == (6, 6)
        assert results(folder) == before
        assert {path: path.stat().st_mtime_ns for path in times} == times

    @pytest.mark.parametrize("name", ["res/rt_is.10003", "img/cam2.10003_targets"])
    @pytest.mark.parametrize("damage", [None, b"", b"1\n garbage\n"], ids=["missing", "empty", "garbage"])
    def test_a_damaged_frame_is_done_again(self, done, resume, name, damage):
        folder, before = done
        (folder / name).unlink() if damage is None else (folder / name).write_bytes(damage)
        frames, _ = resume(folder)
        assert frames == 5
        assert results(folder) == before

    @pytest.mark.parametrize("name", ["res/ptv_is.10002", "res/added.10004"])
    def test_damaged_links_are_made_again(self, done, resume, name):
        folder, before = done
        (folder / name).write_bytes(b"0\n")
        frames, tracked = resume(folder)
        assert frames == 6
        assert tracked == 5
        assert results(folder) == before

    def test_a_longer_range(self, small_experiment, batch, resume):
        folder, whole = small_experiment(), small_experiment("whole")
        batch(whole)
        batch(folder, FIRST, FIRST + 2)
        assert resume(folder)[0] == 3
        assert results(folder) == results(whole)

    def test_an_earlier_start(self, small_experiment, batch, resume):
        folder, whole = small_experiment(), small_experiment("whole")
        batch(whole)
        batch(folder, FIRST + 3, LAST)
        assert resume(folder)[0] == 3
        assert results(folder) == results(whole)

    def test_a_run_that_stopped_at_a_bad_image(self, small_experiment, batch, resume):
        folder, whole = small_experiment(), small_experiment("whole")
        batch(whole)
        image = folder / "img" / "cam3.10004.tif"
        good = image.read_bytes()
        image.write_bytes(good[:1000])
        assert "frame 10004" in refusal(batch, folder)
        image.write_bytes(good)
        assert resume(folder)[0] >= 1
        assert results(folder) == results(whole)

    def test_tracking_after_the_sequence_step(self, small_experiment, batch, resume):
        folder, whole = small_experiment(), small_experiment("whole")
        batch(whole)
        batch(folder, mode="sequence")
        assert resume(folder) == (6, 0)
        assert results(folder) == results(whole)

    def test_without_a_journal_everything_is_done(self, done, batch, caplog):
        folder, before = done
        (folder / "res" / ".pyptv" / "journal.jsonl").unlink()
        with caplog.at_level(logging.INFO, "pyptv"):
            batch(folder, resume=True)
        assert "Nothing to resume: no run was recorded here" in caplog.messages
        assert results(folder) == before

    def test_a_journal_that_was_cut(self, done, resume):
        folder, before = done
        path = folder / "res" / ".pyptv" / "journal.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:4]) + lines[4][:20])
        frames, _ = resume(folder)
        assert frames == 3
        assert results(folder) == before

    def test_images_outside_the_range_may_have_been_moved_away(self, done, resume):
        folder, before = done
        for path in folder.glob("img/*.10000.tif"):
            path.unlink()
        assert resume(folder, FIRST + 2, LAST)[0] == 4
        frame = {name: data for name, data in before.items() if ".10001" in name}
        assert {name: results(folder)[name] for name in frame} == frame

    def test_tracking_goes_on_too(self, done, batch, caplog):
        folder, before = done
        for kind in ("ptv_is", "added"):
            (folder / "res" / f"{kind}.{LAST}").unlink()
        with caplog.at_level(logging.INFO, "pyptv"):
            batch(folder, mode="tracking", resume=True)
        assert "Resuming: 5 frames are tracked already and kept" in caplog.messages
        assert results(folder) == before

    def test_results_that_were_only_checked_were_made_from_who_knows_what(self, done, batch, resume):
        """A run that only tracks must not vouch for frames that other parameters made."""
        folder, _ = done
        path = folder / "parameters" / "targ_rec.par"
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines[:5], str(int(lines[5]) + 4), *lines[6:]]) + "\n")
        batch(folder, mode="tracking")
        assert resume(folder) == (0, 0)
        again = results(folder)
        batch(folder)
        assert results(folder) == again

    def test_by_the_other_entry_point(self, done):
        folder, before = done
        (folder / "res" / "rt_is.10003").unlink()
        main(folder, resume=True)
        assert results(folder) == before


class TestChangedInputs:
    """An error that says what changed, before anything is touched."""

    @pytest.fixture
    def folder(self, small_experiment):
        folder = small_experiment()
        main(folder)
        return folder

    def refused(self, folder) -> str:
        before = results(folder)
        message = refusal(lambda: main(folder, resume=True))
        assert results(folder) == before
        return message

    def test_a_parameter(self, folder):
        path = folder / "parameters" / "track.par"
        lines = path.read_text().splitlines()
        old, lines[7] = lines[7], "0.123"
        path.write_text("\n".join(lines))
        message = self.refused(folder)
        assert message == (
            f"Cannot resume, the inputs have changed since: parameters.track.dacc: {old} -> 0.123. "
            "Run without --resume to process all frames again"
        )

    def test_a_calibration(self, folder):
        path = folder / "cal" / "cam2.tif.addpar"
        path.write_text("0.001 " + path.read_text().split(" ", 1)[1])
        assert "calibrations.camera 2.radial_distortion: " in self.refused(folder)

    @pytest.mark.parametrize("change", ["size", "time"])
    def test_an_image(self, folder, change):
        path = folder / "img" / "cam2.10003.tif"
        if change == "size":
            time = path.stat().st_mtime_ns
            path.write_bytes(path.read_bytes() + b"\0")
            os.utime(path, ns=(time, time))
        else:
            os.utime(path, ns=(1, 1))
        message = self.refused(folder)
        assert message.startswith(f"Cannot resume, 1 images have changed since they were processed: {path}")

    def test_a_version(self, folder, monkeypatch):
        from pyptv.core.history import resume

        monkeypatch.setattr(resume, "version", lambda name: "99" if name == "optv" else "1")
        assert "versions.optv: 0.3.2 -> 99" in self.refused(folder)

    def test_a_mask(self, small_experiment):
        folder = small_experiment(mask=True)
        main(folder)
        os.utime(folder / "img" / "mask3.tif", ns=(1, 1))
        assert "masks.mask3.tif: " in self.refused(folder)

    def test_the_range_is_no_input(self, folder):
        path = folder / "parameters" / "sequence.par"
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines[:4], "10001", "10003"]))
        main(folder, resume=True)

    def test_a_run_without_resume_does_all_anew(self, folder, small_experiment):
        path = folder / "parameters" / "criteria.par"
        path.write_text(path.read_text().replace("33.0", "34.0"))
        main(folder)
        fresh = small_experiment("fresh")
        shutil.copy(path, fresh / "parameters")
        main(fresh)
        assert results(folder) == results(fresh)

    def test_the_exit_code(self, folder, capsys):
        os.utime(folder / "img" / "cam2.10003.tif", ns=(1, 1))
        assert cli([str(folder), "--resume", "-q"]) == 2
        assert "Cannot resume, 1 images have changed" in capsys.readouterr().err
