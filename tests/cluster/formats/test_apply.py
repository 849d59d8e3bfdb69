from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatoba.cluster.api.status import BadRequest, InternalError, ObjectConflict
from hatoba.cluster.formats.apply import apply, finish_apply
from hatoba.cluster.formats.fieldsets import decode, encode, member_step, value_step
from hatoba.cluster.formats.ownership import Writer, track_update
from hatoba.cluster.formats.schema import builtin, custom

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DEPLOYMENT = builtin("apps", "v1", "Deployment")
CUSTOM = custom(
    {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "replicas": {"type": "integer"},
                    "args": {"type": "array", "items": {"type": "string"}},
                    "tags": {
                        "type": "array",
                        "items": {"type": "string"},
                        "x-kubernetes-list-type": "set",
                    },
                    "parts": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {"kind": {"type": "string"}, "on": {"type": "boolean"}},
                        },
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["kind"],
                    },
                },
            }
        },
    }
)


def writer(manager, **more):
    return Writer(manager=manager, api_version="g/v1", now=NOW, **more)


def thing(**spec):
    return {"apiVersion": "g/v1", "kind": "T", "metadata": {"name": "t"}, "spec": spec}


def put(live, manager, force=False, **spec):
    return apply(live, thing(**spec), schema=CUSTOM, writer=writer(manager), force=force)


def fields(obj, manager):
    found = [e["fieldsV1"] for e in obj["metadata"]["managedFields"] if e["manager"] == manager]
    return found[0] if found else None


def test_the_first_apply_owns_what_it_states_and_no_containers():
    created = put(None, "alice", replicas=2, parts=[{"kind": "a", "on": True}], tags=["x"])
    assert fields(created, "alice") == {
        "f:spec": {
            "f:replicas": {},
            "f:parts": {'k:{"kind":"a"}': {".": {}, "f:kind": {}, "f:on": {}}},
            "f:tags": {'v:"x"': {}},
        }
    }


def test_another_value_of_an_owned_field_is_a_conflict():
    live = put(None, "alice", replicas=2)
    with pytest.raises(ObjectConflict) as caught:
        put(live, "bob", replicas=3)
    assert caught.value.message == (
        'Apply failed with 1 conflict: conflict with "alice": .spec.replicas'
    )
    assert caught.value.body()["details"]["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "alice"',
            "field": ".spec.replicas",
        }
    ]


def test_several_conflicts_are_listed_by_manager():
    live = put(None, "alice", replicas=2, args=["x"])
    with pytest.raises(ObjectConflict) as caught:
        put(live, "bob", replicas=3, args=["y"])
    assert caught.value.message == (
        'Apply failed with 2 conflicts: conflicts with "alice":\n- .spec.args\n- .spec.replicas'
    )


def test_force_takes_ownership_and_the_same_value_shares_it():
    live = put(None, "alice", replicas=2, args=["x"])
    shared = put(live, "bob", replicas=2)
    assert fields(shared, "alice") == {"f:spec": {"f:args": {}, "f:replicas": {}}}
    forced = put(shared, "bob", force=True, replicas=5)
    assert forced["spec"]["replicas"] == 5
    assert fields(forced, "alice") == {"f:spec": {"f:args": {}}}


def test_what_the_last_owner_drops_is_removed_and_what_is_shared_stays():
    live = put(put(None, "alice", replicas=2, tags=["a"]), "bob", replicas=2)
    dropped = put(live, "alice", tags=["a"])
    assert dropped["spec"] == {"replicas": 2, "tags": ["a"]}
    assert put(dropped, "bob")["spec"] == {"tags": ["a"]}


def test_items_of_others_stay_where_they_are():
    live = put(None, "alice", parts=[{"kind": "r"}, {"kind": "c"}], tags=["a", "b"])
    live = put(live, "bob", parts=[{"kind": "p"}], tags=["c", "b"])
    assert [part["kind"] for part in live["spec"]["parts"]] == ["r", "c", "p"]
    assert live["spec"]["tags"] == ["a", "c", "b"]
    live = put(live, "alice", parts=[{"kind": "c"}], tags=["a"])
    assert [part["kind"] for part in live["spec"]["parts"]] == ["c", "p"]
    assert live["spec"]["tags"] == ["a", "c", "b"]


def test_applying_the_same_again_gives_the_live_object_back():
    live = put(None, "alice", replicas=2)
    later = replace(writer("alice"), now=NOW + timedelta(hours=1))
    again = apply(live, thing(replicas=2), schema=CUSTOM, writer=later)
    assert finish_apply(live, again) is live


@given(st.sets(st.sampled_from("abcd")), st.sets(st.sampled_from("abcd")))
def test_two_appliers_of_a_set_leave_their_union_and_the_second_leaves_with_its_own(one, two):
    live = put(put(None, "one", tags=sorted(one)), "two", tags=sorted(two))
    assert set(live["spec"].get("tags") or ()) == one | two
    left = put(live, "two", tags=[])
    assert set(left.get("spec", {}).get("tags") or ()) == one


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"unk": 1}, ".spec.unk: field not declared in schema"),
        ({"replicas": "x"}, ".spec.replicas: expected numeric (int or float), got string"),
        (
            {"parts": [{"on": True}]},
            (
                ".spec.parts: element 0: associative list with keys has an element that omits key field"
                ' "kind" (and doesn\'t have default value)'
            ),
        ),
        (
            {"parts": [{"kind": "z"}, {"kind": "z"}]},
            '.spec.parts: duplicate entries for key [kind="z"]',
        ),
    ],
)
def test_what_does_not_fit_the_schema_is_refused(spec, why):
    with pytest.raises(InternalError) as caught:
        put(None, "alice", **spec)
    assert caught.value.message == (
        f"failed to create typed patch object (/t; g/v1, Kind=T): {why}"
    )


def test_managed_fields_must_not_be_applied():
    wanted = thing()
    wanted["metadata"]["managedFields"] = []
    with pytest.raises(BadRequest, match=r"metadata\.managedFields must be nil"):
        apply(None, wanted, schema=CUSTOM, writer=writer("alice"))


def test_an_update_owns_what_it_changes_with_the_containers_it_made():
    created = track_update(None, thing(replicas=1), schema=CUSTOM, writer=writer("a"))
    assert fields(created, "a") == {"f:spec": {".": {}, "f:replicas": {}}}
    changed = {**created, "spec": {"replicas": 1, "args": []}}
    changed = track_update(created, changed, schema=CUSTOM, writer=writer("b"))
    assert fields(changed, "b") == {"f:spec": {"f:args": {}}}
    assert fields(changed, "a") == {"f:spec": {".": {}, "f:replicas": {}}}


def test_a_created_deployment_does_not_own_what_every_deployment_has():
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c"}]}}
    obj = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"template": template},
    }
    created = track_update(None, obj, schema=DEPLOYMENT, writer=writer("a"))
    assert fields(created, "a") == {
        "f:spec": {
            "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                "f:spec": {"f:containers": {'k:{"name":"c"}': {".": {}, "f:name": {}}}},
            }
        }
    }


def test_conflicts_name_updates_through_subresources():
    live = track_update(
        put(None, "alice"),
        thing(replicas=4),
        schema=CUSTOM,
        writer=writer("hpa", subresource="scale"),
    )
    with pytest.raises(ObjectConflict, match=r'"hpa" with subresource "scale" using g/v1: .spec'):
        put(live, "alice", replicas=1)


def test_scaling_to_nothing_leaves_the_field_without_an_owner():
    live = put(None, "alice", replicas=2)
    scaled = track_update(
        live,
        {**live, "spec": {"replicas": 0}},
        schema=CUSTOM,
        writer=writer("k", subresource="scale"),
    )
    assert scaled["metadata"].get("managedFields") is None


def test_managed_fields_can_be_reset_and_the_next_applier_meets_those_before():
    live = track_update(None, thing(replicas=1), schema=CUSTOM, writer=writer("a"))
    live["metadata"]["uid"] = "1"
    asked = {**live, "metadata": {**live["metadata"], "managedFields": [{}]}}
    reset = track_update(live, asked, schema=CUSTOM, writer=writer("b"))
    assert "managedFields" not in reset["metadata"]
    with pytest.raises(ObjectConflict, match='conflict with "before-first-apply" using g/v1'):
        put(reset, "alice", replicas=2)


def test_kubectl_may_take_over_what_it_applied_on_its_own_side():
    last = '{"apiVersion":"g/v1","kind":"T","metadata":{"name":"t"},"spec":{"replicas":1}}\n'
    annotation = "kubectl.kubernetes.io/last-applied-configuration"
    start = thing(replicas=1)
    start["metadata"]["annotations"] = {annotation: last}
    live = track_update(None, start, schema=CUSTOM, writer=writer("kubectl-client-side-apply"))
    with pytest.raises(ObjectConflict):
        put(live, "other", replicas=2)
    taken = put(live, "kubectl", replicas=2)
    assert '"replicas":2' in taken["metadata"]["annotations"][annotation]
    assert fields(taken, "kubectl") == {"f:spec": {"f:replicas": {}}}


STEPS = st.text(min_size=1, max_size=4).map(member_step) | st.integers().map(value_step)


@given(st.sets(st.lists(STEPS, min_size=1, max_size=4).map(tuple), max_size=8))
def test_field_sets_survive_the_wire(paths):
    assert decode(encode(paths)) == paths
