"""Recommendations are tamed."""

from datetime import UTC, datetime, timedelta

import pytest

from hatoba.cluster.controllers.autoscaler.limits import Bounds, Memory, normalize

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def decide(wanted, *, current, minimum=1, maximum=100, memory=None, behavior=None, at=0):
    bounds = Bounds(current=current, minimum=minimum, maximum=maximum)
    return normalize(wanted, bounds, memory or Memory(), behavior, now=NOW + timedelta(seconds=at))


@pytest.mark.parametrize(
    ("wanted", "current", "replicas", "limited"),
    [
        (3, 2, 3, "DesiredWithinRange"),
        (9, 2, 4, "ScaleUpLimit"),
        (30, 10, 20, "ScaleUpLimit"),
        (300, 90, 100, "TooManyReplicas"),
        (0, 2, 1, "TooFewReplicas"),
    ],
)
def test_growth_is_doubling_at_most(wanted, current, replicas, limited):
    decision = decide(wanted, current=current)

    assert (decision.replicas, decision.limited[0]) == (replicas, limited)
    assert decision.is_limited == (limited != "DesiredWithinRange")
    assert decision.able[0] == "ReadyForNewScale"


def test_shrinking_waits_for_five_minutes_of_lower_recommendations():
    memory = Memory()
    decide(6, current=6, memory=memory)

    early = decide(2, current=6, memory=memory, at=200)
    late = decide(2, current=6, memory=memory, at=301)

    assert (early.replicas, early.able[0]) == (6, "ScaleDownStabilized")
    assert (late.replicas, late.able[0]) == (2, "ReadyForNewScale")


def test_an_up_window_takes_the_lowest_recent_recommendation():
    memory = Memory()
    rules = {"scaleUp": {"stabilizationWindowSeconds": 60}}
    decide(3, current=2, memory=memory, behavior=rules)

    decision = decide(8, current=2, memory=memory, behavior=rules, at=30)

    assert (decision.replicas, decision.able[0]) == (3, "ScaleUpStabilized")


def test_policies_limit_the_change_per_period():
    memory = Memory()
    rules = {"scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}}
    first = decide(10, current=2, memory=memory, behavior=rules)
    memory.changed(2, now=NOW)
    second = decide(10, current=4, memory=memory, behavior=rules, at=30)
    third = decide(10, current=4, memory=memory, behavior=rules, at=61)

    assert [first.replicas, second.replicas, third.replicas] == [4, 4, 6]
    assert second.limited[0] == "ScaleUpLimit"


@pytest.mark.parametrize(
    ("select", "replicas"), [(None, 5), ("Max", 5), ("Min", 9), ("Disabled", 10)]
)
def test_the_select_policy_chooses_among_policies(select, replicas):
    rules = {
        "scaleDown": {
            "stabilizationWindowSeconds": 0,
            "policies": [
                {"type": "Pods", "value": 1, "periodSeconds": 60},
                {"type": "Percent", "value": 50, "periodSeconds": 60},
            ],
        }
    }
    if select:
        rules["scaleDown"]["selectPolicy"] = select

    assert decide(1, current=10, behavior=rules).replicas == replicas
