"""The arithmetic of rollouts, for any sizes and any order of events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatoba.cluster.controllers.deployment import rollout
from hatoba.cluster.controllers.deployment.budget import maximum_surge, maximum_unavailable
from hatoba.cluster.controllers.deployment.revisions import (
    annotated,
    new_set,
    same_template,
    split,
    template_hash,
)


def deployment(replicas, *, surge="25%", unavailable="25%", image="app:2", **status):
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "n", "uid": "u", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable},
            },
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
        "status": status,
    }


def replica_set(name, replicas, *, available=None, created="1", desired=None, maximum=None):
    annotations = {}
    if desired is not None:
        annotations = {
            "deployment.kubernetes.io/desired-replicas": str(desired),
            "deployment.kubernetes.io/max-replicas": str(maximum),
        }
    available = replicas if available is None else available
    return {
        "metadata": {"name": name, "creationTimestamp": created, "annotations": annotations},
        "spec": {"replicas": replicas},
        "status": {"replicas": replicas, "availableReplicas": available},
    }


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (10, "25%", "25%", (3, 2)),
        (1, "25%", "25%", (1, 0)),
        (3, 0, 0, (0, 1)),
        (3, "0%", "10%", (0, 1)),
        (4, 2, 10, (2, 4)),
        (0, "50%", 1, (0, 0)),
    ],
)
def test_budgets_round_towards_more_pods(replicas, surge, unavailable, expected):
    made = deployment(replicas, surge=surge, unavailable=unavailable)

    assert (maximum_surge(made), maximum_unavailable(made)) == expected


amounts = st.one_of(st.integers(0, 6), st.integers(0, 100).map(lambda value: f"{value}%"))


@given(
    wanted=st.integers(1, 12),
    surge=amounts,
    unavailable=amounts,
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=3),
    data=st.data(),
)
def test_every_rollout_ends_within_its_budget(wanted, surge, unavailable, sizes, data):
    made = deployment(wanted, surge=surge, unavailable=unavailable)
    ceiling = wanted + maximum_surge(made)
    floor = wanted - maximum_unavailable(made)
    old = [replica_set(f"o{i}", size, created=str(i)) for i, size in enumerate(sizes)]
    new = replica_set("new", 0, created="9")
    start = rollout.total_of(old)

    def available():
        return sum(item["status"]["availableReplicas"] for item in [*old, new])

    least = min(floor, available())
    for _ in range(200):
        steps = rollout.grow_new(made, new, old) or rollout.shrink_old(made, new, old)
        for step in steps:
            step.item["spec"]["replicas"] = step.replicas
            ready = min(step.item["status"]["availableReplicas"], step.replicas)
            step.item["status"] = {"replicas": step.replicas, "availableReplicas": ready}
        assert rollout.total_of([*old, new]) <= max(ceiling, start)
        assert available() >= least
        missing = new["spec"]["replicas"] - new["status"]["availableReplicas"]
        if not steps and not missing:
            break
        if missing:
            came = data.draw(st.integers(0 if steps else 1, missing))
            new["status"]["availableReplicas"] += came
    assert [item["spec"]["replicas"] for item in old] == [0] * len(old)
    assert new["spec"]["replicas"] == new["status"]["availableReplicas"] == wanted


def test_unhealthy_old_pods_go_first():
    made = deployment(4, surge=1, unavailable=1)
    broken = replica_set("broken", 2, available=0, created="2")
    healthy = replica_set("healthy", 3, created="1")
    new = replica_set("new", 0, available=0)

    steps = rollout.shrink_old(made, new, [healthy, broken])

    assert [(step.item["metadata"]["name"], step.replicas) for step in steps] == [("broken", 0)]


def sized(name, replicas, *, of, created):
    return replica_set(name, replicas, created=created, desired=of, maximum=of + 3)


def sizes_after(made, new, old):
    steps = {s.item["metadata"]["name"]: s.replicas for s in rollout.follow_size(made, new, old)}
    return [steps.get(item["metadata"]["name"], item["spec"]["replicas"]) for item in [*old, new]]


def test_growing_in_the_middle_of_a_rollout_is_shared_in_proportion():
    made = deployment(15, surge=3, unavailable=2)
    old, new = sized("old", 8, of=10, created="1"), sized("new", 5, of=10, created="2")
    new["status"]["availableReplicas"] = 0

    assert sizes_after(made, new, [old]) == [11, 7]


def test_shrinking_in_the_middle_of_a_rollout_is_shared_in_proportion():
    made = deployment(5, surge=3, unavailable=2)
    old, new = sized("old", 8, of=10, created="1"), sized("new", 5, of=10, created="2")

    assert sum(sizes_after(made, new, [old])) == 8


def test_scaling_to_zero_takes_every_set():
    made = deployment(0)
    old, new = sized("old", 8, of=10, created="1"), sized("new", 5, of=10, created="2")

    assert sizes_after(made, new, [old]) == [0, 0]


def test_the_hash_ignores_what_means_nothing_and_counts_collisions():
    template = deployment(1)["spec"]["template"]
    same = {"metadata": {**template["metadata"], "creationTimestamp": None}} | {
        "spec": {**template["spec"], "volumes": []}
    }

    assert template_hash(template, collisions=0) == template_hash(same, collisions=0)
    assert template_hash(template, collisions=0) != template_hash(template, collisions=1)
    assert same_template(template, same)


def test_the_oldest_equal_set_is_the_new_one():
    made = deployment(2)
    sets = []
    for created in ("3", "1", "2"):
        item = new_set(made, revision="1", replicas=0)
        item["metadata"] |= {"name": created, "creationTimestamp": created}
        sets.append(item)

    new, old = split(made, sets)

    assert new is not None
    assert new["metadata"]["name"] == "1"
    assert [item["metadata"]["name"] for item in old] == ["2", "3"]


def test_a_set_that_becomes_newest_again_remembers_its_revisions():
    made = deployment(2)
    made["metadata"]["annotations"] = {"note": "x", "kubectl.kubernetes.io/restartedAt": "t"}
    item = new_set(made, revision="1", replicas=2)
    item["metadata"]["annotations"] = annotated(item, made, revision="4", existing=True)

    found = annotated(item, made, revision="6", existing=True)

    assert found["deployment.kubernetes.io/revision"] == "6"
    assert found["deployment.kubernetes.io/revision-history"] == "1,4"
    assert found["note"] == "x"
