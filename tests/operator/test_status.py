from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.builders import (
    NAME,
    NOW,
    a_deployment,
    a_job,
    a_plan,
    a_route,
    everything_healthy,
    owned,
)

from hatoba.operator import status
from hatoba.operator.model import Reason, RolloutBlocked

pytestmark = pytest.mark.alone


def report(plan, objects, **changes):
    found = owned(*objects)
    values = {
        "generation": 3,
        "version": "3.6.0",
        "migration": status.migration_of(plan, found),
        "verdicts": status.verdicts_of(plan, found),
        "unhealthy": status.unhealthy_components(plan, found),
        "registry_endpoint": status.endpoint_of(found, f"{NAME}-quay"),
        "editor_endpoint": status.endpoint_of(found, f"{NAME}-quay-config-editor"),
        "editor_secret": f"{NAME}-quay-config-editor-credentials-btbkcg8dc9",
    } | changes
    return status.Report(**values)


def compute(plan, objects, *, previous=None, now=NOW, **changes):
    return status.compute(previous or {}, report(plan, objects, **changes), now=now)


def brief(found, count=2):
    return [
        (c["type"], c["status"], c["reason"], c["message"]) for c in found["conditions"][:count]
    ]


def while_migrating():
    return [
        a_deployment("clair-postgres", component="clair", available=False),
        a_deployment("clair-app", component="clair", available=False),
        a_deployment("quay-mirror", component="mirror", available=False),
        a_deployment("quay-app", component="base", replicas=0),
        a_route(),
        a_route("quay-config-editor", port="8444"),
        a_job("quay-app-upgrade"),
    ]


def test_while_migrating_it_says_what_the_document_shows():
    found = compute(a_plan(), while_migrating())
    assert brief(found) == [
        (
            "RolloutBlocked",
            "False",
            "ComponentsCreationSuccess",
            "all objects created/updated successfully",
        ),
        ("Available", "False", "MigrationsInProgress", "running database migrations"),
    ]
    assert found["configEditorEndpoint"] == "https://localhost:8444"
    assert found["configEditorCredentialsSecret"].endswith("btbkcg8dc9")
    assert found["lastUpdated"] == "2021-09-14 10:52:05.371425 +0000 UTC"
    assert not {"registryEndpoint", "currentVersion"} & found.keys()


def test_while_migrating_unhealthy_components_are_listed_as_in_the_document():
    found = compute(a_plan(), while_migrating())["unhealthyComponents"]
    assert list(found) == ["clair", "mirror"]
    assert [entry["message"] for entry in found["clair"]] == [
        f"Deployment {NAME}-clair-postgres: Deployment does not have minimum availability.",
        f"Deployment {NAME}-clair-app: Deployment does not have minimum availability.",
    ]
    assert found["mirror"][0] == {
        "type": "Available",
        "status": "False",
        "reason": "MinimumReplicasUnavailable",
        "message": f"Deployment {NAME}-quay-mirror: Deployment does not have minimum availability.",
        "lastTransitionTime": "2021-09-14T10:51:32Z",
        "lastUpdateTime": "2021-09-14T10:51:32Z",
    }


def test_a_healthy_registry_is_available():
    found = compute(a_plan(), everything_healthy())
    assert brief(found) == [
        (
            "Available",
            "True",
            "HealthChecksPassing",
            "all registry component healthchecks passing",
        ),
        (
            "RolloutBlocked",
            "False",
            "ComponentsCreationSuccess",
            "all objects created/updated successfully",
        ),
    ]
    assert found["currentVersion"] == "3.6.0"
    assert found["registryEndpoint"] == "https://localhost:8443"
    assert found["unhealthyComponents"] == {}
    assert found["observedGeneration"] == 3


def test_migrated_is_not_yet_available():
    # A later object takes the place of an earlier one of that kind and name.
    objects = everything_healthy()
    objects.append(a_deployment("quay-app", component="base", replicas=0))
    found = compute(a_plan(), objects)
    assert brief(found, 1) == [
        (
            "Available",
            "False",
            "ComponentNotReady",
            "Some components are not ready: see ComponentQuayReady",
        )
    ]
    assert found["currentVersion"] == "3.6.0"


@pytest.mark.parametrize(
    ("manager", "step"),
    [
        ("quay-operator", f"its pods start once Job {NAME}-quay-app-upgrade has migrated"),
        ("quay-operator-scale", f"its pods start once Job {NAME}-quay-app-upgrade has migrated"),
        ("kubectl", f"scale deployment {NAME}-quay-app --replicas=2"),
    ],
)
def test_a_registry_without_pods_says_what_it_waits_for(manager, step):
    app = a_deployment("quay-app", component="base", replicas=0)
    fields = {"manager": manager, "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    app["metadata"]["managedFields"] = [fields]
    verdict = status.verdicts_of(a_plan(), owned(*everything_healthy(), app))["base"]
    assert not verdict.ready
    assert not verdict.diagnosed
    assert step in verdict.message


@pytest.mark.parametrize(
    ("lost", "condition", "message"),
    [
        ("quay-database", "ComponentPostgresReady", "Postgres deployment not found"),
        ("quay-redis", "ComponentRedisReady", "Redis deployment not found"),
        ("quay-mirror", "ComponentMirrorReady", "Mirror deployment not found"),
        ("clair-app", "ComponentClairReady", f"Deployment {NAME}-clair-app not found"),
        ("quay", "ComponentRouteReady", "Route not found"),
        (
            "quay-prometheus-rules",
            "ComponentMonitoringReady",
            f"PrometheusRule {NAME}-quay-prometheus-rules not found",
        ),
        ("quay-datastore", "ComponentObjectStorageReady", None),
    ],
)
def test_what_is_missing_makes_the_registry_unavailable(lost, condition, message):
    objects = [o for o in everything_healthy() if o["metadata"]["name"] != f"{NAME}-{lost}"]
    found = {c["type"]: c for c in compute(a_plan(), objects)["conditions"]}
    assert found[condition]["status"] == "False"
    assert message is None or found[condition]["message"].startswith(f"{message}: ")
    assert found["Available"]["status"] == "False"


def test_the_registry_waits_for_what_it_stands_on():
    objects = [o for o in everything_healthy() if "database" not in o["metadata"]["name"]]
    found = {c["type"]: c["message"] for c in compute(a_plan(), objects)["conditions"]}
    awaiting = "Awaiting for component {} to become available: see {}"
    assert found["ComponentQuayReady"] == awaiting.format("postgres", "ComponentPostgresReady")
    assert found["ComponentMirrorReady"] == awaiting.format("quay", "ComponentQuayReady")


def test_unmanaged_components_are_nobodys_fault():
    objects = [
        o
        for o in everything_healthy()
        if not any(
            word in o["metadata"]["name"] for word in ("clair", "mirror", "metrics", "rules")
        )
        and o["kind"] != "HorizontalPodAutoscaler"
    ]
    plan = a_plan("clair", "mirror", "monitoring", "horizontalpodautoscaler")
    found = compute(plan, objects)
    assert found["conditions"][0]["status"] == "True"
    reasons = {c["type"]: c["reason"] for c in found["conditions"]}
    assert reasons["ComponentClairReady"] == "ComponentNotManaged"


def test_a_converged_status_is_returned_as_it_was():
    before = compute(a_plan(), everything_healthy())
    after = compute(a_plan(), everything_healthy(), previous=before, now=NOW + timedelta(minutes=5))
    assert after is before


def test_times_change_only_with_content():
    before = compute(a_plan(), while_migrating())
    later = NOW + timedelta(minutes=1)
    after = compute(a_plan(), everything_healthy(), previous=before, now=later)
    old, new = ({c["type"]: c for c in found["conditions"]} for found in (before, after))
    for field in ("lastTransitionTime", "lastUpdateTime"):
        assert new["RolloutBlocked"][field] == old["RolloutBlocked"][field]
        assert new["Available"][field] == "2021-09-14T10:53:05Z"


def test_a_failed_migration_says_why():
    objects = [a_job("quay-app-upgrade", condition="Failed")]
    found = compute(a_plan(), objects)
    assert brief(found)[1] == (
        "Available",
        "False",
        "MigrationsFailed",
        (
            "Job has reached the specified backoff limit: Job example-registry-quay-app-upgrade "
            "failed: read its log with kubectl -n quay-enterprise logs "
            "job/example-registry-quay-app-upgrade"
        ),
    )
    assert found["unhealthyComponents"]["base"][0]["message"] == (
        f"Job {NAME}-quay-app-upgrade: Job has reached the specified backoff limit"
    )


def test_a_migration_to_another_version_is_none():
    objects = [a_job("quay-app-upgrade", condition="Complete", succeeded=1, version="3.5.0")]
    assert status.migration_of(a_plan(), owned(*objects)) == status.Migration()


def test_a_first_rollout_that_is_blocked_says_only_that():
    fault = RolloutBlocked(Reason.CONFIG_INVALID, "because", step="do this")
    found = compute(a_plan(), [], blocked=fault, verdicts={}, unhealthy={})
    assert brief(found, 9) == [("RolloutBlocked", "True", "ConfigInvalid", "because: do this")]
    assert "currentVersion" not in found


def test_a_blocked_change_says_how_the_running_registry_is():
    before = compute(a_plan(), everything_healthy())
    fault = RolloutBlocked(Reason.CONFIG_INVALID, "because", step="do this")
    found = compute(a_plan(), everything_healthy(), previous=before, blocked=fault)
    assert brief(found) == [
        (
            "Available",
            "True",
            "HealthChecksPassing",
            "all registry component healthchecks passing",
        ),
        ("RolloutBlocked", "True", "ConfigInvalid", "because: do this"),
    ]
    assert found["registryEndpoint"] == before["registryEndpoint"]


def test_a_route_that_is_refused_is_reported():
    route = a_route()
    route["status"]["ingress"][0]["conditions"] = [
        {"type": "Admitted", "status": "False", "reason": "HostAlreadyClaimed", "message": "taken"}
    ]
    entry = status.unhealthy_components(a_plan(), owned(route))["route"][0]
    assert entry["message"] == f'Route "{NAME}-quay" not admitted: taken'


@given(st.datetimes(min_value=datetime(2000, 1, 1)))  # noqa: DTZ001
def test_go_times_trim_zeros_and_nothing_else(moment):
    text = status.go_time(moment.replace(tzinfo=UTC))
    stamp, _, zone = text.partition(" +")
    assert zone == "0000 UTC"
    _, _, fraction = stamp.partition(".")
    assert int((fraction or "0").ljust(6, "0")) == moment.microsecond
    assert not fraction.endswith("0")


def test_a_stuck_rollout_is_told_while_the_old_pods_serve():
    stuck = a_deployment("quay-app", component="base")
    stuck["status"]["conditions"].append(
        {
            "type": "Progressing",
            "status": "False",
            "reason": "ProgressDeadlineExceeded",
            "message": "ReplicaSet has timed out progressing.",
            "lastTransitionTime": "2021-09-14T10:51:32Z",
        }
    )
    # A later object takes the place of an earlier one of that kind and name.
    found = compute(a_plan(), [*everything_healthy(), stuck])
    assert found["conditions"][0]["status"] == "True"
    assert [entry["reason"] for entry in found["unhealthyComponents"]["base"]] == [
        "ProgressDeadlineExceeded"
    ]
