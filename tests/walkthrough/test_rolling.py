"""Pulls and pushes go on while the operator rolls the pods."""

import pytest
from tests.walkthrough.embedded import NAMESPACE, REGISTRY, curl
from tests.walkthrough.story import BUNDLE, PASSWORD, USER
from tests.walkthrough.traffic import Traffic

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
DEPLOYMENT = f"deployment/{REGISTRY}-quay-app"


@pytest.fixture
def traffic(registry):
    with Traffic(registry, "testorg/rolling", user=USER, password=PASSWORD) as traffic:
        registry.home.until(lambda: traffic.pushes > 3, what="first pushes", timeout=30)
        yield traffic


def rolled_out(home):
    home.kubectl("rollout", "status", DEPLOYMENT, "-n", NAMESPACE, "--timeout=200s", timeout=220)


def pod_names(home) -> set[str]:
    label = "quay-component=quay-app"
    words = ["get", "pods", "-n", NAMESPACE, "-l", label, "-o", "name"]
    return set(home.kubectl(*words).split())


def test_a_restart_fails_no_request(registry, traffic):
    home, before = registry.home, pod_names(registry.home)
    home.kubectl("rollout", "restart", DEPLOYMENT, "-n", NAMESPACE)
    rolled_out(home)
    home.until(lambda: not (pod_names(home) & before), what="old pods gone", timeout=120)
    pushes = traffic.pushes
    home.until(lambda: traffic.pushes > pushes + 3, what="pushes after the roll", timeout=30)
    assert traffic.failures == []


def test_a_reconfiguration_fails_no_request_and_takes_effect(registry, traffic):
    home, before = registry.home, pod_names(registry.home)
    home.kubectl(
        "create", "secret", "generic", "second-bundle", "-n", NAMESPACE,
        f"--from-literal=config.yaml={BUNDLE}REGISTRY_TITLE: Second title\n",
    )  # fmt: skip
    patch = '{"spec":{"configBundleSecret":"second-bundle"}}'
    home.kubectl("patch", "quayregistry", REGISTRY, "-n", NAMESPACE, "--type=merge", "-p", patch)
    home.until(lambda: pod_names(home) - before, what="new pods", timeout=60)
    rolled_out(home)
    home.until(lambda: not (pod_names(home) & before), what="old pods gone", timeout=120)
    assert traffic.failures == []
    status, body = curl(home, f"{registry.endpoint}/config")
    assert status == 200
    assert body["config"]["REGISTRY_TITLE"] == "Second title"


def test_what_was_acknowledged_is_there(registry, traffic):
    for tag, digest in dict(traffic.pushed).items():
        status, _ = registry.api(f"/api/v1/repository/testorg/rolling/manifest/{digest}")
        assert status == 200, tag
