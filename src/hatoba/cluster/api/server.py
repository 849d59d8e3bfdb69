"""The API server on the network: routes, authentication, discovery, health; HTTP over TLS.

One handler takes every path, because the set of resources changes while it runs. Open watches are
cancelled when the server closes, so that closing is fast.
"""

import asyncio
import ssl
from dataclasses import dataclass

import structlog
from aiohttp import web

from hatoba.cluster.api import discovery
from hatoba.cluster.api.assembly import Api
from hatoba.cluster.api.bodies import MAXIMUM_BODY_BYTES
from hatoba.cluster.api.exchange import Exchange, encode, page_not_found, refuse
from hatoba.cluster.api.execs import Execs
from hatoba.cluster.api.handlers import Handlers
from hatoba.cluster.api.identity import ANONYMOUS
from hatoba.cluster.api.logs import Logs
from hatoba.cluster.api.negotiation import negotiate, wants_aggregated_discovery
from hatoba.cluster.api.openapi import OpenApi
from hatoba.cluster.api.paths import Target, parse_path
from hatoba.cluster.api.queries import is_true
from hatoba.cluster.api.reviews import Reviews
from hatoba.cluster.api.status import (
    InternalError,
    MethodNotAllowed,
    ObjectNotFound,
    Refused,
    RequestTooLarge,
    StatusError,
)
from hatoba.cluster.api.usage import GROUP as METRICS_GROUP
from hatoba.cluster.api.usage import Metrics
from hatoba.cluster.node import Node
from hatoba.cluster.objects import ResourceName
from hatoba.kernel.json import JsonObject

log = structlog.get_logger()

VERSION: JsonObject = {
    "major": "1",
    "minor": "32",
    "gitVersion": "v1.32.0+hatoba",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "linux/amd64",
}
_HEALTH = ("/healthz", "/livez", "/readyz")
_EMPTY_OPENAPI_V2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


class Edge:
    """Takes requests and finds who answers them."""

    def __init__(self, api: Api, *, node: Node) -> None:
        self._api = api
        self._identities = api.identities
        self._handlers = Handlers(api)
        self._logs = Logs(api.reader, node=node, clock=api.clock)
        self._execs = Execs(api.reader, node=node)
        self._metrics = Metrics(api.reader, registry=api.registry, node=node)
        self._reviews = Reviews(
            api.store, identities=api.identities, roles=api.roles, clock=api.clock
        )
        self._openapi = OpenApi(api.registry)
        self.address = ""
        self._open: set[asyncio.Task[object]] = set()

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Answer a request; failures become Status objects."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            return await self._route(request)
        except StatusError as error:
            return refuse(error)
        except web.HTTPRequestEntityTooLarge:
            return refuse(RequestTooLarge(f"limit is {MAXIMUM_BODY_BYTES}"))
        except (ConnectionResetError, asyncio.CancelledError, web.HTTPException):
            raise
        except Exception:
            log.exception("request failed", method=request.method, path=request.path)
            return refuse(InternalError("internal error: see the log of the cluster"))
        finally:
            self._open.discard(task)

    def cancel_all(self) -> None:
        """End all open requests, watches above all."""
        for task in self._open:
            task.cancel()

    async def _route(self, request: web.Request) -> web.StreamResponse:
        user = self._identities.recognise(request.headers.get("Authorization"))
        target = parse_path(request.path)
        watch = is_true(request.query.get("watch"))
        verb = target.verb(request.method, watch=watch) if target is not None else ""
        self._api.roles.check(
            user, path=request.path, method=request.method, target=target, verb=verb
        )
        if user is not ANONYMOUS and any(
            name.lower().startswith("impersonate-") for name in request.headers
        ):
            raise Refused("impersonation is not offered by the embedded cluster")
        if target is None or not target.plural:
            if request.method not in ("GET", "HEAD"):
                raise MethodNotAllowed(
                    "the server does not allow this method on the requested resource",
                    bare_details=True,
                )
            return self._describe(request, target)
        resource = self._api.registry.find(ResourceName(target.plural, target.group))
        if resource is None or target.version not in resource.versions:
            return self._unknown(target)
        if bool(target.namespace) and not resource.namespaced:
            raise ObjectNotFound(
                "the server could not find the requested resource", bare_details=True
            )
        if target.subresource and target.subresource not in resource.subresources:
            if resource.is_custom:
                raise ObjectNotFound.named(resource.about(target.name))
            raise ObjectNotFound(
                "the server could not find the requested resource", bare_details=True
            )
        if request.method == "POST" and resource.namespaced and target.namespace is None:
            if resource.is_custom:
                return page_not_found()
            raise MethodNotAllowed(
                "the server does not allow this method on the requested resource",
                bare_details=True,
            )
        exchange = Exchange(
            request=request,
            user=user,
            target=target,
            resource=resource,
            representation=negotiate(request.headers.get("Accept", "")),
        )
        return await self._serve(exchange)

    async def _serve(self, exchange: Exchange) -> web.StreamResponse:
        target, method = exchange.target, exchange.request.method
        if exchange.resource.is_virtual:
            if target.group == METRICS_GROUP:
                return exchange.answer(self._metrics.answer(exchange))
            body = await self._handlers.read_object(exchange)
            return exchange.answer(
                self._reviews.answer(target, method, exchange.user, body), status=201
            )
        if target.subresource == "log":
            return await self._logs.handle(exchange)
        if target.subresource == "exec":
            return await self._execs.handle(exchange)
        if target.subresource == "token":
            body = await self._handlers.read_object(exchange)
            return exchange.answer(self._reviews.request_token(target, body), status=201)
        return await self._handlers.handle(exchange)

    def _unknown(self, target: Target) -> web.Response:
        """Answer for a resource that is not served.

        A group that only CRDs define does not say more than that the page is not there.
        """
        builtin = any(r.group == target.group and not r.is_custom for r in self._api.registry)
        if not builtin:
            return page_not_found()
        raise ObjectNotFound("the server could not find the requested resource", bare_details=True)

    def _describe(self, request: web.Request, target: Target | None) -> web.Response:
        path = request.path.rstrip("/") or "/"
        registry = self._api.registry
        if path in ("/api", "/apis"):
            version = wants_aggregated_discovery(request.headers.get("Accept", ""))
            if version:
                return self._aggregated(core=path == "/api", version=version)
            if path == "/api":
                return encode(discovery.api_versions(self.address))
            return encode(discovery.group_list(registry))
        if target is not None:
            document = discovery.resource_list(registry, target.group, target.version)
            if document is None and not target.group:
                raise ObjectNotFound(
                    "the server could not find the requested resource", bare_details=True
                )
            return encode(document) if document else page_not_found()
        if path.startswith("/apis/"):
            document = discovery.group_document(registry, path.removeprefix("/apis/"))
            return encode(document) if document else page_not_found()
        return self._about(path, request)

    def _aggregated(self, *, core: bool, version: str) -> web.Response:
        document = discovery.aggregated(self._api.registry, core=core, version=version)
        response = encode(document)
        response.headers["Content-Type"] = (
            f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        )
        return response

    def _about(self, path: str, request: web.Request) -> web.Response:
        if path == "/version":
            return encode(VERSION)
        if path.startswith(_HEALTH):
            if is_true(request.query.get("verbose")):
                return web.Response(
                    text=f"[+]ping ok\n[+]store ok\n{path.strip('/')} check passed\n"
                )
            return web.Response(text="ok")
        if path.startswith("/openapi/"):
            return self._openapi_answer(path)
        return encode({"paths": self._paths()}) if path == "/" else page_not_found()

    def _openapi_answer(self, path: str) -> web.Response:
        if path == "/openapi/v3":
            return encode(self._openapi.index())
        if path == "/openapi/v2":
            # An empty protobuf document is "no schema known": old clients then leave validation
            # to the server, where it belongs.
            return web.Response(body=b"", headers={"Content-Type": _EMPTY_OPENAPI_V2})
        document = self._openapi.document(path.removeprefix("/openapi/v3/"))
        if document is None:
            return page_not_found()
        return web.Response(body=document, content_type="application/json")

    def _paths(self) -> list[str]:
        paths = ["/api", "/api/v1", "/apis", "/openapi/v2", "/openapi/v3", "/version", *_HEALTH]
        for group, versions in discovery.groups(self._api.registry).items():
            paths += [f"/apis/{group}", *(f"/apis/{group}/{version}" for version in versions)]
        return sorted(paths)


@dataclass(slots=True, kw_only=True)
class Server:
    """A running API server."""

    address: str
    port: int
    edge: Edge
    runner: web.AppRunner

    async def close(self) -> None:
        """Stop listening and end open requests."""
        for site in list(self.runner.sites):
            await site.stop()
        self.edge.cancel_all()
        await self.runner.cleanup()


async def serve(
    api: Api, *, node: Node, tls: ssl.SSLContext | None, host: str = "127.0.0.1", port: int = 0
) -> Server:
    """Listen on an address; port 0 is a free one. Without TLS clients send no credentials."""
    edge = Edge(api, node=node)
    application = web.Application(client_max_size=MAXIMUM_BODY_BYTES)
    application.router.add_route("*", "/{path:.*}", edge.take)
    runner = web.AppRunner(
        application,
        access_log=None,
        shutdown_timeout=1.0,
        handler_cancellation=True,
        handle_signals=False,
    )
    await runner.setup()
    site = web.TCPSite(runner, host, port, ssl_context=tls)
    await site.start()
    chosen = runner.addresses[0][1]
    edge.address = f"{host}:{chosen}"
    return Server(address=edge.address, port=chosen, edge=edge, runner=runner)
