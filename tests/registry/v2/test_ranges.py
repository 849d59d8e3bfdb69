"""Ranges are honoured, ignored or refused as RFC 9110 says."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatoba.registry.v2.problems import ContentRangeMalformed
from hatoba.registry.v2.ranges import (
    ByteRange,
    Unsatisfiable,
    parse_content_range,
    parse_ranges,
)

NUMBERS = st.integers(min_value=0, max_value=50)
PAIRS = st.tuples(st.none() | NUMBERS, st.none() | NUMBERS).filter(
    lambda pair: pair != (None, None)
)


def parse(header, *, size, maximum=16):
    return parse_ranges(header, size=size, maximum=maximum)


def shown(first, last):
    return f"{'' if first is None else first}-{'' if last is None else last}"


def meant(pair, content):
    """Return the bytes that a range means, by its definition; None for one that is malformed."""
    first, last = pair
    if first is None:
        return content[-last:] if last else b""
    if last is None:
        return content[first:]
    return None if last < first else content[first : last + 1]


@given(st.lists(PAIRS, min_size=1, max_size=6), NUMBERS)
def test_ranges_are_the_slices_they_name(pairs, size) -> None:
    content = bytes(range(size))
    slices = [meant(pair, content) for pair in pairs]
    expected = [part for part in slices if part]
    header = "bytes=" + ", ".join(shown(*pair) for pair in pairs)
    try:
        found = parse(header, size=size)
    except Unsatisfiable:
        assert not expected or sum(map(len, expected)) > size
        return
    if not found:
        assert None in slices
    else:
        assert [content[part.start : part.end] for part in found] == expected


@given(st.text(max_size=30) | st.text("bytes=-, 0123456789", max_size=40).map("bytes={}".format))
def test_any_text_is_read_ignored_or_refused(header) -> None:
    with contextlib.suppress(Unsatisfiable):
        found = parse(header, size=10)
        assert all(0 <= part.start < part.end <= 10 for part in found)
        assert sum(part.length for part in found) <= 10


@pytest.mark.parametrize("count", [1, 3])
def test_so_many_ranges_are_given_and_no_more(count) -> None:
    header = "bytes=" + ",".join(f"{number}-{number}" for number in range(count))
    assert len(parse(header, size=9, maximum=count)) == count
    with pytest.raises(Unsatisfiable):
        parse(header + ",8-8", size=9, maximum=count)


def test_ranges_may_overlap_until_they_are_longer_than_the_blob() -> None:
    assert len(parse("bytes=0-4,3-7", size=10)) == 2
    with pytest.raises(Unsatisfiable):
        parse("bytes=0-,0-", size=10)


def test_ranges_outside_are_left_out() -> None:
    assert parse("bytes=2-3,50-60", size=10) == (ByteRange(2, 4),)


@pytest.mark.parametrize("header", ["", "1", "5-2", "bytes 0-1/2", "a-b", "-5", "0-", "٣-٤"])
def test_a_malformed_content_range_is_refused(header) -> None:
    with pytest.raises(ContentRangeMalformed):
        parse_content_range(header)


@given(st.text(max_size=20))
def test_any_content_range_is_read_or_refused(header) -> None:
    with contextlib.suppress(ContentRangeMalformed):
        found = parse_content_range(header)
        assert found is not None
        assert found.start < found.end


@given(NUMBERS, NUMBERS)
def test_a_content_range_has_an_inclusive_end(start, more) -> None:
    assert parse_content_range(f"{start}-{start + more}") == ByteRange(start, start + more + 1)
    assert parse_content_range(None) is None
