"""What the command line applies is what `kubectl kustomize` prints."""

import subprocess

import pytest
import yaml
from tests.kubectls import kubectl

from hatoba.cli.kustomization import FILE, KustomizationInvalid, render
from hatoba.cli.manifests import (
    OverlayUnknown,
    Wanted,
    deployment_directory,
    operator_documents,
)

OVERLAYS = (
    "kubernetes",
    "kubernetes-own-namespace",
    "openshift",
    "openshift-own-namespace",
)
PATCHED = """kind: Kustomization
resources: [one.yaml]
patches:
- target: {{kind: A, name: a}}
  patch: '[{}]'
"""


def by_name(documents):
    found = {}
    for document in documents:
        metadata = document["metadata"]
        key = (document["kind"], metadata.get("namespace"), metadata["name"])
        assert key not in found
        found[key] = document
    return found


def kustomized(directory):
    done = subprocess.run(
        [kubectl(), "kustomize", directory], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def test_these_are_all_overlays():
    found = (deployment_directory() / "overlays").iterdir()
    assert sorted(path.name for path in found) == list(OVERLAYS)


@pytest.mark.kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_rendered_as_kubectl_does(overlay):
    directory = deployment_directory() / "overlays" / overlay
    assert by_name(render(directory)) == by_name(kustomized(directory))


@pytest.mark.kubectl
@pytest.mark.parametrize(
    "reference", ["registry.example:5000/hatoba:2", "other", "h@sha256:" + "0" * 64]
)
def test_namespace_and_image_are_set_as_kubectl_does(tmp_path, reference):
    name, _, tag = reference.rpartition(":") if reference.count(":") > 1 else (reference, "", "")
    entry = {"name": "hatoba", "newName": name} | ({"newTag": tag} if tag else {})
    if "@" in reference:
        name, _, digest = reference.partition("@")
        entry = {"name": "hatoba", "newName": name, "digest": digest}
    content = {
        "kind": "Kustomization",
        "namespace": "elsewhere",
        "resources": ["base"],
        "images": [entry],
    }
    # kustomize takes relative paths only.
    (tmp_path / "base").symlink_to(deployment_directory() / "base")
    (tmp_path / "crd").symlink_to(deployment_directory() / "crd")
    (tmp_path / FILE).write_text(yaml.safe_dump(content))
    assert by_name(render(tmp_path)) == by_name(kustomized(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("kind: Kustomization\nnamePrefix: x-\n", "not offered here: namePrefix"),
        ("kind: Deployment\n", "not a Kustomization"),
        ("kind: [\n", "while parsing"),
        ("kind: Kustomization\nresources: [nowhere.yaml]\n", "nowhere.yaml"),
        ("kind: Kustomization\npatches: [{path: x.yaml}]\n", "a patch needs a target"),
        (
            PATCHED.format("{op: replace, path: /spec/x, value: 1}"),
            "/spec/x is not there",
        ),
        (
            PATCHED.format("{op: remove, path: /kind}"),
            "cannot remove at /kind",
        ),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path, content, message):
    (tmp_path / FILE).write_text(content)
    (tmp_path / "one.yaml").write_text("kind: A\nmetadata: {name: a}\n")
    with pytest.raises(KustomizationInvalid, match=message):
        render(tmp_path)


def find(documents, kind, name):
    return next(d for d in documents if (d["kind"], d["metadata"]["name"]) == (kind, name))


def test_an_operator_for_another_namespace_has_its_rights_there_only():
    wanted = Wanted(overlay="openshift", namespace="op", watch_namespace="team")
    documents = operator_documents(wanted)
    binding = find(documents, "RoleBinding", "quay-operator")
    assert binding["metadata"]["namespace"] == "team"
    assert binding["subjects"][0]["namespace"] == "op"
    assert find(documents, "RoleBinding", "quay-operator-election")["metadata"]["namespace"] == "op"
    bindings = [d["metadata"]["name"] for d in documents if d["kind"] == "ClusterRoleBinding"]
    assert bindings == ["quay-operator-landscape"]
    container = find(documents, "Deployment", "quay-operator")["spec"]["template"]["spec"]
    variables = {entry["name"]: entry for entry in container["containers"][0]["env"]}
    assert variables["WATCH_NAMESPACE"] == {"name": "WATCH_NAMESPACE", "value": "team"}


def test_in_another_namespace_only_the_dashboards_stay_where_they_are():
    documents = operator_documents(Wanted(overlay="openshift", namespace="op"))
    places = {d["metadata"].get("namespace") for d in documents}
    assert places == {None, "op", "openshift-config-managed"}
    for document in documents:
        for subject in document.get("subjects", []):
            assert subject["namespace"] == "op"


def test_another_image_is_run_by_the_operator_and_by_what_it_runs():
    documents = operator_documents(Wanted(overlay="kubernetes", image="registry.example:5000/h:2"))
    text = yaml.safe_dump(documents)
    assert "hatoba:0.1.0" not in text
    assert text.count("registry.example:5000/h:2") == 3


def test_an_unknown_overlay_is_named_with_those_there_are():
    with pytest.raises(OverlayUnknown, match="no overlay eks, but kubernetes, openshift"):
        operator_documents(Wanted(overlay="eks"))
