"""Results of other programs: report, export and tracking read PyPTV's files, and those of scripts, as what they mean."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import results
from PIL import Image

from pyptv.core.experiment.folder import load_experiment
from pyptv.core.files.result_names import frames_in
from pyptv.core.record.run_report import FILE_NAME
from pyptv.export.__main__ import cli as export_cli
from pyptv.pyptv_batch import cli, main
from pyptv.pyptv_batch_parallel import cli as parallel_cli
from pyptv.report.record import read_record

FIRST, LAST, EMPTY = 10000, 10005, 10002
WINDOW = 123456789
ENGINES = pytest.mark.parametrize("engine", ["optv", "compiled"])


def forget_the_run(folder: Path) -> None:
    """What a folder holds when another program has made its results: no journal, no pristine files, no report."""
    shutil.rmtree(folder / "res" / ".pyptv")
    (folder / "res" / FILE_NAME).unlink()


def rewrite(folder: Path, change: Callable[[bytes], bytes]) -> None:
    for name, data in results(folder).items():
        (folder / name).write_bytes(change(data))


def exported(folder: Path) -> bytes:
    assert export_cli([str(folder), "--to", "csv"]) == 0
    return (folder / "res" / "export" / "trajectories.csv").read_bytes()


def blacken(folder: Path, frame: int) -> None:
    for path in (folder / "img").glob(f"cam*.{frame}.tif"):
        Image.fromarray(np.zeros((256, 320), np.uint8)).save(path)


SPELLINGS = {
    "blank lines at the end": lambda data: data + b"\n \n\n",
    "no end of the last line": lambda data: data.removesuffix(b"\n"),
    "Windows line ends": lambda data: data.replace(b"\n", b"\r\n"),
    "one blank between columns": lambda data: b"\n".join(b" ".join(line.split()) for line in data.splitlines()),
    "tabs": lambda data: b"\n".join(b"\t".join(line.split()) for line in data.splitlines()) + b"\n",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings_of_the_same_tables(small_experiment, spelling):
    folder = small_experiment()
    main(folder, mode="sequence")
    sequence = results(folder)
    main(folder, mode="tracking")
    tracked, table = results(folder), exported(folder)
    forget_the_run(folder)
    rewrite(folder, SPELLINGS[spelling])
    assert exported(folder) == table
    record = read_record(load_experiment(folder))
    assert (record.damaged, len(record.tracking.frame)) == ((), LAST - FIRST)
    for engine in ("optv", "compiled"):
        shutil.rmtree(folder / "res" / ".pyptv", ignore_errors=True)
        for name, data in sequence.items():
            (folder / name).write_bytes(SPELLINGS[spelling](data))
        main(folder, mode="tracking", engine=engine)
        assert results(folder) == tracked


@ENGINES
def test_minus_one_rows_are_none(small_experiment, engine):
    """So PyPTV's tracker leaves a frame without particles; its ``_targets`` may then hold anything."""
    folder = small_experiment()
    blacken(folder, EMPTY)
    main(folder)
    assert (folder / "res" / f"ptv_is.{EMPTY}").read_bytes() == b"0\n"
    ours, table = results(folder), exported(folder)
    forget_the_run(folder)
    for kind in ("rt_is", "ptv_is", "added"):
        (folder / "res" / f"{kind}.{EMPTY}").write_bytes(b"-1\n")
    shutil.copyfile(folder / "img" / f"cam1.{FIRST}_targets", folder / "img" / f"cam1.{EMPTY}_targets")
    assert exported(folder) == table
    record = read_record(load_experiment(folder))
    assert (record.damaged, record.missing) == ((), ())
    assert record.sequence.particles[EMPTY - FIRST] == 0
    main(folder, mode="tracking", engine=engine)
    found = results(folder)
    kept = {f"res/{kind}.{EMPTY}": b"-1\n" for kind in ("rt_is", "ptv_is", "added")} | {
        f"img/cam1.{EMPTY}_targets": ours[f"img/cam1.{FIRST}_targets"]
    }
    assert {name: found[name] for name in kept} == kept
    assert found | kept == ours | kept


@ENGINES
@pytest.mark.parametrize("n_cameras", [2, 3])
def test_columns_of_absent_cameras_are_not_looked_at(small_experiment, n_cameras, engine):
    """PyPTV's tracker leaves 0 there in the particles that it adds, and other programs may leave anything."""
    folder = small_experiment(n_cameras=n_cameras, n_particles=80, dropout=0.12)
    main(folder)
    forget_the_run(folder)
    main(folder, mode="tracking")
    expected = results(folder)
    forget_the_run(folder)
    for value, path in zip((0, 0, 9999, -7, 0, 0), sorted((folder / "res").glob("rt_is.*")), strict=True):
        count, *rows = path.read_bytes().splitlines()
        path.write_bytes(b"\n".join([count, *(row[:-5] + b"%5d" % value for row in rows)]))
    main(folder, mode="tracking", engine=engine)
    found = results(folder)
    assert {name for name in found if found[name] != expected[name] and "rt_is" not in name} == set()


def test_the_frame_of_pyptvs_window_is_no_frame_of_the_run(small_experiment, capfd):
    folder = small_experiment()
    main(folder)
    table = exported(folder)
    forget_the_run(folder)
    window = [folder / "res" / f"{kind}.{WINDOW}" for kind in ("rt_is", "ptv_is", "added")]
    for path in window:
        shutil.copyfile(path.with_suffix(f".{FIRST}"), path)
    window.append(folder / "img" / f"cam1.{WINDOW}_targets")
    shutil.copyfile(folder / "img" / f"cam1.{FIRST}_targets", window[-1])
    assert exported(folder) == table
    record = read_record(load_experiment(folder))
    assert (record.first, record.last, record.every, record.missing) == (FIRST, LAST, 1, ())
    assert cli([str(folder), "--check"]) == 0
    assert cli([str(folder), "--clean"]) == 0
    said = capfd.readouterr()
    assert str(WINDOW) not in said.out + said.err
    assert all(path.exists() for path in window)


def test_names_of_frames_with_results():
    names = ["rt_is.1", "rt_is.01", "ptv_is.2", "added.3", "rt_is.", "rt_is.x", "rt_is.1.bak", "rt_is.9999999999", "rt_is.\u0663"]
    assert frames_in([*names, f"rt_is.{WINDOW}"]) == [1, 2, 3]
    assert frames_in(names, "rt_is") == [1]
    neighbours = [f"rt_is.{frame}" for frame in (WINDOW - 1, WINDOW, WINDOW + 1)]
    assert frames_in(neighbours) == [WINDOW - 1, WINDOW, WINDOW + 1]


@ENGINES
@pytest.mark.parametrize("call", [cli, parallel_cli], ids=["serial", "parallel"])
def test_what_is_refused_leaves_every_file_as_it_was(small_experiment, capfd, call, engine):
    """A frame that cannot be tracked, after one without particles and some that can be: nothing replaces the old links."""
    folder = small_experiment()
    blacken(folder, EMPTY)
    main(folder)
    forget_the_run(folder)
    for kind in ("rt_is", "ptv_is", "added"):
        (folder / "res" / f"{kind}.{EMPTY}").write_bytes(b"-1\n")
    damaged = folder / "res" / f"rt_is.{LAST}"
    count, *rows = damaged.read_bytes().splitlines(keepends=True)
    damaged.write_bytes(count + b"".join(rows[:-1]) + rows[-1][:-20] + b"9999 9999 9999 9999\n")
    before = results(folder)
    processes = ["2"] if call is parallel_cli else []
    assert call([str(folder), str(FIRST), str(LAST), *processes, "--mode", "tracking", "--engine", engine]) == 1
    assert f"{damaged}, line {len(rows) + 1}, column target1: found 9999" in capfd.readouterr().err
    assert results(folder) == before
    assert call([str(folder), str(FIRST), str(LAST), *processes, "--mode", "tracking", "--on-error", "skip"]) == 3
    after = results(folder)
    assert set(before) - set(after) == {f"res/{kind}.{LAST}" for kind in ("ptv_is", "added")}
