"""Compiled text tables against :class:`TextTable`: the same values, the same bytes, the same messages."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pyptv.core.base.errors import FormatError
from pyptv.core.engines.compiled import text as fast_text
from pyptv.core.files.formats import ADDED, LINKS, PARTICLES, TARGETS, TextTable

TABLES = [TARGETS, PARTICLES, LINKS, ADDED]
every_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


@st.composite
def near_ties(draw: st.DrawFn) -> float:
    """Decimal numbers that end in 5 after 2 to 5 places, binary ones that do so exactly, and their neighbours."""
    whole = draw(st.integers(-(10**9), 10**9))
    value = draw(
        st.sampled_from([(2 * whole + 1) / 2 ** draw(st.integers(1, 14)), (whole + 0.5) / 10 ** draw(st.integers(2, 5))])
    )
    return math.nextafter(value, draw(st.sampled_from([-math.inf, value, math.inf])))


DECIMALS = st.one_of(near_ties(), st.floats(-1e4, 1e4), st.floats(), st.sampled_from([0.0, -0.0, -0.0004, 2.0**51, 2.0**52 + 1]))
WHOLES = st.one_of(st.integers(-5, 10**4), st.integers(-(2**31), 2**31 - 1))


def tables_of_rows(decimals: st.SearchStrategy[float] = DECIMALS, wholes: st.SearchStrategy[float] = WHOLES) -> Any:
    """A table and a few rows of it."""

    def rows(table: TextTable) -> Any:
        cells = [wholes if specifier.endswith("d") else decimals for specifier in table.row_format.split()]
        return st.tuples(st.just(table), st.lists(st.tuples(*cells), max_size=8))

    return st.sampled_from(TABLES).flatmap(rows)


def outcome(call: Any, *arguments: Any) -> Any:
    """What a call gives, in bytes where it is an array, or the error it raises."""
    try:
        result = call(*arguments)
    except (FormatError, ValueError, OverflowError, TypeError) as error:
        return type(error), str(error)
    return (result.dtype, result.tobytes()) if isinstance(result, np.ndarray) else result


def read_both(table: TextTable, data: bytes) -> Any:
    """What comes of parsing the bytes, after a check that all ways agree."""
    expected = outcome(table.parse, data, "the file")
    assert outcome(fast_text.parse, table, data, "the file") == expected
    return expected


@given(tables_of_rows())
@example((LINKS, [(-1, -2, 0.0625, -0.0005, 1e300), (7, 2**31 - 1, math.nan, -math.inf, 0.0015)]))
def test_renders_the_same_bytes(case: tuple[TextTable, list[tuple[float, ...]]]) -> None:
    table, rows = case
    expected = table.render(rows)
    assert fast_text.render_columns(table, np.array(rows, np.float64).reshape(len(rows), len(table.columns))) == expected


@given(tables_of_rows(wholes=st.one_of(st.integers(), st.floats(), near_ties())))
@example((ADDED, [(-0.0, -0.9, 1.0, 1.0, 1.0, 10.0)]))
def test_odd_values_in_whole_columns_fare_the_same(case: tuple[TextTable, list[tuple[float, ...]]]) -> None:
    table, rows = case
    expected = outcome(table.render, rows)
    assume(not any(isinstance(value, int) and abs(value) >= 2**31 for row in rows for value in row))
    columns = np.array(rows, np.float64).reshape(len(rows), len(table.columns))
    assert outcome(fast_text.render_columns, table, columns) == expected


@given(tables_of_rows())
def test_reads_the_same_values_back(case: tuple[TextTable, list[tuple[float, ...]]]) -> None:
    table, rows = case
    read_both(table, table.render(rows))


@every_table
def test_the_kernel_itself_reads_and_writes_a_usual_table(table: TextTable, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    rows = np.zeros(500, table.dtype)
    for name in table.columns:
        rows[name] = rng.integers(-2, 30_000, 500) if rows.dtype[name].kind == "i" else rng.normal(0, 300, 500).round(5)
    rendered = table.render(rows)
    expected = table.parse(rendered, "")
    monkeypatch.setattr(TextTable, "render", None)
    monkeypatch.setattr(TextTable, "parse", None)
    np.testing.assert_array_equal(fast_text.parse(table, rendered, ""), expected)
    columns = fast_text.as_columns(fast_text.parse(table, rendered, ""))
    assert columns.shape == (500, len(table.columns))
    assert fast_text.render_columns(table, np.asfortranarray(columns)) == rendered


ODD_CELLS = (
    rb". .5 1. +.5 -.0 -0 - + --1 1- 1..2 1.2.3 1e3 1e400 nan inf 0x1 1_0 1.0 \0 007 2147483647 2147483648 -2147483648 "
    rb"123456789012345.5 9007199254740993 9007199254740992.5 18446744073709551617 18446744073709551616.5 0.1234567890123456 "
    rb"0.30000000000000004 0.000000000000000001 1234567890123456789012 00000000000000000000001"
)


@pytest.mark.parametrize(
    "cell",
    [*ODD_CELLS.split(), b"", b"1 2", b"1\t", b"1\n", b"1\0", b"\xff"],
    ids=ascii,
)
@pytest.mark.parametrize("column", range(5))
def test_odd_cells_fare_the_same(cell: bytes, column: int) -> None:
    cells = [b"1", b"2", b"3.5", b"4.5", b"5.5"]
    cells[column] = cell
    read_both(LINKS, b"1\n" + b" ".join(cells) + b"\n")


GOOD = LINKS.render([(-1, 3, 1.5, -2.25, 3.125), (0, -2, 0.0, -0.0, 10000.5)])


@pytest.mark.parametrize(
    "data",
    [GOOD[:-1], GOOD + b"\n", GOOD + b" ", GOOD + b"x", GOOD * 2]
    + [GOOD.replace(b"\n", end) for end in (b"\r\n", b" \n", b"\n\n")]
    + [GOOD.replace(b"2\n", count, 1) for count in (b"3\n", b"1\n", b"2 \n", b" 2\n", b"+2\n", b"02\n", b"2.0\n")]
    + [b"-1\n", b"-1", b"-1\n\n", GOOD[:-3], GOOD + b"\n \r\n"]
    + [b"", b"\n", b"0", b"0\n", b"0\n\n", b"-0\n", b"00\n", b"1\n", b"1\n\n", b"1234567890\n", b"999999999\n", b"x\n", b"2" * 40]
    + [b"0\n" + b" " * 90, b"1\n     \n", b"1\n 1 2 3\n", b"1\n 1 2 3 4 5 6\n"],
)
def test_odd_files_fare_the_same(data: bytes) -> None:
    read_both(LINKS, data)


@given(st.data())
def test_hostile_bytes_fare_the_same(data: st.DataObject) -> None:
    """A good file, in which something is replaced, left out or put in; and anything made of the usual characters."""
    at, until = sorted(data.draw(st.tuples(*[st.integers(0, len(GOOD))] * 2)))
    foreign = data.draw(st.one_of(st.binary(max_size=3), st.text("0123456789.-+e \n\r\t", max_size=6).map(str.encode)))
    read_both(LINKS, GOOD[:at] + foreign + GOOD[until if data.draw(st.booleans()) else at :])
    read_both(LINKS, foreign)


def test_an_error_names_the_file_and_the_line() -> None:
    kind, message = read_both(LINKS, GOOD.replace(b"-2.250", b"-2.2x0"))
    assert kind is FormatError
    assert message == "the file, line 2, column y: found '-2.2x0', expected a finite number"
