"""Texts are remembered, and what is remembered is what would be written anew."""

import datetime as dt
import json
from typing import Any

import pytest
import yaml

from hatoba.operator.texts import dump_yaml, sorted_json

pytestmark = pytest.mark.alone
CONTENTS: list[Any] = [
    {},
    {"B": 1, "A": {"z": [1, "1", None, True], "a": "é"}},
    {"A": 1},
    {"A": "1"},
    {"A": True},
    {"A": 1.0},
    {1: "x"},
    {"1": "x"},
    {"A": dt.date(2026, 1, 2)},
    {"A": "2026-01-02"},
    {"A": "x" * 200 + " y" * 100},
]


@pytest.mark.parametrize("again", ["first", "again"])
def test_each_content_has_the_text_of_its_own(again):
    for content in CONTENTS:
        expected = yaml.safe_dump(content, sort_keys=True, default_flow_style=False)
        assert dump_yaml(content).decode() == expected, again


def test_a_mapping_that_was_changed_since_has_another_text():
    content = {"A": [1]}
    before = dump_yaml(content)
    content["A"].append(2)
    assert dump_yaml(content) != before
    assert dump_yaml({"A": [1]}) == before


def test_order_makes_no_difference():
    assert dump_yaml({"A": 1, "B": 2}) == dump_yaml({"B": 2, "A": 1})


@pytest.mark.parametrize("value", [{"b": [1, {"é": None}], "a": 0.5}, [], "x", 3])
def test_sorted_json_is_what_json_says(value):
    assert sorted_json(value) == json.dumps(value, sort_keys=True, separators=(",", ":"))
