"""The operator's own HTTP endpoints: health, metrics, and new configurations from editors."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from hatoba.kernel.errors import (
    Conflict,
    Forbidden,
    HatobaError,
    InvalidInput,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from hatoba.operator.backup.receiving import Receiver
from hatoba.operator.reconfigure import Reconfigurer

log = structlog.get_logger()

MAXIMUM_BODY_BYTES: Final = 4 << 20
MAXIMUM_HANDOVER_BYTES: Final = 16 << 20
"""Some Secrets of 1 MiB each, in base64."""

_STATUSES: Final[Mapping[type[HatobaError], int]] = {
    InvalidInput: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    Unavailable: 503,
}


def health_application(is_ready: Callable[[], bool]) -> Starlette:
    """Return /healthz and /readyz."""

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(_request: Request) -> Response:
        if is_ready():
            return PlainTextResponse("ok")
        return PlainTextResponse("caches are not filled yet", status_code=503)

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz)])


def metrics_application() -> Starlette:
    """Return /metrics."""

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/metrics", metrics)])


def reconfigure_application(
    reconfigurer: Reconfigurer, receiver: Receiver | None = None
) -> Starlette:
    """Return POST /reconfigure, and with a receiver POST /restored."""

    async def reconfigure(request: Request) -> Response:
        name = await reconfigurer.reconfigure(
            await _body(request), authorization=request.headers.get("authorization", "")
        )
        log.info("reconfigured", bundle=name)
        return JSONResponse({"status": "success"})

    routes = [Route("/reconfigure", _answering(reconfigure), methods=["POST"])]
    if receiver is not None:
        routes.append(Route("/restored", _answering(_restored(receiver)), methods=["POST"]))
    return Starlette(routes=routes)


def _restored(receiver: Receiver) -> Callable[[Request], Awaitable[Response]]:
    async def restored(request: Request) -> Response:
        name = await receiver.receive(
            await _body(request, maximum=MAXIMUM_HANDOVER_BYTES),
            authorization=request.headers.get("authorization", ""),
        )
        log.info("registry made from a backup", registry=name)
        return JSONResponse({"registry": name})

    return restored


async def _body(request: Request, *, maximum: int = MAXIMUM_BODY_BYTES) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > maximum:
            raise TooLarge(f"the body is larger than {maximum} bytes")
    return bytes(body)


def _answering(
    handler: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Turn errors of ours into answers; anything else is a fault and becomes a 500."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except HatobaError as error:
            code = next((code for kind, code in _STATUSES.items() if isinstance(error, kind)), 500)
            log.info("request refused", status=code, error=error.message)
            headers = {"WWW-Authenticate": 'Basic realm="quay-operator"'} if code == 401 else {}
            return PlainTextResponse(error.message, status_code=code, headers=headers)

    return answer
