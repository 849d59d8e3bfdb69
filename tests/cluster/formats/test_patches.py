import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatoba.cluster.api.status import BadRequest, InternalError, Invalid
from hatoba.cluster.formats.patches import json_patch, merge_patch
from hatoba.cluster.formats.schema import builtin
from hatoba.cluster.formats.strategic import strategic_patch

DEPLOYMENT = builtin("apps", "v1", "Deployment")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda parts: (
        st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=3), parts, max_size=3)
    ),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text(max_size=3), JSON, max_size=4)


def test_merge_patch_sets_deletes_and_replaces_lists():
    document = {"a": {"b": 1, "c": 2}, "l": [1, 2]}
    assert merge_patch(document, {"a": {"b": None, "d": 3}, "l": [9]}) == {
        "a": {"c": 2, "d": 3},
        "l": [9],
    }
    assert document == {"a": {"b": 1, "c": 2}, "l": [1, 2]}


@given(OBJECTS, OBJECTS)
def test_merge_patch_twice_is_once(document, patch):
    once = merge_patch(document, patch)
    assert merge_patch(once, patch) == once


def test_a_merge_patch_must_be_an_object():
    with pytest.raises(BadRequest, match="cannot unmarshal array into Go value of type map"):
        merge_patch({}, [1])


@pytest.mark.parametrize(
    ("patch", "result"),
    [
        ([{"op": "add", "path": "/l/-", "value": 3}], {"a": 1, "l": [1, 2, 3]}),
        ([{"op": "add", "path": "/l/1", "value": 9}], {"a": 1, "l": [1, 9, 2]}),
        ([{"op": "remove", "path": "/l/0"}], {"a": 1, "l": [2]}),
        ([{"op": "replace", "path": "/new", "value": 1}], {"a": 1, "l": [1, 2], "new": 1}),
        ([{"op": "move", "from": "/a", "path": "/b~1c"}], {"b/c": 1, "l": [1, 2]}),
        ([{"op": "copy", "from": "/l", "path": "/m~0"}], {"a": 1, "l": [1, 2], "m~": [1, 2]}),
        ([{"op": "test", "path": "/none", "value": None}], {"a": 1, "l": [1, 2]}),
        ([], {"a": 1, "l": [1, 2]}),
    ],
)
def test_json_patch_operations(patch, result):
    assert json_patch({"a": 1, "l": [1, 2]}, patch) == result


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": 2},
        {"op": "test", "path": "/a", "value": True},
        {"op": "remove", "path": "/none"},
        {"op": "add", "path": "/l/9", "value": 1},
        {"op": "add", "path": "/none/b", "value": 1},
        {"op": "frob", "path": "/a"},
        {"op": "add", "value": 1},
    ],
)
def test_what_a_json_patch_cannot_do_is_refused_without_details(operation):
    with pytest.raises(Invalid, match="due to an error in our request") as caught:
        json_patch({"a": 1, "l": [1]}, [operation])
    assert caught.value.body()["details"] == {}


def deployment(*containers, **spec):
    return {"spec": {"template": {"spec": {"containers": list(containers)}}, **spec}}


def patched(document, patch):
    return strategic_patch(document, patch, schema=DEPLOYMENT)


def containers_of(document):
    return document["spec"]["template"]["spec"]["containers"]


A, B = (
    {"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]},
    {"name": "b", "image": "1"},
)


def test_containers_merge_by_name_and_new_ones_come_first():
    result = patched(deployment(A, B), deployment({"name": "b", "image": "2"}, {"name": "c"}))
    assert [c["name"] for c in containers_of(result)] == ["a", "b", "c"]
    assert containers_of(result)[1]["image"] == "2"
    result = patched(deployment(A, B), deployment({"name": "c"}))
    assert [c["name"] for c in containers_of(result)] == ["c", "a", "b"]


def test_an_item_with_the_delete_directive_goes():
    result = patched(deployment(A, B), deployment({"name": "a", "$patch": "delete"}))
    assert containers_of(result) == [B]


def test_a_list_with_the_replace_directive_is_replaced():
    result = patched(deployment(A, B), deployment({"name": "n"}, {"$patch": "replace"}))
    assert containers_of(result) == [{"name": "n"}]


def test_the_order_directive_orders():
    patch = {
        "spec": {
            "template": {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}
        }
    }
    assert [c["name"] for c in containers_of(patched(deployment(A, B), patch))] == ["b", "a"]


def test_retained_keys_remove_the_others():
    before = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert patched(before, patch) == {"spec": {"strategy": {"type": "Recreate"}}}


def test_primitive_lists_merge_and_lose_members():
    before = {"metadata": {"finalizers": ["a", "b"]}}
    assert patched(before, {"metadata": {"finalizers": ["c"]}})["metadata"]["finalizers"] == [
        "c",
        "a",
        "b",
    ]
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}
    assert patched(before, patch) == {"metadata": {"finalizers": ["b"]}}


def test_lists_without_a_key_are_replaced():
    before = deployment({"name": "a", "args": ["x", "y"]})
    result = patched(before, deployment({"name": "a", "args": ["z"]}))
    assert containers_of(result)[0]["args"] == ["z"]


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (deployment({"image": "x"}), "map: map[image:x] does not contain declared merge key: name"),
        (
            {"metadata": {"labels": {"$patch": "frob"}}},
            "unknown patch type: frob in map: map[$patch:frob]",
        ),
    ],
)
def test_wrong_directives_are_the_servers_fault_as_in_kubernetes(patch, message):
    with pytest.raises(InternalError) as caught:
        patched({**deployment(A), "metadata": {"labels": {}}}, patch)
    assert caught.value.body()["message"] == message
    assert caught.value.code == 500


def test_a_word_for_a_number_is_refused_with_the_whole_patch():
    with pytest.raises(Invalid) as caught:
        patched(deployment(A), {"spec": {"replicas": "x"}})
    assert caught.value.message == (
        ' "" is invalid: patch: Invalid value: "map[spec:map[replicas:x]]": unrecognized type: int32'
    )
