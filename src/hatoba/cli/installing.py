"""Put the operator into a cluster, or take it out again.

The files are those of `deploy/`, applied on the server. Taking out is careful: an operator that is
gone leaves registries that nobody looks after, and a definition that is gone takes all of them,
with their data, along.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx2
from lightkube import ApiError, Client
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import PersistentVolumeClaim, Pod
from rich.console import Console

from hatoba.cli import applying
from hatoba.cli.applying import DeploymentFailed, QuayRegistry, Route, in_order, plain, title
from hatoba.cli.manifests import (
    OPERATOR,
    WATCH_VARIABLE,
    Wanted,
    operator_documents,
    overlays,
)
from hatoba.kernel.errors import Conflict
from hatoba.kernel.json import JsonObject

_SHARED: Final = ("CustomResourceDefinition", "ClusterRole")
"""What several operators of one cluster have in common."""


class RegistriesExist(Conflict):
    """The operator still has registries to look after."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Removal:
    """How to take the operator out."""

    namespace: str = ""
    """Where it runs; "" is the default of installations."""
    force: bool = False
    """Leave registries behind that nobody looks after."""
    purge: bool = False
    """Delete registries and their data first, and the definition and namespace last."""
    dry_run: bool = False


def suitable_overlay(client: Client) -> str:
    """Return the overlay for a cluster: `openshift` where Routes are known."""
    try:
        list(client.list(Route, namespace="default", chunk_size=1))
    except httpx2.HTTPStatusError as error:
        # A group that is not there at all is a plain page, no Status.
        if error.response.status_code == 404:
            return "kubernetes"
        raise
    return "openshift"


def install(
    client: Client,
    wanted: Wanted,
    console: Console,
    *,
    dry_run: bool = False,
    timeout_seconds: float,
) -> bool:
    """Apply the operator's files and wait until it is available; tell whether anything changed.

    Raises:
        DeploymentFailed: the cluster refuses an object, or the operator does not come up.
    """
    changes = 0
    for document in in_order(operator_documents(wanted)):
        change = applying.apply(client, document, dry_run=dry_run)
        changes += change != "unchanged"
        _say(console, f"{change:<10} {title(document)}")
    if not dry_run:
        wait_available(client, wanted.operator_namespace, timeout_seconds=timeout_seconds)
    return changes > 0


def wait_available(client: Client, namespace: str, *, timeout_seconds: float) -> None:
    """Wait until the operator's Deployment is rolled out and available.

    Raises:
        DeploymentFailed: with what its pods say.
    """
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        found = plain(client.get(Deployment, OPERATOR, namespace=namespace))
        if _is_available(found):
            return
        time.sleep(applying.POLL_SECONDS)
    raise DeploymentFailed(
        f"Deployment {namespace}/{OPERATOR} is not available after {timeout_seconds:.0f} s: "
        f"kubectl describe pods -n {namespace} -l name={OPERATOR}"
    )


def _is_available(deployment: JsonObject) -> bool:
    status, wanted = deployment.get("status") or {}, deployment["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
    )


def uninstall(
    client: Client, removal: Removal, console: Console, *, timeout_seconds: float
) -> bool:
    """Take the operator out; tell whether anything was there.

    Raises:
        RegistriesExist: there are registries, and neither `force` nor `purge` says what of them.
        DeploymentFailed: registries or objects do not go away.
    """
    namespace = Wanted(overlay="", namespace=removal.namespace).operator_namespace
    watched = _watched(client, namespace)
    registries = [] if (found := _registries(client, watched)) is None else found
    if registries and not (removal.force or removal.purge):
        raise RegistriesExist(
            f"the operator looks after {', '.join(registries)}: --force leaves them running "
            "without it, --purge deletes them with their data"
        )
    if removal.purge and registries:
        _purge(client, registries, removal, console, timeout_seconds=timeout_seconds)
    gone = 0
    for document in _removable(
        client, namespace, watched, removal, has_registries=bool(registries)
    ):
        if applying.delete(client, document, dry_run=removal.dry_run):
            gone += 1
            _say(console, f"{'deleted':<10} {title(document)}")
    if removal.purge:
        gone += _remove_namespace(client, namespace, removal, console)
    return gone > 0


def _watched(client: Client, namespace: str) -> str:
    """Return the only namespace that the installed operator looks after, "" for all."""
    try:
        deployment = plain(client.get(Deployment, OPERATOR, namespace=namespace))
    except ApiError as error:
        if error.status.code == 404:
            return ""
        raise
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    for entry in container.get("env") or ():
        if entry["name"] == WATCH_VARIABLE:
            return entry.get("value") or namespace
    return ""


def _registries(client: Client, namespace: str) -> list[str] | None:
    """Return the registries as `namespace/name`; None when the cluster does not know the kind."""
    try:
        found = [
            plain(one)["metadata"] for one in client.list(QuayRegistry, namespace=namespace or "*")
        ]
    except httpx2.HTTPStatusError as error:
        if error.response.status_code == 404:
            return None
        raise
    return [f"{one['namespace']}/{one['name']}" for one in found]


def _purge(
    client: Client,
    registries: Sequence[str],
    removal: Removal,
    console: Console,
    *,
    timeout_seconds: float,
) -> None:
    """Delete registries while the operator is there to clean up after them."""
    for registry in registries:
        namespace, _, name = registry.partition("/")
        document = {
            "apiVersion": "quay.redhat.com/v1",
            "kind": "QuayRegistry",
            "metadata": {"name": name, "namespace": namespace},
        }
        applying.delete(client, document, dry_run=removal.dry_run)
        _say(console, f"{'deleted':<10} {title(document)}")
    deadline = time.monotonic() + timeout_seconds
    while not removal.dry_run:
        left = set(_registries(client, "") or ()) & set(registries)
        if not left:
            return
        if time.monotonic() > deadline:
            raise DeploymentFailed(
                f"{', '.join(sorted(left))} did not go away within {timeout_seconds:.0f} s: their "
                f"finalizer is removed by the operator, see its log"
            )
        time.sleep(applying.POLL_SECONDS)


def _removable(
    client: Client, namespace: str, watched: str, removal: Removal, *, has_registries: bool
) -> Iterator[JsonObject]:
    """Yield what any overlay may have brought, the operator's own pods first.

    What is shared stays while another operator is there, the definition while a registry is.
    """
    others = _other_operators(client, namespace)
    stays = {"Namespace"} | ({*_SHARED} if others else set())
    if has_registries and not removal.purge:
        stays.add("CustomResourceDefinition")
    known: dict[str, JsonObject] = {}
    for overlay in overlays():
        wanted = Wanted(overlay=overlay, namespace=namespace)
        variants = (wanted, replace(wanted, watch_namespace=watched or namespace))
        for variant in variants:
            for document in operator_documents(variant):
                known[title(document)] = document
    ordered = sorted(known.values(), key=lambda one: (one["kind"] != "Deployment",))
    yield from (one for one in ordered if one["kind"] not in stays)


def _other_operators(client: Client, namespace: str) -> list[str]:
    found = client.list(Deployment, namespace="*", labels={"name": OPERATOR})
    return [
        one.metadata.namespace or ""
        for one in found
        if one.metadata and one.metadata.name == OPERATOR and one.metadata.namespace != namespace
    ]


def _remove_namespace(client: Client, namespace: str, removal: Removal, console: Console) -> bool:
    """Delete the operator's namespace, unless somebody else lives there."""
    document: JsonObject = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": namespace},
    }
    if applying.find(client, document) is None:
        return False
    if tenants := list(_tenants(client, namespace)):
        _say(console, f"{'kept':<10} {title(document)}: it holds {', '.join(tenants)}")
        return False
    deleted = applying.delete(client, document, dry_run=removal.dry_run)
    _say(console, f"{'deleted':<10} {title(document)}")
    return deleted


def _tenants(client: Client, namespace: str) -> Iterator[str]:
    """Yield what in a namespace is not the operator's."""
    kinds: tuple[Any, ...] = (Deployment, PersistentVolumeClaim, Pod)
    for kind in kinds:
        for one in client.list(kind, namespace=namespace):
            metadata = plain(one)["metadata"]
            if (metadata.get("labels") or {}).get("name") != OPERATOR:
                yield f"{kind.__name__} {metadata['name']}"


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
