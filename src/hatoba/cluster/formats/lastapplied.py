"""From client-side to server-side apply: kubectl's own annotation.

Spec: Kubernetes "Server-Side Apply", migrating from client-side apply. What `kubectl apply` wrote
down in the annotation, and what still is so, kubectl may take over without a conflict; and the
annotation follows what kubectl applies from then on. Other managers are not concerned.
"""

import json
from typing import Final

from hatoba.cluster.formats.fieldsets import EMPTY, PathSet
from hatoba.cluster.formats.schema import Schema
from hatoba.cluster.formats.typed import Untypable, compare, field_set
from hatoba.kernel.json import JsonObject

ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"
_MANAGER: Final = "kubectl"


def _annotation(obj: JsonObject) -> str | None:
    found: str | None = (obj.get("metadata", {}).get("annotations") or {}).get(ANNOTATION)
    return found


def given_up(live: JsonObject, schema: Schema, *, manager: str) -> PathSet:
    """Return the fields that the annotation says were applied by kubectl and still are so."""
    text = _annotation(live)
    if manager != _MANAGER or text is None:
        return EMPTY
    try:
        last = json.loads(text)
        claimed = field_set(last, schema) if isinstance(last, dict) else EMPTY
    except (ValueError, Untypable):
        return EMPTY
    change = compare(live, last, schema)
    return claimed - change.added - change.modified - change.removed


def keep_last_applied(merged: JsonObject, stated: JsonObject, *, manager: str) -> JsonObject:
    """Return the merged object with the annotation, if it has one, saying what was stated."""
    if manager != _MANAGER or _annotation(merged) is None:
        return merged
    metadata = dict(stated.get("metadata", {}))
    if metadata.get("annotations"):
        metadata["annotations"] = {
            key: value for key, value in metadata["annotations"].items() if key != ANNOTATION
        }
    text = json.dumps({**stated, "metadata": metadata}, separators=(",", ":"), sort_keys=True)
    annotations = {**merged["metadata"]["annotations"], ANNOTATION: f"{text}\n"}
    return {**merged, "metadata": {**merged["metadata"], "annotations": annotations}}
