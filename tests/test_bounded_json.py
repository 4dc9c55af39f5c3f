"""JSON, lines and compressed bytes from anybody: a value, or one clear error; never more time or memory than the bound."""

from __future__ import annotations

import io
import json
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyptv.core.base.bounded_json import (
    BoundError,
    bounded_lines,
    check_fields,
    inflate,
    is_count,
    is_list_of,
    is_text,
    parse_json,
    parse_object,
)

MOST = 1_000_000

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


class TestJson:
    @given(values)
    def test_what_was_written_is_read(self, value):
        assert parse_json(json.dumps(value).encode(), MOST) == value

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "not valid JSON: "),
            (b"{", "not valid JSON: "),
            (b"\xff", "found the byte 0xff, expected text in UTF-8"),
            ("{}".encode("utf-16"), "found the byte 0xff, expected text in UTF-8"),
            (b"NaN", "found NaN, expected a finite number"),
            (b"[-Infinity]", "found -Infinity, expected a finite number"),
            (b"1e999", "found 1e999, expected a finite number"),
            (b"1" * 21, "found a number of 21 digits, expected at most 20"),
            (b"9" * 900_000, "found a number of 900000 digits, expected at most 20"),
            (b"1" * 400 + b".0", "expected a finite number"),
            (b"[" * 900_000, "found more than 20 levels"),
            (b'{"a":' * 100_000, "found more than 20 levels"),
            (b'["\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[' + b'\\"' * 400_000, "not valid JSON: "),
            (b" " * (MOST + 1), "found 1000001 bytes, expected at most 1000000"),
        ],
        ids=range(14),
    )
    def test_errors(self, data, message):
        with pytest.raises(BoundError) as caught:
            parse_json(data, MOST)
        assert message in str(caught.value)
        assert len(str(caught.value)) < 200

    def test_brackets_in_texts_are_no_levels(self):
        text = json.dumps(["[" * 1000, '"' + "{" * 1000, "\\" + "[" * 1000])
        assert parse_json(text.encode(), MOST) == json.loads(text)
        assert parse_json(b"[[],[],[],[[[]]]]" + b" " * 30, 100, most_levels=4)

    @pytest.mark.parametrize("data", [b"[]", b"1", b'"a"', b"null"])
    def test_an_object_is_wanted(self, data):
        with pytest.raises(BoundError, match="expected an object with fields"):
            parse_object(data, MOST)

    @settings(max_examples=300)
    @given(st.binary(max_size=60) | st.text('{}[]":,\\-+.0123456789eEtruefalsnIiyNa \n', max_size=60).map(str.encode))
    def test_anything_else_is_one_error(self, data):
        try:
            value = parse_json(data, MOST)
        except BoundError:
            return
        assert value == json.loads(data)


class TestFields:
    EXPECTED = {"frame": is_count, "name": is_text, "targets": is_list_of(is_count, 4)}  # noqa: RUF012

    def test_fine(self):
        check_fields({"frame": 0, "name": "", "targets": [1, 2, 3, 4]}, self.EXPECTED)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"frame": True}, "frame: found True, expected another kind of value"),
            ({"frame": -1}, "frame: found -1"),
            ({"frame": 1.0}, "frame: found 1.0"),
            ({"name": "x" * 10_000}, "name: found 'xxx"),
            ({"targets": [1, 2, 3, 4, 5]}, "targets: found a list of 5"),
            ({"targets": [[1]]}, "targets: found a list of 1"),
            ({"targets": {"a": 1}}, "targets: found an object of 1"),
            ({"more": 1}, "found the unknown field 'more'"),
        ],
    )
    def test_another_kind(self, change, message):
        with pytest.raises(BoundError) as caught:
            check_fields({"frame": 0, "name": "", "targets": []} | change, self.EXPECTED)
        assert str(caught.value).startswith(message)
        assert len(str(caught.value)) < 120

    def test_missing(self):
        with pytest.raises(BoundError, match=r"^targets: is missing$"):
            check_fields({"frame": 0, "name": ""}, self.EXPECTED)


class TestLines:
    @given(st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=8), st.booleans())
    def test_all_but_the_long_ones(self, lines, ended):
        data = b"\n".join(lines) + (b"\n" if ended else b"")
        expected = [line for line in io.BytesIO(data) if len(line) <= 6]
        assert list(bounded_lines(io.BytesIO(data), 6, MOST)) == expected

    def test_a_line_without_end_takes_no_memory(self, tmp_path: Path):
        """A hole of 300 MB between two lines."""
        path = tmp_path / "lines"
        with path.open("wb") as file:
            file.write(b"first\n")
            file.truncate(300 * 2**20)
            file.seek(0, 2)
            file.write(b"\nlast\n")
        tracemalloc.start()
        with path.open("rb") as file:
            assert list(bounded_lines(file, 1000, 2**40)) == [b"first\n", b"last\n"]
        peak = tracemalloc.get_traced_memory()[1]
        with path.open("rb") as file:
            assert list(bounded_lines(file, 1000, 2**20)) == [b"first\n"]
        tracemalloc.stop()
        assert peak < 8 * 2**20


class TestInflate:
    @given(st.binary(max_size=2000))
    def test_what_was_packed(self, data):
        assert inflate(zlib.compress(data), 2000) == data

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "is cut"),
            (b"nonsense", "cannot be unpacked: "),
            (zlib.compress(b"x" * 100)[:-1], "is cut"),
            (zlib.compress(b"x") + b"y", "has something behind its end"),
            (zlib.compress(b"x" * 1001), "unpacks to more than 1000 bytes"),
        ],
        ids=range(5),
    )
    def test_errors(self, data, message):
        with pytest.raises(BoundError) as caught:
            inflate(data, 1000)
        assert message in str(caught.value)

    def test_a_bomb_takes_no_memory(self):
        packer = zlib.compressobj(9)
        bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(400)) + packer.flush()
        assert len(bomb) < 2**20
        tracemalloc.start()
        with pytest.raises(BoundError, match="unpacks to more than 1000000 bytes"):
            inflate(bomb, MOST)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 * 2**20
