"""Requests that came before, word for word: they are not read again.

Those who pull ask for the same few things, in the same words, all day long. Kept is what the
words say and the answer that was made of it; whether the token still holds, what it grants and
what a tag or digest names is asked for each time (`app`, `manifests`). Only requests without a
body are kept, and only such as were answered well: whoever is refused leaves nothing behind.
"""

from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from hatoba.registry.v2.messages import Request
from hatoba.registry.v2.routes import Row
from hatoba.serving.asgi import Message, Scope

REMEMBERED_REQUESTS: Final = 1024
REMEMBERED_HEAD_BYTES: Final = 8 << 10
"""Of a request that is kept. With what `manifests` keeps of its answer this bounds the memory."""
_METHODS: Final = frozenset({"GET", "HEAD"})
_ENDPOINTS: Final = frozenset({"manifest", "blob"})
_WELL: Final = frozenset({200, 206, 304})

Key: TypeAlias = tuple[Any, ...]
"""All that a request says, and from which address."""


def key_of(scope: Scope) -> Key | None:
    """Return by what a request is known; None for one that is never kept."""
    if scope["method"] not in _METHODS:
        return None
    client = scope.get("client")
    return (
        scope["method"],
        scope["path"],
        scope.get("query_string", b""),
        client[0] if client else None,
        *scope["headers"],
    )


@dataclass(slots=True, frozen=True)
class Remembered:
    """The requests of one process, at most REMEMBERED_REQUESTS; the first to come goes first."""

    _known: dict[Key, tuple[Row, Request]] = field(default_factory=dict)

    def get(self, key: Key) -> tuple[Row, Request] | None:
        """Return a request that came before, with its row."""
        return self._known.get(key)

    def keep(self, key: Key, row: Row, request: Request, *, status: int) -> None:
        """Keep a request for when it comes again, if it is worth it."""
        if row.endpoint not in _ENDPOINTS or status not in _WELL:
            return
        if _size(key) > REMEMBERED_HEAD_BYTES:
            return
        # Nothing of the connection that it came by is kept with it.
        request.receive = _nothing
        if len(self._known) >= REMEMBERED_REQUESTS:
            del self._known[next(iter(self._known))]
        self._known[key] = (row, request)

    def __len__(self) -> int:
        return len(self._known)


def _size(key: Key) -> int:
    _, path, query, _, *headers = key
    return len(path) + len(query) + sum(len(name) + len(value) for name, value in headers)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
