import base64
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tests.operator.builders import EVERYTHING, NAME, a_plan

from hatoba.config.components import COMPONENT_KEYS
from hatoba.config.schema import QuayConfig
from hatoba.config.schema.storage import BucketLocation
from hatoba.config.validation import validate_mapping
from hatoba.operator.components import COMPONENTS
from hatoba.operator.landscape import Capabilities
from hatoba.operator.model import Bucket, OperatorSettings
from hatoba.operator.process import operator_settings
from hatoba.operator.render import render, render_groundwork

pytestmark = pytest.mark.alone

GOLDEN = Path(__file__).parent / "golden" / "everything-managed.yaml"


def kinds(plan):
    return Counter(obj["kind"] for obj in render(plan).objects)


def find(plan, kind, suffix):
    found = [
        obj
        for obj in render(plan).objects
        if obj["kind"] == kind and obj["metadata"]["name"].startswith(f"{NAME}-{suffix}")
    ]
    assert found, f"no {kind} {suffix}"
    return found[0]


def config_of(plan):
    secret = find(plan, "Secret", "quay-config-secret")
    return yaml.safe_load(base64.b64decode(secret["data"]["config.yaml"]))


def test_everything_managed_matches_the_golden_copy():
    text = yaml.safe_dump_all(render(a_plan()).objects, sort_keys=True)
    if not GOLDEN.exists():
        pytest.fail(f"no golden copy; this would be it:\n{text}")
    assert list(yaml.safe_load_all(GOLDEN.read_text())) == list(yaml.safe_load_all(text))


def test_everything_managed_is_forty_four_objects():
    assert kinds(a_plan()) == {
        "Secret": 6,
        "ServiceAccount": 5,
        "ConfigMap": 2,
        "Service": 7,
        "PersistentVolumeClaim": 3,
        "Deployment": 7,
        "Job": 2,
        "HorizontalPodAutoscaler": 3,
        "Route": 3,
        "Role": 2,
        "RoleBinding": 2,
        "ServiceMonitor": 1,
        "PrometheusRule": 1,
    }


def test_unmanaging_everything_leaves_the_registry_itself():
    plan = a_plan(*(component.kind for component in COMPONENTS), hostname="quay.example")
    names = {(obj["kind"], obj["metadata"]["name"]) for obj in render(plan).objects}
    assert {name for kind, name in names if kind == "Deployment"} == {
        f"{NAME}-quay-app",
        f"{NAME}-quay-config-editor",
    }
    assert {kind for kind, _ in names} == {
        "Secret",
        "ServiceAccount",
        "ConfigMap",
        "Service",
        "Job",
        "Deployment",
    }


@pytest.mark.parametrize("kind", [component.kind for component in COMPONENTS])
def test_an_unmanaged_component_renders_none_of_its_objects(kind):
    for obj in render(a_plan(kind)).objects:
        assert obj["metadata"].get("annotations", {}).get("quay-component") != kind


def test_deployments_never_carry_replicas():
    for obj in render(a_plan()).objects:
        if obj["kind"] == "Deployment":
            assert "replicas" not in obj["spec"]


def test_every_object_but_the_dashboard_is_owned_by_the_registry():
    for obj in render(a_plan()).objects:
        owners = obj["metadata"].get("ownerReferences", [])
        dashboard = obj["metadata"]["name"].endswith("grafana-dashboard-quay")
        assert [owner["kind"] for owner in owners] == ([] if dashboard else ["QuayRegistry"])


def test_what_is_mounted_comes_before_what_mounts_it():
    order = [obj["kind"] for obj in render(a_plan()).objects]
    first_workload = next(i for i, kind in enumerate(order) if kind in ("Job", "Deployment"))
    assert set(order[first_workload:]) == {"Job", "Deployment", "HorizontalPodAutoscaler"}
    assert order[-3:] == ["HorizontalPodAutoscaler"] * 3


def test_equal_plans_give_equal_objects():
    assert render(a_plan()) == render(a_plan())


def test_a_changed_configuration_changes_the_name_of_its_secret_and_what_mounts_it():
    before, after = a_plan(), a_plan(config={"REGISTRY_TITLE": "Other"})
    assert render(before).mounts.config != render(after).mounts.config
    assert render(before).mounts.certificates == render(after).mounts.certificates
    assert find(before, "Deployment", "quay-app") != find(after, "Deployment", "quay-app")
    assert find(before, "Deployment", "quay-database") == find(after, "Deployment", "quay-database")


def test_a_changed_host_name_does_not_touch_the_pods_of_databases():
    before, after = a_plan(), a_plan(hostname="elsewhere.example")
    for suffix in ("quay-database", "clair-postgres", "quay-redis"):
        assert (
            find(before, "Deployment", suffix)["spec"] == find(after, "Deployment", suffix)["spec"]
        )


def test_the_rendered_configuration_is_valid_and_holds_every_managed_component():
    config = config_of(a_plan())
    assert validate_mapping(config) == []
    for kind in ("postgres", "redis", "objectstorage", "route", "mirror", "clair"):
        assert COMPONENT_KEYS[kind] & config.keys(), kind


def test_keys_that_the_operator_does_not_know_pass_through():
    config = {"FEATURE_USER_INITIALIZE": True, "SUPER_USERS": ["quayadmin"], "X_UNKNOWN": [1]}
    found = config_of(a_plan(config=config))
    assert {key: found.get(key) for key in config} == config


def test_a_managed_route_overrides_the_host_settings_of_the_bundle():
    config = {"SERVER_HOSTNAME": "quay.example:9443", "PREFERRED_URL_SCHEME": "http"}
    plan = a_plan(config=config, hostname="quay.example:9443")
    assert config_of(plan)["PREFERRED_URL_SCHEME"] == "https"
    assert find(plan, "Route", "quay")["spec"]["host"] == "quay.example"


def test_a_route_without_wanted_host_leaves_the_choice_to_the_cluster():
    assert "host" not in find(a_plan(), "Route", "quay")["spec"]


def test_own_certificates_are_passed_through_and_terminated_by_the_registry():
    plan = a_plan("tls", files={"ssl.cert": b"cert", "ssl.key": b"key", "extra_ca_cert_x": b"ca"})
    route = find(plan, "Route", "quay")["spec"]
    assert route["tls"]["termination"] == "passthrough"
    assert route["port"]["targetPort"] == "https"
    builder = find(plan, "Route", "quay-builder")["spec"]
    assert builder["port"] == find(a_plan(), "Route", "quay-builder")["spec"]["port"]
    assert builder["tls"]["termination"] == "passthrough"
    assert find(plan, "Route", "quay-config-editor")["spec"]["tls"]["termination"] == "edge"
    config, tls = (find(plan, "Secret", f"quay-config-{part}") for part in ("secret", "tls"))
    assert set(config["data"]) == {"config.yaml", "extra_ca_cert_x"}
    assert base64.b64decode(tls["data"]["ssl.cert"]) == b"cert"
    probe = find(plan, "Deployment", "quay-app")["spec"]["template"]["spec"]["containers"][0]
    assert probe["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    assert config_of(plan)["EXTERNAL_TLS_TERMINATION"] is False


def test_a_cluster_with_buckets_gets_a_bucket_claim_and_no_volume():
    plan = a_plan(capabilities=Capabilities(routes=True, object_buckets=True, monitoring=True))
    assert kinds(plan)["ObjectBucketClaim"] == 1
    app = find(plan, "Deployment", "quay-app")["spec"]["template"]["spec"]
    assert "datastorage" not in {volume["name"] for volume in app["volumes"]}


def test_the_configuration_of_a_bucket_is_one_that_the_registry_accepts():
    plan = a_plan(
        capabilities=Capabilities(routes=True, object_buckets=True, monitoring=True),
        bucket=Bucket(
            host="s3.openshift-storage.svc", name="b-1", access_key="key", secret_key="secret"
        ),
    )
    config = config_of(plan)
    assert validate_mapping(config) == []
    location = QuayConfig.model_validate(config).storage_locations["local_us"]
    assert isinstance(location, BucketLocation)
    assert location.endpoint_url == "https://s3.openshift-storage.svc.cluster.local:443"


def test_groundwork_is_what_the_host_name_comes_from_and_nothing_else():
    found = render_groundwork(a_plan(hostname=""))
    assert [(obj["kind"], obj["metadata"]["name"]) for obj in found] == [("Route", f"{NAME}-quay")]


def test_groundwork_asks_for_a_bucket_together_with_the_host_name():
    buckets = replace(EVERYTHING, object_buckets=True)
    found = render_groundwork(a_plan(hostname="", capabilities=buckets))
    assert {obj["kind"] for obj in found} == {"Route", "ObjectBucketClaim"}


def test_resource_requests_can_be_left_out():
    plan = a_plan(settings=OperatorSettings(skip_resource_requests=True))
    for obj in render(plan).objects:
        if obj["kind"] in ("Deployment", "Job"):
            for container in obj["spec"]["template"]["spec"]["containers"]:
                assert "resources" not in container


@pytest.mark.parametrize(
    "image", ["registry.example/one:2", "registry.example/one@sha256:" + "0" * 64]
)
def test_each_image_is_the_one_that_the_operator_was_given(image):
    names = ("QUAY", "CLAIR", "POSTGRES", "CLAIRPOSTGRES", "REDIS")
    given = {f"RELATED_IMAGE_COMPONENT_{name}": f"{name.lower()}.{image}" for name in names}
    plan = a_plan(settings=operator_settings(given))
    used = {
        (obj["metadata"]["name"].removeprefix(f"{NAME}-"), container["image"].partition(".")[0])
        for obj in render(plan).objects
        if obj["kind"] in ("Deployment", "Job")
        for container in obj["spec"]["template"]["spec"]["containers"]
        if container["image"].endswith(image)
    }
    assert used == {
        ("clair-app", "clair"),
        ("clair-postgres", "clairpostgres"),
        ("quay-app", "quay"),
        ("quay-app-upgrade", "quay"),
        ("quay-config-editor", "quay"),
        ("quay-database", "postgres"),
        ("quay-mirror", "quay"),
        ("quay-postgres-init", "quay"),
        ("quay-redis", "redis"),
    }


def test_autoscalers_match_the_walkthrough():
    found = {
        obj["metadata"]["name"]: (obj["spec"]["minReplicas"], obj["spec"]["maxReplicas"])
        for obj in render(a_plan()).objects
        if obj["kind"] == "HorizontalPodAutoscaler"
    }
    assert found == {
        f"{NAME}-clair-app": (2, 10),
        f"{NAME}-quay-app": (2, 20),
        f"{NAME}-quay-mirror": (2, 20),
    }
