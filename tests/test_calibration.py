"""Calibration files, read and checked in Python: C would take the memory's rubbish for a missing value."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from conftest import refusal
from hypothesis import given, settings
from hypothesis import strategies as st

from pyptv.core.base.errors import FormatError, ProcessingError
from pyptv.core.experiment.calibration import Calibration, calibration_files, read_calibration
from pyptv.synthetic.writer import write_calibrations

ORI = """105.2632 102.7458 403.8822
    -0.2383291 0.2442810 0.0552577

    0.9688305 -0.0535899 0.2418587
   -0.0033422 0.9734041 0.2290704
   -0.2477021 -0.2227388 0.9428845

    -2.6161 1.0219
    80.3123

    0.0000000 0.0001000 150.0000000
"""
ADDPAR = "0.001 -0.002 0.0 1e-4 0.0 1.0 -0.003\n"


@pytest.fixture
def files(tmp_path):
    ori, addpar = calibration_files(tmp_path, "cam1.tif")
    ori.write_text(ORI)
    addpar.write_text(ADDPAR)
    return ori, addpar


def message(files: tuple[Path, Path]) -> str:
    with pytest.raises(FormatError) as caught:
        read_calibration(*files)
    return str(caught.value)


def calibrations() -> st.SearchStrategy[Calibration]:
    number = st.floats(-1e6, 1e6)
    vector = st.tuples(number, number, number)
    return st.builds(
        Calibration,
        vector,
        vector,
        st.tuples(number, number),
        st.floats(0.1, 1e4),
        st.tuples(number, number, st.floats(0.1, 1e4)),
        vector,
        st.tuples(number, number),
        st.tuples(st.floats(0.5, 2), number),
    )


class TestRead:
    def test_values_and_their_places(self, files):
        assert read_calibration(*files) == Calibration(
            position=(105.2632, 102.7458, 403.8822),
            angles=(-0.2383291, 0.2442810, 0.0552577),
            principal_point=(-2.6161, 1.0219),
            principal_distance=80.3123,
            glass=(0.0, 0.0001, 150.0),
            radial_distortion=(0.001, -0.002, 0.0),
            decentering=(1e-4, 0.0),
            affine=(1.0, -0.003),
        )

    def test_the_files_stand_beside_the_image(self):
        assert calibration_files(Path("exp"), "cal/cam1.tif") == (Path("exp/cal/cam1.tif.ori"), Path("exp/cal/cam1.tif.addpar"))

    def test_windows_line_ends_and_more_after_the_values(self, files):
        before = read_calibration(*files)
        for path in files:
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + b"comment\r\n")
        assert read_calibration(*files) == before

    def test_the_real_ones(self, shared):
        folder = shared / "data" / "test_cavity"
        for camera in (1, 2, 3, 4):
            calibration = read_calibration(*calibration_files(folder, f"cal/cam{camera}.tif"))
            assert calibration.principal_distance > 10
            assert calibration.affine[0] == 1

    @settings(max_examples=50)
    @given(calibrations())
    def test_what_was_written_is_read(self, calibration):
        with TemporaryDirectory() as folder:
            write_calibrations(Path(folder), [calibration], ["cal/c.tif"])
            assert read_calibration(*calibration_files(Path(folder), "cal/c.tif")) == calibration


class TestErrors:
    @pytest.mark.parametrize("which", [0, 1], ids=["ori", "addpar"])
    def test_missing(self, files, which):
        files[which].unlink()
        assert message(files) == f"{files[which]}: calibration cannot be read: No such file or directory"

    @pytest.mark.parametrize("which", [0, 1], ids=["ori", "addpar"])
    @pytest.mark.parametrize("bad", ["nan", "inf", "-inf", "1e300", "x", "1,5", "é"])
    def test_not_a_finite_number(self, files, which, bad):
        words = files[which].read_text().split()
        words[2] = bad
        files[which].write_text(" ".join(words), encoding="utf-8")
        name = ("z0", "k3")[which]
        assert message(files).startswith(f"{files[which]}: {name}: found ")
        assert message(files).endswith(", expected a finite number")

    @pytest.mark.parametrize(("which", "n", "name"), [(0, 21, "glass z"), (1, 7, "she")], ids=["ori", "addpar"])
    def test_short(self, files, which, n, name):
        words = files[which].read_text().split()
        files[which].write_text(" ".join(words[:-1]))
        assert message(files) == f"{files[which]}: found {n - 1} values, expected {n}: value {n}, {name}, is missing"

    @pytest.mark.parametrize(("which", "n", "name"), [(0, 21, "x0"), (1, 7, "k1")], ids=["ori", "addpar"])
    def test_empty(self, files, which, n, name):
        files[which].write_bytes(b"")
        assert message(files) == f"{files[which]}: found 0 values, expected {n}: value 1, {name}, is missing"

    def test_no_principal_distance(self, files):
        files[0].write_text(ORI.replace("80.3123", "0"))
        assert message(files) == f"{files[0]}: found principal distance cc 0, expected the distance of lens and sensor in mm"

    def test_no_glass(self, files):
        files[0].write_text(ORI.replace("0.0001000 150.0000000", "0 0"))
        assert message(files).startswith(f"{files[0]}: found glass vector 0 0 0")

    def test_no_scale(self, files):
        files[1].write_text(ADDPAR.replace("1.0", "0"))
        assert message(files) == f"{files[1]}: found scx 0, expected a scale near 1"

    @given(st.binary(max_size=100), st.binary(max_size=100))
    def test_random_bytes(self, ori, addpar):
        with TemporaryDirectory() as folder:
            files = calibration_files(Path(folder), "c")
            for path, data in zip(files, (ori, addpar), strict=True):
                path.write_bytes(data)
            with pytest.raises(ProcessingError, match="expected"):
                read_calibration(*files)

    @given(st.integers(0, len(ORI)), st.binary(max_size=3), st.integers(0, 40))
    def test_mutated_bytes(self, place, instead, length):
        data = ORI.encode()
        with TemporaryDirectory() as folder:
            files = calibration_files(Path(folder), "c")
            files[0].write_bytes(data[:place] + instead + data[place + length :])
            files[1].write_text(ADDPAR)
            reason = refusal(read_calibration, *files)
            assert reason is None or str(files[0]) in reason
