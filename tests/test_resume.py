"""``--resume``: what is whole and made from the same inputs is kept, and the result is that of an uninterrupted run."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import zlib
from functools import cache

import pytest
from conftest import refusal, results

from pyptv.core.execute.worker import Worker
from pyptv.core.schedule import seams
from pyptv.pyptv_batch import cli, main

FIRST, LAST = 10_000, 10_005


@pytest.fixture(scope="module")
def _processed(_experiments, tmp_path_factory):
    """The small experiment as an entry point leaves it, made once for each; nobody works in it."""

    @cache
    def get(entry):
        folder = tmp_path_factory.mktemp("processed") / "experiment"
        shutil.copytree(_experiments(), folder)
        (folder / "parameters_synthetic.yaml").unlink()
        entry(folder)
        return folder

    return get


@pytest.fixture
def done(_processed, batch, tmp_path):
    """An experiment that was processed by one of the entry points, and its results."""
    folder = shutil.copytree(_processed(batch), tmp_path / "experiment")  # with the times of its files, as images count by them
    return folder, results(folder)


@pytest.fixture
def whole(_processed, batch):
    """The results of an undisturbed run of the small experiment."""
    return results(_processed(batch))


def kept(caplog) -> tuple[int, int]:
    """(frames kept, of them tracked) as the log says."""
    (line,) = [message for message in caplog.messages if message.startswith("Resumed: ")]
    return tuple(int(number) for number in re.findall(r"\d+", line))


@pytest.fixture
def resume(batch, caplog):
    """Goes on, by the same entry point; returns what was kept."""

    def resume(folder, first=None, last=None, **options):
        caplog.clear()
        with caplog.at_level(logging.DEBUG, "pyptv"):
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

    @pytest.mark.parametrize(("name", "links"), [("res/ptv_is.10002", 2), ("res/added.10004", 4)])
    def test_damaged_links_are_made_again(self, done, resume, name, links):
        """And those after them, which follow from them."""
        folder, before = done
        (folder / name).write_bytes(b"0\n")
        assert resume(folder) == (6, links)
        assert results(folder) == before

    def test_a_longer_range(self, small_experiment, batch, resume, whole):
        folder = small_experiment()
        batch(folder, FIRST, FIRST + 2)
        assert resume(folder)[0] == 3
        assert results(folder) == whole

    def test_an_earlier_start(self, small_experiment, batch, resume, whole):
        folder = small_experiment()
        batch(folder, FIRST + 3, LAST)
        assert resume(folder)[0] == 3
        assert results(folder) == whole

    def test_a_run_that_stopped_at_a_bad_image(self, small_experiment, batch, resume, whole):
        folder = small_experiment()
        image = folder / "img" / "cam3.10004.tif"
        good = image.read_bytes()
        image.write_bytes(good[:1000])
        assert "frame 10004" in refusal(batch, folder)
        image.write_bytes(good)
        assert resume(folder)[0] >= 1
        assert results(folder) == whole

    def test_tracking_after_the_sequence_step(self, small_experiment, batch, resume, whole):
        folder = small_experiment()
        batch(folder, mode="sequence")
        assert resume(folder) == (6, 0)
        assert results(folder) == whole

    def test_without_a_journal_everything_is_done(self, done, batch, caplog):
        folder, before = done
        shutil.rmtree(folder / "res" / ".pyptv" / "journal")
        with caplog.at_level(logging.INFO, "pyptv"):
            batch(folder, resume=True)
        assert "Nothing to resume: no run was recorded here" in caplog.messages
        assert results(folder) == before

    def test_a_journal_that_was_cut(self, done, resume):
        folder, before = done
        for path in (folder / "res" / ".pyptv" / "journal").iterdir():
            lines = path.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if b'"inputs"' in line or int(re.search(rb'"frame":(\d+)', line)[1]) < FIRST + 3]
            path.write_bytes(b"".join(kept) + lines[-1][:20])
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

    def test_tracking_goes_on_too(self, done, resume):
        folder, before = done
        for kind in ("ptv_is", "added"):
            (folder / "res" / f"{kind}.{LAST}").unlink()
        assert resume(folder, mode="tracking") == (6, 5)
        assert results(folder) == before

    def test_results_that_were_only_tracked_were_made_from_who_knows_what(self, done, batch, resume):
        """A run that only tracks must not vouch for frames that other parameters made."""
        folder, _ = done
        path = folder / "parameters" / "targ_rec.par"
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines[:5], str(int(lines[5]) + 4), *lines[6:]]) + "\n")
        batch(folder, mode="tracking")
        assert "targ_rec.nnmin" in refusal(lambda: batch(folder, resume=True))
        batch(folder)
        again = results(folder)
        assert resume(folder) == (6, 6)
        assert results(folder) == again

    def test_resume_that_was_forgotten_once(self, done, batch, resume):
        """A run that was stopped at once has forgotten nothing."""
        folder, before = done
        image = folder / "img" / f"cam1.{FIRST}.tif"
        good, times = image.read_bytes(), image.stat()
        image.write_bytes(good[:1000])
        refusal(batch, folder)
        image.write_bytes(good)
        os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
        frames, _ = resume(folder)
        assert frames >= 3, "all that the stopped run did not come to"
        assert results(folder) == before

    def test_other_tracking_parameters_leave_the_sequence_step(self, done, batch, resume, small_experiment):
        folder, _ = done
        path = folder / "parameters" / "track.par"
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines[:7], "0.123", *lines[8:]]))
        fresh = small_experiment("fresh")
        shutil.copy(path, fresh / "parameters")
        batch(fresh)
        assert resume(folder) == (6, 0)
        assert results(folder) == results(fresh)

    def test_and_back_again(self, done, batch, resume):
        """Links of other parameters replaced them; the frames count all the time."""
        folder, before = done
        path = folder / "parameters" / "track.par"
        old = path.read_text()
        lines = old.splitlines()
        path.write_text("\n".join([*lines[:7], "0.123", *lines[8:]]))
        batch(folder, mode="tracking")
        path.write_text(old)
        assert resume(folder)[0] == 6
        assert results(folder) == before

    def test_a_copied_experiment(self, done, resume):
        """Only the images' time has changed."""
        folder, before = done
        for path in (folder / "img").glob("*.tif"):
            os.utime(path, ns=(1, 1))
        assert resume(folder) == (6, 6)
        assert results(folder) == before

    @pytest.mark.parametrize(
        "forged", [{"particles": 0}, {"particles": "x"}, {"targets": [1, 2, 3, 4]}, {"counts": None}], ids=str
    )
    def test_a_forged_line_is_not_believed(self, done, resume, forged):
        folder, before = done
        for path in (folder / "res" / ".pyptv" / "journal").iterdir():
            lines = path.read_bytes().splitlines()
            for number, line in enumerate(lines):
                entry = json.loads(line[9:])
                if entry["kind"] == "frame" and entry["frame"] == FIRST + 1:
                    text = json.dumps(entry | forged, separators=(",", ":")).encode()
                    lines[number] = b"%08x %s" % (zlib.crc32(text), text)
            path.write_bytes(b"\n".join(lines) + b"\n")
        assert resume(folder)[0] == 5
        assert results(folder) == before

    @pytest.fixture
    def long_pieces(self, monkeypatch):
        """Where tracking saves its state does not depend on how busy the machine is: after 16 frames, and not again here."""
        monkeypatch.setattr(seams, "SECONDS_A_PIECE", 1e6)

    def test_tracking_goes_on_from_a_saved_state(self, small_experiment, caplog, long_pieces):
        """Not from the start, and not from a few frames before: the compiled engine keeps its state on disk."""
        folder = small_experiment(n_frames=60)
        main(folder, engine="compiled")
        before = results(folder)
        states = [path.name for path in (folder / "res" / ".pyptv" / "states").iterdir()]
        frame = int(states[0].split("-")[1])
        for number in range(frame + 2, FIRST + 60):
            (folder / "res" / f"ptv_is.{number}").unlink()
        with caplog.at_level(logging.DEBUG, "pyptv"):
            main(folder, engine="compiled", resume=True)
        assert kept(caplog) == (60, frame + 2 - FIRST)
        assert "cannot be had" not in caplog.text
        tracked = [int(m.split()[1].rstrip(":")) for m in caplog.messages if m.startswith("Step ")]
        assert results(folder) == before
        assert len(tracked) == 60

    def test_a_damaged_state_costs_a_few_frames(self, small_experiment, caplog, long_pieces):
        folder = small_experiment(n_frames=60)
        main(folder, engine="compiled")
        before = results(folder)
        for damage in (b"", b"garbage\n", b'{"sizes": 3}\n'):
            (path,) = (folder / "res" / ".pyptv" / "states").iterdir()
            path.write_bytes(damage)
            (folder / "res" / f"ptv_is.{FIRST + 55}").unlink()
            caplog.clear()
            with caplog.at_level(logging.DEBUG, "pyptv"):
                main(folder, engine="compiled", resume=True)
            assert kept(caplog) == (60, 55)
            assert "its state is not available" in caplog.text
            assert results(folder) == before

    def test_a_run_inside_a_tracked_sequence_says_what_it_cuts(self, done, batch, caplog):
        folder, before = done
        batch(folder, FIRST + 2, FIRST + 2)
        cut = f"frames {FIRST}-{FIRST + 1}, {FIRST + 3}-{LAST} will be cut: --mode tracking over {FIRST} to {LAST}"
        assert cut in caplog.text
        assert results(folder) != before
        batch(folder, mode="tracking")
        assert results(folder) == before

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
        path = folder / "parameters" / "targ_rec.par"
        lines = path.read_text().splitlines()
        old, lines[5] = lines[5], "4"
        path.write_text("\n".join(lines))
        message = self.refused(folder)
        assert message == (
            f"Cannot resume, the inputs have changed since: parameters.targ_rec.nnmin: {old} -> 4. "
            "Run without --resume to process all frames again"
        )

    def test_a_calibration(self, folder):
        path = folder / "cal" / "cam2.tif.addpar"
        path.write_text("0.001 " + path.read_text().split(" ", 1)[1])
        assert "calibrations.camera 2.radial_distortion: " in self.refused(folder)

    def test_an_image(self, folder, caplog):
        """Its frame alone is processed again."""
        path = folder / "img" / "cam2.10003.tif"
        path.write_bytes(path.read_bytes() + b"\0")
        with caplog.at_level(logging.INFO, "pyptv"):
            main(folder, resume=True)
        assert kept(caplog)[0] == 5
        assert f"frame 10003: processed again, {path} has changed since" in caplog.messages

    def test_a_version(self, folder, monkeypatch):
        from pyptv.core.history import resume

        monkeypatch.setattr(resume, "version", lambda name: "99" if name == "optv" else "1")
        assert "versions.optv: 0.3.2 -> 99" in self.refused(folder)

    def test_a_mask(self, small_experiment):
        folder = small_experiment(mask=True)
        main(folder)
        mask = folder / "img" / "mask3.tif"
        os.utime(mask, ns=(1, 1))
        main(folder, resume=True)
        mask.write_bytes(mask.read_bytes() + b"\0")
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
        path = folder / "cal" / "cam2.tif.addpar"
        path.write_text("0.001 " + path.read_text().split(" ", 1)[1])
        assert cli([str(folder), "--resume", "-q"]) == 2
        assert "Cannot resume, the inputs have changed since: calibrations.camera 2" in capsys.readouterr().err

    def test_a_patch_of_numpy_or_pillow_is_no_input(self, folder, monkeypatch, caplog):
        from pyptv.core.history import resume

        monkeypatch.setattr(resume, "version", lambda name: "0.3.2" if name == "optv" else "99")
        with caplog.at_level(logging.INFO, "pyptv"):
            main(folder, resume=True)
        assert kept(caplog) == (6, 6)


def test_existing_targets_of_a_stopped_run(small_experiment, monkeypatch):
    """Its frames are made again from what they were made from, and not from what it wrote in their place.

    Targets at the same y are exchanged when they are sorted twice, and other programs write more than 4 decimals.
    """
    folder = small_experiment(images=False)
    for path in (folder / "img").glob("cam*_targets"):
        count, *lines = path.read_text().splitlines()
        rows = [line.split() for line in lines]
        for row, following in zip(rows[::2], rows[1::2], strict=False):
            row[1], following[2] = row[1] + "499", row[2]
        path.write_text("\n".join([count, *map(" ".join, rows)]) + "\n")
    given = {path: path.read_bytes() for path in (folder / "img").iterdir()}
    main(folder, engine="optv")
    expected = results(folder)
    assert not (folder / "res/.pyptv/inputs").exists()
    for times in (1, 2):  # once: the frame is done again in the same run; twice: the run ends
        again = small_experiment(f"again{times}", images=False)
        for path, data in given.items():
            (again / "img" / path.name).write_bytes(data)
        deaths = again / "deaths"

        def die(_worker, _done, deaths=deaths, times=times, _note=Worker._note):
            """Once its files are there, and before it is noted."""
            said = deaths.read_text() if deaths.exists() else ""
            if len(said) == times:
                return _note(_worker, _done)
            deaths.write_text(said + "x")
            os._exit(9)

        with monkeypatch.context() as patched:
            patched.setattr(Worker, "_note", die)
            ended = refusal(lambda: main(again, engine="optv", start_method="fork"))  # noqa: B023 -- called at once
        if times == 1:
            assert ended is None
            assert results(again) == expected
    assert ended is not None
    assert any((again / "img" / path.name).read_bytes() != data for path, data in given.items())
    copy = again / "res/.pyptv/inputs" / str(FIRST)
    kept = copy.read_bytes()
    copy.write_bytes(kept[:-3])
    assert "restore the original _targets files" in (refusal(lambda: main(again, engine="optv", resume=True)) or "")
    copy.write_bytes(kept)
    main(again, engine="optv", resume=True)
    assert results(again) == expected
