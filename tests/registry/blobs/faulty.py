"""A proxy in front of an S3 server that fails when it is told to."""

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import aiohttp
from aiohttp import web
from yarl import URL

Kind = Literal[
    "refuse", "garbage", "hang", "reset", "lose answer", "cut", "hidden error", "copy status"
]
_STATUSES = {
    "AccessDenied": 403,
    "InvalidArgument": 400,
    "InvalidBlockList": 400,
    "NoSuchUpload": 404,
    "NotImplemented": 501,
    "SignatureDoesNotMatch": 403,
    "TooManyRequests": 498,
    "Unauthorized": 401,
}
_ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>"


@dataclass(kw_only=True)
class Fault:
    """What happens to the next `times` requests that match."""

    kind: Kind
    method: str = ""
    query: str = ""
    """A part of path and query."""
    times: int = 1
    code: str = "SlowDown"


def _hang_up(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.abort()


def _refusal(fault: Fault) -> web.Response:
    if fault.kind == "garbage":
        return web.Response(status=502, text="<html>bad gateway", content_type="text/html")
    status = _STATUSES.get(fault.code, 503)
    text = _ERROR.format(code=fault.code)
    headers = {"x-ms-error-code": fault.code}
    return web.Response(status=status, text=text, content_type="text/xml", headers=headers)


@dataclass(kw_only=True)
class FaultyStorage:
    """The proxy, its faults and what it saw."""

    target: str
    session: aiohttp.ClientSession
    port: int = 0
    faults: list[Fault] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    headers: set[str] = field(default_factory=set)
    """Names of all headers that came."""
    last: dict[str, str] = field(default_factory=dict)
    """The headers that came last."""
    refuses: Callable[[web.Request], str | None] | None = None
    """Returns the code of the error that a request is answered with for good."""

    def count(self, method: str, part: str = "") -> int:
        return sum(line.startswith(method + " ") and part in line for line in self.seen)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(f"{request.method} {request.raw_path}")
        self.headers |= set(request.headers)
        self.last = dict(request.headers)
        body = await request.read()
        if self.refuses is not None and (code := self.refuses(request)):
            return _refusal(Fault(kind="refuse", code=code))
        fault = self._fault(request)
        if fault is None:
            return await self._forward(request, body)
        kind = fault.kind
        if kind in ("refuse", "garbage"):
            return _refusal(fault)
        if kind == "hang":
            await asyncio.sleep(30)
        if kind == "reset":
            _hang_up(request)
            return web.Response()
        answer = await self._forward(request, body)
        if kind == "lose answer":
            _hang_up(request)
        if kind == "copy status":
            answer.headers["x-ms-copy-status"] = fault.code
        if kind == "hidden error":
            text = _ERROR.format(code="InternalError")
            return web.Response(status=200, text=text, content_type="text/xml")
        return await self._cut(request, answer) if kind == "cut" else answer

    def _fault(self, request: web.Request) -> Fault | None:
        for fault in self.faults:
            if (
                fault.times > 0
                and fault.method in ("", request.method)
                and fault.query in request.raw_path
            ):
                fault.times -= 1
                return fault
        return None

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        headers = {k: v for k, v in request.headers.items() if k not in ("Host", "Expect")}
        async with self.session.request(
            request.method,
            URL(self.target + request.raw_path, encoded=True),
            headers=headers,
            data=io.BytesIO(body) if body else None,
            # Where headers are signed none may be added.
            skip_auto_headers=("Content-Type",),
        ) as found:
            own = ("Date", "Server", "Transfer-Encoding", "Connection", "Keep-Alive")
            kept = {k: v for k, v in found.headers.items() if k.title() not in own}
            return web.Response(status=found.status, headers=kept, body=await found.read())

    @staticmethod
    async def _cut(request: web.Request, answer: web.Response) -> web.StreamResponse:
        assert isinstance(answer.body, bytes)
        cut = web.StreamResponse(status=answer.status, headers=answer.headers)
        await cut.prepare(request)
        await cut.write(answer.body[: len(answer.body) // 2])
        await asyncio.sleep(0.05)
        _hang_up(request)
        return cut


@asynccontextmanager
async def faulty(target: str, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[FaultyStorage]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        storage = FaultyStorage(target=target, session=session)
        application = web.Application(client_max_size=1 << 30)
        application.router.add_route("*", "/{path:.*}", storage.handle)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        storage.port = runner.addresses[0][1]
        try:
            yield storage
        finally:
            await runner.cleanup()
