"""Which ReplicaSet belongs to the present template, and what their annotations remember."""

import copy
import json
from collections.abc import Iterable, Sequence
from typing import Final

from hatoba.cluster.controllers.deployment.budget import maximum_surge
from hatoba.cluster.controllers.values import (
    annotations_of,
    controller_reference,
    created_at,
    name_of,
    spec_of,
    without_empty,
)
from hatoba.kernel.ids import KUBERNETES_SUFFIX
from hatoba.kernel.json import JsonObject

HASH_LABEL: Final = "pod-template-hash"
REVISION: Final = "deployment.kubernetes.io/revision"
REVISION_HISTORY: Final = "deployment.kubernetes.io/revision-history"
DESIRED: Final = "deployment.kubernetes.io/desired-replicas"
MAXIMUM: Final = "deployment.kubernetes.io/max-replicas"
_NOT_COPIED: Final = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        REVISION_HISTORY,
        DESIRED,
        MAXIMUM,
        "deprecated.deployment.rollback.to",
    }
)
_HISTORY_LENGTH: Final = 2_000
_FNV_OFFSET: Final = 0x811C9DC5
_FNV_PRIME: Final = 0x01000193


def template_hash(template: JsonObject, *, collisions: int) -> str:
    """Return the label that tells the pods of two templates apart."""
    text = json.dumps(without_empty(template), sort_keys=True, separators=(",", ":"))
    value = _FNV_OFFSET
    for byte in f"{text}{collisions or ''}".encode():
        value = ((value ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return "".join(KUBERNETES_SUFFIX[ord(digit) % len(KUBERNETES_SUFFIX)] for digit in str(value))


def same_template(one: JsonObject, other: JsonObject) -> bool:
    """Whether two templates differ in nothing but the hash label."""
    return bool(_bare(one) == _bare(other))


def _bare(template: JsonObject) -> JsonObject:
    bare = without_empty(template)
    labels = dict(bare.get("metadata", {}).get("labels", {}))
    labels.pop(HASH_LABEL, None)
    metadata = {**bare.get("metadata", {}), "labels": labels}
    return {**bare, "metadata": metadata}


def split(
    deployment: JsonObject, sets: Iterable[JsonObject]
) -> tuple[JsonObject | None, list[JsonObject]]:
    """Return the ReplicaSet of the present template, if any, and the others, oldest first."""
    ordered = sorted(sets, key=lambda item: (created_at(item), name_of(item)))
    template = deployment["spec"]["template"]
    new = next(
        (item for item in ordered if same_template(item["spec"]["template"], template)), None
    )
    return new, [item for item in ordered if item is not new]


def revision_of(obj: JsonObject) -> int:
    """Return the revision an object was annotated with, 0 for none."""
    try:
        return int(annotations_of(obj).get(REVISION, "0"))
    except ValueError:
        return 0


def next_revision(old: Sequence[JsonObject]) -> str:
    """Return the revision of the newest template."""
    return str(max((revision_of(item) for item in old), default=0) + 1)


def annotated(
    item: JsonObject, deployment: JsonObject, *, revision: str, existing: bool
) -> dict[str, str]:
    """Return the annotations the newest ReplicaSet should have."""
    annotations = dict(annotations_of(item)) | {
        name: value for name, value in annotations_of(deployment).items() if name not in _NOT_COPIED
    }
    before = annotations.get(REVISION)
    if before is None or revision_of(item) < int(revision):
        annotations[REVISION] = revision
        if before is not None:
            annotations[REVISION_HISTORY] = _with_history(annotations, before)
    if not existing:
        annotations |= sizes(deployment)
    return annotations


def _with_history(annotations: dict[str, str], before: str) -> str:
    past = [entry for entry in annotations.get(REVISION_HISTORY, "").split(",") if entry]
    past.append(before)
    while len(",".join(past)) > _HISTORY_LENGTH:
        past.pop(0)
    return ",".join(past)


def sizes(deployment: JsonObject) -> dict[str, str]:
    """Return the annotations that remember for which size of the Deployment a set was scaled."""
    replicas = int(spec_of(deployment)["replicas"])
    return {DESIRED: str(replicas), MAXIMUM: str(replicas + maximum_surge(deployment))}


def new_set(deployment: JsonObject, *, revision: str, replicas: int) -> JsonObject:
    """Return the ReplicaSet for the present template."""
    spec = deployment["spec"]
    collisions = int((deployment.get("status") or {}).get("collisionCount") or 0)
    digest = template_hash(spec["template"], collisions=collisions)
    template = copy.deepcopy(spec["template"])
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), HASH_LABEL: digest}
    selector = copy.deepcopy(spec["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: digest}
    made: JsonObject = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{name_of(deployment)}-{digest}",
            "namespace": deployment["metadata"]["namespace"],
            "labels": dict(metadata["labels"]),
            "ownerReferences": [controller_reference(deployment)],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    }
    if spec.get("minReadySeconds"):
        made["spec"]["minReadySeconds"] = spec["minReadySeconds"]
    made["metadata"]["annotations"] = annotated(made, deployment, revision=revision, existing=False)
    return made
