"""What deploy/ holds is what the code expects."""

from pathlib import Path

import yaml

from hatoba.operator import definition
from hatoba.operator.kubernetes import _GLOBAL, _NAMESPACED
from hatoba.operator.names import COMPONENT_ORDER
from hatoba.operator.process import operator_settings

DEPLOY = Path(__file__).parents[2] / "deploy"


def documents(name):
    return [doc for doc in yaml.safe_load_all((DEPLOY / name).read_text()) if doc]


def test_the_definition_in_deploy_is_the_generated_one():
    assert documents("crd/quayregistries.yaml") == [definition.definition()]


def test_the_role_covers_every_kind_that_the_operator_touches():
    role = next(doc for doc in documents("rbac.yaml") if doc["kind"] == "ClusterRole")
    allowed = {
        (group, resource)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    for group, _, plural in (*_NAMESPACED.values(), *_GLOBAL.values()):
        assert (group, plural) in allowed


def test_the_deployment_sets_only_variables_that_the_operator_reads():
    deployment = next(doc for doc in documents("operator.yaml") if doc["kind"] == "Deployment")
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


def test_every_file_of_deploy_is_part_of_the_kustomization():
    listed = documents("kustomization.yaml")[0]["resources"]
    assert sorted(listed) == ["crd/quayregistries.yaml", "operator.yaml", "rbac.yaml"]
