"""Pass HTTP requests on to ready pods, streaming both ways.

A connection to a pod serves one request: a pod that goes away can then never break a request
that was sent on an idle connection. Connecting is tried with every ready pod in turn before
anything of the body is read, so that a rollout loses no request.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import aiohttp
import structlog
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

log = structlog.get_logger()

CONNECT_SECONDS: Final = 5.0
SILENCE_SECONDS: Final = 1800.0
"""How long a pod may take between two bytes; Quay's own Routes say 30 minutes."""
CHUNK_BYTES: Final = 256 << 10
HEADER_BYTES: Final = 64 << 10

_NOT_PASSED_ON: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
        "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Headers that speak of one connection only. Source: RFC 9110 7.6.1."""
_REPLACED: Final = frozenset(
    {"forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto"}
)
"""Only the edge knows these; what a client claims is not passed on."""

Choose = Callable[[str], Sequence[tuple[str, int]]]
"""From a request's path to the addresses of pods, the one to try first in front."""


def open_session() -> aiohttp.ClientSession:
    """Return the session for connections to pods."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True, use_dns_cache=False),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS
        ),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        max_line_size=HEADER_BYTES,
        max_field_size=HEADER_BYTES,
        read_bufsize=CHUNK_BYTES,
        skip_auto_headers={hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE},
    )


class Proxy:
    """Answers the requests of one edge."""

    def __init__(
        self, session: aiohttp.ClientSession, *, choose: Choose, port: int, scheme: str
    ) -> None:
        self._session = session
        self._choose = choose
        self._port = port
        self._scheme = scheme

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Pass one request on."""
        failure: Exception | None = None
        for address, port in self._choose(request.path):
            try:
                return await self._pass_on(request, f"http://{address}:{port}")
            except aiohttp.ClientConnectorError as error:
                failure = error
        if failure is None:
            return _unavailable("no pod of this route is ready")
        log.warning("no pod could be reached", error=str(failure))
        return _unavailable("no pod of this route can be reached")

    async def _pass_on(self, request: web.BaseRequest, base: str) -> web.StreamResponse:
        """Send the request to one pod and stream its answer.

        Raises:
            aiohttp.ClientConnectorError: nothing was sent yet; another pod may be tried.
        """
        headers = self._headers(request)
        body = _Body(request) if request.body_exists else None
        answer: web.StreamResponse | None = None
        try:
            async with self._session.request(
                request.method,
                URL(f"{base}{request.raw_path}", encoded=True),
                headers=headers,
                data=None if body is None else body.chunks(),
                allow_redirects=False,
            ) as upstream:
                answer = web.StreamResponse(status=upstream.status, reason=upstream.reason)
                _copy_headers(upstream, answer)
                await answer.prepare(request)
                async for chunk in upstream.content.iter_any():
                    await answer.write(chunk)
                await answer.write_eof()
                return answer
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ClientError, TimeoutError) as error:
            log.warning("a pod broke off", error=str(error), path=request.path)
            if answer is None or not answer.prepared:
                return _bad_gateway("the pod broke the connection")
            # The client must see that the body is cut short: close without the end of the body.
            if request.transport is not None:
                request.transport.abort()
            return answer

    def _headers(self, request: web.BaseRequest) -> CIMultiDict[str]:
        named = {
            name.strip().lower()
            for value in request.headers.getall(hdrs.CONNECTION, ())
            for name in value.split(",")
        }
        left_out = _NOT_PASSED_ON | _REPLACED | named | {"expect"}
        headers = CIMultiDict(
            (name, value) for name, value in request.headers.items() if name.lower() not in left_out
        )
        headers["X-Forwarded-For"] = request.remote or ""
        headers["X-Forwarded-Proto"] = self._scheme
        headers["X-Forwarded-Host"] = request.host
        headers["X-Forwarded-Port"] = str(self._port)
        return headers


class _Body:
    """A request's body, asked for only when a pod is there to take it."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives."""
        expectation = self._request.headers.get(hdrs.EXPECT, "").lower()
        if expectation == "100-continue" and self._request.transport is not None:
            self._request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        async for chunk in self._request.content.iter_any():
            yield chunk


def _copy_headers(upstream: aiohttp.ClientResponse, answer: web.StreamResponse) -> None:
    for name, value in upstream.headers.items():
        if name.lower() not in _NOT_PASSED_ON:
            answer.headers.add(name, value)


def _unavailable(message: str) -> web.Response:
    return web.Response(status=503, text=f"{message}\n", headers={"Retry-After": "1"})


def _bad_gateway(message: str) -> web.Response:
    return web.Response(status=502, text=f"{message}\n")
