"""Objects that were there before a scenario was recorded, found in its answers."""

from tests.recorded.kubernetes.normal import is_surrounding
from tests.recorded.kubernetes.recording import NOT_SERVED

PLURALS = {
    "ConfigMap": "configmaps",
    "Secret": "secrets",
    "Service": "services",
    "Deployment": "deployments",
    "Job": "jobs",
    "Pod": "pods",
    "QuayRegistry": "quayregistries",
    "ServiceAccount": "serviceaccounts",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Ingress": "ingresses",
    "Lease": "leases",
}


def unknown_objects(exchanges, spaces):
    """Return the (plural, namespace, name) of objects that are only seen in tables.

    They were made before the recording began, and nothing tells what they were.
    """
    known = {_birth(exchange) for exchange in exchanges}
    known |= {
        (path.split("/")[-1], obj["metadata"]["namespace"], obj["metadata"]["name"])
        for path, obj in seeds(exchanges, spaces)
    }
    return {at for exchange in exchanges for at in mentioned(exchange)} - known


def mentioned(exchange):
    """Return the (plural, namespace, name) of what an answer is about."""
    answer = exchange.answer
    if not isinstance(answer, dict) or exchange.status >= 300:
        return set()
    _, plural, _, _ = exchange.place
    rows = [row.get("object") or {} for row in answer.get("rows") or ()]
    found = set()
    for item in [answer, *rows, *(answer.get("items") or ())]:
        metadata = item.get("metadata") or {}
        if isinstance(metadata.get("name"), str) and not is_surrounding(item):
            found.add((plural, metadata.get("namespace", ""), metadata["name"]))
    return found


def seeds(exchanges, spaces):
    """Yield (path of the collection, object) in the order in which they were made."""
    made, born, found = {_birth(exchange) for exchange in exchanges}, set(), {}
    for exchange in exchanges:
        # A watch tells of what is made while it runs, so its order says nothing.
        known = made if exchange.is_stream else born
        born.add(_birth(exchange))
        for kind, version, obj in _objects(exchange):
            metadata = obj["metadata"]
            at = (PLURALS.get(kind), metadata.get("namespace", ""), metadata["name"])
            ours = at[0] and at[0] not in NOT_SERVED and at[1] in spaces
            is_account = kind == "ServiceAccount" and at[2] == "default"
            is_new = at not in known and at not in found
            if ours and is_new and not is_account and not is_surrounding(obj):
                found[at] = (kind, version, obj)
    ordered = sorted(found.items(), key=lambda item: int(item[1][2]["metadata"]["resourceVersion"]))
    for (plural, namespace, _), (kind, version, obj) in ordered:
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        yield (
            f"{root}/namespaces/{namespace}/{plural}",
            {**obj, "kind": kind, "apiVersion": version},
        )


def _birth(exchange):
    namespace, plural, name, _ = exchange.place
    if exchange.method in {"POST", "PATCH", "PUT"} and exchange.status == 201:
        return (plural, namespace, name or _name_in(exchange))
    return None


def _name_in(exchange):
    answer = exchange.answer if isinstance(exchange.answer, dict) else {}
    return (answer.get("metadata") or {}).get("name")


def _objects(exchange):
    answer = exchange.answer
    if exchange.status >= 300 or "dryRun" in exchange.query:
        return
    if isinstance(answer, list):
        for entry in answer:
            event = entry.get("event") if isinstance(entry, dict) else None
            if isinstance(event, dict) and event.get("type") == "ADDED":
                yield from _in_document(event["object"])
    elif isinstance(answer, dict):
        yield from _in_document(answer)


def _in_document(document):
    kind, version = document.get("kind", ""), document.get("apiVersion", "")
    if kind.endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            if "resourceVersion" in (item.get("metadata") or {}):
                yield kind.removesuffix("List"), version, item
    elif kind not in {"Table", "Scale", "PartialObjectMetadata", "Status"}:
        metadata = document.get("metadata") or {}
        if metadata.get("resourceVersion") and "name" in metadata:
            yield kind, version, document


SERVER_OWNED = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")


def bare(obj):
    """Return the object as its creator sent it, as far as that can be known."""
    metadata = {k: v for k, v in obj["metadata"].items() if k not in SERVER_OWNED}
    return {**obj, "metadata": metadata}
