"""The other shapes of a QuayRegistry that the document shows, and wrong ones."""

import json

import pytest
from tests.walkthrough.watching import conditions

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def quayregistry(namespace: str, spec: dict | None = None) -> str:
    body = {
        "apiVersion": "quay.redhat.com/v1",
        "kind": "QuayRegistry",
        "metadata": {"name": "example-registry", "namespace": namespace},
    }
    return json.dumps(body if spec is None else {**body, "spec": spec})


@pytest.fixture(scope="module")
def ended(home):
    """Namespaces that are being deleted; at the end all of them and their pods are gone."""
    names: list[str] = []
    yield names
    for name in names:
        home.kubectl("wait", f"namespace/{name}", "--for=delete", "--timeout=150s", timeout=170)
        assert home.get("pods", namespace=name)["items"] == []


@pytest.fixture
def namespace(home, ended, request):
    """A namespace for one test; while it ends the next test begins."""
    name = "shape-" + request.node.name.split("[")[0].removeprefix("test_").replace("_", "-")[:40]
    name = f"{name.strip('-')}-{len(ended)}"
    home.kubectl("create", "namespace", name)
    yield name
    home.kubectl("delete", "namespace", name, "--wait=false")
    ended.append(name)


def create(home, namespace: str, spec: dict | None = None) -> None:
    home.shell(f"kubectl create -f - <<'EOF'\n{quayregistry(namespace, spec)}\nEOF")


def blocked(home, namespace: str) -> dict:
    """Wait for a blocked rollout and return its condition."""

    def condition():
        registry = home.get("quayregistry", "example-registry", namespace=namespace)
        found = conditions(registry).get("RolloutBlocked", {})
        return found if found.get("status") == "True" else None

    return home.until(condition, what="RolloutBlocked", timeout=60)


def test_four_components_unmanaged(home, namespace):
    unmanaged = {"clair", "horizontalpodautoscaler", "mirror", "monitoring"}
    components = [{"kind": kind, "managed": False} for kind in sorted(unmanaged)]
    create(home, namespace, {"components": components})
    registry = home.available(namespace=namespace)
    listed = {c["kind"]: c["managed"] for c in registry["spec"]["components"]}
    assert {kind for kind, managed in listed.items() if not managed} == unmanaged
    assert [c["kind"] for c in registry["spec"]["components"]][:4] == sorted(unmanaged)
    names = " ".join(pod["metadata"]["name"] for pod in home.pods(namespace=namespace))
    assert "clair" not in names
    assert "mirror" not in names
    assert home.get("hpa", namespace=namespace)["items"] == []


def test_no_spec_at_all(home, namespace):
    create(home, namespace)
    registry = home.available(namespace=namespace)
    bundle = registry["spec"]["configBundleSecret"]
    assert bundle.startswith("example-registry-config-bundle-")
    assert registry["metadata"]["generation"] == 3
    assert home.get("secret", bundle, namespace=namespace)["data"].keys() == {"config.yaml"}


def test_a_bundle_that_is_missing_blocks_and_creates_nothing(home, namespace):
    create(home, namespace, {"configBundleSecret": "absent"})
    condition = blocked(home, namespace)
    assert condition["reason"] == "ConfigInvalid"
    assert "unable to retrieve referenced `configBundleSecret`: absent" in condition["message"]
    assert home.pods(namespace=namespace) == []


@pytest.mark.parametrize(
    ("content", "components", "reason", "message"),
    [
        pytest.param("a: [", [], None, "could not check for build manager support", id="not-yaml"),
        pytest.param(
            "DB_URI: postgresql://x/y", [{"kind": "postgres", "managed": True}], "ConfigInvalid",
            "postgres component marked as managed, but `configBundleSecret` contains required fields",
            id="managed-with-its-own-config",
        ),
        pytest.param(
            "REGISTRY_TITLE: x", [{"kind": "redis", "managed": False}], "ConfigInvalid",
            "required component `redis` marked as unmanaged, but `configBundleSecret` is missing "
            "necessary fields",
            id="unmanaged-without-config",
        ),
    ],
)  # fmt: skip
def test_a_wrong_input_blocks_with_its_reason(
    home, namespace, content, components, reason, message
):
    home.kubectl(
        "create", "secret", "generic", "bundle", "-n", namespace,
        f"--from-literal=config.yaml={content}",
    )  # fmt: skip
    create(home, namespace, {"configBundleSecret": "bundle", "components": components})
    condition = blocked(home, namespace)
    assert reason is None or condition["reason"] == reason
    assert message in condition["message"]
    assert home.pods(namespace=namespace) == []
