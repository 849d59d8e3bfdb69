"""What differs between any two runs is made the same before answers are compared."""

import re

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
AGE = re.compile(r"(\d+[smhdy]){1,2}( ago)?")
ADDRESS = re.compile(r"\b(10\.0\.0|10\.244\.0|127\.\d+\.\d+|10\.89\.0)\.\d+\b")
VERSION_IN_TEXT = re.compile(r'(\\?"resourceVersion\\?"): ?\\?"\d+\\?"')
VERSIONS = re.compile(r"(version:? ?|resourceVersion |current: |in record \(|<version> \()\d+")
SUFFIX = re.compile(r"\b(kube-api-access-|Bad-|bad-)[a-z0-9]{5}\b")
NODE_PORT = re.compile(r":3\d{4}/")
POINTER = re.compile(r"\(0x[0-9a-f]+\)")
SURROUNDINGS = frozenset({"kube-root-ca.crt", "openshift-service-ca.crt", "kubernetes"})
OPENSHIFT = frozenset({"openshift-service-ca.crt"})
VOLATILE = frozenset(
    {
        "uid",
        "resourceVersion",
        "time",
        "token",
        "expirationTimestamp",
        "continue",
        "lastTransitionTime",
        "lastUpdateTime",
        "firstTimestamp",
        "lastTimestamp",
        "nodePort",
        "clusterIP",
        "hostIP",
        "podIP",
    }
)
DROPPED = frozenset({"remainingItemCount"})
RUN_BY_CONTROLLERS = frozenset(
    {
        "Deployment",
        "ReplicaSet",
        "Job",
        "Pod",
        "HorizontalPodAutoscaler",
        "PersistentVolumeClaim",
        "PersistentVolume",
    }
)
REVISION = "deployment.kubernetes.io/revision"


def is_surrounding(obj):
    """Whether an object is made by controllers or belongs to every namespace."""
    metadata = (obj or {}).get("metadata") or {}
    if metadata.get("name") in SURROUNDINGS:
        return True
    return any(owner.get("controller") for owner in metadata.get("ownerReferences") or ())


def within(answer, path, spaces):
    """Return an answer without what other scenarios had in the cluster at the same time."""
    if not isinstance(answer, dict):
        return answer
    is_namespaces = path.rstrip("/").endswith("/namespaces")
    if "/namespaces/" in path and not is_namespaces:
        return answer

    def belongs(item):
        metadata = _row_object(item).get("metadata") or {}
        name = metadata.get("name") if is_namespaces else metadata.get("namespace")
        return name is None or name in spaces

    return {
        key: [item for item in part if belongs(item)]
        if key in {"items", "rows"} and isinstance(part, list)
        else part
        for key, part in answer.items()
    }


def normal(value, *, full_ownership):
    if isinstance(value, dict):
        return _object(value, full_ownership=full_ownership)
    if isinstance(value, list):
        return [normal(part, full_ownership=full_ownership) for part in value]
    return _text(value) if isinstance(value, str) else value


def _text(text):
    text = ADDRESS.sub("<address>", TIME.sub("<time>", UUID.sub("<uid>", text)))
    text = SUFFIX.sub(r"\1<suffix>", POINTER.sub("(<pointer>)", text))
    text = NODE_PORT.sub(":<nodePort>/", text)
    text = VERSIONS.sub(r"\1<version>", VERSION_IN_TEXT.sub(r"\1:<version>", text))
    return "<age>" if AGE.fullmatch(text) else text.strip("\n")


def _object(value, *, full_ownership):
    found = {
        key: _member(key, part, full_ownership=full_ownership)
        for key, part in value.items()
        if key not in DROPPED
    }
    for key in ("annotations", "managedFields"):
        if not found.get(key, True):
            del found[key]
    if value.get("generateName") and "name" in found:
        found["name"] = f"{value['generateName']}<suffix>"
    kind = str(value.get("kind"))
    if kind in RUN_BY_CONTROLLERS:
        found.pop("status", None)
    if kind.removesuffix("List") in RUN_BY_CONTROLLERS and isinstance(found.get("items"), list):
        for item in found["items"]:
            item.pop("status", None)
    if kind == "Pod" and isinstance(found.get("spec"), dict):
        found["spec"].pop("nodeName", None)
    if kind == "Scale" and isinstance(found.get("status"), dict):
        found["status"].pop("replicas", None)
    if kind == "Namespace" and isinstance(found.get("status"), dict):
        found["status"].pop("conditions", None)
    return found


def _member(key, part, *, full_ownership):
    if key in VOLATILE and part not in ("", None, "None", "0"):
        return f"<{key}>"
    if key == "managedFields":
        return _managed(part, full_ownership=full_ownership)
    if key == "annotations" and isinstance(part, dict):
        return {name: _text(str(text)) for name, text in part.items() if name != REVISION}
    if key == "sources" and isinstance(part, list):
        part = [one for one in part if one.get("configMap", {}).get("name") not in OPENSHIFT]
    if key in {"items", "rows"} and isinstance(part, list):
        kept = [item for item in part if not is_surrounding(_row_object(item))]
        return [normal(item, full_ownership=full_ownership) for item in kept]
    if key == "cells":
        return [_text(cell) if isinstance(cell, str) else cell for cell in part]
    return normal(part, full_ownership=full_ownership)


def _row_object(item):
    if not isinstance(item, dict):
        return {}
    return item["object"] if isinstance(item.get("object"), dict) else item


def _managed(entries, *, full_ownership):
    found = []
    for entry in entries or ():
        if entry.get("manager") in {"kube-controller-manager", "kube-scheduler", "kubelet"}:
            continue
        manager = "krec" if entry.get("manager") == "Python" else entry.get("manager")
        kept = [manager, entry.get("operation"), entry.get("subresource", "")]
        if full_ownership:
            fields = normal(entry.get("fieldsV1"), full_ownership=True)
            kept += [entry.get("apiVersion"), fields, "time" in entry]
        found.append(kept)
    return sorted(found, key=str)


def events(answer, *, full_ownership):
    """Return what a watch told: its events without plain bookmarks and surroundings."""
    found = []
    for entry in answer:
        event = entry.get("event") if isinstance(entry, dict) else None
        if not isinstance(event, dict) or "type" not in event:
            found.append(entry.get("line") if isinstance(entry, dict) else entry)
            continue
        obj = event.get("object") or {}
        if event["type"] == "BOOKMARK" and not (obj.get("metadata") or {}).get("annotations"):
            continue
        if is_surrounding(obj):
            continue
        if obj.get("kind") == "Table":
            rows = [row for row in obj.get("rows") or () if not is_surrounding(_row_object(row))]
            if not rows or rows[0]["cells"][0] in SURROUNDINGS:
                continue
            # Which row carries the columns depends on which object happens to be first.
            obj = {**obj, "rows": rows, "columnDefinitions": None}
        found.append({"type": event["type"], "object": normal(obj, full_ownership=full_ownership)})
    return found


def differences(ours, theirs, path=""):
    """Return the places where two normalised values differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = []
        for key in sorted({*ours, *theirs}, key=str):
            here = f"{path}.{key}"
            if key not in ours:
                found.append(f"{here}: missing, recorded {_short(theirs[key])}")
            elif key not in theirs:
                found.append(f"{here}: {_short(ours[key])}, recorded nothing")
            else:
                found += differences(ours[key], theirs[key], here)
        return found
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [
            difference
            for index, (own, their) in enumerate(zip(ours, theirs, strict=True))
            for difference in differences(own, their, f"{path}[{index}]")
        ]
    if isinstance(ours, list) and isinstance(theirs, list):
        return [
            f"{path}: {len(ours)} items, recorded {len(theirs)}: {_short(ours)} / {_short(theirs)}"
        ]
    if ours == theirs and isinstance(ours, bool) == isinstance(theirs, bool):
        return []
    return [f"{path}: {_short(ours)}, recorded {_short(theirs)}"]


def _short(value):
    text = str(value)
    return text if len(text) < 300 else f"{text[:150]}...{text[-150:]}"
