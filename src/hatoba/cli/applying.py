"""Apply and delete documents through a kubeconfig, and say whether that changed anything.

For `hatoba up` and `hatoba operator install`. It does what `kubectl apply --server-side` and
`kubectl delete` would do, and knows nothing of what the documents mean.
"""

import contextlib
import importlib
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, TypeAlias

import httpx2
from lightkube import ApiError, Client
from lightkube.core.exceptions import ConfigError
from lightkube.generic_resource import (
    GenericGlobalResource,
    GenericNamespacedResource,
    create_namespaced_resource,
)
from lightkube.types import CascadeType

from hatoba.kernel.errors import Unavailable
from hatoba.kernel.json import JsonObject

POLL_SECONDS: Final = 0.5
_FIRST: Final = ("Namespace", "CustomResourceDefinition", "ServiceAccount", "Secret")
_ATTEMPTS: Final = 20
_PASSING: Final = frozenset({404, 409, 429, 500, 503})
_BOOKKEEPING: Final = frozenset({"managedFields", "resourceVersion"})
Resource: TypeAlias = GenericNamespacedResource | GenericGlobalResource
Change: TypeAlias = Literal["created", "changed", "unchanged"]

QuayRegistry: Final = create_namespaced_resource(
    "quay.redhat.com", "v1", "QuayRegistry", "quayregistries"
)
Route: Final = create_namespaced_resource("route.openshift.io", "v1", "Route", "routes")
_CUSTOM: Final = {
    "QuayRegistry": QuayRegistry,
    "ServiceMonitor": create_namespaced_resource(
        "monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"
    ),
}


class DeploymentFailed(Unavailable):
    """The operator or the registry did not come up; `details` holds what a person looks at next."""

    def __init__(self, message: str, *, details: str = "") -> None:
        self.details = details
        super().__init__(message)


@contextlib.contextmanager
def reaching() -> Iterator[None]:
    """Say in one sentence that a cluster cannot be reached, or refuses.

    Raises:
        DeploymentFailed: instead of the client library's own errors.
    """
    try:
        yield
    except ApiError as error:
        raise DeploymentFailed(f"the cluster refuses: {error.status.message}") from error
    except httpx2.HTTPStatusError as error:
        raise DeploymentFailed(f"the cluster refuses: {error}") from error
    except (httpx2.HTTPError, ConfigError, OSError) as error:
        raise DeploymentFailed(f"the cluster cannot be reached: {error}") from error


def in_order(documents: Sequence[JsonObject]) -> list[JsonObject]:
    """Return the documents, what others depend on first."""
    return sorted(documents, key=lambda document: document["kind"] not in _FIRST)


def title(document: JsonObject) -> str:
    """Return what people call an object: kind, namespace, name."""
    metadata = document["metadata"]
    name = "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))
    return f"{document['kind']} {name}"


def apply(client: Client, document: JsonObject, *, dry_run: bool = False) -> Change:
    """Apply one document.

    A kind whose definition was just applied may need a moment; in a dry run, what it needs is not
    there at all.

    Raises:
        DeploymentFailed: the cluster refuses it.
    """
    last: ApiError | None = None
    for _ in range(1 if dry_run else _ATTEMPTS):
        try:
            before = find(client, document)
            after = client.apply(resource(document), force=True, dry_run=dry_run)
        except ApiError as error:
            if error.status.code not in _PASSING:
                raise DeploymentFailed(
                    f"{title(document)} was refused: {error.status.message}"
                ) from error
            if dry_run and error.status.code == 404:
                return "created"
            last = error
            time.sleep(POLL_SECONDS)
        else:
            if before is None:
                return "created"
            return "unchanged" if substance(before) == substance(after) else "changed"
    raise DeploymentFailed(f"{title(document)} could not be applied: {last}") from last


def delete(client: Client, document: JsonObject, *, dry_run: bool = False) -> bool:
    """Delete the object that a document describes; tell whether it was there."""
    metadata = document["metadata"]
    kind: Any = type(resource(document))
    try:
        client.delete(
            kind,
            metadata["name"],
            namespace=metadata.get("namespace"),
            cascade=CascadeType.BACKGROUND,
            dry_run=dry_run,
        )
    except ApiError as error:
        if error.status.code == 404:
            return False
        raise DeploymentFailed(
            f"{title(document)} was not deleted: {error.status.message}"
        ) from error
    return True


def find(client: Client, document: JsonObject) -> Resource | None:
    """Return the object that a document describes, None when it is not there."""
    metadata = document["metadata"]
    kind: Any = type(resource(document))
    try:
        found: Resource = client.get(kind, metadata["name"], namespace=metadata.get("namespace"))
    except ApiError as error:
        if error.status.code == 404:
            return None
        raise
    return found


def substance(found: Resource) -> JsonObject:
    """Return what a person would call the object: not its status, nor who wrote what and when."""
    document = plain(found)
    metadata = {
        key: value for key, value in document["metadata"].items() if key not in _BOOKKEEPING
    }
    return {**document, "metadata": metadata, "status": None}


def plain(found: Any) -> JsonObject:
    """Return the object as a dictionary."""
    document: JsonObject = found.to_dict()
    return document


def resource(document: JsonObject) -> Resource:
    """Return the client library's object of a document.

    Raises:
        DeploymentFailed: the kind is none of Kubernetes' own, nor one of those known here.
    """
    kind: Any = _CUSTOM.get(document["kind"]) or _built_in(document)
    found: Resource = kind.from_dict(document)
    return found


def _built_in(document: JsonObject) -> type:
    """Find one of Kubernetes' own kinds without registering it.

    The library's registry is of the whole process, and the operator's code has classes of its own
    for the same kinds in it.
    """
    group, _, version = document["apiVersion"].rpartition("/")
    name = group.removesuffix(".k8s.io").replace(".", "_") or "core"
    try:
        module = importlib.import_module(f"lightkube.resources.{name}_{version.lower()}")
        found: type = getattr(module, document["kind"])
    except (ImportError, AttributeError) as error:
        raise DeploymentFailed(
            f"{title(document)}: {document['apiVersion']} is not known here, apply it with kubectl"
        ) from error
    return found
