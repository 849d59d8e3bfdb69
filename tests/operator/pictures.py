"""A cluster's state without what differs from one life to the next: random names, keys and times."""

import base64
import json
import re

import yaml
from tests.operator.builders import NAME, NAMESPACE
from tests.operator.conftest import REGISTRIES, WATCHED

from hatoba.cluster.objects import NAMESPACES
from hatoba.kernel.errors import NotFound

LABEL = "quay-operator/quayregistry"
GENERATED = "hatoba.dev/generated-from"
APPLIED = "hatoba.dev/applied"
BESIDES = {"Pod"}
_CHANGING = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<uid>"),
    # Jobs keep the names of Secrets that are gone since.
    (re.compile(rf"({NAME}-[a-z-]+-(?:secret|credentials|tls))-[a-z0-9]{{10}}\b"), r"\1-<digest>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( \+0000 UTC|Z|\+00:00)"), "<time>"),
)


async def picture(world):
    """Return (kind, namespace and name, content) of everything that the operator may have made."""
    found = []
    for kind, resource in {**WATCHED, "QuayRegistry": REGISTRIES}.items():
        if kind in BESIDES:
            continue
        found += [
            {**obj, "kind": kind}
            for obj in (await world.objects.list(resource, NAMESPACE)).items
            # What a cluster puts into each namespace is its own.
            if obj["metadata"]["name"] not in ("default", "kube-root-ca.crt")
        ]
    elsewhere = await world.objects.list(
        WATCHED["ConfigMap"], "openshift-config-managed", labels=LABEL
    )
    found += [{**obj, "kind": "ConfigMap"} for obj in elsewhere.items]
    namespace = await world.objects.get(NAMESPACES, NAMESPACE, None)
    labels = {k: v for k, v in namespace["metadata"]["labels"].items() if "kubernetes.io" not in k}
    aliases = dict(_alias(obj) for obj in found if obj["kind"] == "Secret")
    told = [_told(obj, aliases) for obj in found]
    return sorted([*told, ("Namespace", NAMESPACE, json.dumps(labels, sort_keys=True))])


async def kept_keys(world):
    """Return the registry's keys, None while there are none."""
    name = f"{NAME}-quay-registry-managed-secret-keys"
    try:
        return (await world.objects.get(WATCHED["Secret"], name, NAMESPACE))["data"]
    except NotFound:
        return None


def _alias(secret):
    metadata = secret["metadata"]
    name = metadata["name"]
    origin = (metadata.get("annotations") or {}).get(GENERATED)
    if origin:
        return name, f"{origin}-<digest>"
    prefix = f"{NAME}-config-bundle-"
    return name, f"{prefix}<random>" if name.startswith(prefix) else name


def _told(obj, aliases):
    metadata = {
        key: value
        for key, value in obj["metadata"].items()
        if key not in ("uid", "resourceVersion", "creationTimestamp", "generation")
    }
    metadata["annotations"] = {
        key: value for key, value in (metadata.get("annotations") or {}).items() if key != APPLIED
    }
    metadata["managedFields"] = sorted(
        json.dumps({k: v for k, v in entry.items() if k != "time"}, sort_keys=True)
        for entry in metadata.get("managedFields") or []
    )
    shown = {**obj, "metadata": metadata}
    if obj["kind"] == "Service":
        shown["spec"] = {k: v for k, v in obj["spec"].items() if not k.startswith("clusterIP")}
    if obj["kind"] == "Secret":
        shown["data"] = _shape(obj.get("data") or {})
    if "status" in shown:
        shown["status"] = {k: v for k, v in shown["status"].items() if k != "observedGeneration"}
    text = json.dumps(shown, sort_keys=True)
    for name, alias in aliases.items():
        text = text.replace(name, alias)
    for pattern, word in _CHANGING:
        text = pattern.sub(word, text)
    name = aliases.get(obj["metadata"]["name"], obj["metadata"]["name"])
    return obj["kind"], f"{obj['metadata'].get('namespace')}/{name}", text


def _shape(data):
    """Return which keys there are: the values are random, or made from random ones."""
    shape = dict.fromkeys(data, "")
    if "config.yaml" in data:
        config = yaml.safe_load(base64.b64decode(data["config.yaml"]))
        shape["config.yaml"] = sorted(config)
    return shape


def differences(wanted, found):
    """Return the lines that only one of two pictures has, for people."""
    before, after = ({entry[:2]: entry[2] for entry in one} for one in (wanted, found))
    lines = [
        f"only {side}: {kind} {name}"
        for side, one, other in (("wanted", before, after), ("found", after, before))
        for kind, name in one.keys() - other.keys()
    ]
    for key in sorted(before.keys() & after.keys()):
        if before[key] != after[key]:
            pairs = zip(before[key], after[key], strict=False)
            start = next((n for n, (a, b) in enumerate(pairs) if a != b), 0)
            shown = slice(max(0, start - 200), start + 300)
            lines.append(f"{key}:\n  wanted {before[key][shown]}\n  found  {after[key][shown]}")
    return "\n".join(lines)
