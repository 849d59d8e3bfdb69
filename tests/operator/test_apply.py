import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.builders import a_deployment

from hatoba.operator.apply import contains, differs, stamped
from hatoba.operator.replicas import replica_owners

pytestmark = pytest.mark.alone

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)
objects = st.dictionaries(st.text(max_size=3), values, max_size=4)


@given(values)
def test_everything_contains_itself(value):
    assert contains(value, value)


@given(objects, objects)
def test_what_others_add_is_no_difference(wanted, added):
    assert contains(added | wanted, wanted)


@given(objects, st.text(min_size=4, max_size=5), st.integers())
def test_what_is_missing_is_a_difference(live, key, value):
    assert not contains(live, live | {key: value})


def test_an_element_that_somebody_inserted_is_no_difference():
    ours = {"volumes": [{"name": "config"}, {"name": "data"}]}
    live = {"volumes": [{"name": "token"}, {"name": "config", "x": 1}, {"name": "data"}]}
    assert contains(live, ours)
    assert not contains({"volumes": live["volumes"][:2]}, ours)


def test_an_order_that_the_cluster_keeps_is_no_difference():
    metrics = [{"resource": {"name": "memory"}}, {"resource": {"name": "cpu"}}]
    assert contains({"metrics": metrics[::-1]}, {"metrics": metrics})
    assert not contains({"metrics": metrics[:1] * 2}, {"metrics": metrics})


@pytest.mark.parametrize("live", [["serve", "--debug"], ["--debug", "serve"], ["debug"], []])
def test_arguments_have_one_order_and_no_others_among_them(live):
    assert not contains({"args": live}, {"args": ["serve"]})


def test_an_empty_value_that_the_server_leaves_out_is_no_difference():
    assert contains({"metadata": {}}, {"metadata": {"labels": {}}, "data": {}, "x": ""})


def wanted():
    return {"kind": "ConfigMap", "metadata": {"name": "x", "annotations": {}}, "data": {"a": "1"}}


def test_an_applied_object_does_not_differ_until_either_side_changes():
    live = stamped(wanted())
    assert not differs(wanted(), live)
    assert differs(wanted() | {"data": {"a": "2"}}, live)
    assert differs(wanted(), live | {"data": {"a": "3"}})
    assert differs(wanted() | {"data": {}}, live), "a key that was taken out must be applied"
    assert differs(wanted(), None)


def test_owners_of_replicas_are_read_from_managed_fields():
    deployment = a_deployment("quay-app", component="base")
    assert replica_owners(deployment) == set()
    deployment["metadata"]["managedFields"] = [
        {"manager": "quay-operator", "fieldsV1": {"f:spec": {"f:template": {}}}},
        {"manager": "kubectl", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        {"manager": "kubelet", "fieldsV1": {"f:status": {}}},
    ]
    assert replica_owners(deployment) == {"kubectl"}
