import pytest

from hatoba.cluster.formats.schema import (
    UnknownSchema,
    builtin,
    custom,
    definitions,
    unknown_fields,
)

POD = builtin("", "v1", "Pod")


def test_list_keys_of_built_ins_come_from_the_packaged_schema():
    containers = POD.at("spec", "containers")
    assert (containers.list_type, containers.map_keys, containers.merge_key) == (
        "map",
        ("name",),
        "name",
    )
    assert builtin("", "v1", "Service").at("spec", "selector").is_atomic_map


def test_every_definition_can_be_explained():
    references = [
        value for definition in definitions().values() for value in _references(definition)
    ]
    assert references
    assert {value.rpartition("/")[2] for value in references} <= definitions().keys()
    assert POD.at("spec", "nodeName").raw["description"]


def _references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from _references(part)
    elif isinstance(value, list):
        for part in value:
            yield from _references(part)


def test_a_kind_outside_the_slice_is_named():
    with pytest.raises(UnknownSchema, match="StatefulSet in apps/v1"):
        builtin("apps", "v1", "StatefulSet")


def test_unknown_members_are_named_by_their_outermost_path():
    pod = {"spec": {"zzz": {"a": 1}, "containers": [{"name": "a", "env": [{"bar": 1}]}]}, "top": 1}
    assert unknown_fields(pod, POD) == ["spec.zzz", "spec.containers[0].env[0].bar", "top"]


def test_members_of_what_should_be_a_text_are_unknown():
    assert unknown_fields({"spec": {"nodeName": {"a": 1}}}, POD) == ["spec.nodeName.a"]


def test_a_custom_schema_has_the_metadata_of_every_object():
    schema = custom({"type": "object", "properties": {"spec": {"type": "object"}}})
    assert unknown_fields({"metadata": {"labels": {"a": "b"}, "odd": 1}}, schema) == [
        "metadata.odd"
    ]


def test_what_preserves_unknown_members_knows_them_all():
    schema = custom(
        {
            "type": "object",
            "properties": {
                "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
            },
        }
    )
    assert unknown_fields({"spec": {"any": {"thing": [1]}}, "status": {}}, schema) == ["status"]


def test_the_protocol_of_a_port_defaults_because_it_is_a_key():
    ports = builtin("", "v1", "Service").at("spec", "ports")
    assert ports.items.key_default("protocol") == "TCP"
