"""`/v2/auth` before the framework: answers again what was asked a moment ago.

Whatever was not asked lately goes on to `auth`, which decides and remembers.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from starlette.types import ASGIApp

from hatoba.registry.rooms import Rooms
from hatoba.registry.v2.messages import JSON_TYPE
from hatoba.serving.asgi import Receive, Scope, Send, answer

_JSON: Final = JSON_TYPE.encode()
METHODS: Final = ("GET", "HEAD")
_NO_METHOD: Final = (
    b'{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported.","detail":{}}]}'
)
_DECIDING: Final = (b"authorization", b"user-agent", b"x-forwarded-for")
"""Headers on which an answer or its audit row depends."""


@dataclass(slots=True, frozen=True, kw_only=True)
class TokenDesk:
    """`/v2/auth` before the framework: answers again what was asked a moment ago."""

    rooms: Rooms
    rest: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let the rest of the edge answer it."""
        if scope["method"] not in METHODS:
            # The framework's own answer would not have the shape that clients of /v2 read.
            allow = (b"allow", ", ".join(METHODS).encode())
            await answer(send, status=405, body=_NO_METHOD, content_type=_JSON, headers=[allow])
            return
        issued = self.rooms.issued.get(question_of(scope))
        if issued is None or scope["method"] != "GET":
            await self.rest(scope, receive, send)
            return
        if issued.login is not None:
            self.rooms.audit.remember(issued.login)
        await answer(send, status=200, body=issued.body, content_type=_JSON)


def question_of(scope: Scope) -> bytes:
    """Return what stands for everything that an answer depends on, without holding a secret."""
    headers = {name: value for name, value in scope["headers"] if name in _DECIDING}
    client = scope.get("client") or ("",)
    parts = [scope["query_string"], str(client[0]).encode(), *map(headers.get, _DECIDING)]
    text = b"".join(b"%d:%b" % (len(part), part) if part is not None else b"-" for part in parts)
    return hashlib.sha256(text).digest()
