"""What measurements ask for."""

from datetime import UTC, datetime, timedelta

import pytest

from hatoba.cluster.controllers.autoscaler.usage import (
    Measured,
    NoMetric,
    Sample,
    by_average,
    by_utilization,
    sample,
)
from hatoba.cluster.node import Usage

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
WINDOW = timedelta(seconds=15)


def stamp(seconds):
    return (NOW - timedelta(seconds=seconds)).isoformat()


def pod(name, *, cpu="1", phase="Running", ready=True, started=3600, changed=3500, deleting=False):
    meta = {"name": name}
    if deleting:
        meta["deletionTimestamp"] = stamp(1)
    return {
        "metadata": meta,
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        "status": {
            "phase": phase,
            "startTime": stamp(started),
            "conditions": [
                {
                    "type": "Ready",
                    "status": str(ready),
                    "lastTransitionTime": stamp(changed),
                }
            ],
        },
    }


def measured(pods, amounts, *, resource="cpu", age=5):
    samples = {
        name: Sample(amount=amount, at=NOW - timedelta(seconds=age), window=WINDOW)
        for name, amount in amounts.items()
    }
    return Measured(resource=resource, container="", pods=pods, samples=samples)


def ask(pods, amounts, *, current=None, target=50, **more):
    current = len(pods) if current is None else current
    return by_utilization(measured(pods, amounts, **more), current=current, target=target, now=NOW)


TWO = [pod("a"), pod("b")]


@pytest.mark.parametrize(
    ("amounts", "replicas", "utilization"),
    [
        ({"a": 500, "b": 500}, 2, 50),
        ({"a": 540, "b": 540}, 2, 54),
        ({"a": 600, "b": 600}, 3, 60),
        ({"a": 1000, "b": 1000}, 4, 100),
        ({"a": 100, "b": 100}, 1, 10),
    ],
)
def test_utilization_is_brought_to_the_target_within_a_tenth(amounts, replicas, utilization):
    proposal = ask(TWO, amounts)

    assert (proposal.replicas, proposal.utilization) == (replicas, utilization)
    assert proposal.average == amounts["a"]


def test_an_unmeasured_pod_is_taken_for_idle_when_scaling_up():
    assert ask(TWO, {"a": 1000}).replicas == 2
    assert ask([*TWO, pod("c")], {"a": 1000, "b": 1000}).replicas == 4


def test_an_unmeasured_pod_is_taken_for_busy_when_scaling_down():
    assert ask([*TWO, pod("c")], {"a": 100, "b": 100}).replicas == 3


def test_a_starting_pod_does_not_raise_the_number_and_is_taken_for_idle():
    starting = pod("b", ready=False, started=20, changed=20)

    assert ask([pod("a"), starting], {"a": 1000, "b": 4000}).replicas == 2
    with pytest.raises(NoMetric, match="did not receive metrics"):
        ask([starting], {"b": 4000})


def test_a_pod_ready_for_less_than_a_window_is_still_starting():
    fresh = pod("b", started=20, changed=10)

    assert ask([pod("a"), fresh], {"a": 500, "b": 4000}).utilization == 50


def test_failed_and_deleted_pods_do_not_count():
    pods = [pod("a"), pod("b", phase="Failed"), pod("c", deleting=True)]

    proposal = ask(pods, {"a": 500, "b": 9000, "c": 9000}, current=1)

    assert (proposal.replicas, proposal.utilization) == (1, 50)


def test_memory_of_a_starting_pod_counts():
    pods = [pod("a", started=20, changed=20, ready=False)]
    pods[0]["spec"]["containers"][0]["resources"]["requests"] = {"memory": "1Gi"}

    proposal = ask(pods, {"a": 2**30 * 1000}, resource="memory")

    assert (proposal.replicas, proposal.utilization) == (2, 100)


@pytest.mark.parametrize(
    ("pods", "amounts", "words"),
    [
        (TWO, {}, "unable to get metrics for resource cpu: no metrics returned from"),
        ([], {"a": 1}, "no pods returned by selector"),
    ],
)
def test_nothing_to_compute_from_is_told(pods, amounts, words):
    with pytest.raises(NoMetric, match=words):
        ask(pods, amounts)


def test_a_missing_request_is_told():
    bare = pod("a")
    bare["spec"]["containers"][0]["resources"] = {}

    with pytest.raises(NoMetric, match="missing request for cpu in container c of Pod a"):
        ask([bare], {"a": 5})


def test_an_average_amount_is_a_target_too():
    proposal = by_average(measured(TWO, {"a": 300, "b": 500}), current=2, target=200, now=NOW)

    assert (proposal.replicas, proposal.average, proposal.utilization) == (4, 400, None)


def amount_of(found):
    return found.amount


def test_a_pod_counts_only_when_all_its_containers_were_measured():
    two = pod("a")
    two["spec"]["containers"].append({"name": "d"})
    usage = Usage(
        container="c", cpu_nanocores=1_500_000, memory_bytes=7, at=0.0, window_seconds=15.0
    )

    assert sample([usage], two, resource="cpu", container="") is None
    assert amount_of(sample([usage], two, resource="cpu", container="c")) == 2
    assert amount_of(sample([usage], pod("a"), resource="memory", container="")) == 7000
