"""The ASGI application of `/v2`: route, token, handler, error, metric.

One of the three places that catch everything: what is not ours becomes a logged 500.
"""

import time
from dataclasses import dataclass, field

import structlog

from hatoba.kernel.errors import HatobaError, Unauthenticated
from hatoba.kernel.names import MalformedName, RepositoryName
from hatoba.registry.access.tokens import RegistryClaims
from hatoba.registry.v2.messages import ClientGone, Headers, Reply, Request, read_head
from hatoba.registry.v2.metrics import IN_FLIGHT, PUSHES, pulls, request_seconds
from hatoba.registry.v2.problems import (
    AccessDenied,
    EndpointUnknown,
    MethodUnsupported,
    PushesDisabled,
    RegistryReadOnly,
    problem_reply,
)
from hatoba.registry.v2.remembered import Remembered, key_of
from hatoba.registry.v2.routes import Action, Row, match
from hatoba.registry.v2.services import V2Services
from hatoba.serving.asgi import Receive, Scope, Send
from hatoba.serving.protocol import ZERO_COPY

log = structlog.get_logger()


@dataclass(slots=True, frozen=True, kw_only=True)
class V2Application:
    """Serves `/v2/...` but `/v2/auth`."""

    services: V2Services
    remembered: Remembered = field(default_factory=Remembered)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Spec: ASGI 3.0."""
        IN_FLIGHT.inc()
        try:
            await self._answer(scope, receive, send)
        finally:
            IN_FLIGHT.dec()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        method = scope["method"]
        key = key_of(scope)
        known = None if key is None else self.remembered.get(key)
        row, request = known or _read(scope, receive)
        try:
            reply = await self._reply(request, row)
        except ClientGone:
            log.info("client left during its upload", path=scope["path"])
            return
        except Exception:
            log.exception("request failed", path=scope["path"], method=method)
            reply = problem_reply(HatobaError("internal error"))
        sends_files = ZERO_COPY in scope.get("extensions", ())
        await reply.send(send, head=method == "HEAD", sends_files=sends_files)
        endpoint = row.endpoint if row else "unknown"
        seconds = time.perf_counter() - started
        request_seconds(method, endpoint, reply.status).observe(seconds)
        if endpoint == "manifest":
            _count(method, request.parameters["reference"], reply)
        if row and key is not None and known is None:
            self.remembered.keep(key, row, request, status=reply.status)

    async def _reply(self, request: Request, row: Row | None) -> Reply:
        action = row.methods.get(request.method) if row else None
        try:
            if action is not None:
                return await self._perform(request, action)
        except Unauthenticated as error:
            return self._challenge(error, request=request, action=action)
        except HatobaError as error:
            return problem_reply(error)
        if row is None:
            return problem_reply(EndpointUnknown("no such endpoint"))
        allowed = [("Allow", ", ".join(row.methods))]
        return problem_reply(MethodUnsupported("The operation is unsupported."), headers=allowed)

    async def _perform(self, request: Request, action: Action) -> Reply:
        request.claims = await self._claims(request)
        if not self._is_granted(request, action):
            if "name" in request.parameters:
                # What no repository can be called is told as such: there is nothing to hide.
                self.services.name_of(request)
            raise AccessDenied("access to the requested resource is not authorized")
        if action.changes and self.services.settings.is_readonly:
            raise RegistryReadOnly
        if action.changes and not self.services.settings.accepts_pushes:
            raise PushesDisabled
        return await action.handler(request, self.services)

    async def _claims(self, request: Request) -> RegistryClaims | None:
        token = request.token()
        return None if token is None else await self.services.verifier.verify(token)

    def _is_granted(self, request: Request, action: Action) -> bool:
        if request.claims is None:
            return action.anonymous and self.services.settings.allows_anonymous
        if action.needs is None:
            return True
        return request.claims.allows(action.needs, request.parameters["name"])

    def _challenge(
        self, error: Unauthenticated, *, request: Request, action: Action | None
    ) -> Reply:
        """Say where a token can be had. Spec: Distribution, token authentication."""
        settings = self.services.settings
        realm = f"{settings.scheme}://{settings.hostname}/v2/auth"
        challenge = f'Bearer realm="{realm}",service="{settings.hostname}"'
        name = request.parameters.get("name")
        # Only a well-formed name may be echoed: any other could end the header.
        if action is not None and action.needs is not None and name and _is_name(name):
            wanted = "pull" if action.needs == "pull" else "pull,push"
            challenge += f',scope="repository:{name}:{wanted}"'
        headers: Headers = [("WWW-Authenticate", challenge)]
        return problem_reply(error, headers=headers)


def _read(scope: Scope, receive: Receive) -> tuple[Row | None, Request]:
    row, parameters = match(scope["path"]) or (None, {})
    head = read_head(scope)
    return row, Request(
        method=scope["method"],
        path=scope["path"],
        headers=head.headers,
        query=head.query,
        parameters=parameters,
        client_ip=head.client_ip,
        receive=receive,
    )


def _is_name(text: str) -> bool:
    try:
        RepositoryName.parse(text, "library")
    except MalformedName:
        return False
    return True


def _count(method: str, reference: str, reply: Reply) -> None:
    if method == "GET":
        pulls("manifest" if ":" in reference else "tag", reply.status).inc()
    elif method == "PUT":
        PUSHES.labels("v2", reply.status, reply.media_type or "").inc()
