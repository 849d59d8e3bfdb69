"""The bundle for the Operator Lifecycle Manager is generated, complete and says true things.

Source: OLM "ClusterServiceVersion" (operators.coreos.com/v1alpha1) and "Operator Bundle".
"""

import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml

from hatoba.operator.types import QuayRegistry

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "deploy" / "bundle"
KINDS_OF_OLM = {
    "ClusterServiceVersion",
    "CustomResourceDefinition",
    "Service",
    "ServiceMonitor",
}


def generator():
    spec = importlib.util.spec_from_file_location("olm_bundle", ROOT / "tools/olm_bundle.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(name):
    return yaml.safe_load((BUNDLE / name).read_text())


@pytest.fixture(scope="module")
def version():
    return read("manifests/hatoba-operator.clusterserviceversion.yaml")


@pytest.fixture(scope="module")
def container(version):
    (deployment,) = version["spec"]["install"]["spec"]["deployments"]
    return deployment["spec"]["template"]["spec"]["containers"][0]


def test_the_committed_files_are_the_generated_ones():
    found = {str(p.relative_to(BUNDLE)): p.read_text() for p in BUNDLE.rglob("*") if p.is_file()}
    assert found == generator().bundle()


def test_manifests_hold_one_version_and_what_it_may_bring_along():
    kinds = [yaml.safe_load(p.read_text())["kind"] for p in (BUNDLE / "manifests").iterdir()]
    assert set(kinds) == KINDS_OF_OLM
    assert kinds.count("ClusterServiceVersion") == 1
    for path in (BUNDLE / "manifests").iterdir():
        document = yaml.safe_load(path.read_text())
        if document["kind"] != "ClusterServiceVersion":
            assert "namespace" not in document["metadata"]


def test_annotations_name_the_folders_and_the_channel():
    labels = read("metadata/annotations.yaml")["annotations"]
    short = {
        key.removeprefix("operators.operatorframework.io.bundle."): labels[key] for key in labels
    }
    assert short["mediatype.v1"] == "registry+v1"
    assert (BUNDLE / short["manifests.v1"]).is_dir()
    assert (BUNDLE / short["metadata.v1"]).is_dir()
    assert short["channel.default.v1"] in short["channels.v1"].split(",")
    assert short["package.v1"] == "hatoba-operator"


def test_name_and_version_belong_together(version):
    number = version["spec"]["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", number)
    assert version["metadata"]["name"] == f"hatoba-operator.v{number}"


def test_each_install_mode_is_said_and_the_operator_learns_its_namespace(version, container):
    modes = {mode["type"]: mode["supported"] for mode in version["spec"]["installModes"]}
    assert modes == {
        "OwnNamespace": True,
        "SingleNamespace": True,
        "MultiNamespace": False,
        "AllNamespaces": True,
    }
    variables = {entry["name"]: entry for entry in container["env"]}
    source = variables["WATCH_NAMESPACE"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert source == "metadata.annotations['olm.targetNamespaces']"


def described(schema, path):
    """Return what a definition says about a path such as `components[0].kind`."""
    for name in path.split("."):
        key, _, index = name.partition("[")
        schema = schema["properties"][key]
        schema = schema["items"] if index else schema
    return schema["description"]


@pytest.mark.parametrize(
    "plural", ["quayregistries", "quayregistrybackups", "quayregistryrestores"]
)
def test_the_owned_kind_is_the_one_that_is_defined(version, plural):
    everything = version["spec"]["customresourcedefinitions"]["owned"]
    assert len(everything) == 3
    (owned,) = (one for one in everything if one["name"].startswith(f"{plural}."))
    definition = read(f"manifests/{plural}.crd.yaml")
    assert owned["name"] == definition["metadata"]["name"]
    assert owned["kind"] == definition["spec"]["names"]["kind"]
    assert owned["version"] == definition["spec"]["versions"][0]["name"]
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    for part in ("spec", "status"):
        for descriptor in owned[f"{part}Descriptors"]:
            assert described(schema[part], descriptor["path"])


def test_examples_are_registries_that_the_operator_understands(version):
    examples = json.loads(version["metadata"]["annotations"]["alm-examples"])
    assert examples
    for example in examples:
        assert (example["apiVersion"], example["kind"]) == ("quay.redhat.com/v1", "QuayRegistry")
        QuayRegistry.model_validate({"spec": example.get("spec")})


def test_every_image_that_may_run_is_named_for_mirroring(version, container):
    related = {entry["image"] for entry in version["spec"]["relatedImages"]}
    variables = [e["value"] for e in container["env"] if e["name"].startswith("RELATED_IMAGE_")]
    assert related == {container["image"], *variables}
    assert version["metadata"]["annotations"]["containerImage"] in related
    names = [entry["name"] for entry in version["spec"]["relatedImages"]]
    assert len(names) == len(set(names))


def test_the_permissions_are_those_of_the_overlay(version):
    permissions = version["spec"]["install"]["spec"]
    accounts = {
        entry["serviceAccountName"]
        for kind in ("permissions", "clusterPermissions")
        for entry in permissions[kind]
    }
    assert accounts == {"quay-operator"}
    leases = [r for entry in permissions["permissions"] for r in entry["rules"]]
    assert {resource for r in leases for resource in r["resources"]} == {"leases"}
    everywhere = {
        (group, resource)
        for entry in permissions["clusterPermissions"]
        for r in entry["rules"]
        for group in r["apiGroups"]
        for resource in r["resources"]
    }
    assert ("route.openshift.io", "routes/custom-host") in everywhere
    assert ("", "namespaces") in everywhere
