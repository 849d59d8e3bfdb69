"""Write deploy/bundle, the form in which the Operator Lifecycle Manager installs the operator.

    .venv/bin/python tools/olm_bundle.py

Everything comes from the overlays and the samples: the bundle says nothing of its own but how to
present the operator. A test compares the committed files with what this writes.

Source: OLM "ClusterServiceVersion" and "Operator Bundle" (registry+v1).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from hatoba import __version__
from hatoba.cli.manifests import OPERATOR, Wanted, deployment_directory, operator_documents

PACKAGE: Final = "hatoba-operator"
CHANNEL: Final = "stable-3.6"
CSV: Final = f"{PACKAGE}.clusterserviceversion.yaml"
MODES: Final = {
    "OwnNamespace": True,
    "SingleNamespace": True,
    # WATCH_NAMESPACE names one namespace or none.
    "MultiNamespace": False,
    "AllNamespaces": True,
}
_TOGGLES: Final = (
    ("components", "Components", "Capabilities of the registry, and whose job each is."),
    ("configBundleSecret", "Config Bundle Secret", "Secret with the registry's config.yaml."),
    ("components[0].kind", "Component", "Which capability it is."),
    ("components[0].managed", "Managed", "Whether the operator runs it."),
    ("components[0].overrides", "Overrides", "What shall be otherwise than usual."),
    ("components[0].overrides.replicas", "Replicas", "How many pods there are."),
    ("components[0].overrides.volumeSize", "Volume Size", "Grows where its class allows it."),
    ("components[0].overrides.resources", "Resources", "What containers get at least and at most."),
)
_FACTS: Final = (
    ("currentVersion", "Current Version", "The version whose schema the database has."),
    ("registryEndpoint", "Registry Endpoint", "Where the registry is served."),
    ("configEditorEndpoint", "Config Editor Endpoint", "Where the config editor is served."),
    (
        "configEditorCredentialsSecret",
        "Config Editor Credentials Secret",
        "Secret with the config editor's user name and password.",
    ),
    ("conditions", "Conditions", "Observations about the registry."),
)
_CONDITIONS: Final = ("conditions", "Conditions", "How it goes.")
_VAULT: Final = ("vault", "Vault", "Where backups lie, and the Secret that seals them.")


@dataclass(slots=True, frozen=True, kw_only=True)
class _Shown:
    """How a console presents a kind."""

    name: str
    description: str
    resources: tuple[tuple[str, str], ...]
    spec: tuple[tuple[str, str, str], ...]
    status: tuple[tuple[str, str, str], ...]


_SHOWN: Final = {
    "QuayRegistry": _Shown(
        name="Quay Registry",
        description="A container registry.",
        resources=(
            ("Deployment", "v1"),
            ("Job", "v1"),
            ("Secret", "v1"),
            ("Service", "v1"),
            ("PersistentVolumeClaim", "v1"),
            ("HorizontalPodAutoscaler", "v2"),
            ("Route", "v1"),
        ),
        spec=_TOGGLES,
        status=_FACTS,
    ),
    "QuayRegistryBackup": _Shown(
        name="Quay Registry Backup",
        description="Backups of a container registry, once or on a schedule.",
        resources=(("Job", "v1"),),
        spec=(
            ("registryName", "Registry", "The QuayRegistry in the same namespace."),
            _VAULT,
            ("schedule", "Schedule", "When, as five fields of cron in UTC; once when empty."),
            ("keep", "Keep", "How many backups stay."),
        ),
        status=(
            ("lastBackup", "Last Backup", "The newest backup that succeeded."),
            ("nextScheduledTime", "Next", "When the next backup is due."),
            _CONDITIONS,
        ),
    ),
    "QuayRegistryRestore": _Shown(
        name="Quay Registry Restore",
        description="The restoration of a container registry into an empty namespace.",
        resources=(("Job", "v1"), ("Secret", "v1"), ("QuayRegistry", "v1")),
        spec=(
            ("registryName", "Registry", "The QuayRegistry that is made."),
            _VAULT,
            ("backup", "Backup", "Which backup; the newest when empty."),
        ),
        status=(("backup", "Backup", "The backup that is restored."), _CONDITIONS),
    ),
}
_WIDGETS: Final = {
    "components[0].managed": ["urn:alm:descriptor:com.tectonic.ui:booleanSwitch"],
    "components[0].overrides": ["urn:alm:descriptor:com.tectonic.ui:advanced"],
    "components[0].overrides.replicas": ["urn:alm:descriptor:com.tectonic.ui:podCount"],
    "components[0].overrides.resources": [
        "urn:alm:descriptor:com.tectonic.ui:resourceRequirements"
    ],
    "configBundleSecret": ["urn:alm:descriptor:io.kubernetes:Secret"],
    "registryEndpoint": ["urn:alm:descriptor:org.w3:link"],
    "configEditorEndpoint": ["urn:alm:descriptor:org.w3:link"],
    "configEditorCredentialsSecret": ["urn:alm:descriptor:io.kubernetes:Secret"],
    "conditions": ["urn:alm:descriptor:io.kubernetes.conditions"],
}
_DESCRIPTION: Final = """\
Hatoba runs container registries that are compatible with Quay 3.6: one `QuayRegistry` resource
becomes a registry with its database, scanner, mirror workers, config editor and monitoring.

The smallest registry is a `QuayRegistry` without a spec. What the cluster cannot do is left out,
and each condition says what is missing and what to do about it.
"""


def bundle() -> dict[str, str]:
    """Return the files of the bundle by their path within it."""
    documents = operator_documents(Wanted(overlay="openshift"))
    definitions = [one for one in documents if one["kind"] == "CustomResourceDefinition"]
    files = {
        f"manifests/{CSV}": _yaml(_service_version(documents, definitions)),
        **{
            f"manifests/{one['spec']['names']['plural']}.crd.yaml": _yaml(one)
            for one in definitions
        },
        "metadata/annotations.yaml": _yaml({"annotations": _labels()}),
    }
    for document in documents:
        if document["kind"] in ("Service", "ServiceMonitor"):
            metadata = dict(document["metadata"])
            # OLM puts what a bundle holds where the operator is installed.
            metadata.pop("namespace")
            name = f"{metadata['name']}.{document['kind'].lower()}.yaml"
            files[f"manifests/{name}"] = _yaml({**document, "metadata": metadata})
    return files


def _labels() -> dict[str, str]:
    prefix = "operators.operatorframework.io.bundle."
    return {
        f"{prefix}mediatype.v1": "registry+v1",
        f"{prefix}manifests.v1": "manifests/",
        f"{prefix}metadata.v1": "metadata/",
        f"{prefix}package.v1": PACKAGE,
        f"{prefix}channels.v1": CHANNEL,
        f"{prefix}channel.default.v1": CHANNEL,
    }


def _service_version(documents: list[Any], definitions: list[Any]) -> dict[str, Any]:
    deployment = _one(documents, "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["env"].append(
        {
            "name": "WATCH_NAMESPACE",
            "valueFrom": {
                "fieldRef": {"fieldPath": "metadata.annotations['olm.targetNamespaces']"}
            },
        }
    )
    images = _images(container)
    return {
        "apiVersion": "operators.coreos.com/v1alpha1",
        "kind": "ClusterServiceVersion",
        "metadata": {
            "name": f"{PACKAGE}.v{__version__}",
            "namespace": "placeholder",
            "annotations": {
                "alm-examples": json.dumps(_examples(), indent=2),
                "capabilities": "Seamless Upgrades",
                "categories": "Integration & Delivery",
                "containerImage": images[OPERATOR],
                "description": "Runs container registries compatible with Quay.",
                "operatorframework.io/suggested-namespace": "hatoba-system",
                "support": "Hatoba",
            },
        },
        "spec": {
            "displayName": "Hatoba",
            "description": _DESCRIPTION,
            "version": __version__,
            "maturity": "alpha",
            "minKubeVersion": "1.25.0",
            "keywords": ["registry", "containers", "quay", "security"],
            "provider": {"name": "Hatoba"},
            "installModes": [
                {"type": mode, "supported": supported} for mode, supported in MODES.items()
            ],
            "customresourcedefinitions": {"owned": [_owned(one) for one in definitions]},
            "install": {
                "strategy": "deployment",
                "spec": {
                    "deployments": [
                        {
                            "name": OPERATOR,
                            "label": deployment["metadata"]["labels"],
                            "spec": deployment["spec"],
                        }
                    ],
                    "clusterPermissions": [_permissions(_cluster_rules(documents))],
                    "permissions": [_permissions(_election_rules(documents))],
                },
            },
            "relatedImages": [{"name": name, "image": image} for name, image in images.items()],
        },
    }


def _images(container: Any) -> dict[str, str]:
    """Return every image that may run, by what it is for."""
    prefix = "RELATED_IMAGE_COMPONENT_"
    return {OPERATOR: container["image"]} | {
        entry["name"].removeprefix(prefix).lower(): entry["value"]
        for entry in container["env"]
        if entry["name"].startswith(prefix)
    }


def _owned(definition: Any) -> dict[str, Any]:
    spec = definition["spec"]
    shown = _SHOWN[spec["names"]["kind"]]
    return {
        "name": definition["metadata"]["name"],
        "kind": spec["names"]["kind"],
        "version": spec["versions"][0]["name"],
        "displayName": shown.name,
        "description": shown.description,
        "resources": [
            {"kind": kind, "name": "", "version": version} for kind, version in shown.resources
        ],
        "specDescriptors": [_descriptor(*row) for row in shown.spec],
        "statusDescriptors": [_descriptor(*row) for row in shown.status],
    }


def _descriptor(path: str, name: str, description: str) -> dict[str, Any]:
    found = {"path": path, "displayName": name, "description": description}
    return found | ({"x-descriptors": _WIDGETS[path]} if path in _WIDGETS else {})


def _permissions(rules: list[Any]) -> dict[str, Any]:
    return {"serviceAccountName": OPERATOR, "rules": rules}


def _cluster_rules(documents: Iterable[Any]) -> list[Any]:
    """Return the rules for all namespaces; a bundle cannot bind a role in a foreign one."""
    return [
        rule
        for document in documents
        if document["kind"] == "ClusterRole"
        or (document["kind"] == "Role" and document["metadata"]["name"].endswith("-dashboards"))
        for rule in document["rules"]
    ]


def _election_rules(documents: Iterable[Any]) -> list[Any]:
    return [
        rule
        for document in documents
        if document["kind"] == "Role" and document["metadata"]["name"].endswith("-election")
        for rule in document["rules"]
    ]


def _examples() -> list[Any]:
    """Return the registries of the samples; the largest comes first in consoles' forms."""
    found = []
    for path in sorted((deployment_directory() / "samples").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document["kind"] == "QuayRegistry" and path.stem != "walkthrough":
                metadata = {"name": document["metadata"]["name"]}
                found.append({**document, "metadata": metadata})
    return found


def _one(documents: Iterable[Any], kind: str) -> Any:
    (found,) = (document for document in documents if document["kind"] == kind)
    return found


class _Plain(yaml.SafeDumper):
    """Writes what occurs twice twice, and long texts as blocks: people read these files."""

    def ignore_aliases(self, data: object) -> bool:
        """Never refer to another place."""
        del data
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Plain.add_representer(str, _text)


def _yaml(document: Any) -> str:
    text = yaml.dump(document, Dumper=_Plain, sort_keys=False, width=110)
    return "# Generated by tools/olm_bundle.py; do not edit.\n" + text


def main() -> None:
    """Write the files."""
    root = Path(__file__).parents[1] / "deploy" / "bundle"
    for name, text in bundle().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(path)


if __name__ == "__main__":
    main()
