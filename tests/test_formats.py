"""The text formats of results: written as C writes them, read with every check that C leaves out."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyptv.core.base.errors import FormatError, ProcessingError
from pyptv.core.files.formats import (
    ADDED,
    LINKS,
    MAX_ROWS,
    PARTICLES,
    TARGETS,
    TextTable,
    announced,
    check_frame,
    closed,
    targets_name,
)

TABLES = [TARGETS, PARTICLES, LINKS, ADDED]
WHOLE = st.integers(-(2**31) + 1, 2**31 - 1)
REAL = st.floats(-99_999, 99_999)


def rows_of(table: TextTable, *rows: tuple[float, ...]) -> np.ndarray:
    return np.array(list(rows), table.dtype)


@st.composite
def tables_with_rows(draw):
    table = draw(st.sampled_from(TABLES))
    kinds = [WHOLE if table.dtype[name].kind == "i" else REAL for name in table.columns]
    return table, np.array(draw(st.lists(st.tuples(*kinds), max_size=20)), table.dtype)


class TestBytes:
    """Expected bytes are those of C's printf, typed by hand."""

    def test_targets(self):
        rows = rows_of(TARGETS, (0, 1.5, 1023.25, 12, 4, 3, 3456, -1), (11, 640.12345, 7, 1, 1, 1, 123456, 3))
        assert TARGETS.render(rows) == (
            b"2\n   0    1.5000 1023.2500    12     4     3  3456    -1\n"
            b"  11  640.1235    7.0000     1     1     1 123456     3\n"
        )

    def test_particles(self):
        rows = rows_of(PARTICLES, (1, -12.3456, 0, 25.0004, 5, -1, 17, 2))
        assert PARTICLES.render(rows) == b"1\n   1   -12.346     0.000    25.000    5   -1   17    2\n"

    def test_links(self):
        assert LINKS.render(rows_of(LINKS, (-1, -2, 1, 2, 3))) == b"1\n  -1   -2      1.000      2.000      3.000\n"

    def test_added(self):
        assert ADDED.render(rows_of(ADDED, (4, 5, 1, 2, -3, 4))) == b"1\n   4    5      1.000      2.000     -3.000 4\n"

    @pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
    def test_no_rows(self, table):
        assert table.render(rows_of(table)) == b"0\n"
        assert len(table.parse(b"0\n", "file")) == 0

    def test_the_name_of_a_targets_file(self):
        assert targets_name(0, 7) == "cam1.0007_targets"
        assert targets_name(3, 123456) == "cam4.123456_targets"

    def test_real_files_are_written_as_they_were_read(self, golden):
        kinds = {"rt_is": PARTICLES, "ptv_is": LINKS, "added": ADDED}
        files = golden("tracking")
        assert len(files) == 35
        for name, data in files.items():
            table = TARGETS if name.endswith("_targets") else kinds[name.split("/")[1].split(".")[0]]
            assert table.render(table.parse(data, name)) == data, name


class TestRoundTrip:
    @given(tables_with_rows())
    def test_what_was_written_is_read(self, case):
        table, rows = case
        again = table.parse(table.render(rows), "file")
        for name in table.columns:
            np.testing.assert_allclose(again[name], rows[name], rtol=0, atol=5.1e-4)
            if rows.dtype[name].kind == "i":
                np.testing.assert_array_equal(again[name], rows[name])

    @given(tables_with_rows())
    def test_a_second_time_gives_the_same_bytes(self, case):
        table, rows = case
        data = table.render(rows)
        assert table.render(table.parse(data, "file")) == data

    def test_windows_line_ends_are_read(self):
        assert LINKS.parse(b"1\r\n  -1   -2      1.000      2.000      3.000\r\n", "file")["next"].tolist() == [-2]

    @pytest.mark.parametrize("table", [PARTICLES, LINKS, ADDED], ids=lambda table: table.name)
    @pytest.mark.parametrize("data", [b"-1\n", b"-1", b" -1\r\n\r\n"])
    def test_minus_one_rows_are_none(self, table, data):
        assert len(table.parse(data, "file")) == announced(data) == 0

    def test_minus_one_targets_are_an_error(self):
        with pytest.raises(FormatError, match="file, line 1: found '-1', expected the number of rows"):
            TARGETS.parse(b"-1\n", "file")

    @pytest.mark.parametrize("end", [b"\n\n", b"\n \t\n\r\n", b"\n  "])
    def test_blank_lines_at_the_end(self, end):
        data = LINKS.render([(0, 1, 1, 2, 3), (-1, -2, 4, 5, 6)])
        assert LINKS.parse(data.rstrip() + end, "file").tolist() == LINKS.parse(data, "file").tolist()
        assert closed(data.rstrip() + end) == data

    @pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
    @pytest.mark.parametrize("rows", [1, 2])
    def test_a_last_line_without_an_end_is_whole_or_cut(self, table, rows):
        """C pads numbers to a width, so that a row that lacks its last character is seen."""
        data = table.render(np.array([tuple(range(len(table.columns)))] * rows, table.dtype))
        assert len(table.parse(data[:-1], "file")) == rows
        for cut in range(2, 20):
            with pytest.raises(FormatError, match=f"{rows} rows announced, {rows - 1} whole rows found: the file is cut"):
                table.parse(data[:-cut], "file")

    def test_a_last_line_without_an_end_of_a_program_that_writes_otherwise(self):
        assert LINKS.parse(b"2\n0 1 1.5 2 3\n-1 -2 4 5 6", "file")["z"].tolist() == [3, 6]
        with pytest.raises(FormatError, match="2 rows announced, 1 whole rows found: the file is cut"):
            LINKS.parse(b"2\n0 1 1.5 2 3\n-1 -2 4 5 ", "file")


class TestErrors:
    GOOD: ClassVar[bytes] = b"2\n   1 1.0 2.0 3.0  0  0 -1 -1\n   2 1.0 2.0 3.0  1  1 -1 -1\n"

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", r"file, line 1: found '', expected the number of rows"),
            (b"two\n", r"file, line 1: found 'two', expected the number of rows"),
            (b"-2\n", r"file, line 1: found '-2', expected the number of rows"),
            (b"-1\n" + GOOD[2:], r"file, line 1: 0 rows announced, 2 whole rows found"),
            (b"9999999999\n", r"file, line 1: found '9999999999', expected the number of rows"),
            (GOOD[:-4], r"file, line 1: 2 rows announced, 1 whole rows found: the file is cut or mixed"),
            (GOOD[:-30], r"line 1: 2 rows announced"),
            (GOOD.replace(b"2\n", b"3\n", 1), r"line 1: 3 rows announced, 2 whole rows found"),
            (GOOD.replace(b"2\n", b"1\n", 1), r"line 1: 1 rows announced, 2 whole rows found"),
            (GOOD + b"\n\nx", r"line 1: 2 rows announced, 3 whole rows found"),
            (GOOD.replace(b"-1\n", b"-1\n\n", 1), r"file, line 3: found 0 columns, expected 8"),
            (GOOD.replace(b"  0  0", b"  0"), r"file, line 2: found 7 columns, expected 8 \(number x y z target1 .*\)"),
            (GOOD.replace(b"3.0  1", b"NaN  1"), r"file, line 3, column z: found 'NaN', expected a finite number"),
            (GOOD.replace(b"3.0  1", b"nan.0  1"), r"file, line 3, column z: found 'nan.0', expected a finite number"),
            (GOOD.replace(b"   2", b" nan"), r"file, line 3, column number: found 'nan', expected a whole number"),
            (GOOD.replace(b"3.0  1", b"inf  1"), r"file, line 3, column z: found 'inf'"),
            (GOOD.replace(b"3.0  1", b"abc  1"), r"file, line 3, column z: found 'abc', expected a finite number"),
            (GOOD.replace(b"1.0", b"\xff\xfe", 1), r"line 2, column x: found '\\xff\\xfe'"),
            (GOOD.replace(b"   2", b" 2.5"), r"file, line 3, column number: found '2.5', expected a whole number"),
            (GOOD.replace(b"   2", b"9" * 12), r"line 3, column number: found '999999999999', expected a whole number"),
        ],
    )
    def test_message(self, data, message):
        with pytest.raises(FormatError, match=message):
            PARTICLES.parse(data, "file")

    @pytest.mark.parametrize("written", [b"nan", b"-nan"])
    def test_a_position_may_be_no_number(self, written):
        """optv writes that for a particle whose rays do not come near each other, and tracks on."""
        rows = PARTICLES.parse(self.GOOD.replace(b"3.0  1", written + b"  1"), "file")
        assert np.isnan(rows["z"]).tolist() == [False, True]

    def test_a_target_is_somewhere(self):
        with pytest.raises(FormatError, match=r"file, line 2, column x: found 'nan', expected a finite number"):
            TARGETS.parse(b"1\n   0 nan 2.0 4 2 2 100 -1\n", "file")

    @pytest.mark.parametrize("number", [b"1_0.0", b"1_0", b"0x10", b"1d3", "１".encode()])
    def test_numbers_that_only_python_reads_are_refused(self, number):
        """C would stop in the middle of them and take the rest for the next column."""
        with pytest.raises(FormatError, match=r"line 2, column x"):
            PARTICLES.parse(self.GOOD.replace(b"1.0", number, 1), "file")

    @pytest.mark.parametrize("number", [b"1.0", b"1e3", b"1."])
    def test_a_whole_number_has_digits_only(self, number):
        with pytest.raises(FormatError, match=r"line 2, column number: .* expected a whole number"):
            PARTICLES.parse(self.GOOD.replace(b"   1", number, 1), "file")

    def test_long_garbage_is_cut_in_the_message(self):
        with pytest.raises(FormatError) as caught:
            TARGETS.parse(b"x" * 10_000, "file")
        assert len(str(caught.value)) < 150

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(FormatError, match=r"rt_is\.1: cannot be read: No such file"):
            PARTICLES.read(tmp_path / "rt_is.1")
        with pytest.raises(FormatError, match=r"^the particles: cannot be read: found a folder, expected a file"):
            PARTICLES.read(tmp_path, "the particles")

    @given(st.binary(max_size=200))
    @example(b"1\n")
    @example(b"0\n\n")
    def test_random_bytes(self, data):
        for table in TABLES:
            try:
                rows = table.parse(data, "file")
            except ProcessingError:
                continue
            assert rows.dtype == table.dtype

    @given(
        st.integers(0, len(GOOD) - 1),
        st.one_of(st.binary(max_size=3), st.sampled_from([b"nan", b"-", b"\n", b" ", b"\0", b"1e999", b"_"])),
        st.integers(0, 3),
    )
    def test_mutated_bytes(self, place, instead, length):
        data = self.GOOD[:place] + instead + self.GOOD[place + length :]
        try:
            rows = PARTICLES.parse(data, "file")
        except ProcessingError:
            return
        assert not np.isinf([rows[axis] for axis in "xyz"]).any()


class TestPointers:
    """Rows that point at each other; the tracker follows them without looking."""

    SOURCES: ClassVar[list[str]] = ["rt_is.1", "cam1.0001_targets", "cam2.0001_targets"]

    @pytest.fixture
    def frame(self):
        particles = rows_of(PARTICLES, (1, 0, 0, 0, 0, 1, -1, -1), (2, 0, 0, 0, 1, -1, -1, -1))
        targets = [rows_of(TARGETS, (0, 1, 1, 1, 1, 1, 1, 0), (1, 1, 1, 1, 1, 1, 1, 1)) for _ in range(2)]
        return particles, targets

    def test_valid(self, frame):
        check_frame(*frame, self.SOURCES)

    @pytest.mark.parametrize("value", [2, -2, 2**31 - 1])
    def test_tnr_out_of_range(self, frame, value):
        frame[1][1]["tnr"][1] = value
        with pytest.raises(FormatError, match=rf"^cam2\.0001_targets, line 3, column tnr: found {value}, expected -1 to 1"):
            check_frame(*frame, self.SOURCES)

    @pytest.mark.parametrize("value", [2, -2])
    def test_target_number_out_of_range(self, frame, value):
        frame[0]["target2"][0] = value
        with pytest.raises(FormatError, match=rf"^rt_is\.1, line 2, column target2: found {value}, expected -1 to 1"):
            check_frame(*frame, self.SOURCES)

    @pytest.mark.parametrize("value", [0, 7, -2, 2**31 - 1])
    def test_a_target_of_a_camera_that_is_not_there_is_not_looked_at(self, frame, value):
        frame[0]["target3"][1] = value
        check_frame(*frame, self.SOURCES)

    def test_more_than_the_tracker_holds(self, frame):
        many = np.zeros(MAX_ROWS + 1, TARGETS.dtype)
        with pytest.raises(FormatError, match=r"^cam2\.0001_targets: 20001 rows, optv's tracker holds at most 20000"):
            check_frame(frame[0], [frame[1][0], many], self.SOURCES)

    def test_exactly_what_the_tracker_holds(self, frame):
        many = np.zeros(MAX_ROWS, TARGETS.dtype)
        check_frame(frame[0], [frame[1][0], many], self.SOURCES)
