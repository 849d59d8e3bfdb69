"""The operator outside of the cluster, which has controllers and nodes of its own.

`HATOBA_TEST_KUBECONFIG` names such a cluster, of any Kubernetes, and `HATOBA_TEST_IMAGE` an image
of ours that its nodes can pull; without, it is the embedded one in its own process. The operator is
a process as a developer starts it, with nothing but a kubeconfig. Another operator that is
installed there stands still meanwhile.
"""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.ports import free_port
from tests.walkthrough.embedded import HATOBA, REGISTRY, Home

pytestmark = [pytest.mark.nodes, pytest.mark.cluster, pytest.mark.timeout(600)]
SPACE = "operated-from-outside"
INSIDE = ("deployment", "quay-operator", "-n", "hatoba-system")
UNMANAGED = ("clair", "horizontalpodautoscaler", "mirror", "monitoring")
RESOURCES = "deployments,services,secrets,configmaps,persistentvolumeclaims,jobs,serviceaccounts"
CHANGING = {"POST", "PUT", "PATCH", "DELETE"}


class Operator:
    """A process of the operator."""

    def __init__(self, home: Home, directory: Path) -> None:
        self.metrics, self.health = free_port(), free_port()
        self.log = directory / "operator.log"
        image = os.environ.get("HATOBA_TEST_IMAGE", "")
        environment = {
            "PATH": os.environ["PATH"],
            "HATOBA_BIND": "127.0.0.1",
            **({"RELATED_IMAGE_COMPONENT_QUAY": image} if image else {}),
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *HATOBA, "operator", "run",
                    f"--kubeconfig={home.environment['KUBECONFIG']}", f"--namespace={SPACE}",
                    f"--metrics-addr=127.0.0.1:{self.metrics}",
                    f"--health-addr=127.0.0.1:{self.health}",
                    f"--reconfigure-addr=127.0.0.1:{free_port()}",
                    "--disable-leader-election",
                ],
                env=environment, stdout=log, stderr=log,
            )  # fmt: skip

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health}/readyz", timeout=5) as got:
                return got.status == 200
        except (urllib.error.URLError, ConnectionError):
            return False

    def counted(self) -> tuple[float, float]:
        """Return how many passes succeeded, and how many changing requests were sent."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=5) as got:
            families = list(text_string_to_metric_families(got.read().decode()))
        samples = [sample for family in families for sample in family.samples]
        passes = sum(
            one.value for one in samples
            if one.name == "hatoba_operator_reconcile_total" and one.labels["outcome"] == "success"
        )  # fmt: skip
        writes = sum(
            one.value for one in samples
            if one.name == "hatoba_operator_api_requests_total"
            and one.labels["method"] in CHANGING
        )  # fmt: skip
        return passes, writes

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        finally:
            self.process.kill()


@pytest.fixture(scope="module")
def somewhere(request, tmp_path_factory) -> Home:
    """A cluster with nodes: the one that was named, else the embedded one."""
    named = os.environ.get("HATOBA_TEST_KUBECONFIG", "")
    if not named:
        return request.getfixturevalue("home")
    home = Home(tmp_path_factory.mktemp("nobody"))
    home.environment["KUBECONFIG"] = named
    return home


@contextmanager
def standing_still(home: Home):
    """Keep the installed operator, if there is one, from working on the same registry."""
    installed = "NotFound" not in home.kubectl("get", *INSIDE, check=False)
    if installed:
        home.kubectl("scale", *INSIDE, "--replicas=0")
        home.until(
            lambda: not json.loads(
                home.kubectl("get", "pods", "-n", "hatoba-system", "-l", "name=quay-operator",
                             "-o", "json")
            )["items"],
            what="the operator inside gone", timeout=120,
        )  # fmt: skip
    try:
        yield
    finally:
        if installed:
            home.kubectl("scale", *INSIDE, "--replicas=1")
            home.kubectl("rollout", "status", *INSIDE, "--timeout=120s", timeout=140)


@pytest.fixture
def operated(somewhere, tmp_path):
    home = somewhere
    with standing_still(home):
        home.kubectl("create", "namespace", SPACE)
        operator = Operator(home, tmp_path)
        try:
            home.until(operator.is_ready, what="an operator that is ready", timeout=60)
            yield home, operator
        finally:
            operator.end()
            home.kubectl("delete", "namespace", SPACE, "--timeout=150s", timeout=170)


def left(home: Home) -> list[str]:
    words = ["-n", SPACE, "-l", f"quay-operator/quayregistry={REGISTRY}", "-o", "name"]
    return home.kubectl("get", RESOURCES, *words).split()


def passes_without_a_write(home: Home, operator: Operator) -> bool:
    """Whether a pass that somebody asks for finds nothing to write."""
    passes, writes = operator.counted()
    note = f"hatoba.dev/asked={time.monotonic_ns()}"
    home.kubectl("annotate", "quayregistry", REGISTRY, "-n", SPACE, "--overwrite", note)
    home.until(lambda: operator.counted()[0] > passes, what="another pass", timeout=120)
    return operator.counted()[1] == writes


def test_from_outside_it_brings_a_registry_up_heals_it_and_takes_it_away(operated):
    home, operator = operated
    components = [{"kind": kind, "managed": False} for kind in UNMANAGED]
    registry = {
        "apiVersion": "quay.redhat.com/v1",
        "kind": "QuayRegistry",
        "metadata": {"name": REGISTRY, "namespace": SPACE},
        "spec": {"components": components},
    }
    home.shell(f"kubectl create -f - <<'EOF'\n{json.dumps(registry)}\nEOF")
    home.available(namespace=SPACE)
    home.until(
        lambda: passes_without_a_write(home, operator), what="a pass without a write", timeout=180
    )
    home.kubectl("delete", "deployment", f"{REGISTRY}-quay-redis", "-n", SPACE)
    home.until(
        lambda: home.kubectl(
            "get", "deployment", f"{REGISTRY}-quay-redis", "-n", SPACE, "-o",
            "jsonpath={.status.availableReplicas}", check=False,
        ).strip() == "1",
        what="a Deployment that came back", timeout=120,
    )  # fmt: skip
    home.available(namespace=SPACE)
    home.kubectl("delete", "quayregistry", REGISTRY, "-n", SPACE, "--timeout=150s", timeout=170)
    home.until(lambda: not left(home), what="nothing left of it", timeout=180)
