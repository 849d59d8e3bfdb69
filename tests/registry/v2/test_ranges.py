"""Ranges are honoured, ignored or refused as RFC 9110 says."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatoba.registry.v2.messages import RequestInvalid
from hatoba.registry.v2.ranges import (
    ByteRange,
    Unsatisfiable,
    parse_content_range,
    parse_range,
)

NUMBERS = st.integers(min_value=0, max_value=50)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_a_range_is_the_slice_it_names(first, last, size) -> None:
    content = bytes(range(size))
    expected = content[first : last + 1]
    try:
        found = parse_range(f"bytes={first}-{last}", size=size)
    except Unsatisfiable:
        assert expected == b""
        return
    if found is None:
        assert last < first
    else:
        assert content[found.start : found.end] == expected


@given(NUMBERS, NUMBERS)
def test_a_suffix_is_the_end(wanted, size) -> None:
    content = bytes(range(size))
    with contextlib.suppress(Unsatisfiable):
        found = parse_range(f"bytes=-{wanted}", size=size)
        assert found is not None
        assert content[found.start : found.end] == content[-wanted:]


@given(st.text(max_size=30))
def test_any_text_is_read_or_ignored(header) -> None:
    with contextlib.suppress(Unsatisfiable):
        found = parse_range(header, size=10)
        assert found is None or 0 <= found.start < found.end <= 10


@pytest.mark.parametrize("header", ["", "1", "5-2", "bytes 0-1/2", "a-b", "-5", "0-"])
def test_a_malformed_content_range_is_refused(header) -> None:
    with pytest.raises(RequestInvalid):
        parse_content_range(header)


def test_a_content_range_has_an_inclusive_end() -> None:
    assert parse_content_range("10-19") == ByteRange(10, 20)
    assert parse_content_range(None) is None
