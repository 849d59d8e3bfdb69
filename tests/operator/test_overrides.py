"""Overrides of components: what each kind takes, the exact words, and what becomes of objects."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.builders import SETTINGS, a_plan, an_observation, components

from hatoba.operator import keys, overrides
from hatoba.operator.bundle import read_bundle
from hatoba.operator.model import Component, RolloutBlocked
from hatoba.operator.names import COMPONENT_ORDER, LATER_KINDS
from hatoba.operator.overrides import OverrideInvalid, Overrides
from hatoba.operator.plan import planned
from hatoba.operator.render import render
from hatoba.operator.types import ComponentOverrides

pytestmark = pytest.mark.alone

KINDS = (*COMPONENT_ORDER, *LATER_KINDS)
VALUES = {
    "affinity": {"nodeAffinity": {}},
    "volumeSize": "70Gi",
    "storageClassName": "fast",
    "env": [{"name": "A", "value": "b"}],
    "replicas": 3,
    "resources": {"limits": {"cpu": "1"}},
    "securityContext": {"runAsNonRoot": True},
    "labels": {"team": "blue"},
    "annotations": {"team": "blue"},
}
TABLE = {
    "affinity": "quay clair mirror",
    "volumeSize": "postgres clair clairpostgres",
    "storageClassName": "postgres clair clairpostgres",
    "env": "quay clair mirror postgres redis clairpostgres",
    "replicas": "quay clair mirror",
    "resources": "quay clair mirror postgres redis clairpostgres",
    "securityContext": "quay mirror",
    "labels": "quay clair mirror postgres redis clairpostgres route",
    "annotations": "quay clair mirror postgres redis clairpostgres route",
}


def read(kind, given, *, managed=True, autoscaled=False):
    return overrides.read(kind, given, managed=managed, autoscaled=autoscaled)


def refusal(kind, given, **how):
    with pytest.raises(OverrideInvalid) as caught:
        read(kind, given, **how)
    assert caught.value.step
    return caught.value.fact


def rendered(**by_kind):
    """Return the objects of a registry with these overrides, by kind and name."""
    found = {kind: read(kind, asked) for kind, asked in by_kind.items()}
    objects = render(a_plan(overrides=found)).objects
    return {
        (obj["kind"], obj["metadata"]["name"].removeprefix("example-registry-")): obj
        for obj in objects
    }


def pod_of(objects, suffix):
    return objects["Deployment", suffix]["spec"]["template"]["spec"]


def test_every_override_of_the_resource_is_in_the_table():
    assert set(ComponentOverrides.model_fields) == set(TABLE) == set(VALUES)


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_takes_what_the_table_says_and_refuses_the_rest(kind, name):
    if kind in TABLE[name].split():
        assert read(kind, {name: VALUES[name]}) != Overrides()
    else:
        expected = f"component {kind} does not support {name} overrides"
        assert refusal(kind, {name: VALUES[name]}) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_an_unmanaged_component_has_no_overrides(kind):
    found = refusal(kind, {"labels": {"a": "b"}}, managed=False)
    assert found == f"cannot set overrides on unmanaged {kind}"
    assert read(kind, {}, managed=False) == read(kind, {"env": None}, managed=False) == Overrides()


@pytest.mark.parametrize("kind", ["quay", "clair", "mirror"])
def test_beside_an_autoscaler_only_zero_replicas_are_taken(kind):
    assert refusal(kind, {"replicas": 1}, autoscaled=True) == (
        "cannot override replicas with managed HPA"
    )
    assert read(kind, {"replicas": 0}, autoscaled=True).replicas == 0
    assert read(kind, {"replicas": 1}).replicas == 1


@pytest.mark.parametrize(
    ("kind", "asked", "told"),
    [
        ("quay", {"replicas": -1}, "replicas"),
        ("quay", {"replicas": True}, "replicas"),
        ("postgres", {"volumeSize": "much"}, "volumeSize: Value error, `much` is no quantity"),
        ("postgres", {"volumeSize": "-1Gi"}, "volumeSize: Value error, `-1Gi` is negative"),
        ("postgres", {"storageClassName": ""}, "storageClassName"),
        ("redis", {"env": [{"value": "x"}]}, "env.0.name"),
        ("redis", {"env": [{"name": "A=B"}]}, "env.0.name"),
        ("redis", {"env": [{"name": "A"}, {"name": "A"}]}, "env: A stands there twice"),
        ("redis", {"env": [{"name": "A", "valueFrom": {"secretRef": {}}}]}, "env.0.valueFrom"),
        (
            "redis",
            {"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "a"}}}]},
            "value and valueFrom exclude each other",
        ),
        ("redis", {"labels": {"not a key": "x"}}, "labels: Value error, `not a key`"),
        ("redis", {"labels": {"a": "not a value!"}}, "labels.a"),
        ("redis", {"labels": {"app": "mine"}}, "labels: app belongs to the operator"),
        ("quay", {"annotations": {"hatoba.dev/x": "1"}}, "annotations: hatoba.dev/x belongs to"),
        ("redis", {"resources": {"claims": []}}, "resources.claims"),
        (
            "redis",
            {"resources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "1025Mi"}}},
            "resources: the request of 1025Mi memory is above the limit of 1Gi",
        ),
        ("quay", {"affinity": {"nodeaffinity": {}}}, "affinity.nodeaffinity"),
        ("quay", {"securityContext": {"runAsUser": -1}}, "securityContext.runAsUser"),
        ("quay", {"tolerations": []}, "tolerations"),
    ],
)
def test_what_is_malformed_is_named_by_its_field(kind, asked, told):
    found = refusal(kind, asked)
    assert found.startswith(f"component {kind}: ")
    assert told in found


@given(
    st.dictionaries(
        st.sampled_from(sorted(TABLE)),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
            max_leaves=5,
        ),
    )
)
def test_whatever_is_written_is_taken_or_refused(asked):
    with suppress(OverrideInvalid):
        assert isinstance(read("quay", asked), Overrides)


def test_a_refusal_blocks_with_its_own_reason():
    quay = Component(kind="quay", managed=True, overrides={"replicas": 3})
    observation = an_observation({}, listed=(*components(), quay))
    with pytest.raises(RolloutBlocked) as caught:
        planned(observation, read_bundle(observation), settings=SETTINGS, stored=keys.unknown())
    assert caught.value.reason == "ComponentOverrideInvalid"
    assert caught.value.fact == "invalid overrides: cannot override replicas with managed HPA"


def test_variables_are_added_and_replace_those_of_their_name():
    objects = rendered(quay={"env": [{"name": "DEBUGLOG", "value": "true"}, {"name": "X"}]})
    for kind, suffix in (("Deployment", "quay-app"), ("Job", "quay-app-upgrade")):
        pod = objects[kind, suffix]["spec"]["template"]["spec"]
        found = pod["containers"][0]["env"]
        assert [one for one in found if one["name"] == "DEBUGLOG"] == [
            {"name": "DEBUGLOG", "value": "true"}
        ]
        assert found[-1] == {"name": "X"}
        assert "QUAYCONF" in [one["name"] for one in found]
    editor = pod_of(objects, "quay-config-editor")["containers"][0]["env"]
    assert {"name": "DEBUGLOG", "value": "false"} in editor


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        ("quay", "quay-app"),
        ("mirror", "quay-mirror"),
        ("postgres", "quay-database"),
        ("redis", "quay-redis"),
        ("clair", "clair-app"),
        ("clairpostgres", "clair-postgres"),
    ],
)
def test_labels_annotations_variables_and_resources_reach_one_deployment(kind, suffix):
    plain = rendered()
    objects = rendered(
        **{
            kind: {
                "labels": {"team": "blue"},
                "annotations": {"note": "x"},
                "env": [{"name": "NEW", "value": "1"}],
                "resources": {"requests": {"memory": "3Gi"}},
            }
        }
    )
    changed = objects["Deployment", suffix]
    for metadata in (changed["metadata"], changed["spec"]["template"]["metadata"]):
        assert metadata["labels"]["team"] == "blue"
        assert metadata["annotations"]["note"] == "x"
    assert changed["spec"]["selector"] == plain["Deployment", suffix]["spec"]["selector"]
    container = pod_of(objects, suffix)["containers"][0]
    assert {"name": "NEW", "value": "1"} in container["env"]
    assert container["resources"]["requests"]["memory"] == "3Gi"
    assert container["resources"]["requests"]["cpu"]
    others = {key for key in plain if plain[key] != objects[key]}
    assert others <= {("Deployment", suffix), ("Job", "quay-app-upgrade")}


def test_labels_and_annotations_reach_the_route_beside_its_own():
    objects = rendered(route={"labels": {"router": "inner"}, "annotations": {"timeout": "30m"}})
    metadata = objects["Route", "quay"]["metadata"]
    assert metadata["labels"]["router"] == "inner"
    assert metadata["annotations"]["timeout"] == "30m"
    assert metadata["annotations"]["quay-component"] == "route"


def test_affinity_is_replaced_but_pods_stay_beside_their_volume():
    wanted = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}}
    assert pod_of(rendered(mirror={"affinity": wanted}), "quay-mirror")["affinity"] == wanted
    found = read("quay", {"affinity": {"nodeAffinity": {}}})
    plan = a_plan(overrides={"quay": found}, access_mode="ReadWriteOnce")
    deployments = [obj for obj in render(plan).objects if obj["kind"] == "Deployment"]
    app = next(obj for obj in deployments if obj["metadata"]["name"].endswith("quay-app"))
    affinity = app["spec"]["template"]["spec"]["affinity"]
    terms = affinity["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert affinity["nodeAffinity"] == {}
    assert terms[0]["labelSelector"] == {"matchLabels": {"hatoba.dev/datastore": plan.name}}


def test_a_security_context_holds_for_every_container():
    context = {"runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}}
    pod = pod_of(rendered(mirror={"securityContext": context}), "quay-mirror")
    containers = [*pod["initContainers"], *pod["containers"]]
    assert [one["securityContext"] for one in containers] == [context, context]


def test_replicas_stand_in_no_template():
    assert "replicas" not in rendered(quay={"replicas": 5})["Deployment", "quay-app"]["spec"]


def test_the_scanner_unpacks_layers_into_a_volume_of_the_size_asked_for():
    plain = pod_of(rendered(), "clair-app")
    assert [volume["name"] for volume in plain["volumes"]] == ["config", "certs"]
    pod = pod_of(rendered(clair={"volumeSize": "50Gi", "storageClassName": "fast"}), "clair-app")
    assert pod["volumes"][-1] == {
        "name": "indexer-layer-storage",
        "ephemeral": {
            "volumeClaimTemplate": {
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "50Gi"}},
                    "storageClassName": "fast",
                }
            }
        },
    }
    mount = {"name": "indexer-layer-storage", "mountPath": "/var/tmp"}
    assert pod["containers"][0]["volumeMounts"][-1] == mount
