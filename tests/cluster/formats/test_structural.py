import pytest

from hatoba.cluster.formats.definitions import structural_errors
from hatoba.cluster.formats.schema import custom
from hatoba.cluster.formats.structural import (
    apply_defaults,
    blocks_rules,
    has_rules,
    validate,
    validate_lists,
    validate_scale,
)

DOCUMENT = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "maxLength": 5, "pattern": "^[a-z]+$"},
                "size": {"type": "string", "enum": ["s", "m"], "default": "s"},
                "replicas": {"type": "integer", "minimum": 0, "maximum": 10, "default": 1},
                "maybe": {"type": "integer", "nullable": True},
                "amount": {
                    "x-kubernetes-int-or-string": True,
                    "anyOf": [{"type": "integer"}, {"type": "string"}],
                },
                "nested": {
                    "type": "object",
                    "properties": {"a": {"type": "string", "default": "d"}},
                },
                "when": {"type": "string", "format": "date-time"},
                "tags": {
                    "type": "array",
                    "maxItems": 3,
                    "items": {"type": "string"},
                    "x-kubernetes-list-type": "set",
                },
                "parts": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"kind": {"type": "string"}},
                    },
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["kind"],
                },
            },
        }
    },
}
SCHEMA = custom(DOCUMENT)


def faults(**spec):
    return [(c.field, c.message) for c in validate({"spec": {"name": "n", **spec}}, SCHEMA)]


def test_defaults_are_filled_in_where_their_parents_are():
    assert apply_defaults({"spec": {"nested": {}}}, SCHEMA)["spec"] == {
        "nested": {"a": "d"},
        "replicas": 1,
        "size": "s",
    }
    assert apply_defaults({}, SCHEMA) == {}


def test_nulls_take_defaults_or_go_unless_they_are_meant():
    spec = apply_defaults({"spec": {"size": None, "name": None, "maybe": None}}, SCHEMA)["spec"]
    assert spec == {"size": "s", "maybe": None, "replicas": 1}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, []),
        ({"maybe": None}, []),
        (
            {"size": "x"},
            [("spec.size", 'Unsupported value: "x": supported values: "s", "m"')],
        ),
        (
            {"replicas": 11},
            [
                (
                    "spec.replicas",
                    "Invalid value: 11: spec.replicas in body should be less than or equal to 10",
                )
            ],
        ),
        (
            {"replicas": "3"},
            [
                (
                    "spec.replicas",
                    'Invalid value: "string": spec.replicas in body must be of type integer: "string"',
                )
            ],
        ),
        ({"name": "abcdef"}, [("spec.name", "Too long: may not be more than 5 bytes")]),
        (
            {"name": "A"},
            [("spec.name", "Invalid value: \"A\": spec.name in body should match '^[a-z]+$'")],
        ),
        ({"tags": list("abcd")}, [("spec.tags", "Too many: 4: must have at most 3 items")]),
        (
            {"when": "soon"},
            [
                (
                    "spec.when",
                    'Invalid value: "soon": spec.when in body must be of type date-time: "soon"',
                )
            ],
        ),
        (
            {"tags": ["a", None]},
            [
                (
                    "spec.tags[1]",
                    'Invalid value: "null": spec.tags[1] in body must be of type string: "null"',
                )
            ],
        ),
    ],
)
def test_values_are_refused_in_the_apis_words(spec, said):
    assert faults(**spec) == said


def test_a_required_member_is_missed():
    assert [(c.reason, c.field) for c in validate({"spec": {}}, SCHEMA)] == [
        ("FieldValueRequired", "spec.name")
    ]


def test_neither_a_number_nor_a_string():
    assert [field for field, _ in faults(amount=True)] == ["spec.amount", "<nil>", "spec.amount"]
    assert faults(amount=5) == faults(amount="5%") == []


def test_items_that_stand_twice_are_found():
    obj = {"spec": {"tags": ["a", "b", "a"], "parts": [{"kind": "x"}, {"kind": "x"}]}}
    assert [(c.field, c.message) for c in validate_lists(obj, SCHEMA)] == [
        ("spec.parts[1]", 'Duplicate value: map[string]interface {}{"kind":"x"}'),
        ("spec.tags[2]", 'Duplicate value: "a"'),
    ]


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"replicas": -1}, "Invalid value: -1: should be a non-negative integer"),
        (
            {"replicas": "3"},
            "Invalid value: 0: .spec.replicas accessor error: 3 is of the type string, expected int64",
        ),
        (
            "x",
            (
                "Invalid value: 0: .spec.replicas accessor error: x is of the type string,"
                " expected map[string]interface{}"
            ),
        ),
    ],
)
def test_what_scale_reads_must_be_a_count(spec, why):
    found = validate_scale(
        {"spec": spec}, replicas_path=("spec", "replicas"), status_path=("status", "replicas")
    )
    assert [(c.field, c.message) for c in found] == [(".spec.replicas", why)]


def test_rules_wait_for_values_that_have_the_right_type():
    assert blocks_rules(validate({"spec": {"name": "n", "size": "x"}}, SCHEMA))
    assert not blocks_rules(validate({"spec": {"name": "n", "replicas": 11}}, SCHEMA))
    ruled = {"properties": {"a": {"items": {"x-kubernetes-validations": [{"rule": "true"}]}}}}
    assert has_rules(ruled)
    assert not has_rules(DOCUMENT)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"properties": {}}, "s.type"),
        ({"type": "object", "properties": {"a": {}}}, "s.properties[a].type"),
        (
            {
                "type": "object",
                "properties": {
                    "l": {
                        "type": "array",
                        "items": {"type": "object"},
                        "x-kubernetes-list-type": "map",
                    }
                },
            },
            "s.properties[l].x-kubernetes-list-map-keys",
        ),
        (
            {"type": "object", "properties": {"n": {"type": "integer", "default": "abc"}}},
            "s.properties[n].default",
        ),
    ],
)
def test_schemas_that_are_not_structural(document, field):
    assert [cause.field for cause in structural_errors(document, path="s")] == [field]


def test_a_structural_schema_has_no_errors():
    assert structural_errors(DOCUMENT, path="s") == []
