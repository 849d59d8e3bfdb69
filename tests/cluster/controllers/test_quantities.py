"""Quantities as Kubernetes writes them."""

from decimal import Decimal

import pytest

from hatoba.cluster.controllers.quantities import (
    MalformedQuantity,
    milli,
    parse,
    text_of_milli,
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", "0"),
        ("1", "1"),
        (4, "4"),
        ("500m", "0.5"),
        ("1.5", "1.5"),
        ("100n", "0.0000001"),
        ("3u", "0.000003"),
        ("2k", "2000"),
        ("67108864Ki", "68719476736"),
        ("10Mi", "10485760"),
        ("8Gi", "8589934592"),
        ("1Ti", "1099511627776"),
        ("5G", "5000000000"),
        ("1E", "1000000000000000000"),
        ("2e3", "2000"),
        ("1E3", "1000"),
        ("-1", "-1"),
    ],
)
def test_quantities_are_exact(text, number):
    assert parse(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "x", "1x", "1ki", "1.2.3", "Gi", "1 Gi", "1mi"])
def test_other_texts_are_refused(text):
    with pytest.raises(MalformedQuantity):
        parse(text)


def test_thousandths_round_up_and_are_written_short():
    assert milli(parse("1500001n")) == 2
    assert [text_of_milli(value) for value in (250, 1000, 2_000_000, 536870912000)] == [
        "250m",
        "1",
        "2k",
        "536870912",
    ]
