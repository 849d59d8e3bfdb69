"""The management listener: `/metrics`, `/healthz`, `/readyz`, beside the public listeners.

`/healthz` answers as long as the process turns its loop; `/readyz` tells whether requests should
be sent here.
"""

from collections.abc import Callable

from hatoba.serving.asgi import Application, Receive, Scope, Send, answer
from hatoba.telemetry.metrics import render_metrics


def management_application(*, is_ready: Callable[[], bool]) -> Application:
    """Build the ASGI application of a management listener."""

    async def application(scope: Scope, _receive: Receive, send: Send) -> None:
        match scope["path"]:
            case "/metrics":
                body, content_type = render_metrics()
                await answer(send, status=200, body=body, content_type=content_type.encode())
            case "/healthz":
                await answer(send, status=200, body=b"ok\n")
            case "/readyz" if is_ready():
                await answer(send, status=200, body=b"ok\n")
            case "/readyz":
                await answer(send, status=503, body=b"not ready\n")
            case _:
                await answer(send, status=404, body=b"not found\n")

    return application
