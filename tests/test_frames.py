"""Frame ranges: pure integers."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyptv.core.base.frames import check_range, chunk_ranges, contiguous, describe


class TestChunks:
    @given(st.integers(0, 10**6), st.integers(0, 500), st.integers(1, 60))
    def test_they_cover_the_range_evenly(self, first, length, n):
        n = min(n, length + 1)
        chunks = chunk_ranges(first, first + length, n)
        assert len(chunks) == n
        assert [frame for a, b in chunks for frame in range(a, b + 1)] == list(range(first, first + length + 1))
        sizes = [b - a + 1 for a, b in chunks]
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[0] - sizes[-1] <= 1

    def test_frames_in_the_wrong_order(self):
        with pytest.raises(ValueError, match=r"^First frame \(2000\) must be <= last frame \(1000\)$"):
            chunk_ranges(2000, 1000, 1)


@pytest.mark.parametrize(("first", "last"), [(0, 0), (3, 3), (3, 9)])
def test_valid_ranges(first, last):
    check_range(first, last)


def test_negative_frames():
    with pytest.raises(ValueError, match=r"^First frame must be >= 0, got -1$"):
        check_range(-1, 5)


class TestContiguous:
    @given(st.sets(st.integers(0, 60)))
    def test_ranges_hold_exactly_the_frames(self, frames):
        ranges = contiguous(frames)
        assert {frame for a, b in ranges for frame in range(a, b + 1)} == frames
        assert all(later[0] > earlier[1] + 1 for earlier, later in itertools.pairwise(ranges))

    def test_frames_named_twice(self):
        assert contiguous([5, 5, 4]) == [(4, 5)]


class TestDescribe:
    @pytest.mark.parametrize(
        ("frames", "text"), [([], ""), ([7], "7"), ([3, 1, 2, 7], "1-3, 7"), ([1, 3, 5, 7], "1, 3 and 2 more ranges")]
    )
    def test_text(self, frames, text):
        assert describe(frames, most=2) == text

    def test_every_range_is_shown_where_they_just_fit(self):
        assert describe(range(0, 16, 2)) == "0, 2, 4, 6, 8, 10, 12, 14"
