"""Exports: what their own readers read back is what was written, whole or not there, and errors are one line."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from conftest import run_python

from pyptv import __version__
from pyptv.core.base.errors import ProcessingError
from pyptv.core.files.formats import LINKS
from pyptv.export import FORMATS, export, place
from pyptv.export.__main__ import build_parser, cli
from pyptv.export.writers import hdf5, matlab
from pyptv.trajectories import Trajectories, read_trajectories

pytest.importorskip("scipy", reason='velocities need the extra "trajectories"')

ROOT = Path(__file__).parents[1]
FIRST, LENGTHS = 10000, (8, 6, 3, 2, 1)
"""Frames of each of five particles; all start at frame 10000."""
WITHOUT_VELOCITY = "ptv_is"
"""A format that is tested with post-processing, whose results it is for."""
INSTALLED = []
for _name, _format in FORMATS.items():
    if _name == WITHOUT_VELOCITY:
        continue
    try:
        _format.require()
        INSTALLED.append(_name)
    except ProcessingError:
        pass


def skip_without(name: str) -> None:
    for module in (*FORMATS[name].libraries, *(["pyvista"] if name == "vtk" else [])):  # that reads it back
        pytest.importorskip(module, reason=f'needs the extra "{FORMATS[name].extra}"')


def small_blocks(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Let everything that is done in blocks be done in blocks of so many rows."""
    names = {"ROWS_AT_ONCE", "_ROWS_AT_ONCE", "_ROWS_A_CHUNK", "_IDS_AT_ONCE", "_ENTRIES_AT_ONCE"}
    modules = (
        "trajectories.stream",
        "trajectories.ordered",
        "export.by_frame",
        "export.writers.csv_file",
        "export.writers.zarr_store",
    )
    for module in (import_module(f"pyptv.{module}") for module in modules):
        for name in names & vars(module).keys():
            monkeypatch.setattr(module, name, rows)


@pytest.fixture
def tracked(small_experiment: Callable[..., Path]) -> Path:
    """An experiment with five trajectories, of 20 rows."""
    folder = small_experiment("experimént", images=False)
    (folder / "res").mkdir()
    rng = np.random.default_rng(0)
    for step in range(max(LENGTHS)):
        alive = [length for length in LENGTHS if length > step]
        rows = np.zeros(len(alive), LINKS.dtype)
        rows["previous"] = np.arange(len(alive)) if step else -1
        rows["next"] = [row if length > step + 1 else -2 for row, length in enumerate(alive)]
        for axis in "xyz":
            rows[axis] = np.round(rng.uniform(-40, 40, len(alive)), 3)
        (folder / "res" / f"ptv_is.{FIRST + step}").write_bytes(LINKS.render(rows))
    return folder


def same(found: Any, expected: Trajectories) -> None:
    """That what was read back holds the same numbers, NaN for NaN."""
    for name in ("id", "frame", "position", "velocity", "acceleration"):
        np.testing.assert_array_equal(np.asarray(getattr(found, name)), getattr(expected, name), err_msg=name)


# -- readers: path -> id, frame, position, velocity, acceleration, metadata -----------------------------------------------


def from_flowtracks(trajectories: Any) -> dict[str, np.ndarray]:
    trajectories = sorted(trajectories, key=lambda trajectory: trajectory.trajid())
    return {
        "id": np.repeat([t.trajid() for t in trajectories], [len(t) for t in trajectories]),
        "frame": np.concatenate([t.time() for t in trajectories]),
        "position": np.concatenate([t.pos() for t in trajectories]),
        "velocity": np.concatenate([t.velocity() for t in trajectories]),
        "acceleration": np.concatenate([t.accel() for t in trajectories]),
    }


def read_h5(path: Path) -> SimpleNamespace:
    import tables

    trajectories_table = pytest.importorskip("flowtracks.io").trajectories_table
    with tables.open_file(str(path)) as file:
        attributes = file.root._v_attrs
        metadata = {name: attributes[name] for name in attributes._f_list("user")}
    return SimpleNamespace(**from_flowtracks(trajectories_table(str(path))), metadata=metadata)


def read_zarr(path: Path) -> SimpleNamespace:
    import zarr

    group = zarr.open_group(str(path), mode="r")
    rows = group["trajectories"]
    names = {"id": "trajid", "frame": "time", "position": "pos", "velocity": "vel", "acceleration": "accel"}
    return SimpleNamespace(**{name: rows[array][:] for name, array in names.items()}, metadata=dict(group.attrs))


def read_vtk(path: Path) -> SimpleNamespace:
    import pyvista

    reader = pyvista.PVDReader(path / "trajectories.pvd")
    meshes = []
    for time in reader.time_values:
        reader.set_active_time_value(time)
        meshes.append(reader.read()[0])
    columns = {
        name: np.concatenate([mesh.point_data[name] for mesh in meshes]) for name in ("id", "frame", "velocity", "acceleration")
    }
    columns["position"] = np.concatenate([mesh.points for mesh in meshes])
    order = np.lexsort((columns["frame"], columns["id"]))
    metadata = json.loads(meshes[0].field_data["metadata"][0])
    return SimpleNamespace(
        **{name: values[order] for name, values in columns.items()}, metadata=metadata, times=reader.time_values
    )


def from_frame(frame: Any) -> dict[str, np.ndarray]:
    prefixes = {"position": "", "velocity": "v", "acceleration": "a"}
    vectors = {name: frame[[f"{prefix}{axis}" for axis in "xyz"]].to_numpy() for name, prefix in prefixes.items()}
    return {"id": frame["id"].to_numpy(), "frame": frame["frame"].to_numpy(), **vectors}


def read_parquet(path: Path) -> SimpleNamespace:
    import pandas as pd

    frame = pd.read_parquet(path)
    return SimpleNamespace(**from_frame(frame), metadata=frame.attrs, units=frame.attrs["column_units"], table=frame)


def read_csv(path: Path) -> SimpleNamespace:
    import pandas as pd

    beside = json.loads(path.with_name(f"{path.name}-metadata.json").read_text(encoding="utf-8"))
    assert beside["url"] == path.name
    columns = beside["tableSchema"]["columns"]
    frame = pd.read_csv(path)
    assert list(frame.columns) == [column["name"] for column in columns]
    exact = np.genfromtxt(path, delimiter=",", skip_header=1)  # before its version 3, pandas is off by an ulp
    np.testing.assert_allclose(frame.to_numpy(), exact, rtol=1e-13)
    frame[:] = exact
    units = {column["name"]: column.get("schema:unitText", "") for column in columns}
    return SimpleNamespace(**from_frame(frame), metadata=beside["notes"][0], units=units, table=frame)


def read_mat(path: Path) -> SimpleNamespace:
    import scipy.io

    return SimpleNamespace(**scipy.io.loadmat(path, simplify_cells=True))


READERS = {"h5": read_h5, "zarr": read_zarr, "vtk": read_vtk, "parquet": read_parquet, "csv": read_csv, "mat": read_mat}


class TestRoundTrips:
    @pytest.mark.parametrize("name", READERS)
    def test_what_is_read_back_is_what_was_written(self, tracked, name):
        skip_without(name)
        expected = read_trajectories(tracked)
        path = export(tracked, name)
        assert path == tracked / "res" / "export" / FORMATS[name].file_name
        found = READERS[name](path)
        same(found, expected)
        assert found.metadata["program"] == f"pyptv-batch {__version__}"
        assert found.metadata["experiment"] == str(tracked)
        assert found.metadata["position_unit"] == "mm"
        assert found.metadata["velocity_unit"] == "mm/frame"
        assert found.metadata["acceleration_unit"] == "mm/frame^2"
        assert (found.metadata["window"], found.metadata["order"]) == (5, 2)
        assert (found.metadata["rows"], found.metadata["trajectories"]) == (20, 5)
        assert (found.metadata["first_frame"], found.metadata["last_frame"]) == (10000, 10007)
        assert "frame_rate" not in found.metadata
        assert list(path.parent.glob(".*")) == []

    @pytest.mark.parametrize("name", READERS)
    def test_blocks_of_any_size_give_the_same(self, tracked, name, monkeypatch):
        """Memory holds a block at a time: here of a few rows. Trajectories end in the opposite order of their ids."""
        skip_without(name)
        for rows in (1, 4, 9):
            small_blocks(monkeypatch, rows)
            same(READERS[name](export(tracked, name, frame_rate=50)), read_trajectories(tracked, frame_rate=50))
            same(READERS[name](export(tracked, name, min_length=3)), read_trajectories(tracked, min_length=3))

    @pytest.mark.parametrize("name", READERS)
    def test_metres_seconds_and_a_selection(self, tracked, name, tmp_path):
        skip_without(name)
        options = {"first": 10001, "last": 10006, "min_length": 2, "frame_rate": 50.0, "window": 3}
        expected = read_trajectories(tracked, **options)
        assert expected.lengths.tolist() == [6, 5, 2]
        output = tmp_path / "here" / "it is"
        assert export(tracked, name, output=output, units="m", **options) == output
        found = READERS[name](output)
        np.testing.assert_array_equal(found.id, expected.id)
        np.testing.assert_array_equal(found.frame, expected.frame)
        for quantity in ("position", "velocity", "acceleration"):
            np.testing.assert_array_equal(getattr(found, quantity), getattr(expected, quantity) / 1000)
        assert found.metadata["position_unit"] == "m"
        assert found.metadata["velocity_unit"] == "m/s"
        assert found.metadata["acceleration_unit"] == "m/s^2"
        assert (found.metadata["frame_rate"], found.metadata["window"]) == (50, 3)
        assert found.metadata["min_length"] == 2

    @pytest.mark.parametrize("name", INSTALLED)
    def test_an_export_is_replaced(self, tracked, name):
        export(tracked, name, min_length=4)
        path = export(tracked, name, first=10002)
        same(READERS[name](path), read_trajectories(tracked, first=10002))
        if name == "vtk":
            assert not (path / "frame_10000.vtp").exists()

    def test_the_layout_is_the_one_that_flowtracks_writes(self, tracked, tmp_path):
        skip_without("h5")
        import tables

        io, trajectory = pytest.importorskip("flowtracks.io"), pytest.importorskip("flowtracks.trajectory")
        data = read_trajectories(tracked)
        rows = [slice(start, stop) for start, stop in pairwise(data.offsets)]
        io.save_particles_table(
            str(tmp_path / "theirs.h5"),
            [
                trajectory.Trajectory(
                    data.position[r], data.velocity[r], data.frame[r], data.id[r][0], accel=data.acceleration[r]
                )
                for r in rows
            ],
        )
        path = export(tracked, "h5")
        with tables.open_file(str(path)) as ours, tables.open_file(str(tmp_path / "theirs.h5")) as theirs:
            for name in ("particles", "bounds"):
                table, other = ours.root[name], theirs.root[name]
                assert (table.dtype, table.colindexed) == (other.dtype, other.colindexed)
                assert table.read().tobytes() == other.read().tobytes()

    def test_flowtracks_opens_scenes(self, tracked):
        skip_without("h5")
        Scene = pytest.importorskip("flowtracks.scene").Scene  # noqa: N806
        scene = Scene(str(export(tracked, "h5", min_length=2)))
        assert [len(trajectory) for trajectory in scene.iter_trajectories()] == [8, 6, 3, 2]
        assert scene.keys() == ["pos", "velocity", "accel"]
        rows = LINKS.read(tracked / "res" / "ptv_is.10001")
        (at_10001,) = (frame for frame, _ in scene.iter_segments() if frame.time() == 10001)
        np.testing.assert_array_equal(at_10001.pos()[:, 0], rows["x"][:3])  # those that go on

    def test_flowtracks_reads_the_zarr_store_too(self, tracked):
        skip_without("zarr")
        io = pytest.importorskip("flowtracks.io")
        path = export(tracked, "zarr")
        same(SimpleNamespace(**from_flowtracks(io.read_zarr_trajectories(path))), read_trajectories(tracked))
        scene = pytest.importorskip("flowtracks.zarr_scene").ZarrScene(path)
        assert sorted(len(trajectory) for trajectory in scene.iter_trajectories()) == sorted(LENGTHS)

    def test_paraview_gets_paths(self, tracked):
        skip_without("vtk")
        import pyvista

        paths = pyvista.read(export(tracked, "vtk", frame_rate=20) / "paths.vtp")
        expected = read_trajectories(tracked, min_length=2, frame_rate=20)
        np.testing.assert_array_equal(paths.points, expected.position)
        np.testing.assert_array_equal(paths.point_data["id"], expected.id)
        np.testing.assert_array_equal(paths.point_data["velocity"], expected.velocity)
        lines = np.split(paths.lines, np.cumsum(expected.lengths + 1)[:-1])
        assert [line[0] for line in lines] == expected.lengths.tolist()
        np.testing.assert_array_equal(np.concatenate([line[1:] for line in lines]), np.arange(19))
        assert paths.n_verts == 0

    def test_many_paths_are_several_files_and_a_list(self, tracked, monkeypatch):
        skip_without("vtk")
        import pyvista

        small_blocks(monkeypatch, 7)
        folder = export(tracked, "vtk")
        assert sorted(path.name for path in folder.glob("paths*")) == ["paths.pvd", "paths_1.vtp", "paths_2.vtp"]
        parts = list(pyvista.PVDReader(folder / "paths.pvd").read())
        assert sum(part.n_lines for part in parts) == 4
        np.testing.assert_array_equal(
            np.concatenate([part.points for part in parts]), read_trajectories(tracked, min_length=2).position
        )

    def test_particles_without_links_are_no_paths(self, tracked):
        skip_without("vtk")
        path = export(tracked, "vtk", first=10003, last=10003)
        assert sorted(file.name for file in path.iterdir()) == ["frame_10003.vtp", "trajectories.pvd"]

    def test_positions_that_are_not_known_are_not_in_paraview(self, tracked):
        skip_without("vtk")
        import pyvista

        file = tracked / "res" / "ptv_is.10001"
        cells = file.read_bytes().splitlines()
        cells[1] = cells[1][:10] + b"        nan        nan        nan"
        file.write_bytes(b"\n".join([*cells, b""]))
        assert np.isnan(read_trajectories(tracked).position[1]).all()
        path = export(tracked, "vtk")
        assert pyvista.read(path / "frame_10001.vtp").point_data["id"].tolist() == [1, 2, 3]
        paths = pyvista.read(path / "paths.vtp")
        assert paths.lines[0] == 7
        assert np.isfinite(paths.points).all()

    def test_times_of_paraview_are_seconds_where_the_rate_is_known(self, tracked):
        skip_without("vtk")
        assert read_vtk(export(tracked, "vtk")).times == list(range(10000, 10008))
        assert read_vtk(export(tracked, "vtk", frame_rate=50)).times == [frame / 50 for frame in range(10000, 10008)]

    @pytest.mark.parametrize("name", ["parquet", "csv"])
    def test_tables_have_units_and_time(self, tracked, name):
        skip_without(name)
        lengths = (
            dict.fromkeys("xyz", "m") | dict.fromkeys(("vx", "vy", "vz"), "m/s") | dict.fromkeys(("ax", "ay", "az"), "m/s^2")
        )
        found = READERS[name](export(tracked, name, frame_rate=50, units="m"))
        assert list(found.table.columns) == ["id", "frame", "time", *lengths]
        np.testing.assert_array_equal(found.table["time"], found.frame / 50)
        assert found.units == {"id": "", "frame": "", "time": "s"} | lengths
        assert list(READERS[name](export(tracked, name)).table.columns) == ["id", "frame", *lengths]

    def test_csv_is_plain(self, tracked):
        skip_without("csv")
        lines = export(tracked, "csv").read_text(encoding="ascii").splitlines()
        x, y, z = (LINKS.read(tracked / "res" / "ptv_is.10000")[axis][4] for axis in "xyz")
        assert lines[0] == "id,frame,x,y,z,vx,vy,vz,ax,ay,az"
        assert lines[-1] == f"4,10000,{x},{y},{z},,,,,,"
        assert len(lines) == 21

    def test_matlab_counts_from_1(self, tracked):
        found = read_mat(export(tracked, "mat", frame_rate=10))
        assert found.first_row.tolist() == [1, 9, 15, 18, 20]
        assert found.length.tolist() == list(LENGTHS)
        np.testing.assert_array_equal(found.time, found.frame / 10)
        import scipy.io

        assert scipy.io.loadmat(tracked / "res" / "export" / "trajectories.mat")["id"].shape == (20, 1)


class TestPlaces:
    def test_a_folder_is_no_file_name(self, tracked, tmp_path):
        with pytest.raises(ProcessingError, match="is a folder: name the file to write"):
            export(tracked, "mat", output=tmp_path)

    @pytest.mark.parametrize("name", ["zarr", "vtk"])
    def test_a_strange_folder_is_not_replaced(self, tracked, tmp_path, name):
        skip_without(name)
        (tmp_path / "thesis.tex").write_text("years")
        with pytest.raises(ProcessingError, match=re.escape(f"{tmp_path}: is not replaced: it contains ")):
            export(tracked, name, output=tmp_path)
        assert (tmp_path / "thesis.tex").read_text() == "years"
        for wrong in (tmp_path / "thesis.tex", tmp_path / "link"):
            (tmp_path / "link").unlink(missing_ok=True)
            (tmp_path / "link").symlink_to(tmp_path / "empty")
            with pytest.raises(ProcessingError, match="is not a folder, and this export is one"):
                export(tracked, name, output=wrong)

    @pytest.mark.parametrize("name", ["zarr", "vtk"])
    def test_an_empty_folder_is_filled(self, tracked, tmp_path, name):
        skip_without(name)
        (tmp_path / "new").mkdir()
        same(READERS[name](export(tracked, name, output=tmp_path / "new")), read_trajectories(tracked))

    def test_metadata_that_cannot_be_written_are_an_error_too(self, tracked, tmp_path):
        skip_without("csv")
        (tmp_path / "x.csv-metadata.json").mkdir()
        with pytest.raises(ProcessingError, match=r"x\.csv: cannot be written: Is a directory"):
            export(tracked, "csv", output=tmp_path / "x.csv")
        assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []

    def test_a_link_that_came_with_the_experiment_is_not_followed(self, tracked, tmp_path):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (tracked / "res" / "export").symlink_to(elsewhere)
        with pytest.raises(ProcessingError, match="res/export: found a link, expected a folder: remove the link"):
            export(tracked, "mat")
        assert not list(elsewhere.iterdir())
        assert export(tracked, "mat", output=elsewhere / "mine.mat").exists()

    def test_a_name_that_is_too_long(self, tracked, tmp_path):
        with pytest.raises(ProcessingError, match="cannot be written: File name too long"):
            export(tracked, "mat", output=tmp_path / ("x" * 300))

    def test_no_name(self, tracked):
        with pytest.raises(ProcessingError, match="is not a valid name for an export"):
            export(tracked, "mat", output="/")

    @pytest.mark.parametrize("name", INSTALLED)
    def test_an_output_that_cannot_be_written(self, tracked, tmp_path, name):
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(ProcessingError, match=r"cannot be written: (Not a directory|File exists)"):
            export(tracked, name, output=tmp_path / "file" / "out")

    def test_a_full_disk_leaves_the_old_export_and_nothing_else(self, tracked, tmp_path):
        pytest.importorskip("resource")
        outputs = {name: tmp_path / "exports" / name for name in INSTALLED}
        for name, output in outputs.items():
            export(tracked, name, output=output, min_length=3)
        before = {name: READERS[name](output) for name, output in outputs.items()}
        script = """
import resource, signal, sys
from pyptv.export import FORMATS
from pyptv.export.__main__ import cli
experiment, *names = sys.argv[1:]
for name in names[::2]:
    FORMATS[name].require()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (250, 250))
sys.exit(str([cli([experiment, "--to", name, "--output", output]) for name, output in zip(names[::2], names[1::2])]))
"""
        run = run_python("-c", script, tracked, *(word for pair in outputs.items() for word in pair))
        *errors, codes = run.stderr.splitlines()
        assert codes == str([1] * len(outputs)), run.stderr
        for (name, output), error in zip(outputs.items(), errors, strict=True):
            assert error.startswith(f"error: {output}: cannot be written: ")
            same(READERS[name](output), read_trajectories(tracked, min_length=3))
            assert before[name].metadata == READERS[name](output).metadata
        assert [path.name for path in (tmp_path / "exports").iterdir() if path.name.startswith(".")] == []

    def test_the_old_folder_comes_back_where_the_new_one_cannot_take_its_place(self, tmp_path, monkeypatch):
        target = tmp_path / "store"
        target.mkdir()
        (target / "zarr.json").write_text("old")
        rename = Path.replace

        def replace(self: Path, other: Path) -> Path:
            if self.name.endswith(".pyptv-tmp"):
                raise PermissionError(13, "Permission denied")
            return rename(self, other)

        monkeypatch.setattr(Path, "replace", replace)
        with pytest.raises(ProcessingError, match="Permission denied"), place.placed(target, ("zarr.json",)) as beside:
            beside.mkdir()
        assert [path.name for path in tmp_path.iterdir()] == ["store"]
        assert (target / "zarr.json").read_text() == "old"

    def test_an_interrupted_export_leaves_nothing(self, tmp_path):
        def interrupted() -> None:
            with place.placed(tmp_path / "out") as beside:
                beside.write_text("half")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert list(tmp_path.iterdir()) == []


class TestRefusals:
    def test_an_unknown_format(self, tracked):
        with pytest.raises(ValueError, match="format: found 'xls', expected one of h5, zarr, vtk, parquet, csv, mat"):
            export(tracked, "xls")

    def test_an_unknown_unit(self, tracked):
        with pytest.raises(ValueError, match="units: found 'inch', expected one of mm, m"):
            export(tracked, "mat", units="inch")

    @pytest.mark.parametrize("name", READERS)
    def test_a_missing_library_is_named_before_anything_is_read(self, tmp_path, name, monkeypatch):
        for module in FORMATS[name].libraries:
            monkeypatch.setitem(sys.modules, module, None)
        package = FORMATS[name].libraries[0].partition(".")[0]
        expected = f'{name} export needs {package}: pip install "pyptv-batch[{FORMATS[name].extra}]"'
        with pytest.raises(ProcessingError, match=re.escape(expected)):
            export(tmp_path / "nowhere", name)

    def test_every_extra_is_one_that_there_is(self):
        text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        for entry in FORMATS.values():
            assert re.search(rf"^{entry.extra} = \[", text, re.MULTILINE)

    def test_more_rows_than_matlab_holds(self, tracked, tmp_path, monkeypatch):
        monkeypatch.setattr(matlab, "MAX_BYTES", 20 * 24 - 1)
        with pytest.raises(ProcessingError, match="mat export: 20 rows, format 5 holds 19: take fewer frames, or h5"):
            export(tracked, "mat", output=tmp_path / "x.mat")
        assert not (tmp_path / "x.mat").exists()

    def test_lost_rows_are_seen(self, tracked, monkeypatch):
        """PyTables passes over some failures to write."""
        skip_without("h5")
        given = hdf5._particles
        monkeypatch.setattr(hdf5, "_particles", lambda block: given(block)[:-1])
        with pytest.raises(ProcessingError, match="HDF5 lost rows"):
            export(tracked, "h5")
        assert not (tracked / "res" / "export" / "trajectories.h5").exists()


class TestCommandLine:
    def test_several_formats_at_once(self, tracked, tmp_path, capsys):
        skip_without("csv")
        assert cli([str(tracked), "--to", "csv", "--to", "mat", "--to", "csv", "--output", str(tmp_path / "out")]) == 0
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
            "trajectories.csv",
            "trajectories.csv-metadata.json",
            "trajectories.mat",
        ]
        written = [f"written: {tmp_path / 'out' / name}" for name in ("trajectories.csv", "trajectories.mat")]
        assert capsys.readouterr().out.splitlines() == ["5 trajectories, 20 rows", *written]

    def test_all_options(self, tracked, tmp_path):
        output = tmp_path / "x.mat"
        options = "--first 10001 --last 10006 --min-length 2 --frame-rate 25 --units m --window 3 --order 2"
        assert cli([str(tracked), "--to", "mat", "--output", str(output), *options.split()]) == 0
        expected = read_trajectories(tracked, 10001, 10006, min_length=2, frame_rate=25, window=3)
        np.testing.assert_array_equal(read_mat(output).velocity, expected.velocity / 1000)

    def test_it_is_a_command_of_its_own(self, tracked):
        run = run_python("-W", "error", "-m", "pyptv.export", tracked, "--to", "mat")
        assert (run.returncode, run.stderr) == (0, "")
        assert 'pyptv-export = "pyptv.export.__main__:cli"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")

    def test_nothing_to_export_is_a_failure(self, tracked, capsys):
        assert cli([str(tracked), "--to", "mat", "--min-length", "9"]) == 1
        results = tracked / "res"
        message = f"error: {results}: nothing to export: no trajectory of at least 9 frames in these ptv_is files\n"
        assert capsys.readouterr().err == message
        assert not (results / "export").exists()

    def test_not_tracked(self, small_experiment, capsys):
        folder = small_experiment(images=False)
        assert cli([str(folder), "--to", "mat"]) == 1
        assert capsys.readouterr().err == f"error: {folder / 'res'}: no ptv_is file: run the tracking step first\n"

    def test_a_damaged_file(self, tracked, capsys):
        (tracked / "res" / "ptv_is.10003").write_bytes(b"1\n")
        assert cli([str(tracked), "--to", "mat"]) == 2
        assert re.fullmatch(r"error: .*ptv_is\.10003, line 1: .*\n", capsys.readouterr().err)

    def test_no_experiment(self, tmp_path, capsys):
        assert cli([str(tmp_path / "nowhere"), "--to", "mat"]) == 2
        assert capsys.readouterr().err.startswith("error: Experiment directory does not exist: ")

    @pytest.mark.parametrize("option", ["--min-length=0", "--window=4", "--order=9", "--frame-rate=nan", "--last=-1"])
    def test_a_bad_value_is_bad_usage(self, tracked, capsys, option):
        assert cli([str(tracked), "--to", "mat", option]) == 2
        assert re.fullmatch("error: .*(found|must be).*\n", capsys.readouterr().err)

    @pytest.mark.parametrize(("error", "code"), [(MemoryError, 1), (KeyboardInterrupt, 130)])
    def test_memory_and_interrupts(self, tracked, capsys, monkeypatch, error, code):
        monkeypatch.setattr("pyptv.export.writers.matlab.write", Mock(side_effect=error))
        assert cli([str(tracked), "--to", "mat"]) == code
        assert re.match("error: (not enough memory|interrupted)", capsys.readouterr().err)

    @pytest.mark.parametrize("arguments", [[], ["x"], ["x", "--to", "xls"], ["x", "--to", "h5", "--units", "km"]])
    def test_bad_usage(self, arguments):
        with pytest.raises(SystemExit, match="2"):
            cli(arguments)

    def test_help_loads_nothing_heavy(self):
        code = """
import sys
from pyptv.export.__main__ import cli
try:
    cli(["--help"])
except SystemExit:
    pass
heavy = {"numpy", "optv", "scipy", "pandas", "pyarrow", "zarr", "tables", "h5py", "flowtracks", "pyvista", "vtkmodules"}
print(sorted(heavy & {name.split(".")[0] for name in sys.modules}), file=sys.stderr)
"""
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        assert run.stderr.strip() == "[]"
        assert all(f'pyptv-batch[{entry.extra}]"' in run.stdout for entry in FORMATS.values())


class TestDocument:
    TEXT = (ROOT / "docs" / "trajectories.md").read_text(encoding="utf-8")

    def test_its_commands_are_ones_that_there_are(self):
        lines = [line for block in re.findall(r"```sh\n(.*?)```", self.TEXT, re.DOTALL) for line in block.splitlines()]
        commands = [shlex.split(line, comments=True) for line in lines if line.startswith("pyptv-export ")]
        assert len(commands) >= 5
        for words in commands:
            build_parser().parse_args(words[1:])
        assert {option for words in commands for option in words if option in FORMATS} == set(FORMATS)

    def test_it_names_every_option_and_no_other(self):
        table = self.TEXT.split("| option | meaning |")[1].split("\n\n")[0]
        named = set(re.findall(r"`(--[a-z-]+)", table))
        there = {name for action in build_parser()._actions for name in action.option_strings if name.startswith("--")}
        assert named == there - {"--help", "--version", "--completion"}

    @pytest.mark.parametrize("number", range(3))
    def test_its_examples_run(self, number, tracked, tmp_path):
        blocks = re.findall(r"<!-- runnable -->\n```python\n(.*?)```", self.TEXT, re.DOTALL)
        assert len(blocks) == 3
        for name in ("h5", "parquet"):
            skip_without(name)
        tracked.rename(tmp_path / "my_experiment")
        run = run_python("-W", "error", "-c", blocks[number], cwd=tmp_path)
        assert (run.returncode, run.stderr) == (0, "")
        assert run.stdout

    def test_the_picture_is_made_by_its_command(self, tracked, tmp_path):
        pytest.importorskip("matplotlib")
        assert "python docs/draw_trajectories.py " in self.TEXT
        run = run_python(
            "-W", "error", ROOT / "docs" / "draw_trajectories.py", tracked, tmp_path / "picture.png", "--min-length", 5
        )
        assert (run.returncode, run.stderr) == (0, "")
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
