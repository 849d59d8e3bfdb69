"""A container of OpenStack Swift, by its API; `swift_opening` makes it.

Swift keeps what is written in parts as parts for ever: the object is a list of them, a static
large object. Here the pieces of an upload are such lists; a blob is copied out of its piece into
one object. Blobs that are too large for one object are lists, too. Parts lie below `parts/`, under
the name of their object and of the upload that wrote them, and the object says which upload that
was: parts of any other are garbage, which the sweep finds. What Quay wrote in segments, a dynamic
large object, is read and deleted as it is.

Swift documentation, "Object Storage API reference" and "Large Object Support".
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, unquote
from uuid import uuid4

from typing_extensions import override

from hatoba.registry.blobs.bucket import (
    Bucket,
    FoundMultipart,
    FoundObject,
    ObjectMissing,
    Part,
    StorageInterrupted,
)
from hatoba.registry.blobs.driver import StorageUnavailable
from hatoba.registry.blobs.exchange import Exchange, Question, Reply, binary, refusal
from hatoba.registry.blobs.multipart import split

LISTED_PARTS: Final = 1000
"""How many parts a list holds (Swift's `max_manifest_segments`); lists of lists hold the rest."""
DELETIONS_AT_ONCE: Final = 8
PARTS: Final = "parts/"
_UPLOAD: Final = "X-Object-Meta-Hatoba-Upload"
_SEGMENTS: Final = "X-Object-Manifest"
_BAD_REQUEST: Final = 400
_MISSING: Final = 404
_RATE_LIMITED: Final = 498
_REFUSED: Final = {
    401: "401 (the storage does not believe the user's token)",
    403: "403 (the user has no access to the container)",
}


class SwiftContainer(Bucket):
    """The calls, for one container."""

    def __init__(
        self, exchange: Exchange, *, container: str, prefix: str, largest_object_bytes: int
    ) -> None:
        self._exchange = exchange
        self._container = container
        self._prefix = prefix
        self._largest = largest_object_bytes

    @override
    async def put(self, key: str, content: bytes) -> None:
        await self._exchange.call(
            "put_object", "PUT", self._path(key), headers=binary(), body=content
        )

    @override
    async def size(self, key: str) -> int:
        return int((await self._head(key))["Content-Length"])

    @override
    def read(self, key: str, *, start: int, end: int) -> AsyncIterator[bytes]:
        return self._exchange.read("get_object", self._path(key), start=start, end=end)

    @override
    async def copy(self, source: str, target: str) -> None:
        size = await self.size(source)
        if size <= self._largest:
            await self._copy_bytes("copy_object", source, target, size=size)
            return
        upload_id = await self.begin_multipart(target)
        try:
            parts = [
                await self.copy_part(
                    target,
                    upload_id,
                    number=number,
                    source=source,
                    start=part.start,
                    end=part.end,
                )
                for number, part in enumerate(split(source, size=size, step=self._largest // 2), 1)
            ]
        except BaseException:
            await self.abort_multipart(target, upload_id)
            raise
        # Where the answer is lost the list may appear yet, so its parts are left to the sweep.
        await self.complete_multipart(target, upload_id, parts)

    @override
    async def delete(self, key: str) -> None:
        try:
            found = await self._head(key)
            await self._exchange.call("delete_object", "DELETE", self._path(key))
        except ObjectMissing:
            return
        if upload_id := found.get(_UPLOAD):
            await self._delete_all(self._parts_of(key, upload_id))
        container, _, begins = unquote(found.get(_SEGMENTS, "")).partition("/")
        if begins and container == self._container:
            await self._delete_all(begins)

    @override
    async def list_objects(self, prefix: str, *, after: str = "") -> AsyncIterator[FoundObject]:
        async for entry in self._list(prefix, after=after):
            key, size = entry["name"], int(entry["bytes"])
            if size == 0:
                # The list of what Quay wrote in segments shows no length.
                try:
                    size = await self.size(key)
                except ObjectMissing:
                    continue
            yield FoundObject(key=key, size=size, modified_at=_moment(entry["last_modified"]))

    @override
    async def list_multiparts(self, prefix: str) -> AsyncIterator[FoundMultipart]:
        begins, last = f"{self._prefix}{PARTS}", ""
        async for entry in self._list(begins + prefix.removeprefix(self._prefix)):
            place, _, _ = entry["name"].rpartition("/")
            if place == last:
                continue
            last = place
            key, _, upload_id = place.removeprefix(begins).rpartition("/")
            if not await self._is_made_of(self._prefix + key, upload_id):
                yield FoundMultipart(
                    key=self._prefix + key,
                    upload_id=upload_id,
                    begun_at=_moment(entry["last_modified"]),
                )

    @override
    async def begin_multipart(self, key: str) -> str:
        return uuid4().hex

    @override
    async def put_part(self, key: str, upload_id: str, *, number: int, content: bytes) -> Part:
        name = self._part(key, upload_id, number)
        reply = await self._exchange.call(
            "put_part", "PUT", self._path(name), headers=binary(), body=content
        )
        return Part(number=number, etag=_etag(reply), size=len(content))

    @override
    async def copy_part(
        self, key: str, upload_id: str, *, number: int, source: str, start: int, end: int
    ) -> Part:
        name, wanted = self._part(key, upload_id, number), {"Range": f"bytes={start}-{end - 1}"}
        reply = await self._copy_bytes("copy_part", source, name, size=end - start, headers=wanted)
        return Part(number=number, etag=_etag(reply), size=end - start)

    @override
    async def complete_multipart(self, key: str, upload_id: str, parts: list[Part]) -> None:
        listed = [
            {
                "path": f"/{self._container}/{self._part(key, upload_id, part.number)}",
                "etag": part.etag,
                "size_bytes": part.size,
            }
            for part in parts
        ]
        if len(listed) > LISTED_PARTS:
            listed = await self._lists_of(key, upload_id, listed)
        await self._put_list(key, listed, headers={_UPLOAD: upload_id})

    @override
    async def is_joined(self, key: str, upload_id: str, parts: list[Part]) -> bool:
        return await self._is_made_of(key, upload_id)

    @override
    async def abort_multipart(self, key: str, upload_id: str) -> None:
        if not await self._is_made_of(key, upload_id):
            await self._delete_all(self._parts_of(key, upload_id))

    async def _copy_bytes(
        self,
        operation: str,
        source: str,
        target: str,
        *,
        size: int,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Let the storage copy; it answers when it has read and written all of it."""
        return await self._exchange.call(
            operation,
            "PUT",
            self._path(target),
            headers=binary(
                {
                    "X-Copy-From": f"/{quote(self._container)}/{quote(source)}",
                    "X-Fresh-Metadata": "true",
                    **(headers or {}),
                }
            ),
            body=b"",
            moved_bytes=size,
        )

    async def _lists_of(
        self, key: str, upload_id: str, listed: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        lists = []
        for number, first in enumerate(range(0, len(listed), LISTED_PARTS)):
            some = listed[first : first + LISTED_PARTS]
            name = f"{self._parts_of(key, upload_id)}list-{number:03d}"
            await self._put_list(name, some)
            size = sum(int(part["size_bytes"]) for part in some)
            lists.append({"path": f"/{self._container}/{name}", "size_bytes": size})
        return lists

    async def _put_list(
        self, key: str, listed: list[dict[str, Any]], *, headers: Mapping[str, str] | None = None
    ) -> None:
        await self._exchange.call(
            "put_list",
            "PUT",
            self._path(key),
            query={"multipart-manifest": "put"},
            headers=binary(headers),
            body=json.dumps(listed).encode(),
        )

    async def _is_made_of(self, key: str, upload_id: str) -> bool:
        # An answer of a copy that lags behind would cost a blob its parts, so all copies are asked.
        try:
            return (await self._head(key, newest=True)).get(_UPLOAD) == upload_id
        except ObjectMissing:
            return False

    async def _delete_all(self, prefix: str) -> None:
        some: list[str] = []
        async for entry in self._list(prefix):
            some.append(entry["name"])
            if len(some) == DELETIONS_AT_ONCE:
                await self._delete_some(some)
                some = []
        await self._delete_some(some)

    async def _delete_some(self, keys: Iterable[str]) -> None:
        async def one(key: str) -> None:
            try:
                await self._exchange.call("delete_object", "DELETE", self._path(key))
            except ObjectMissing:
                return

        await asyncio.gather(*(one(key) for key in keys))

    async def _list(self, prefix: str, *, after: str = "") -> AsyncIterator[dict[str, Any]]:
        while True:
            query = {"format": "json", "prefix": prefix, "marker": after}
            page = _parsed(
                await self._exchange.call("list_objects", "GET", self._path(""), query=query)
            )
            for entry in page:
                yield entry
            if not page:
                return
            after = page[-1]["name"]

    async def _head(self, key: str, *, newest: bool = False) -> Mapping[str, str]:
        headers = {"X-Newest": "true"} if newest else None
        path = self._path(key)
        return (await self._exchange.call("head_object", "HEAD", path, headers=headers)).headers

    def _path(self, key: str) -> str:
        """Return where a thing lies below the account, whose address the credentials know."""
        path = quote(self._container)
        return f"/{path}/{quote(key)}" if key else f"/{path}"

    def _parts_of(self, key: str, upload_id: str) -> str:
        return f"{self._prefix}{PARTS}{key.removeprefix(self._prefix)}/{upload_id}/"

    def _part(self, key: str, upload_id: str, number: int) -> str:
        return f"{self._parts_of(key, upload_id)}{number:06d}"


def explain(question: Question, reply: Reply) -> Exception:
    """Return the error of an answer that is no success."""
    operation, status = question.operation, reply.status
    if status == _MISSING and operation in ("put_object", "put_part", "put_list", "list_objects"):
        return StorageUnavailable(
            f"the object storage refuses {operation}: 404 (there is no such container)"
        )
    if status == _BAD_REQUEST and operation == "put_list" and b"404 Not Found" in reply.body:
        return ObjectMissing("parts of an upload are gone")
    if status in _REFUSED:
        return StorageUnavailable(f"the object storage refuses {operation}: {_REFUSED[status]}")
    if status == _RATE_LIMITED:
        return StorageInterrupted(f"the object storage refuses {operation}: too many requests")
    return refusal(question, status, str(status))


def _etag(reply: Reply) -> str:
    return reply.headers.get("Etag", "").strip('"')


def _parsed(reply: Reply) -> list[dict[str, Any]]:
    try:
        page = json.loads(reply.body or b"[]")
    except ValueError as error:
        raise StorageInterrupted("the object storage answers list_objects with no JSON") from error
    return [entry for entry in page if "name" in entry]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
