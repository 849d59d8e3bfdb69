"""A container of Azure Blob Storage, by its REST API; `azure_opening` makes it.

Azure copies a blob as a whole and is never asked to join others, so parts only ever go into pieces
of an upload, whose names nobody else uses: blocks that are not committed belong to a name, and the
first commit drops those of everybody else.
"""

import base64
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import quote
from uuid import uuid4
from xml.etree import ElementTree as ET

from typing_extensions import override

from hatoba.registry.blobs.bucket import (
    CALL_SECONDS,
    Bucket,
    FoundMultipart,
    FoundObject,
    ObjectMissing,
    OperationUnknown,
    Part,
    StorageInterrupted,
)
from hatoba.registry.blobs.driver import StorageUnavailable
from hatoba.registry.blobs.exchange import Exchange, Question, Reply, binary, refusal

POLL_SECONDS: Final = 0.25
_POLLS: Final = int(CALL_SECONDS / POLL_SECONDS)
_ERROR_CODE: Final = "x-ms-error-code"
_COPY_STATUS: Final = "x-ms-copy-status"
_BLOCKS: Final = "InvalidBlockList"
_MEANINGS: Final = {
    "AuthenticationFailed": "AuthenticationFailed (the account's name, key or token is wrong)",
    "AuthorizationFailure": "AuthorizationFailure (the account's name, key or token is wrong)",
    "ContainerNotFound": "ContainerNotFound (there is no such container)",
}


class AzureContainer(Bucket):
    """The calls, for one container."""

    def __init__(
        self, exchange: Exchange, *, url: str, source_url: Callable[[str], str] | None = None
    ) -> None:
        """Take the container's URL, and what makes the URL by which the service reads a blob."""
        self._exchange = exchange
        self._url = url
        self._source_url = source_url or self._of

    @override
    async def put(self, key: str, content: bytes) -> None:
        headers = binary({"x-ms-blob-type": "BlockBlob"})
        await self._exchange.call("put_blob", "PUT", self._of(key), headers=headers, body=content)

    @override
    async def size(self, key: str) -> int:
        reply = await self._exchange.call("head_blob", "HEAD", self._of(key))
        return int(reply.headers["Content-Length"])

    @override
    def read(self, key: str, *, start: int, end: int) -> AsyncIterator[bytes]:
        return self._exchange.read("get_blob", self._of(key), start=start, end=end)

    @override
    async def copy(self, source: str, target: str) -> None:
        headers = {"x-ms-copy-source": self._source_url(source)}
        reply = await self._exchange.call("copy_blob", "PUT", self._of(target), headers=headers)
        polls = 0
        while (status := reply.headers.get(_COPY_STATUS, "success")) == "pending":
            polls += 1
            if polls > _POLLS:
                break
            await self._exchange.patience.sleep(POLL_SECONDS)
            reply = await self._exchange.call("head_blob", "HEAD", self._of(target))
        if status != "success":
            raise StorageUnavailable(f"the object storage did not finish a copy: {status}")

    @override
    async def delete(self, key: str) -> None:
        try:
            await self._exchange.call("delete_blob", "DELETE", self._of(key))
        except ObjectMissing:
            return

    @override
    async def list_objects(self, prefix: str, *, after: str = "") -> AsyncIterator[FoundObject]:
        # The service begins a list at a marker of its own making only, so what lies before `after`
        # is listed and left out.
        marker = ""
        while True:
            query = {"restype": "container", "comp": "list", "prefix": prefix}
            if marker:
                query["marker"] = marker
            page = _parsed(
                await self._exchange.call("list_blobs", "GET", self._of(""), query=query)
            )
            for blob in page.iterfind("Blobs/Blob"):
                found = _found(blob)
                if found.key > after:
                    yield found
            marker = page.findtext("NextMarker") or ""
            if not marker:
                return

    @override
    async def list_multiparts(self, prefix: str) -> AsyncIterator[FoundMultipart]:
        # The service drops blocks by itself that nobody committed for a week.
        nothing: tuple[FoundMultipart, ...] = ()
        for found in nothing:
            yield found

    @override
    async def begin_multipart(self, key: str) -> str:
        return uuid4().hex

    @override
    async def put_part(self, key: str, upload_id: str, *, number: int, content: bytes) -> Part:
        query = {"comp": "block", "blockid": _block(upload_id, number)}
        await self._exchange.call(
            "put_block", "PUT", self._of(key), query=query, headers=binary(), body=content
        )
        return Part(number=number, etag="", size=len(content))

    @override
    async def copy_part(
        self, key: str, upload_id: str, *, number: int, source: str, start: int, end: int
    ) -> Part:
        raise OperationUnknown("blocks of other blobs are not joined")

    @override
    async def complete_multipart(self, key: str, upload_id: str, parts: list[Part]) -> None:
        blocks = "".join(f"<Latest>{_block(upload_id, part.number)}</Latest>" for part in parts)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{blocks}</BlockList>'
        headers = {
            "Content-Type": "application/xml",
            "x-ms-blob-content-type": binary()["Content-Type"],
        }
        await self._exchange.call(
            "put_block_list",
            "PUT",
            self._of(key),
            query={"comp": "blocklist"},
            headers=headers,
            body=body.encode(),
        )

    @override
    async def is_joined(self, key: str, upload_id: str, parts: list[Part]) -> bool:
        # Putting the same list twice succeeds twice, so a lost answer never comes to this.
        return False

    @override
    async def abort_multipart(self, key: str, upload_id: str) -> None:
        # Blocks without a blob cannot be deleted; with an empty blob in their place they are gone.
        await self.put(key, b"")
        await self.delete(key)

    def _of(self, key: str) -> str:
        return f"{self._url}/{quote(key)}" if key else self._url


def explain(question: Question, reply: Reply) -> Exception:
    """Return the error of an answer that is no success."""
    code = reply.headers.get(_ERROR_CODE, "")
    reason = _MEANINGS.get(code, code or str(reply.status))
    if code == _BLOCKS:
        return ObjectMissing("blocks of an upload are gone")
    if code in _MEANINGS:
        return StorageUnavailable(f"the object storage refuses {question.operation}: {reason}")
    return refusal(question, reply.status, reason)


def _block(upload_id: str, number: int) -> str:
    return base64.b64encode(f"{upload_id}{number:06d}".encode()).decode()


def _parsed(reply: Reply) -> ET.Element:
    try:
        return ET.fromstring(reply.body)  # noqa: S314 -- the storage is trusted with all bytes
    except ET.ParseError as error:
        raise StorageInterrupted("the object storage answers list_blobs with no XML") from error


def _found(blob: ET.Element) -> FoundObject:
    return FoundObject(
        key=blob.findtext("Name") or "",
        size=int(blob.findtext("Properties/Content-Length") or 0),
        modified_at=_moment(blob.findtext("Properties/Last-Modified") or ""),
    )


def _moment(text: str) -> datetime:
    try:
        return parsedate_to_datetime(text)
    except ValueError as error:
        raise StorageUnavailable("the object storage lists a blob without a date") from error
