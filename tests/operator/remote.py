"""Any API server, found by a kubeconfig, with the verbs that tests use on the embedded one.

It knows Kubernetes only: versions come from discovery, items of lists get the kind that the list
names, and a write may be refused because somebody else was quicker.
"""

import base64
import json
import ssl

import aiohttp
from lightkube import KubeConfig

from hatoba.cluster.objects import (
    CONFIG_MAPS,
    DEFINITIONS,
    EVENTS,
    LEASES,
    NAMESPACES,
    SECRETS,
    SERVICE_ACCOUNTS,
    Listing,
    ResourceName,
)
from hatoba.kernel import errors

KINDS = {
    400: errors.InvalidInput,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.Unsupported,
    409: errors.Conflict,
    410: errors.Gone,
    422: errors.InvalidInput,
}
PLURALS = {
    "Namespace": NAMESPACES,
    "ServiceAccount": SERVICE_ACCOUNTS,
    "CustomResourceDefinition": DEFINITIONS,
    "Role": ResourceName("roles", "rbac.authorization.k8s.io"),
    "RoleBinding": ResourceName("rolebindings", "rbac.authorization.k8s.io"),
    "StorageClass": ResourceName("storageclasses", "storage.k8s.io"),
    "ClusterRole": ResourceName("clusterroles", "rbac.authorization.k8s.io"),
    "ClusterRoleBinding": ResourceName("clusterrolebindings", "rbac.authorization.k8s.io"),
}


class RemoteObjects:
    def __init__(self, session, server, context):
        self._session = session
        self._server = server
        self._ssl = context
        self._versions = {"": "v1"}

    async def get(self, resource, name, namespace):
        return await self._ask("GET", await self._path(resource, namespace, name))

    async def list(self, resource, namespace=None, *, labels="", fields=""):
        query = {"labelSelector": labels, "fieldSelector": fields}
        path = await self._path(resource, namespace)
        found = await self._ask("GET", path, query={k: v for k, v in query.items() if v})
        typed = {"apiVersion": found["apiVersion"], "kind": found["kind"].removesuffix("List")}
        items = [typed | item for item in found.get("items") or []]
        return Listing(items=items, resource_version=found["metadata"]["resourceVersion"])

    async def create(self, resource, obj, *, manager, subresource=""):
        path = await self._path(resource, obj["metadata"].get("namespace"))
        return await self._ask("POST", path, obj, query={"fieldManager": manager})

    async def update(self, resource, obj, *, manager, subresource=""):
        metadata = obj["metadata"]
        path = await self._path(resource, metadata.get("namespace"), metadata["name"], subresource)
        return await self._ask("PUT", path, obj, query={"fieldManager": manager})

    async def patch(
        self,
        resource,
        name,
        namespace,
        patch,
        *,
        type,  # noqa: A002 -- the API's word
        manager,
        subresource="",
        force=False,
    ):
        query = {"fieldManager": manager} | ({"force": "true"} if force else {})
        path = await self._path(resource, namespace, name, subresource)
        return await self._ask("PATCH", path, patch, query=query, content_type=type)

    async def delete(
        self, resource, name, namespace, *, propagation=None, uid=None, grace_seconds=None
    ):
        options = {
            "propagationPolicy": propagation,
            "gracePeriodSeconds": grace_seconds,
            "preconditions": {"uid": uid} if uid else None,
        }
        body = {"apiVersion": "v1", "kind": "DeleteOptions"}
        body |= {key: value for key, value in options.items() if value is not None}
        await self._ask("DELETE", await self._path(resource, namespace, name), body)

    async def token(self, account, namespace):
        """Return a token of a service account."""
        path = await self._path(SERVICE_ACCOUNTS, namespace, account, "token")
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 3600},
        }
        return (await self._ask("POST", path, request))["status"]["token"]

    async def put_there(self, objects):
        """Create what is not there."""
        for obj in objects:
            if obj["kind"] not in PLURALS:
                continue
            try:
                await self.create(PLURALS[obj["kind"]], obj, manager="test")
            except errors.Conflict:
                continue

    async def wipe(self, resources, namespace, *, labels=""):
        """Delete objects at once, without waiting for whom their finalizers wait."""
        for resource in (*resources, EVENTS, LEASES):
            try:
                listing = await self.list(resource, namespace, labels=labels)
            except errors.NotFound:
                continue
            for obj in listing.items:
                await self._wipe(resource, obj["metadata"])

    async def _wipe(self, resource, metadata):
        where = (resource, metadata["name"], metadata.get("namespace"))
        kept = resource in (SERVICE_ACCOUNTS, CONFIG_MAPS, SECRETS) and (
            metadata["name"] in ("default", "kube-root-ca.crt")
            or metadata.get("annotations", {}).get("kubernetes.io/service-account.name")
        )
        if kept:
            return
        try:
            await self.delete(*where, propagation="Background", grace_seconds=0)
            if metadata.get("finalizers"):
                patch = {"metadata": {"finalizers": None}}
                await self.patch(*where, patch, type="application/merge-patch+json", manager="test")
        except errors.NotFound:
            return

    async def _path(self, resource, namespace, name="", subresource=""):
        if resource.group not in self._versions:
            group = await self._ask("GET", f"/apis/{resource.group}")
            self._versions[resource.group] = group["preferredVersion"]["version"]
        version = self._versions[resource.group]
        root = f"/apis/{resource.group}/{version}" if resource.group else "/api/v1"
        parts = [root, *(("namespaces", namespace) if namespace else ()), resource.plural]
        return "/".join([*parts, *filter(None, (name, subresource))])

    async def _ask(self, method, path, body=None, *, query=None, content_type="application/json"):
        data = None if body is None else json.dumps(body)
        async with self._session.request(
            method,
            self._server + path,
            params=query,
            data=data,
            headers={"Content-Type": content_type, "Accept": "application/json"},
            ssl=self._ssl,
        ) as answer:
            text = await answer.text()
            if answer.status >= 300:
                kind = KINDS.get(answer.status, errors.Unavailable)
                raise kind(f"{method} {path}: {answer.status} {_said(text)}")
            return json.loads(text)


def _said(text):
    """Return the words of a Status; what is none, such as an unknown path's answer, as it is."""
    try:
        return json.loads(text)["message"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return text[:500]


def read_kubeconfig(path):
    """Return server, TLS context and headers of the current context."""
    single = KubeConfig.from_file(path).get()
    cluster, user = single.cluster, single.user
    context = None
    if cluster.server.startswith("https:"):
        authority = base64.b64decode(cluster.certificate_auth_data or "").decode()
        context = ssl.create_default_context(
            cafile=cluster.certificate_auth, cadata=authority or None
        )
        if user.client_cert:
            context.load_cert_chain(user.client_cert, user.client_key)
    headers = {"Authorization": f"Bearer {user.token}"} if user.token else {}
    return cluster, context, headers


def a_session(headers):
    return aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=60))
