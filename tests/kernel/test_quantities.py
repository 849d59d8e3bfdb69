"""Quantities as they come back from an API server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatoba.kernel.quantities import amount, canonical

WRITTEN = [
    ("1000m", "1"),
    ("0.5", "500m"),
    ("1.5", "1500m"),
    ("+5", "5"),
    (512, "512"),
    ("1000", "1k"),
    ("100000000", "100M"),
    ("1E", "1E"),
    ("0", "0"),
    ("0Mi", "0"),
    ("1024Mi", "1Gi"),
    ("2000Mi", "2000Mi"),
    ("1000Ki", "1000Ki"),
    ("1.5Gi", "1536Mi"),
    ("0.5Ki", "512"),
    ("0.1Ki", "102400m"),
    ("1e3", "1e3"),
    ("12e5", "1200e3"),
    ("1500e0", "1500"),
    ("0.0000000001", "1n"),
    ("1e999999", "9223372036854775807"),
    ("3000Ei", "9223372036854775807"),
]


@pytest.mark.parametrize(("given", "written"), WRITTEN)
def test_a_quantity_is_written_with_the_largest_suffix_that_leaves_no_fraction(given, written):
    assert canonical(given) == written


@given(
    st.integers(0, 2**32), st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "Gi", "e3", "e-3", "E0"])
)
def test_it_stays_the_same_amount_and_is_written_the_same_way_again(number, suffix):
    written = canonical(f"{number}{suffix}")
    assert amount(written) == amount(f"{number}{suffix}")
    assert canonical(written) == written


def test_what_is_none_is_refused():
    with pytest.raises(ValueError, match="no quantity"):
        canonical("much")
