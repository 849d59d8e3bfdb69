"""Watches over HTTP: newline-delimited events until the client, the time or the server ends them.

Spec: Kubernetes API concepts, "Efficient detection of changes", "Watch bookmarks", "Streaming
lists".
"""

import asyncio
import base64
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from hatoba.cluster.api.queries import ListQuery
from hatoba.cluster.api.reading import Reader, Watch
from hatoba.cluster.api.requests import Selection
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.api.status import Expired
from hatoba.kernel.clock import Clock
from hatoba.kernel.json import JsonObject

DEFAULT_TIMEOUT_SECONDS: Final = 1_800
BOOKMARK_INTERVAL_SECONDS: Final = 55.0
_LAST_BOOKMARK_SECONDS: Final = 2.0


@dataclass(slots=True, frozen=True, kw_only=True)
class WatchRequest:
    """What to watch and how to show it."""

    resource: Resource
    version: str
    namespace: str | None
    query: ListQuery
    show: Callable[[JsonObject, bool], JsonObject]
    """Shape an object; the flag says whether it is the first of the stream."""


class Watcher:
    """Turns watches into lines."""

    def __init__(self, reader: Reader, *, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    def check(self, request: WatchRequest) -> None:
        """Refuse what can be refused before the stream begins.

        Raises:
            StatusError: a selector cannot be parsed.
        """
        self._reader.select(request.resource, self._selection(request, namespace="\0"))

    @staticmethod
    def _selection(request: WatchRequest, *, namespace: str | None) -> Selection:
        query = request.query
        return Selection(namespace=namespace, labels=query.labels, fields=query.fields)

    async def lines(self, request: WatchRequest) -> AsyncGenerator[bytes, None]:
        """Yield the events as lines."""
        stream = _Stream(request)
        selection = self._selection(request, namespace=request.namespace)
        query = request.query
        initial = query.initial_events
        if initial is None:
            initial = not query.version
        version = self._reader.version
        since = version if initial or not query.version else query.version
        try:
            watch = self._reader.watch(request.resource, selection, since=since)
        except Expired as error:
            yield stream.line("ERROR", error.body())
            return
        try:
            if initial:
                for obj in self._reader.select(request.resource, selection):
                    yield stream.event("ADDED", obj)
                if query.bookmarks:
                    yield stream.bookmark(version, end_of_initial=True)
            async for line in self._follow(watch, stream):
                yield line
        finally:
            watch.close()

    async def _follow(self, watch: Watch, stream: "_Stream") -> AsyncGenerator[bytes, None]:
        query = stream.request.query
        end = self._clock.monotonic() + (query.timeout_seconds or DEFAULT_TIMEOUT_SECONDS)
        # The last bookmark comes shortly before the end, so that the next watch starts from there.
        marks = [end - _LAST_BOOKMARK_SECONDS] if query.bookmarks else []
        while (now := self._clock.monotonic()) < end:
            mark = now + BOOKMARK_INTERVAL_SECONDS if query.bookmarks else end
            wake = min([end, mark, *(moment for moment in marks if moment > now)])
            try:
                async with asyncio.timeout(wake - now):
                    event = await watch.next()
            except TimeoutError:
                if query.bookmarks and wake < end:
                    yield stream.bookmark(self._reader.version)
            except Expired as error:
                yield stream.line("ERROR", error.body())
                return
            else:
                yield stream.event(event.type, event.object)


class _Stream:
    def __init__(self, request: WatchRequest) -> None:
        self.request = request
        self._is_first = True

    def event(self, kind: str, obj: JsonObject) -> bytes:
        shown = self.request.show(obj, self._is_first)
        self._is_first = False
        return self.line(kind, shown)

    @staticmethod
    def line(kind: str, obj: JsonObject) -> bytes:
        return msgspec.json.encode({"type": kind, "object": obj}) + b"\n"

    def bookmark(self, version: int, *, end_of_initial: bool = False) -> bytes:
        resource = self.request.resource
        api_version = resource.api_version(self.request.version)
        metadata: JsonObject = {"resourceVersion": str(version)}
        if not resource.is_custom:
            metadata["creationTimestamp"] = None
        if end_of_initial:
            encoded = base64.b64encode(self._blueprint(api_version)).decode()
            metadata["annotations"] = {
                "k8s.io/initial-events-end": "true",
                "kubernetes.io/initial-events-list-blueprint": encoded,
            }
        obj: JsonObject = {"kind": resource.kind, "apiVersion": api_version, "metadata": metadata}
        return self.line("BOOKMARK", obj)

    def _blueprint(self, api_version: str) -> bytes:
        kind = self.request.resource.list_kind
        empty: JsonObject = {"kind": kind, "apiVersion": api_version, "metadata": {}, "items": None}
        if self.request.resource.is_custom:
            empty = {"apiVersion": api_version, "items": [], "kind": kind}
        return msgspec.json.encode(empty) + b"\n"
