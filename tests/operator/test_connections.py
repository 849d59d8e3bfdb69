"""What the registry's pods may open together stays within what its database allows."""

import os

import pytest
from tests.operator.builders import a_plan

from hatoba.cli.registry import worker_limit
from hatoba.cluster.kubelet.environment import resource_value
from hatoba.config.schema.stores import DEFAULT_CONNECTIONS, LEAST_CONNECTIONS
from hatoba.operator.components.postgres import MOST_CONNECTIONS, connections_of_process
from hatoba.operator.components.quay import workers_of_pod
from hatoba.operator.overrides import Overrides
from hatoba.operator.render import render

pytestmark = pytest.mark.alone

PROCESSES_OF_POD = 2 + 1
"""Workers, as many as the pod has CPUs, and the one that does the duties."""
MOST_PODS = 20


def test_all_pods_that_autoscalers_may_ask_for_fit() -> None:
    processes = MOST_PODS * PROCESSES_OF_POD + MOST_PODS
    connections = connections_of_process(a_plan())
    assert connections >= LEAST_CONNECTIONS
    assert processes * connections <= MOST_CONNECTIONS * 4 // 5


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        (None, DEFAULT_CONNECTIONS),
        (0, DEFAULT_CONNECTIONS),
        (32, DEFAULT_CONNECTIONS),
        (33, 15),
        (67, LEAST_CONNECTIONS),
        (500, LEAST_CONNECTIONS),
    ],
)
def test_without_autoscalers_the_overrides_count(pods, expected) -> None:
    overrides = {} if pods is None else {"quay": Overrides(replicas=pods)}
    plan = a_plan("horizontalpodautoscaler", overrides=overrides)
    assert connections_of_process(plan) == expected


def test_the_configuration_of_a_managed_database_says_so() -> None:
    assert arguments_of(a_plan())["max_connections"] == DEFAULT_CONNECTIONS
    own = {"DB_URI": "postgresql://u:p@db/quay", "DB_CONNECTION_ARGS": {"max_connections": 40}}
    assert arguments_of(a_plan("postgres", config=own)) == {"max_connections": 40}


@pytest.mark.parametrize(
    ("cpus", "variables", "workers"),
    [
        (None, {}, 2),
        ("100m", {}, 1),
        ("1001m", {}, 2),
        ("4", {}, 4),
        ("8", {}, 8),
        ("64", {}, 8),
        ("64", {"WORKER_COUNT": "9"}, 9),
        ("64", {"WORKER_COUNT_REGISTRY": "3", "WORKER_COUNT_WEB": "3"}, 3),
        (None, {"WORKER_COUNT_REGISTRY": "64"}, 2),
    ],
)
def test_a_pod_runs_the_workers_that_are_reckoned_with(
    monkeypatch, cpus, variables, workers
) -> None:
    plan = limited(cpus, env=tuple({"name": k, "value": v} for k, v in variables.items()))
    assert workers_of_pod(plan) == workers
    for name, value in variables_of(plan).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(128)))
    assert worker_limit() == workers


def test_workers_by_a_number_that_stands_elsewhere_are_as_many_as_cpus() -> None:
    elsewhere = {"configMapKeyRef": {"name": "tuning", "key": "workers"}}
    plan = limited("12", env=({"name": "WORKER_COUNT_REGISTRY", "valueFrom": elsewhere},))
    assert workers_of_pod(plan) == 12


def test_more_cpus_leave_each_process_less() -> None:
    assert connections_of_process(limited("8")) == LEAST_CONNECTIONS


def limited(cpus: str | None, *, env=()):
    resources = {} if cpus is None else {"limits": {"cpu": cpus}, "requests": {"cpu": "100m"}}
    return a_plan(overrides={"quay": Overrides(resources=resources, env=env)})


def variables_of(plan) -> dict[str, str]:
    """Return what a registry's pod is told, as the kubelet tells it."""
    [app] = [one for one in render(plan).objects if is_deployment(one, "quay-app")]
    [container] = app["spec"]["template"]["spec"]["containers"]
    told = {one["name"]: one.get("value", "") for one in container["env"]}
    [origin] = [one["valueFrom"] for one in container["env"] if one["name"] == "HATOBA_CPUS"]
    cpus = resource_value(origin["resourceFieldRef"], container, {})
    return told | {"HATOBA_CPUS": cpus}


def is_deployment(obj, name: str) -> bool:
    return obj["kind"] == "Deployment" and obj["metadata"]["name"].endswith(name)


def arguments_of(plan):
    configuration = render(plan).configuration
    return configuration["DB_CONNECTION_ARGS"]
