import base64
from dataclasses import replace
from datetime import timedelta

import pytest
import yaml
from tests.operator.builders import NAME, NAMESPACE, SETTINGS
from tests.operator.conftest import REGISTRIES

from hatoba.cluster.objects import (
    AUTOSCALERS,
    CLAIMS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    JOBS,
    NAMESPACES,
    ROUTES,
    SECRETS,
    SERVICES,
)
from hatoba.kernel.clock import FixedClock, SystemClock
from hatoba.kernel.errors import NotFound
from hatoba.operator.model import Images
from hatoba.operator.names import COMPONENT_ORDER
from hatoba.operator.process import Operator

pytestmark = [pytest.mark.api, pytest.mark.anyio]


def conditions(registry, count=None):
    found = registry.get("status", {}).get("conditions", [])
    return [(c["type"], c["status"], c["reason"]) for c in found[:count]]


async def config_of(world):
    registry_pod = (await world.get(DEPLOYMENTS, "quay-app"))["spec"]["template"]["spec"]
    name = registry_pod["volumes"][0]["projected"]["sources"][0]["secret"]["name"]
    secret = await world.objects.get(SECRETS, name, NAMESPACE)
    return yaml.safe_load(base64.b64decode(secret["data"]["config.yaml"]))


async def test_the_spec_is_filled_in_in_two_steps(world):
    await world.create_registry()
    await world.once()
    first = await world.registry()
    assert first["spec"]["configBundleSecret"].startswith(f"{NAME}-config-bundle-")
    assert first["metadata"]["generation"] == 2
    await world.once()
    second = await world.registry()
    assert [entry["kind"] for entry in second["spec"]["components"]] == list(COMPONENT_ORDER)
    assert all(entry["managed"] for entry in second["spec"]["components"])
    assert second["metadata"]["generation"] == 3
    assert "status" not in second


async def test_it_converges_to_available_and_then_writes_nothing(world):
    await world.create_registry()
    await world.converge()
    registry = await world.registry()
    assert conditions(registry, 2) == [
        ("Available", "True", "HealthChecksPassing"),
        ("RolloutBlocked", "False", "ComponentsCreationSuccess"),
    ]
    status = registry["status"]
    assert status["unhealthyComponents"] == {}
    assert status["currentVersion"] == "3.6.0"
    assert status["registryEndpoint"] == "https://localhost:8443"
    assert status["configEditorEndpoint"] == "https://localhost:8445"
    before = world.cluster.writes
    await world.once()
    assert world.cluster.writes == before


async def test_pods_of_the_registry_wait_for_the_migration(world):
    await world.create_registry()
    for _ in range(4):
        await world.once()
        await world.admit_routes()
    assert (await world.get(DEPLOYMENTS, "quay-app"))["spec"]["replicas"] == 0
    assert (await world.get(DEPLOYMENTS, "quay-mirror"))["spec"]["replicas"] == 2
    assert (await world.get(DEPLOYMENTS, "clair-app"))["spec"]["replicas"] == 2
    assert conditions(await world.registry(), 2) == [
        ("RolloutBlocked", "False", "ComponentsCreationSuccess"),
        ("Available", "False", "MigrationsInProgress"),
    ]
    await world.converge()
    assert (await world.get(DEPLOYMENTS, "quay-app"))["spec"]["replicas"] == 2


async def test_replicas_are_never_fought_over_afterwards(world):
    await world.create_registry()
    await world.converge()
    for replicas in (5, 0):
        scale = {"spec": {"replicas": replicas}}
        await world.objects.patch(
            DEPLOYMENTS,
            f"{NAME}-quay-app",
            NAMESPACE,
            scale,
            type="application/merge-patch+json",
            manager="kubectl",
        )
        await world.once()
        assert (await world.get(DEPLOYMENTS, "quay-app"))["spec"]["replicas"] == replicas
    await world.update_spec({"configBundleSecret": "other"})
    await world.create_bundle({"REGISTRY_TITLE": "Other"}, name="other")
    await world.converge()
    assert (await world.get(DEPLOYMENTS, "quay-app"))["spec"]["replicas"] == 0


async def test_owned_objects_that_are_deleted_come_back(world):
    await world.create_registry()
    await world.converge()
    victims = [
        (DEPLOYMENTS, "quay-app"),
        (DEPLOYMENTS, "quay-redis"),
        (SERVICES, "quay-app"),
        (AUTOSCALERS, "clair-app"),
        (CONFIG_MAPS, "cluster-service-ca"),
        (ROUTES, "quay"),
    ]
    for resource, suffix in victims:
        await world.objects.delete(resource, f"{NAME}-{suffix}", NAMESPACE)
    await world.converge()
    for resource, suffix in victims:
        assert await world.exists(resource, suffix), suffix
    assert (await world.get(DEPLOYMENTS, "quay-app"))["spec"]["replicas"] == 2
    assert conditions(await world.registry(), 1) == [("Available", "True", "HealthChecksPassing")]


async def test_drift_is_put_right(world):
    await world.create_registry()
    await world.converge()
    await world.objects.patch(
        SERVICES,
        f"{NAME}-quay-app",
        NAMESPACE,
        {"spec": {"selector": {"quay-component": "nothing"}}},
        type="application/merge-patch+json",
        manager="kubectl",
    )
    await world.converge()
    selector = (await world.get(SERVICES, "quay-app"))["spec"]["selector"]
    assert selector["quay-component"] == "quay-app"


async def test_a_lost_component_makes_the_registry_unavailable_at_once(world):
    await world.create_registry()
    await world.converge()
    app = await world.get(DEPLOYMENTS, "quay-database")
    app["status"]["conditions"][0] |= {
        "status": "False",
        "reason": "MinimumReplicasUnavailable",
        "message": "Deployment does not have minimum availability.",
    }
    await world.objects.update(DEPLOYMENTS, app, manager="world", subresource="status")
    await world.once()
    registry = await world.registry()
    assert conditions(registry, 1) == [("Available", "False", "ComponentNotReady")]
    assert list(registry["status"]["unhealthyComponents"]) == ["postgres"]


async def test_the_users_configuration_reaches_the_pods_and_keys_stay(world):
    config = {"FEATURE_USER_INITIALIZE": True, "SUPER_USERS": ["quayadmin"]}
    await world.create_bundle(config)
    await world.create_registry({"configBundleSecret": "init-config-bundle-secret"})
    await world.converge()
    first = await config_of(world)
    assert {key: first.get(key) for key in config} == config
    assert first["SERVER_HOSTNAME"] == "localhost:8443"
    await world.create_bundle(config | {"REGISTRY_TITLE": "Harbour"}, name="second")
    await world.update_spec({"configBundleSecret": "second"})
    await world.converge()
    second = await config_of(world)
    assert second["REGISTRY_TITLE"] == "Harbour"
    kept = ("SECRET_KEY", "DATABASE_SECRET_KEY", "DB_URI", "SECURITY_SCANNER_V4_PSK")
    assert [second[key] for key in kept] == [first[key] for key in kept]


async def test_secrets_of_former_configurations_go_once_the_rollout_is_done(world):
    await world.create_registry()
    await world.converge()
    await world.create_bundle({"REGISTRY_TITLE": "Harbour"}, name="second")
    await world.update_spec({"configBundleSecret": "second"})
    await world.once()
    found = [name for name in await world.names(SECRETS) if "quay-config-secret" in name]
    assert len(found) == 2
    await world.converge()
    found = [name for name in await world.names(SECRETS) if "quay-config-secret" in name]
    assert len(found) == 1


async def test_events_tell_the_transitions(world):
    await world.create_registry()
    await world.converge()
    listing = await world.objects.list(EVENTS, NAMESPACE)
    reasons = {event["reason"] for event in listing.items}
    assert {"ComponentsCreationSuccess", "MigrationsInProgress", "HealthChecksPassing"} <= reasons
    assert {event["source"]["component"] for event in listing.items} == {"quayregistry-controller"}


async def test_deleting_a_registry_cleans_up_outside_its_namespace(world):
    await world.create_registry()
    await world.converge()
    dashboard = (CONFIG_MAPS, f"{NAME}-grafana-dashboard-quay", "openshift-config-managed")
    assert await world.objects.get(*dashboard)
    namespace = await world.objects.get(NAMESPACES, NAMESPACE, None)
    assert namespace["metadata"]["labels"]["openshift.io/cluster-monitoring"] == "true"
    await world.objects.delete(REGISTRIES, NAME, NAMESPACE)
    await world.once()
    with pytest.raises(NotFound):
        await world.registry()
    with pytest.raises(NotFound):
        await world.objects.get(*dashboard)
    namespace = await world.objects.get(NAMESPACES, NAMESPACE, None)
    assert "openshift.io/cluster-monitoring" not in namespace["metadata"]["labels"]


async def test_unmanaged_components_are_not_created(world):
    listed = ("clair", "horizontalpodautoscaler", "mirror", "monitoring")
    await world.create_registry({"components": [{"kind": k, "managed": False} for k in listed]})
    await world.converge()
    assert [name for name in await world.names(DEPLOYMENTS) if "clair" in name] == []
    assert await world.names(AUTOSCALERS) == []
    assert conditions(await world.registry(), 1) == [("Available", "True", "HealthChecksPassing")]
    spec = (await world.registry())["spec"]["components"]
    assert [entry["kind"] for entry in spec][:4] == list(listed)


async def test_a_component_that_becomes_unmanaged_keeps_its_objects(world):
    await world.create_registry()
    await world.converge()
    entries = [{"kind": k, "managed": k != "mirror"} for k in COMPONENT_ORDER]
    await world.update_spec({"components": entries})
    await world.converge()
    assert await world.exists(DEPLOYMENTS, "quay-mirror")
    reasons = {c["type"]: c["reason"] for c in (await world.registry())["status"]["conditions"]}
    assert reasons["ComponentMirrorReady"] == "ComponentNotManaged"


async def test_a_finished_migration_is_not_run_again(world):
    await world.create_registry()
    await world.converge()
    uid = (await world.get(JOBS, "quay-app-upgrade"))["metadata"]["uid"]
    await world.create_bundle({"REGISTRY_TITLE": "Harbour"}, name="second")
    await world.update_spec({"configBundleSecret": "second"})
    await world.converge()
    assert (await world.get(JOBS, "quay-app-upgrade"))["metadata"]["uid"] == uid


async def test_storage_is_a_shared_volume_where_there_are_no_buckets(world):
    await world.create_registry()
    await world.converge()
    assert (await world.get(CLAIMS, "quay-datastore"))["spec"]["accessModes"] == ["ReadWriteMany"]
    config = await config_of(world)
    assert config["DISTRIBUTED_STORAGE_CONFIG"] == {
        "default": ["LocalStorage", {"storage_path": "registry"}]
    }


async def test_keys_are_recovered_when_their_secret_is_deleted(world):
    await world.create_registry()
    await world.converge()
    before = await config_of(world)
    name = f"{NAME}-quay-registry-managed-secret-keys"
    stored = (await world.objects.get(SECRETS, name, NAMESPACE))["data"]
    await world.objects.delete(SECRETS, name, NAMESPACE)
    await world.converge()
    assert (await world.objects.get(SECRETS, name, NAMESPACE))["data"] == stored
    assert await config_of(world) == before


async def test_keys_that_are_lost_for_good_are_never_replaced(world):
    await world.create_registry()
    await world.converge()
    for name in await world.names(SECRETS):
        if "config-bundle" not in name:
            await world.objects.delete(SECRETS, name, NAMESPACE)
    await world.once()
    found = {c["type"]: c for c in (await world.registry())["status"]["conditions"]}
    assert found["RolloutBlocked"]["status"] == "True"
    assert "restore it from a backup" in found["RolloutBlocked"]["message"]
    assert len(await world.names(SECRETS)) == 1


async def test_an_upgrade_migrates_before_it_touches_pods_that_serve(world):
    await world.create_registry()
    await world.converge()
    settings = replace(SETTINGS, quay_version="3.7.0", images=Images(quay="hatoba:0.2.0"))
    operator = Operator(world.cluster, settings=settings, clock=SystemClock())
    world.operator = operator
    async with operator.watching():
        images = []
        for _ in range(4):
            await world.once()
            app = await world.get(DEPLOYMENTS, "quay-app")
            images.append(app["spec"]["template"]["spec"]["containers"][0]["image"])
            assert app["spec"]["replicas"] == 2
        assert set(images) == {"hatoba:0.1.0"}
        job = await world.get(JOBS, "quay-app-upgrade")
        assert job["metadata"]["annotations"]["hatoba.dev/quay-version"] == "3.7.0"
        found = conditions(await world.registry(), 3)
        assert ("ComponentsCreated", "False", "MigrationsInProgress") in found
        assert ("Available", "True", "HealthChecksPassing") in found
        await world.converge()
    app = await world.get(DEPLOYMENTS, "quay-app")
    assert app["spec"]["template"]["spec"]["containers"][0]["image"] == "hatoba:0.2.0"
    assert (await world.registry())["status"]["currentVersion"] == "3.7.0"


async def test_a_route_that_nobody_admits_is_said_to_be_in_the_way(world):
    await world.create_registry()
    for _ in range(3):
        await world.once()
    assert "status" not in await world.registry()
    clock = FixedClock(SystemClock().now() + timedelta(minutes=1))
    operator = Operator(world.cluster, settings=SETTINGS, clock=clock)
    world.operator = operator
    async with operator.watching():
        await world.once()
    assert conditions(await world.registry()) == [
        ("RolloutBlocked", "True", "RouteComponentDependencyError")
    ]
