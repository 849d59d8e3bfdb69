"""What the registry's pods may open together stays within what its database allows."""

import pytest
from tests.operator.builders import a_plan

from hatoba.config.schema.stores import DEFAULT_CONNECTIONS, LEAST_CONNECTIONS
from hatoba.operator.components.postgres import MOST_CONNECTIONS, connections_of_process
from hatoba.operator.overrides import Overrides
from hatoba.operator.render import render

pytestmark = pytest.mark.alone

PROCESSES_OF_POD = 8 + 1
"""Workers, and the one that does the duties."""
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
        (10, DEFAULT_CONNECTIONS),
        (11, 15),
        (21, LEAST_CONNECTIONS),
        (500, LEAST_CONNECTIONS),
    ],
)
def test_without_autoscalers_the_overrides_count(pods, expected) -> None:
    overrides = {} if pods is None else {"quay": Overrides(replicas=pods)}
    plan = a_plan("horizontalpodautoscaler", overrides=overrides)
    assert connections_of_process(plan) == expected


def test_the_configuration_of_a_managed_database_says_so() -> None:
    assert arguments_of(a_plan())["max_connections"] == LEAST_CONNECTIONS
    own = {"DB_URI": "postgresql://u:p@db/quay", "DB_CONNECTION_ARGS": {"max_connections": 40}}
    assert arguments_of(a_plan("postgres", config=own)) == {"max_connections": 40}


def arguments_of(plan):
    configuration = render(plan).configuration
    return configuration["DB_CONNECTION_ARGS"]
