"""Autoscaling by the user's own HPA, which the operator must leave alone."""

import json

import pytest
from tests.walkthrough.embedded import NAMESPACE, REGISTRY
from tests.walkthrough.story import PASSWORD, USER
from tests.walkthrough.traffic import Traffic

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
TARGET = f"{REGISTRY}-quay-app"
HPA = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "own", "namespace": NAMESPACE},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": TARGET},
        "minReplicas": 2,
        "maxReplicas": 3,
        "metrics": [
            {
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 4},
                },
            }
        ],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 10}},
    },
}


def replicas(home) -> int:
    return home.get("deployment", TARGET)["status"].get("availableReplicas", 0)


def manage(home, *, hpa: bool) -> None:
    components = home.get("quayregistry", REGISTRY)["spec"]["components"]
    for component in components:
        if component["kind"] == "horizontalpodautoscaler":
            component["managed"] = hpa
    patch = json.dumps({"spec": {"components": components}})
    home.kubectl("patch", "quayregistry", REGISTRY, "-n", NAMESPACE, "--type=merge", "-p", patch)


def test_the_users_own_autoscaler_scales_up_under_load_and_back(registry):
    home = registry.home
    manage(home, hpa=False)
    home.kubectl("delete", "hpa", TARGET, "-n", NAMESPACE, "--ignore-not-found")
    home.shell(f"kubectl apply -f - <<'EOF'\n{json.dumps(HPA)}\nEOF")
    try:
        with Traffic(registry, "testorg/load", threads=3, user=USER, password=PASSWORD) as traffic:
            home.until(lambda: replicas(home) == 3, what="three replicas", timeout=150)
        assert traffic.failures == []
        home.until(lambda: replicas(home) == 2, what="two replicas again", timeout=150)
    finally:
        home.kubectl("delete", "hpa", "own", "-n", NAMESPACE)
        manage(home, hpa=True)
    home.until(lambda: home.get("hpa")["items"], what="the managed autoscalers", timeout=60)
    home.available()
