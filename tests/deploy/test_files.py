"""What deploy/ holds is what the code expects."""

from pathlib import Path

import pytest
import yaml

from hatoba.operator import definition
from hatoba.operator.names import COMPONENT_ORDER
from hatoba.operator.process import operator_settings

DEPLOY = Path(__file__).parents[2] / "deploy"


def documents(name):
    return [doc for doc in yaml.safe_load_all((DEPLOY / name).read_text()) if doc]


@pytest.mark.parametrize("kind", definition.KINDS, ids=lambda kind: kind.plural)
def test_the_definition_in_deploy_is_the_generated_one(kind):
    assert documents(f"crd/{kind.plural}.yaml") == [definition.definition(kind)]


def test_the_deployment_sets_only_variables_that_the_operator_reads():
    deployment = next(doc for doc in documents("base/operator.yaml") if doc["kind"] == "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    values = {entry["name"]: entry.get("value", "") for entry in container["env"]}
    settings = operator_settings(values | {"MY_POD_NAMESPACE": "hatoba-system"})
    assert settings == operator_settings({"MY_POD_NAMESPACE": "hatoba-system"})
    assert settings.endpoint == "http://quay-operator.hatoba-system:7071"


def test_samples_name_known_components_only():
    for path in sorted((DEPLOY / "samples").glob("*.yaml")):
        for doc in yaml.safe_load_all(path.read_text()):
            for entry in (doc.get("spec") or {}).get("components", []):
                assert entry["kind"] in COMPONENT_ORDER


def test_every_file_is_part_of_some_overlay():
    used = set()
    for path in sorted(DEPLOY.rglob("kustomization.yaml")):
        content = yaml.safe_load(path.read_text())
        for name in (*content.get("resources", ()), *content.get("components", ())):
            used.add((path.parent / name).resolve())
    for path in (DEPLOY / "base", DEPLOY / "components", DEPLOY / "crd"):
        for file in path.rglob("*.yaml"):
            assert file in used or file.name == "kustomization.yaml"
    assert {path.resolve() for path in (DEPLOY / "components").iterdir()} <= used


def test_the_operator_fits_the_restricted_pod_security_standard():
    deployment = next(doc for doc in documents("base/operator.yaml") if doc["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not set(pod) & {"hostNetwork", "hostPID", "hostIPC"}


def test_everything_is_probed_and_scraped_where_the_container_listens():
    deployment = next(doc for doc in documents("base/operator.yaml") if doc["kind"] == "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    ports = {entry["name"] for entry in container["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] in ports
    for service in documents("base/services.yaml"):
        for entry in service["spec"]["ports"]:
            assert entry["targetPort"] in ports
