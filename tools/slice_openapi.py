"""Cut the schemas of the served kinds out of a Kubernetes release and pack them for the wheel.

Run by hand when the release or the list of kinds changes; the result is committed. The source is
the PyPI package kubernetes-validate, downloaded into a temporary directory and never a dependency:
its definitions carry the list types, map keys and patch strategies that client packages drop.

    python tools/slice_openapi.py
"""

import gzip
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

PACKAGE = "kubernetes-validate==1.37.0"
MEMBER = "kubernetes_validate/kubernetes-json-schema/v1.32.0-local/_definitions.json"
TARGET = Path(__file__).resolve().parent.parent / "src/hatoba/cluster/formats/data/openapi.json.gz"
SOURCE_PREFIX = "#/$defs/"
TARGET_PREFIX = "#/components/schemas/"

KINDS = {
    "": (
        "Binding ConfigMap Endpoints Event Namespace Node PersistentVolume PersistentVolumeClaim "
        "Pod PodTemplate Secret Service ServiceAccount"
    ),
    "apiextensions.k8s.io": "CustomResourceDefinition",
    "apps": "Deployment ReplicaSet",
    "authentication.k8s.io": "SelfSubjectReview TokenRequest TokenReview",
    "authorization.k8s.io": ("SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview"),
    "autoscaling": "HorizontalPodAutoscaler Scale",
    "batch": "Job",
    "coordination.k8s.io": "Lease",
    "discovery.k8s.io": "EndpointSlice",
    "events.k8s.io": "Event",
    "networking.k8s.io": "Ingress IngressClass",
    "rbac.authorization.k8s.io": "ClusterRole ClusterRoleBinding Role RoleBinding",
    "scheduling.k8s.io": "PriorityClass",
    "storage.k8s.io": "StorageClass",
}
VERSIONS = {"v1", "v2"}
EXTRA = (
    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
)
KEYED_BY_PROTOCOL = ("io.k8s.api.core.v1.ServicePort", "io.k8s.api.core.v1.ContainerPort")
"""The source lost defaults; these two are part of list keys, so applying needs them."""
UNIONS = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "description": "IntOrString is a type that can hold an int32 or a string.",
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {
        "description": "Quantity is a fixed-point representation of a number.",
        "oneOf": [{"type": "string"}, {"type": "number"}],
    },
}


def download() -> dict[str, Any]:
    """Return all definitions of the release."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", directory, PACKAGE],
            check=True,
        )
        (wheel,) = Path(directory).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            found: dict[str, Any] = json.loads(archive.read(MEMBER))["$defs"]
    return found


def wanted(definition: dict[str, Any]) -> bool:
    """Whether the definition is a served kind or its list."""
    for entry in definition.get("x-kubernetes-group-version-kind", ()):
        kinds = KINDS.get(entry["group"], "").split()
        if entry["version"] in VERSIONS and entry["kind"].removesuffix("List") in kinds:
            return True
    return False


def references(value: Any) -> set[str]:
    """Return the names that a definition refers to."""
    if isinstance(value, dict):
        own = (
            {value["$ref"].removeprefix(SOURCE_PREFIX)}
            if isinstance(value.get("$ref"), str)
            else set()
        )
        return own.union(*(references(part) for part in value.values()))
    if isinstance(value, list):
        return set().union(*(references(part) for part in value))
    return set()


def closure(definitions: dict[str, Any]) -> set[str]:
    """Return the names of everything the served kinds need."""
    names: set[str] = set()
    front = {name for name, definition in definitions.items() if wanted(definition)} | set(EXTRA)
    while front:
        names |= front
        front = set().union(*(references(definitions[name]) for name in front)) - names
    return names


def normal(value: Any) -> Any:
    """Turn the JSON Schema dialect of the source into that of OpenAPI 3.0."""
    if isinstance(value, list):
        return [normal(part) for part in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("$ref"), str):
        reference = {"$ref": TARGET_PREFIX + value["$ref"].removeprefix(SOURCE_PREFIX)}
        rest = {key: normal(part) for key, part in value.items() if key != "$ref"}
        return {"allOf": [reference], **rest} if rest else reference
    result = {key: normal(part) for key, part in value.items()}
    if isinstance(value.get("type"), list):  # nullable, which OpenAPI of Kubernetes does not say
        (result["type"],) = (name for name in value["type"] if name != "null")
    return result


def main() -> None:
    """Write the slice."""
    definitions = download()
    sliced = {
        name: UNIONS.get(name) or normal(definitions[name]) for name in sorted(closure(definitions))
    }
    for definition in sliced.values():
        # The source pins type metadata to one kind; the server's own documents do not.
        for name in ("apiVersion", "kind"):
            definition.get("properties", {}).get(name, {}).pop("enum", None)
    for name in KEYED_BY_PROTOCOL:
        sliced[name]["properties"]["protocol"]["default"] = "TCP"
    text = json.dumps(sliced, separators=(",", ":"), ensure_ascii=False)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{len(sliced)} definitions, {len(text)} bytes, {TARGET.stat().st_size} packed")


if __name__ == "__main__":
    main()
